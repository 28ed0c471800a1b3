"""Routing: which handlers want an event, and the jobs that are opened for them. Many events share one round trip."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import orjson

from receiver import logs
from receiver.ledger import read, runs
from receiver.ledger.accept import QUEUE
from receiver.ledger.runs import Ending, Opening
from receiver.routing import pacing, policy
from receiver.routing.echoes import loop, recognise
from receiver.routing.leases import Held
from receiver.routing.router import wants

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.ledger.runs import Claim, Route
    from receiver.routing.options import Options
    from receiver.routing.plugins import Handler
    from receiver.routing.process import Process

log = logs.get("route")
LIMIT = 60.0
"""Seconds that the filters of one batch may take, and no more than half of a lease: what ends meanwhile waits to be told."""


def route(process: Process, claims: Sequence[Claim], *, claim_first: bool = True) -> list[Claim]:
    """Open the jobs of events; the claims of those jobs that were taken at once."""
    routes = plan(process, claims)
    if not routes:
        return []
    settings = process.settings.worker
    taken = runs.route_many(
        process.redis,
        routes,
        lease=settings.lease,
        again=settings.again,
        claim_first=claim_first and not process.draining,
        slips=settings.slips,
    )
    return [each for each in taken if each is not None]


def plan(process: Process, claims: Sequence[Claim], *, writes: bool = True) -> list[Route]:
    """The jobs to open for events, but for those whose run was ended here because they are not to be routed now.

    `writes`: whether there were writes of ours lately, of which they may be echoes.
    """
    ready = [claim for claim in claims if not _put_off(process, claim)]
    deadline = time.monotonic() + min(LIMIT, process.settings.worker.lease / 2)
    with process.leases.holding(*(Held(claim, deadline) for claim in ready)):
        found = [(claim, openings(process, claim)) for claim in ready]
        filtered = {claim.id: [each for each in told if each.state == "filtered"] for claim, told in found}
        wanted = [(claim, [each for each in told if each.state != "filtered"]) for claim, told in found]
        if writes:
            wanted = recognise(process.redis, wanted, process.plugins.names)
        routes: list[Route] = [each for each in wanted if not _loop(process, *each)]
    for claim, opened in routes:
        if not opened:
            log.info("event.unmatched", event_id=claim.id, type=claim.event.type)
    return [(claim, [*opened, *filtered[claim.id]]) for claim, opened in routes]


def _put_off(process: Process, claim: Claim) -> bool:
    """End the run of an event that is not to be routed now; whether it was."""
    event = claim.event
    if not process.catalogue.may_route():
        tick = int(process.settings.worker.tick * 1000)
        ending = Ending("due", wait=tick, reason="a newer catalogue routes", quiet=True)
    elif process.holding(f"source:{event.source}"):
        ending = held_by(claim, f"source:{event.source}")
    else:
        return False
    process.finish(claim, ending, lambda _own: None)
    return True


def _loop(process: Process, claim: Claim, wanted: Sequence[Opening]) -> bool:
    """Park an event that closes a loop of handlers, unless a person has routed it; whether it was."""
    if claim.lane or not any(each.state == "due" for each in wanted):
        return False
    reason = loop(process.redis, claim.event)
    if reason:
        log.error("event.loop", event_id=claim.id, type=claim.event.type, reason=reason)
        process.finish(claim, Ending("dead", reason=reason), lambda _own: None)
    return bool(reason)


def held_by(claim: Claim, what: str) -> Ending:
    """The ending of a run that a pause does not let begin."""
    return Ending("held", claim.tries, reason=f"{what} is paused", parked=f"paused:{what}", quiet=True)


def queue_of(options: Options) -> str:
    """The RQ queue of a handler's jobs."""
    return f"{QUEUE}_{options.queue}" if options.queue else QUEUE


def openings(process: Process, claim: Claim) -> list[Opening]:
    """A job to open for each handler that wants the event, and a word for each whose filter lets it not pass. A job that it has from
    before a handler was renamed stays that job.
    """
    wanted = process.router.of_type(claim.event.type)
    known: set[str] = set()
    if claim.run > 1 and any(handler.options.was for handler in wanted):
        known = set(read.handlers_of(process.redis, claim.id))
    return [
        _open(handler, claim, next((name for name in handler.options.was if name in known), handler.id))
        for handler in wanted
    ]


def _open(handler: Handler, claim: Claim, name: str) -> Opening:
    event, queue = claim.event, queue_of(handler.options)
    try:
        if not wants(handler, event, claim.now()):
            return Opening(name, queue, "filtered")
        return Opening(name, queue, policy=pacing.policy(handler, event))
    except Exception as error:  # noqa: BLE001 - a filter is the user's code: its handler's job is dead, the others go on
        said = policy.shown(error)
        attempt = {
            "run": 0,
            "outcome": "dead",
            "ended": claim.now(),
            "error": said,
            "reason": "its filter raised",
        }
        reason = f"a filter or key of the handler raised {policy.name(error)}"
        return Opening(name, queue, "dead", reason, orjson.dumps(attempt).decode())

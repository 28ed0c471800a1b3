"""One run: claim, read, call the handler, decide, finish. Everything that a worker does with a slip is here."""

from __future__ import annotations

import random
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

import orjson
from redis.exceptions import RedisError
from structlog.contextvars import bound_contextvars

from receiver import logs
from receiver.errors import Fenced, HandlerError, NotFound, RetryLater, Skip, ZohoError
from receiver.event import now_ms
from receiver.ledger import runs
from receiver.ledger.accept import QUEUE
from receiver.ledger.runs import Ending, Opening
from receiver.routing import pacing, policy
from receiver.routing.effects import DEEPEST, RunEffects
from receiver.routing.leases import Held, TimedOut
from receiver.routing.router import mismatch, wants

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.event import Event
    from receiver.ledger.runs import Claim, Kind
    from receiver.routing.plugins import Handler
    from receiver.routing.process import Process
    from receiver.zoho import Zoho

log = logs.get("run")
TRACEBACK = 8_000
CALLS = 50


def work(process: Process, kind: Kind, found_id: str, run: int, *, alone: bool = False) -> str:
    """Do what a slip says, and what follows from it at once; a word for the log. Never raises what a handler raises."""
    claim = runs.claim(
        process.redis, kind, found_id, run, process.leases.worker, process.settings.worker.lease, alone=alone
    )
    if isinstance(claim, str):
        if claim == "suspect":
            return process.run_alone(kind, found_id, run)
        return claim
    if kind == "j":
        return run_job(process, claim)
    job = route_event(process, claim)
    if not job:
        return "routed"
    event, handler = claim.event, runs.split_job(job)[1]
    first = runs.Claim(
        "j", job, 1, claim.worker, 0, 0, suspect=False, generation=0, lane="", made=now_ms(), event=event
    )
    log.debug("job.claimed", job=job, handler=handler)
    return run_job(process, first)


def route_event(process: Process, claim: Claim) -> str:
    """Open the jobs of an event; the id of the one that was claimed on the way, or ""."""
    settings = process.settings.worker
    if not process.catalogue.may_route():
        later = Ending(
            "due", due=now_ms() + int(settings.tick * 1000), reason="a newer catalogue routes", quiet=True
        )
        runs.finish(process.redis, claim, later)
        return ""
    if paused := process.paused() & {f"source:{claim.event.source}"}:
        return _hold(process, claim, paused)
    if claim.event.depth > DEEPEST and not claim.lane:
        reason = f"a loop: events that cause each other, {claim.event.depth} deep"
        runs.finish(process.redis, claim, Ending("dead", reason=reason))
        log.error("event.loop", event_id=claim.event.id, type=claim.event.type, depth=claim.event.depth)
        return ""
    held = Held(claim, time.monotonic() + 60)
    process.leases.hold(held)
    try:
        openings = [
            opening
            for handler in process.router.of_type(claim.event.type)
            if (opening := _open(handler, claim.event))
        ]
        job = runs.route(
            process.redis,
            claim,
            openings,
            lease=settings.lease,
            again=settings.again,
            claim_first=not process.draining,
        )
    finally:
        process.leases.drop(held)
    log.info(
        "event.routed",
        event_id=claim.event.id,
        type=claim.event.type,
        handlers=[each.handler for each in openings],
        fenced=job is None,
    )
    return job or ""


def _open(handler: Handler, event: Event) -> Opening | None:
    queue = f"{QUEUE}_{handler.options.queue}" if handler.options.queue else QUEUE
    try:
        return (
            Opening(handler.id, queue, policy=pacing.policy(handler, event))
            if wants(handler, event, now_ms())
            else None
        )
    except Exception as error:  # noqa: BLE001 - a filter is the user's code: its handler's job is dead, the others go on
        attempt = {
            "run": 0,
            "outcome": "dead",
            "ended": now_ms(),
            "error": _error(error),
            "reason": "its filter raised",
        }
        reason = f"a filter or key of the handler raised {policy.name(error)}"
        return Opening(handler.id, queue, "dead", reason, orjson.dumps(attempt).decode())


def run_job(process: Process, claim: Claim) -> str:
    """Run a handler on an event under the lease of `claim`, and end the run; the state that the job came to."""
    name = runs.split_job(claim.id)[1]
    handler = process.plugins.handlers.get(name)
    if handler is None:
        return _pass_on(process, claim, name)
    asked = {f"handler:{name}", f"queue:{handler.options.queue or QUEUE}"}
    if paused := process.paused() & asked:
        return _hold(process, claim, paused)
    return Attempt(process, claim, handler).go()


def _hold(process: Process, claim: Claim, paused: frozenset[str]) -> str:
    what = min(paused)
    ending = Ending("held", claim.tries, reason=f"{what} is paused", parked=f"paused:{what}", quiet=True)
    runs.finish(process.redis, claim, ending)
    return "" if claim.kind == "e" else "held"


def _pass_on(process: Process, claim: Claim, name: str) -> str:
    if process.catalogue.elsewhere(name):
        due = now_ms() + int(process.settings.worker.tick * 1000)
        ending = Ending("due", claim.tries, due, "the handler is on another worker", quiet=True)
    else:
        reason = f"no living worker has the handler {name}"
        ending = Ending("held", claim.tries, reason=reason, parked=f"no_handler:{name}", quiet=True)
        log.warning("job.no_handler", job=claim.id, handler=name)
    runs.finish(process.redis, claim, ending)
    return ending.state


class Attempt:
    """One run of one job: the handler's surroundings, its ending, and its record."""

    def __init__(self, process: Process, claim: Claim, handler: Handler) -> None:
        self.process = process
        self.claim = claim
        self.handler = handler
        self.started = now_ms()
        self.ended = threading.Lock()
        self.calls: list[dict[str, Any]] = []
        self.held = Held(claim, time.monotonic() + handler.options.timeout, self.time_out)

    def go(self) -> str:
        """Run the handler and end the run; the state that the job came to."""
        error: BaseException | None = None
        self.process.leases.hold(self.held)
        try:
            with bound_contextvars(
                job=self.claim.id, run=self.claim.run, event_id=self.claim.event.id, handler=self.handler.id
            ):
                self.call()
        except Exception as raised:  # noqa: BLE001 - whatever a handler raises is its outcome
            error = raised
        except TimedOut:
            return "fenced"
        except (SystemExit, KeyboardInterrupt, GeneratorExit) as raised:
            error = HandlerError(f"the handler raised {type(raised).__name__}; a handler ends by returning")
            error.__cause__ = raised
        finally:
            self.process.leases.drop(self.held)
        return self.end(error)

    def call(self) -> None:
        """Call the handler with what it asks for."""
        event, options = self.claim.event, self.handler.options
        event.tries = self.claim.tries
        event.idempotency_key = event.job_key(self.handler.id, self.claim.generation)
        event.effects = RunEffects(self.process, self.held)
        if options.model is not None:
            event.data = options.model.model_validate(event.data)
        zoho = self.process.zoho(event, options.connection, self.held.fence, self.calls)
        if options.record:
            event.record = self.read_record(event, zoho)
            if reason := mismatch(event.record, options.where):
                raise Skip(f"where: {reason}")
        given: dict[str, Any] = {"event": event}
        if self.handler.takes_zoho:
            given["zoho"] = zoho
        for need in self.handler.needs:
            given[need] = self.process.resources.get(need)
        self.handler.function(**given)

    def read_record(self, event: Event, zoho: Zoho) -> Any:
        """The record as it is now. A record that is gone skips the job: there is nothing to do to it."""
        if not event.record_id:
            raise HandlerError(f"record=True, and the event {event.type} is about no record")
        try:
            match event.product:
                case "crm":
                    return zoho.crm.get(event.resource, event.record_id)
                case "books":
                    return zoho.books.get(f"{event.resource.lower()}s", event.record_id)
                case "desk":
                    return zoho.desk.get(f"{event.resource.lower()}s", event.record_id)
        except NotFound:
            raise Skip(f"the record {event.record_id} is gone") from None
        raise HandlerError(f"record=True works for crm, books and desk, not for {event.product}")

    def time_out(self, held: Held) -> None:
        """Called by the keeper of leases: the run has failed, whatever its thread still does."""
        self.end(TimeoutError(f"over its time limit of {self.handler.options.timeout:g} s"), held)

    def end(self, error: BaseException | None, held: Held | None = None) -> str:
        """Decide and finish, once: the keeper and the thread may both come here."""
        if not self.ended.acquire(blocking=False):
            return "fenced"
        if isinstance(error, Fenced) or (self.held.lost and held is None):
            log.warning("run.fenced", job=self.claim.id, run=self.claim.run, reason=self.held.lost)
            return "fenced"
        decision = policy.decide(
            error,
            tries=self.claim.tries,
            options=self.handler.options,
            now=now_ms(),
            made=self.claim.made,
            chance=random.random(),  # noqa: S311 - spreads retries, guards nothing
        )
        record = orjson.dumps(self.record(error, decision)).decode()
        ending = Ending(
            decision.state,
            decision.tries,
            decision.at,
            decision.reason,
            record,
            len(self.calls),
            decision.parked,
        )
        own = _finish(self.process, self.claim, ending)
        self.say(decision, error, own=own)
        return decision.state if own else "fenced"

    def record(self, error: BaseException | None, decision: policy.Decision) -> dict[str, Any]:
        """What is kept of this attempt."""
        kept: dict[str, Any] = {
            "run": self.claim.run,
            "tries": decision.tries,
            "started": self.started,
            "ended": now_ms(),
            "outcome": decision.state,
            "worker": self.claim.worker,
        }
        if decision.reason:
            kept["reason"] = decision.reason
        if decision.at:
            kept["due"] = decision.at
        if error is not None and not isinstance(error, Skip | RetryLater):
            kept["error"] = _error(error)
        if self.calls:
            kept["calls"] = self.calls[-CALLS:]
        return kept

    def say(self, decision: policy.Decision, error: BaseException | None, *, own: bool) -> None:
        """One wide line per attempt."""
        (log.info if decision.state in {"done", "skipped"} else log.warning)(
            "attempt",
            event_id=self.claim.event.id,
            type=self.claim.event.type,
            handler=self.handler.id,
            run=self.claim.run,
            tries=decision.tries,
            outcome=decision.state if own else "fenced",
            reason=decision.reason,
            ms=now_ms() - self.started,
            since_received_ms=now_ms() - self.claim.event.received,
            calls=len(self.calls),
            error=policy.name(error) if error else None,
        )


def _error(error: BaseException) -> dict[str, Any]:
    text = logs.mask("".join(traceback.format_exception(error)))
    shown: dict[str, Any] = {
        "type": type(error).__name__,
        "message": logs.mask(str(error))[:1000],
        "traceback": text[-TRACEBACK:],
    }
    if isinstance(error, ZohoError) and error.code:
        shown["code"] = str(error.code)
    return shown


def _finish(process: Process, claim: Claim, ending: Ending) -> bool:
    """Finish, through a restart of Redis if need be: until the lease is over, the ending is worth saving."""
    until = time.monotonic() + process.settings.worker.lease
    pauses: Sequence[float] = (0.1, 0.3, 1.0)
    for pause in (*pauses, *[2.0] * 60):
        try:
            return runs.finish(process.redis, claim, ending)
        except RedisError as error:
            if time.monotonic() + pause > until:
                log.error("run.not_finished", job=claim.id, run=claim.run, error=str(error))  # noqa: TRY400
                return False
            time.sleep(pause)
    return False

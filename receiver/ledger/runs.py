"""Runs of events and jobs: claim, route, finish, renew, and what the sweep, holds and replays do. Every write is one script."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import orjson

from receiver import keys, logs
from receiver.ledger.accept import QUEUE, RECOVERED, REPLAY, SLIPS
from receiver.ledger.pack import event_of
from receiver.ledger.script import Argument, call, call_together, iso, lists

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

    from receiver.event import Event

log = logs.get("runs")
Kind = Literal["e", "j"]
State = Literal["due", "running", "done", "skipped", "held", "dead"]
Mode = Literal["retry", "rerun"]
FINISHED = frozenset({"done", "skipped", "dead"})
WRITES_KEPT = 900
"""Seconds that our own writes are kept, for events may wait a while to be routed."""
ENDS = 10
"""Isolated runs that may end without ending themselves, whoever was to blame: what takes its whole host down must stop some day."""
GATHERED = 4 * 1024 * 1024
"""Bytes of data, as they are kept, that one batch brings into a worker."""


def job_id(event: str, handler: str) -> str:
    """A job's id: its event and its handler, which is all that a job is."""
    return f"{event}:{handler}"


def split_job(job: str) -> tuple[str, str]:
    """(event id, handler id) of a job's id."""
    event, _, handler = job.partition(":")
    return event, handler


@dataclass(slots=True)
class Claim:
    """One run that is ours until its lease ends, and nobody changes it: `run` is the fence, `tries` what policy counts; `at` (ms) is
    when it was taken.
    """

    kind: Kind
    id: str
    run: int
    worker: str
    tries: int
    deaths: int
    suspect: bool
    generation: int
    lane: str
    made: int
    at: int
    event: Event
    heard: float = field(default_factory=time.monotonic, compare=False)

    def now(self) -> int:
        """The time (ms) by the ledger's clock, as `made` is: what it was when the run was taken, and what has passed since."""
        return self.at + int((time.monotonic() - self.heard) * 1000)

    @property
    def member(self) -> str:
        """Its name in the set of what is due."""
        return f"{self.kind}:{self.id}"


def claim_many(
    redis: Redis, asks: Sequence[tuple[Kind, str, int]], worker: str, lease: float, *, alone: bool = False
) -> list[Claim | str]:
    """Take runs of (kind, id, run), each a claim or the word why not: gone, stale, early, suspect, turn, rate, limit, batch, or the
    state that it is in. `lease` in seconds.

    Each claim bears a token of its own, so that asking again after a lost answer gives the same claim, and a second slip for
    the same run in the same process does not.
    """
    tokens = [f"{worker}#{os.urandom(4).hex()}" for _ in asks]
    args: list[Argument] = [iso(), int(lease * 1000), "1" if alone else ""]
    for ask, token in zip(asks, tokens, strict=True):
        args += (*ask, token)
    answers = lists(call(redis, "claim", *args))
    return [claimed(*ask, token, answer) for ask, token, answer in zip(asks, tokens, answers, strict=True)]


def claimed(kind: Kind, found_id: str, run: int, token: str, answer: Sequence[Any]) -> Claim | str:
    """What the script says of one claim."""
    word = answer[0].decode()
    if word != "ok":
        return str(word)
    _, tries, deaths, suspect, generation, lane, made, at, *told = answer
    return Claim(
        kind=kind,
        id=found_id,
        run=run,
        worker=token,
        tries=int(tries),
        deaths=int(deaths),
        suspect=bool(suspect),
        generation=int(generation),
        lane=lane.decode(),
        made=int(made),
        at=int(at),
        event=_event(found_id if kind == "e" else split_job(found_id)[0], told),
    )


def _event(event_id: str, told: Sequence[bytes]) -> Event:
    seq, delivery, cause, depth, kept = told
    return event_of(
        event_id, kept, seq=int(seq), delivery=delivery.decode(), cause=cause.decode(), depth=int(depth)
    )


def claim(
    redis: Redis, kind: Kind, found_id: str, run: int, worker: str, lease: float, *, alone: bool = False
) -> Claim | str:
    """`claim_many` of one."""
    return claim_many(redis, [(kind, found_id, run)], worker, lease, alone=alone)[0]


def gather(redis: Redis, lead: Claim, lease: float, most: int) -> list[Claim]:
    """Claims of up to `most` jobs that wait in the batch of `lead`, oldest first: of 4 MiB of data at most. `lease` in seconds."""
    answers = call(redis, "gather", lead.id, lead.worker, int(lease * 1000), most, GATHERED, iso())
    return [
        Claim(
            kind="j",
            id=job.decode(),
            run=int(run),
            worker=lead.worker,
            tries=int(tries),
            deaths=int(deaths),
            suspect=False,
            generation=int(generation),
            lane=lane.decode(),
            made=int(made),
            at=int(at),
            event=_event(split_job(job.decode())[0], told),
        )
        for job, run, tries, deaths, generation, lane, made, at, *told in lists(answers)
    ]


class Opening(NamedTuple):
    """A job to open: for a handler that wants the event; dead at birth where its filter raised, skipped where it is an echo. None is
    opened where the event was filtered, which is counted.
    """

    handler: str
    queue: str = QUEUE
    state: Literal["due", "dead", "skipped", "filtered"] = "due"
    reason: str = ""
    attempt: str = ""
    policy: str = ""


Route = tuple[Claim, "Sequence[Opening]"]


def route_args(
    routes: Sequence[Route],
    *,
    lease: float,
    again: float,
    claim_first: bool,
    left: str = "",
    slips: int = SLIPS,
    rooms: bytes = b"",
) -> list[Argument]:
    """The arguments of `route.lua`."""
    told = [
        (
            held.id,
            str(held.run),
            held.worker,
            [
                (each.handler, each.state, each.reason, each.attempt, each.queue, each.policy)
                for each in openings
            ],
        )
        for held, openings in routes
    ]
    first = "1" if claim_first else ""
    return [iso(), int(lease * 1000), int(again * 1000), first, left, slips, rooms, orjson.dumps(told)]


def routed(routes: Sequence[Route], answers: Sequence[Any]) -> list[Claim | None]:
    """What `route.lua` says: per event the claim of the job that was taken at once, or None."""
    return [
        _opened(held, answer.decode())
        if isinstance(answer, bytes) and answer.startswith(held.id.encode())
        else None
        for (held, _), answer in zip(routes, answers, strict=True)
    ]


def _opened(held: Claim, job: str) -> Claim:
    now = held.now()
    return Claim("j", job, 1, held.worker, 0, 0, False, 0, "", now, now, held.event)


def route_many(
    redis: Redis,
    routes: Sequence[Route],
    *,
    lease: float,
    again: float,
    claim_first: bool,
    slips: int = SLIPS,
) -> list[Claim | None]:
    """Open the jobs of events and end their routing. Per event the claim of the job that was taken at once, or None."""
    args = route_args(routes, lease=lease, again=again, claim_first=claim_first, slips=slips)
    return routed(routes, call(redis, "route", *args))


def route(
    redis: Redis,
    held: Claim,
    openings: Sequence[Opening],
    *,
    lease: float,
    again: float,
    claim_first: bool,
    slips: int = SLIPS,
) -> Claim | None:
    """`route_many` of one."""
    told = [(held, openings)]
    return route_many(redis, told, lease=lease, again=again, claim_first=claim_first, slips=slips)[0]


class Ending(NamedTuple):
    """What a run came to. State due comes after `wait` (ms) from when it is written, or at the time `at` (ms) where one was named;
    `parked` names what a held one waits for.
    """

    state: State
    tries: int = 0
    wait: int = 0
    reason: str = ""
    attempt: str = ""
    calls: int = 0
    parked: str = ""
    quiet: bool = False
    at: int = 0
    leads: bool = True
    """Whether it is the one of its slip; the jobs that a batch takes along have none."""


def finish_args(endings: Sequence[tuple[Claim, Ending]]) -> list[Argument]:
    """The arguments of `finish.lua`."""
    told = [
        (
            held.kind, held.id, str(held.run), held.worker, ending.state, str(ending.at), str(ending.wait), str(ending.tries),
            ending.reason[:500], ending.attempt, str(ending.calls), str(held.event.received), "1" if ending.quiet else "", ending.parked,
        )
        for held, ending in endings
    ]  # fmt: skip
    return [iso(), orjson.dumps(told)]


def finished(endings: Sequence[tuple[Claim, Ending]], answers: Sequence[bytes]) -> list[bool]:
    """What `finish.lua` says: whether each run was still ours."""
    for (held, _), answer in zip(endings, answers, strict=True):
        if answer not in (b"ok", b"fenced"):
            log.error("run.not_finished", job=held.id, run=held.run, error=answer.decode("utf-8", "replace"))
    return [answer == b"ok" for answer in answers]


def finish_many(redis: Redis, endings: Sequence[tuple[Claim, Ending]]) -> list[bool]:
    """End runs. False: it was no longer ours, and nothing was written."""
    return finished(endings, call(redis, "finish", *finish_args(endings)))


def finish(redis: Redis, held: Claim, ending: Ending) -> bool:
    """`finish_many` of one."""
    return finish_many(redis, [(held, ending)])[0]


def renew(redis: Redis, lease: float, held: Sequence[tuple[str, int, str]]) -> list[bool]:
    """Renew the leases of (member, run, token); False for a run that is lost."""
    args: list[Argument] = [int(lease * 1000)]
    for each in held:
        args += each
    return [found == 1 for found in call(redis, "renew", *args)]


def lapse(
    redis: Redis, kind: Kind, found_id: str, run: int, process: str, how: str, *, blamed: bool = True
) -> bool:
    """End at once the lease of a run whose process is known to be dead, and how; False where it had ended already.

    `blamed`: whether the death counts against what it ran.
    """
    return bool(call(redis, "lapse", kind, found_id, run, process, how, "1" if blamed else ""))


def sweep(
    redis: Redis, *, limit: int = 500, again: float, deaths: int, slips: int = SLIPS
) -> tuple[int, int, int]:
    """One page: (members seen, slips given, deaths found)."""
    rest = (deaths, QUEUE, RECOVERED, slips, max(ENDS, deaths))
    seen, given, lost = call(redis, "sweep", iso(), limit, int(again * 1000), *rest)
    return seen, given, lost


def refill(redis: Redis, *, again: float, slips: int = SLIPS, page: int = 500) -> int:
    """Give slips to what waits for room, a page of each source, and put right how many there are; how many were looked at."""
    return int(call(redis, "refill", iso(), slips, page, int(again * 1000), QUEUE))


def release(redis: Redis, reason: str, limit: int = 500) -> int:
    """Make due again what waits for `reason`; how many were released in all."""
    total = 0
    while released := call(redis, "release", reason, limit):
        total += released
    return total


def replay_many(
    redis: Redis,
    found: Sequence[tuple[Kind, str]],
    mode: Mode = "retry",
    again: float = 30,
    part_of: str = "",
    only: str = "",
) -> list[str]:
    """Run finished jobs again (retry: with the same idempotency key, rerun: with a new one), or route events again.

    Each is "ok", "open" where it is still under way, or "gone" where there is no such thing. `part_of` is the replay's id; once that was
    cancelled nothing is given, and the word is "cancelled". What is not in the state `only` any more, for which it was chosen, is "gone".
    """
    at = iso()
    rest = (mode, REPLAY, int(again * 1000), part_of, only)
    calls = [("replay", (at, kind, each, *rest)) for kind, each in found]
    return ["gone" if isinstance(word, Exception) else word.decode() for word in call_together(redis, calls)]


def replay(redis: Redis, kind: Kind, found_id: str, mode: Mode = "retry", again: float = 30) -> str:
    """`replay_many` of one."""
    return replay_many(redis, [(kind, found_id)], mode, again)[0]


def pace(redis: Redis, job: str, wait: int, at: int = 0) -> int | None:
    """When a job may be tried that is due after `wait` or at the time `at` (all in ms): no faster than the rate of the replay that it
    is part of. 0 where there is none to keep to, None where that replay was cancelled.
    """
    at = int(call(redis, "pace", job, wait, at))
    return None if at < 0 else at


def recheck(redis: Redis, most: int = 1_000) -> int:
    """Give slips to those who are first in an order or under a limit and wait for nobody; how many there were."""
    return int(call(redis, "recheck", iso(), most))


def pausable(what: str) -> str:
    """`handler:ID`, `queue:NAME` or `source:NAME` as a pause is kept; a queue may have RQ's name. Raises ValueError for anything else."""
    kind, _, name = what.partition(":")
    if kind not in {"handler", "queue", "source"} or not name or len(what) > 300:
        raise ValueError(f"{what[:300]!r} cannot be paused; write handler:ID, queue:NAME or source:NAME")
    if kind != "queue":
        return what
    name = name.removeprefix(f"{QUEUE}_")
    if f"{QUEUE}_{name}" in {REPLAY, RECOVERED}:
        raise ValueError(
            f"{name} is a lane that work of all queues goes through: pause the handler; zohook cancel stops a replay"
        )
    return f"queue:{name}"


def pause(redis: Redis, what: str) -> None:
    """Pause what `pausable` gives: deliveries are still accepted, and its work waits on hold, a second from now at the latest."""
    redis.sadd(keys.paused(), what)


def resume(redis: Redis, what: str) -> int:
    """End a pause; how much was released."""
    redis.srem(keys.paused(), what)
    return release(redis, f"paused:{what}")


def take_write(redis: Redis, record: str, what: str, event: str, cause: str = "", depth: int = 0) -> bool:
    """Whether an event gets one of our writes to its record, as an echo of it, or with its `cause` as its effect."""
    return bool(call(redis, "cause", record, what, event, cause, depth, WRITES_KEPT))


def cancel(redis: Redis, key: str) -> bool:
    """Cancel the event that waits under a key of the user's own; False where none does."""
    return bool(call(redis, "cancel", key))

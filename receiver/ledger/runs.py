"""Runs of events and jobs: claim, route, finish, renew, and what the sweep, holds and replays do. Every write is one script."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from receiver import keys
from receiver.event import Event
from receiver.ledger.accept import QUEUE, RECOVERED, REPLAY
from receiver.ledger.pack import unpack
from receiver.ledger.script import Argument, call, iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from redis import Redis

Kind = Literal["e", "j"]
State = Literal["due", "running", "done", "skipped", "held", "dead"]
FINISHED = frozenset({"done", "skipped", "dead"})


def job_id(event: str, handler: str) -> str:
    """A job's id: its event and its handler, which is all that a job is."""
    return f"{event}:{handler}"


def split_job(job: str) -> tuple[str, str]:
    """(event id, handler id) of a job's id."""
    event, _, handler = job.partition(":")
    return event, handler


@dataclass(frozen=True, slots=True)
class Claim:
    """One run that is ours until its lease ends: `run` is the fence, `tries` what policy counts."""

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
    event: Event

    @property
    def member(self) -> str:
        """Its name in the set of what is due."""
        return f"{self.kind}:{self.id}"


def claim(
    redis: Redis, kind: Kind, found_id: str, run: int, worker: str, lease: float, *, alone: bool = False
) -> Claim | str:
    """Take a run, or the word why not: gone, stale, early, or the state that it is in. `lease` in seconds."""
    answer = call(redis, "claim", kind, found_id, run, worker, int(lease * 1000), "1" if alone else "")
    word = answer[0].decode()
    if word != "ok":
        return str(word)
    tries, deaths, suspect, generation, lane, made, meta, data, seq = answer[1:]
    event_id = found_id if kind == "e" else split_job(found_id)[0]
    event = Event.unpack(event_id, meta, unpack(data), int(seq))
    return Claim(
        kind=kind,
        id=found_id,
        run=run,
        worker=worker,
        tries=int(tries),
        deaths=int(deaths),
        suspect=bool(suspect),
        generation=int(generation),
        lane=lane.decode(),
        made=int(made),
        event=event,
    )


@dataclass(frozen=True, slots=True)
class Opening:
    """A job to open: for a handler that wants the event, or dead at birth where its filter raised."""

    handler: str
    queue: str = QUEUE
    state: Literal["due", "dead"] = "due"
    reason: str = ""
    attempt: str = ""
    policy: str = ""


def route(
    redis: Redis, held: Claim, openings: Sequence[Opening], *, lease: float, again: float, claim_first: bool
) -> str | None:
    """Open the jobs of an event and end its routing. The id of the job that was claimed at once, "" for none, None if fenced."""
    args: list[Argument] = [iso(), held.id, held.run, held.worker, int(lease * 1000), int(again * 1000)]
    args += ["1" if claim_first else "", len(openings)]
    for opening in openings:
        args += [
            opening.handler,
            opening.state,
            opening.reason,
            opening.attempt,
            opening.queue,
            opening.policy,
        ]
    answer = call(redis, "route", *args)
    return answer[1].decode() if answer[0] == b"ok" else None


@dataclass(frozen=True, slots=True)
class Ending:
    """What a run came to. `due` in milliseconds for state due; `parked` names what a held one waits for."""

    state: State
    tries: int = 0
    due: int = 0
    reason: str = ""
    attempt: str = ""
    calls: int = 0
    parked: str = ""
    quiet: bool = False


def finish(redis: Redis, held: Claim, ending: Ending) -> bool:
    """End a run. False: it was no longer ours, and nothing was written."""
    word = call(
        redis, "finish", held.kind, held.id, held.run, held.worker, ending.state, ending.due, ending.tries, ending.reason[:500],
        ending.attempt, iso(), ending.calls, held.event.received, "1" if ending.quiet else "", ending.parked,
    )  # fmt: skip
    return bool(word == b"ok")


def renew(redis: Redis, worker: str, lease: float, members: Sequence[tuple[str, int]]) -> list[bool]:
    """Renew the leases of (member, run) pairs; False for a run that is lost."""
    args: list[Argument] = [int(lease * 1000), worker]
    for member, run in members:
        args += [member, run]
    return [found == 1 for found in call(redis, "renew", *args)]


def sweep(redis: Redis, *, limit: int = 500, again: float, deaths: int) -> tuple[int, int, int]:
    """One page: (members seen, slips given, deaths found)."""
    seen, slips, lost = call(redis, "sweep", iso(), limit, int(again * 1000), deaths, QUEUE, RECOVERED)
    return seen, slips, lost


def release(redis: Redis, reason: str, limit: int = 500) -> int:
    """Make due again what waits for `reason`; how many were released in all."""
    total = 0
    while released := call(redis, "release", reason, limit):
        total += released
    return total


def replay(
    redis: Redis, kind: Kind, found_id: str, mode: Literal["retry", "rerun"] = "retry", again: float = 30
) -> str:
    """Run a finished job again (retry: with the same idempotency key, rerun: with a new one), or route an event again.

    "ok", "open" where it is still under way, "gone" where there is no such thing.
    """
    return str(call(redis, "replay", iso(), kind, found_id, mode, REPLAY, int(again * 1000)).decode())


def replay_all(redis: Redis, jobs: Iterable[str], mode: Literal["retry", "rerun"] = "retry") -> int:
    """How many of the jobs are run again."""
    return sum(replay(redis, "j", job, mode) == "ok" for job in jobs)


def recheck(redis: Redis, most: int = 1_000) -> int:
    """Give slips to those who are first in an order or under a limit and wait for nobody; how many there were."""
    return int(call(redis, "recheck", iso(), most))


def pause(redis: Redis, what: str) -> None:
    """Pause `handler:ID`, `queue:NAME` or `source:NAME`: deliveries are still accepted, and its work waits on hold."""
    redis.sadd(keys.paused(), what)


def resume(redis: Redis, what: str) -> int:
    """End a pause; how much was released."""
    redis.srem(keys.paused(), what)
    return release(redis, f"paused:{what}")


def cancel(redis: Redis, key: str) -> bool:
    """Cancel the event that waits under a key of the user's own; False where none does."""
    return bool(call(redis, "cancel", key))

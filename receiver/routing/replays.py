"""Replays: finished jobs run again, one or many, at a rate, in a lane that live events never wait for. A backfill is one whose jobs
are of records that had no event.

A replay is a record and a list of jobs in Redis. Whichever worker sweeps gives the next of them to the workers, so a replay needs
nobody to wait for it and goes on when a process dies. What it has given fails and is retried in the same lane, no faster than the
rate; whoever cancels it takes back what is not given yet, and what fails from then on is not tried again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

import orjson

from receiver import keys, logs
from receiver.event import new_id
from receiver.ledger import backfills, runs
from receiver.ledger.accept import REPLAY, SLIPS
from receiver.ledger.condition import time_of
from receiver.routing.dead_letters import Filter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis import Redis
    from redis.client import Pipeline

    from receiver.routing.policy import Decision

log = logs.get("replays")
Mode = Literal["retry", "rerun", "backfill"]
State = Literal["reading", "running", "done", "cancelled"]
COUNTED = ("ok", "open", "gone")
RATE = 20.0
"""Jobs a second where nobody says otherwise."""
PAGE = 500
KEPT = 200
LIFE = 30 * 86_400
LAG = 2_000
"""Milliseconds that a replay catches up where nobody gave its jobs for a while: it is a rate, and no debt."""


@dataclass(frozen=True, slots=True)
class Replay:
    """The record of one replay. `chosen` jobs were meant; `ok` are given to the workers, `open` were open already, `gone` are no more, or not
    in the state any more for which they were chosen.

    A backfill is `reading` while its records are asked of Zoho, which a command does; nothing of it is given till then.
    """

    id: str
    mode: Mode
    state: State
    filter: Filter
    rate: float
    by: str
    at: int
    chosen: int
    ok: int = 0
    open: int = 0
    gone: int = 0

    @property
    def left(self) -> int:
        """How many are not given yet."""
        return self.chosen - self.ok - self.open - self.gone if self.state == "running" else 0


def start(
    redis: Redis, mode: runs.Mode, wanted: Filter, jobs: Sequence[str], *, rate: float = RATE, by: str = ""
) -> str:
    """Begin to run jobs again (newest first, as `select` gives them), the oldest first; the replay's id."""
    found = new_id()
    for first in range(0, len(jobs), 1_000):
        pipe = redis.pipeline()
        pipe.lpush(keys.replay_jobs(found), *jobs[first : first + 1_000])
        pipe.expire(keys.replay_jobs(found), LIFE)
        pipe.execute()
    pipe = redis.pipeline()
    state: State = "running" if jobs else "done"
    record(pipe, Replay(found, mode, state, wanted, rate, by, time_of(redis), len(jobs)))
    if jobs:
        pipe.sadd(keys.replays_running(), found)
    pipe.execute()
    log.info("replay.started", id=found, mode=mode, chosen=len(jobs), rate=rate, by=by)
    return found


def at_once(
    redis: Redis, mode: runs.Mode, ids: Sequence[str], again: float, *, by: str, kind: runs.Kind = "j"
) -> list[str]:
    """Run these few jobs again, or route these events again, at once; the word of each ("ok", "open", "gone"), which is recorded too."""
    found = new_id()
    words = runs.replay_many(redis, [(kind, each) for each in ids], mode, again, found)
    if "ok" in words:
        wanted = Filter(job=ids[0] + (f" and {len(ids) - 1} more" if len(ids) > 1 else ""))
        counts = {word: words.count(word) for word in COUNTED}
        pipe = redis.pipeline()
        record(pipe, Replay(found, mode, "done", wanted, 0, by, time_of(redis), len(ids), **counts))
        pipe.execute()
    return words


def record(pipe: Redis, said: Replay) -> None:
    """Write the record of a replay; the last 200 are kept."""
    fields = {**asdict(said), "filter": orjson.dumps(asdict(said.filter)), "last": said.at}
    pipe.hset(keys.replay(said.id), mapping=cast("Mapping[Any, Any]", fields))
    pipe.expire(keys.replay(said.id), LIFE)
    pipe.zadd(keys.replays(), {said.id: said.at})
    pipe.zremrangebyrank(keys.replays(), 0, -KEPT - 1)


def advance(redis: Redis, again: float, slips: int = SLIPS) -> int:
    """Give the workers what the replays' rates allow by now, and no more than `slips` in all; how many jobs were given. Called once
    a tick by who sweeps.
    """
    running = cast("set[bytes]", redis.smembers(keys.replays_running()))
    return sum(_advance(redis, found.decode(), again, slips) for found in running)


def _advance(redis: Redis, found: str, again: float, slips: int) -> int:
    state, mode, rate, last = cast(
        "list[bytes | None]", redis.hmget(keys.replay(found), "state", "mode", "rate", "last")
    )
    if state != b"running" or mode is None:
        redis.srem(keys.replays_running(), found)
        return 0
    each = 1000 / float(rate) if rate and float(rate) else 0.0
    now = time_of(redis)  # another host may have written `last`, and the next may go on from here
    began = max(int(last or 0), now - max(LAG, int(each)))
    allowed = min(PAGE, int((now - began) / each)) if each else PAGE
    allowed = min(allowed, slips - redis.llen(keys.rq_queue(REPLAY)))
    if allowed <= 0:
        return 0
    jobs = cast("list[bytes]", redis.lrange(keys.replay_jobs(found), 0, allowed - 1))
    words = _given(redis, found, mode.decode(), jobs, again)
    pipe = redis.pipeline()
    for job, word in zip(jobs, words, strict=True):
        pipe.lrem(
            keys.replay_jobs(found), 1, job.decode()
        )  # after it was given: whoever dies between gives it twice and not never
        if word in COUNTED:
            pipe.hincrby(keys.replay(found), word, 1)
    pipe.hset(keys.replay(found), "last", int(began + each * len(jobs)))
    pipe.llen(keys.replay_jobs(found))
    if pipe.execute()[-1] == 0:
        _end(redis, found, "done", of=("running",))
    return words.count("ok")


def _given(redis: Redis, found: str, mode: str, jobs: Sequence[bytes], again: float) -> list[str]:
    if mode == "backfill":
        told = cast("dict[bytes, bytes]", redis.hgetall(keys.replay(found)))
        said = {name.decode(): value.decode() for name, value in told.items()}
        return backfills.give(redis, found, said, [orjson.loads(each) for each in jobs], again)
    asked = [("j", job.decode()) for job in jobs]
    chosen = cast("bytes | None", redis.hget(keys.replay(found), "filter"))
    state = orjson.loads(chosen)["state"] if chosen else ""
    return runs.replay_many(redis, asked, cast("runs.Mode", mode), again, found, state)  # type: ignore[arg-type]


def _end(redis: Redis, found: str, state: State, of: Sequence[State]) -> State | None:
    """End a replay if it is in one of these states; the one that it was in, None where there is no replay."""

    def end(pipe: Pipeline) -> State | None:
        told = cast("bytes | None", pipe.hget(keys.replay(found), "state"))
        was = cast("State", told.decode()) if told else None
        pipe.multi()
        if was in of:
            pipe.hset(keys.replay(found), "state", state)
            pipe.srem(keys.replays_running(), found)
            pipe.delete(keys.replay_jobs(found))
            log.info("replay.ended", id=found, state=state)
        return was

    was = redis.transaction(end, keys.replay(found), value_from_callable=True)  # type: ignore[arg-type]
    return cast("State | None", was)


def cancel(redis: Redis, found: str) -> Literal["cancelled", "over", "gone"]:
    """Cancel a replay: nothing more is given, and what it gave is not tried again once it fails.

    "over" where it had given all and is cancelled for its retries only.
    """
    was = _end(redis, found, "cancelled", of=("reading", "running", "done"))
    if was is None:
        return "gone"
    return "cancelled" if was in {"running", "reading"} else "over"


def paced(redis: Redis, job: str, decision: Decision) -> Decision:
    """The decision about a run in the lane of replays that failed: its next try keeps to the rate, or comes not at all."""
    at = runs.pace(redis, job, decision.wait, decision.at)
    if at is None:
        reason = f"{decision.reason}; not tried again, for its replay was cancelled"
        return replace(decision, state="dead", wait=0, at=0, reason=reason)
    return replace(decision, at=at) if at else decision


def recorded(redis: Redis, count: int = 50) -> list[Replay]:
    """The last replays, newest first."""
    ids = [each.decode() for each in cast("list[bytes]", redis.zrevrange(keys.replays(), 0, count - 1))]
    pipe = redis.pipeline(transaction=False)
    for each in ids:
        pipe.hgetall(keys.replay(each))
    return [_read(row) for row in cast("list[dict[bytes, bytes]]", pipe.execute()) if b"state" in row]


def one(redis: Redis, found: str) -> Replay | None:
    """One replay, or None where there is none."""
    row = cast("dict[bytes, bytes]", redis.hgetall(keys.replay(found)))
    return _read(row) if b"state" in row else None


def _read(row: dict[bytes, bytes]) -> Replay:
    told = {name.decode(): value.decode() for name, value in row.items()}
    return Replay(
        told["id"],
        cast("Mode", told["mode"]),
        cast("State", told["state"]),
        Filter(**orjson.loads(told["filter"])),
        float(told["rate"]),
        told["by"],
        int(told["at"]),
        *(int(told[name]) for name in ("chosen", "ok", "open", "gone")),
    )

"""Running finished jobs again: one or many, with the same keys (retry) or new ones (rerun), in a lane of their own.

A retry repeats nothing that was remembered: its idempotency keys and its steps are those of the first run. A rerun begins anew, so
the writes that it will repeat are listed first. Neither ever touches a job that is still open.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import orjson

from receiver import keys, logs
from receiver.event import new_id, now_ms
from receiver.ledger import read, runs
from receiver.routing.router import Pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from redis import Redis

    from receiver.ledger.read import JobRow

log = logs.get("dead_letters")
Mode = Literal["retry", "rerun"]
PAGE = 200
KEPT = 200


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs: all that is given must fit. Times in milliseconds; `error` is a part of the reason or the last error."""

    state: str = "dead"
    handler: str = ""
    type: str = ""
    source: str = ""
    record: str = ""
    error: str = ""
    since: int = 0
    until: int = 0


def select(redis: Redis, wanted: Filter, most: int = 100_000) -> Iterator[JobRow]:
    """The jobs that fit, newest first, with their attempts; page by page, so that a million dead ones cost no memory."""
    if wanted.state not in {"dead", "skipped"}:
        raise ValueError(
            f"state is dead or skipped, not {wanted.state!r}: what is open runs by itself, and done ones go by event"
        )
    seen = 0
    # The ids are read before any is replayed: a replayed job leaves the index, and pages by rank would skip its neighbour.
    ids = _ids(redis, wanted, most)
    pattern = Pattern(wanted.type) if wanted.type else None
    while seen < len(ids):
        for row in read.jobs(redis, ids[seen : seen + PAGE], attempts=True):
            if _fits(redis, row, wanted, pattern):
                yield row
        seen += PAGE


def _ids(redis: Redis, wanted: Filter, most: int) -> list[str]:
    """The ids of the jobs in that state and time, newest first: of a handler under each id that it has or had."""
    indexes = [keys.jobs_in_state(wanted.state)]
    if wanted.handler:
        names = read.handler_names(redis, wanted.handler)
        indexes = [keys.jobs_of_handler(name, wanted.state) for name in names]
    low, high = wanted.since or "-inf", wanted.until or "+inf"
    found: list[tuple[bytes, float]] = []
    for index in indexes:
        page = redis.zrevrangebyscore(index, high, low, start=0, num=most, withscores=True)
        found += cast("list[tuple[bytes, float]]", page)
    if len(indexes) > 1:
        found.sort(key=lambda pair: -pair[1])
    return [job.decode() for job, _ in found[:most]]


def _fits(redis: Redis, row: JobRow, wanted: Filter, pattern: Pattern | None) -> bool:
    if row.state != wanted.state:
        return False
    if wanted.error and wanted.error.lower() not in _said(row).lower():
        return False
    if not (pattern or wanted.source or wanted.record):
        return True
    rows = read.events(redis, [row.event], with_jobs=False)
    if not rows:
        return False
    event = rows[0].event
    if pattern and not pattern.fits(event.type):
        return False
    if wanted.source and event.source != wanted.source:
        return False
    return not wanted.record or wanted.record in {event.record_id, event.record_key()}


def _said(row: JobRow) -> str:
    last = row.attempts[-1].get("error", {}) if row.attempts else {}
    return f"{row.reason} {last.get('type', '')} {last.get('message', '')} {last.get('code', '')}"


def writes(redis: Redis, row: JobRow) -> list[str]:
    """The writes to Zoho that earlier attempts of a job made, which a rerun will repeat: "POST /crm/v8/Leads" and the like.

    What a batch wrote it wrote for each of its events, and is kept with the job that led it.
    """
    made: dict[str, None] = {}
    for attempt in row.attempts:
        company = attempt.get("batch") or {}
        told = f" (in a batch of {company['jobs']})" if company else ""
        for call in _calls(redis, row, attempt, company):
            if call.get("write") and 200 <= int(call.get("status") or 0) < 300:
                made[f"{call.get('method', '')} {call.get('path', '')}{told}"] = None
    return list(made)


def _calls(
    redis: Redis, row: JobRow, attempt: dict[str, Any], company: dict[str, Any]
) -> Sequence[dict[str, Any]]:
    if company.get("lead", row.id) == row.id:
        return cast("Sequence[dict[str, Any]]", attempt.get("calls", ()))
    leads = read.jobs(redis, [company["lead"]], attempts=True)
    return [
        call
        for lead in leads
        for each in lead.attempts
        if each.get("run") == company["run"]
        for call in each.get("calls", ())
    ]


class Replay:
    """One replay of many jobs: at a rate, recorded, and cancelled by whoever sets its record to cancelled."""

    def __init__(self, redis: Redis, mode: Mode, wanted: Filter, *, rate: float = 20.0, by: str = "") -> None:
        self._redis = redis
        self._mode: Mode = mode
        self._wanted = wanted
        self._rate = rate
        self.id = new_id()
        self.counts = {"ok": 0, "open": 0, "gone": 0}
        self._by = by

    def run(self, progress: Callable[[dict[str, int]], Any] = lambda _counts: None) -> dict[str, int]:
        """Replay what fits, oldest first; how many were given back to the workers, were open again, or are gone."""
        chosen = [row.id for row in select(self._redis, self._wanted)]
        self._record("running", len(chosen))
        pause = 1 / self._rate if self._rate else 0
        for index, job in enumerate(reversed(chosen)):
            if index % 20 == 0 and cancelled(self._redis, self.id):
                break
            self.counts[runs.replay(self._redis, "j", job, self._mode)] += 1
            progress(self.counts)
            time.sleep(pause)
        ended = "cancelled" if cancelled(self._redis, self.id) else "done"
        self._record(ended, len(chosen))
        log.info("replay", id=self.id, mode=self._mode, state=ended, chosen=len(chosen), **self.counts)
        return self.counts

    def _record(self, state: str, chosen: int) -> None:
        said = {
            "id": self.id, "mode": self._mode, "filter": asdict(self._wanted), "state": state, "chosen": chosen, "by": self._by,
            "at": now_ms(), **self.counts,
        }  # fmt: skip
        pipe = self._redis.pipeline()
        pipe.set(keys.replay(self.id), orjson.dumps(said), ex=30 * 86_400)
        pipe.zadd(keys.replays(), {self.id: now_ms()})
        pipe.zremrangebyrank(keys.replays(), 0, -KEPT - 1)
        pipe.execute()


def cancel(redis: Redis, replay: str) -> bool:
    """Cancel a replay that runs; what it gave to the workers already is not taken back. False where there is none."""
    if not redis.exists(keys.replay(replay)):
        return False
    redis.set(keys.replay_cancelled(replay), "1", ex=86_400)
    return True


def cancelled(redis: Redis, replay: str) -> bool:
    """Whether somebody cancelled a replay."""
    return bool(redis.exists(keys.replay_cancelled(replay)))


def replays(redis: Redis, count: int = 50) -> list[dict[str, Any]]:
    """The records of the last replays, newest first."""
    ids = [each.decode() for each in cast("list[bytes]", redis.zrevrange(keys.replays(), 0, count - 1))]
    found = cast("list[bytes | None]", redis.mget([keys.replay(each) for each in ids])) if ids else []
    return [orjson.loads(each) for each in found if each]

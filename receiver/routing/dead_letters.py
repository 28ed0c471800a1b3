"""Dead letters: which finished jobs a filter means, and what running one of them anew would repeat. Reads only.

A retry repeats nothing that was remembered: its idempotency keys and its steps are those of the first run. A rerun begins anew, so
what it will do a second time is listed first. Running them again is a replay.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import orjson

from receiver import keys
from receiver.ledger import read
from receiver.routing.router import Pattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from redis import Redis

    from receiver.event import Event
    from receiver.ledger.rows import JobRow

PAGE = 200
AT_ONCE = 10_000
"""Ids that one question to Redis brings."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs: all that is given must fit. Times in milliseconds; `error` is a part of the reason or the last error.

    `job` names one alone. In the record of a replay it may be an event, which was routed again, or the first of some and how many more.
    """

    state: str = "dead"
    handler: str = ""
    type: str = ""
    source: str = ""
    record: str = ""
    error: str = ""
    since: int = 0
    until: int = 0
    job: str = ""


def select(redis: Redis, wanted: Filter, most: int | None = None) -> Iterator[JobRow]:
    """The jobs that fit, newest first; page by page, so that of a million dead ones only the ids cost memory. `most` are looked at."""
    if wanted.state not in {"dead", "skipped"}:
        raise ValueError(
            f"state is dead or skipped, not {wanted.state!r}: what is open runs by itself, and done ones go by event"
        )
    # The ids are read before any is replayed: a replayed job leaves the index, and pages by rank would skip its neighbour.
    ids = _ids(redis, wanted, most)
    for first in range(0, len(ids), PAGE):
        yield from fitting(redis, read.jobs(redis, ids[first : first + PAGE]), wanted)


def _ids(redis: Redis, wanted: Filter, most: int | None) -> list[str]:
    """The ids of the jobs in that state and time, newest first: of a handler under each id that it has or had."""
    if wanted.job:
        return [wanted.job]
    indexes = [keys.jobs_in_state(wanted.state)]
    if wanted.handler:
        names = read.handler_names(redis, wanted.handler)
        indexes = [keys.jobs_of_handler(name, wanted.state) for name in names]
    found = [pair for index in indexes for pair in islice(_newest(redis, index, wanted), most)]
    if len(indexes) > 1:
        found.sort(key=lambda pair: -pair[1])
    return [job.decode() for job, _ in found[:most]]


def _newest(redis: Redis, index: str, wanted: Filter) -> Iterator[tuple[bytes, float]]:
    """All of an index between two times with their scores, newest first. It is walked by time, so what leaves it meanwhile hides nobody."""
    low, high = wanted.since or "-inf", wanted.until or float("inf")
    alike: set[bytes] = set()  # of the time at which the last page ended
    while True:
        answer = redis.zrevrangebyscore(index, high, low, start=len(alike), num=AT_ONCE, withscores=True)
        page = cast("list[tuple[bytes, float]]", answer)
        yield from (pair for pair in page if pair[0] not in alike)
        if len(page) < AT_ONCE:
            return
        last = page[-1][1]
        alike = {job for job, score in page if score == last} | (alike if last == high else set())
        high = last


def fitting(
    redis: Redis, rows: Sequence[JobRow], wanted: Filter, names: Sequence[str] = ()
) -> Iterator[JobRow]:
    """Those of the rows that fit, in their order; where `names` are given, only those of handlers of these ids."""
    rows = [
        row
        for row in rows
        if row.state == wanted.state and row.ended >= wanted.since and (not names or row.handler in names)
    ]
    if wanted.error and rows:
        rows = read.jobs(redis, [row.id for row in rows], attempts=True)
    pattern = Pattern(wanted.type) if wanted.type else None
    by_id: dict[str, Event] = {}
    if pattern or wanted.source or wanted.record:
        ids = list({row.event for row in rows})
        found = read.events(redis, ids, with_jobs=False, data=False) if ids else []
        by_id = {each.event.id: each.event for each in found}
    for row in rows:
        event = by_id.get(row.event)
        if wanted.error and wanted.error.lower() not in _said(row).lower():
            continue
        if pattern and not (event and pattern.fits(event.type)):
            continue
        if wanted.source and not (event and event.source == wanted.source):
            continue
        if wanted.record and not (event and wanted.record in {event.record_id, event.record_key()}):
            continue
        yield row


def _said(row: JobRow) -> str:
    """What a job is dead of, in all words that are kept: its reason and its last error, the type and code of it too."""
    last: dict[str, str] = next((each["error"] for each in reversed(row.attempts) if each.get("error")), {})
    return f"{row.reason} {last.get('type', '')} {last.get('message', '')} {last.get('code', '')}"


def repeats(redis: Redis, row: JobRow) -> list[str]:
    """What a rerun of a job will do a second time: the writes to Zoho of its earlier attempts ("POST /crm/v8/Leads"), the events that
    they emitted and the steps that are done. Of a run whose process was lost nobody knows, and that is said. The row has its attempts.

    What a batch wrote it wrote for each of its events, and is kept with the job that led it.
    """
    made: dict[str, None] = {}
    for attempt in row.attempts:
        if attempt.get("outcome") == "lost":
            made[f"whatever run {attempt.get('run')} did before its process was lost"] = None
        company = attempt.get("batch") or {}
        told = f" (in a batch of {company['jobs']})" if company else ""
        for call in _calls(redis, row, attempt, company):
            if call.get("write") and 200 <= int(call.get("status") or 0) < 300:
                made[f"{call.get('method', '')} {call.get('path', '')}{told}"] = None
        made |= {f"emit {each}": None for each in attempt.get("emitted", ())}
    steps = cast("dict[bytes, bytes]", redis.hgetall(keys.steps(row.id)))
    for field, text in steps.items():
        generation, _, name = field.decode().partition(":")
        if generation == str(row.generation) and orjson.loads(text)["state"] == "done":
            made[f"step {name}"] = None
    return list(made)


def all_repeats(redis: Redis, jobs: Sequence[str]) -> Counter[str]:
    """How often each of the things in `repeats` will be done again by a rerun of these jobs."""
    counted: Counter[str] = Counter()
    for first in range(0, len(jobs), PAGE):
        for row in read.jobs(redis, jobs[first : first + PAGE], attempts=True):
            counted.update(repeats(redis, row))
    return counted


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

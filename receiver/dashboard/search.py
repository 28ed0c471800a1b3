"""Finding events: one index, walked newest first, and every other wish as a filter on the way. Bounded in rows and in time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, cast
from urllib.parse import urlencode

from receiver import keys
from receiver.dashboard import queries
from receiver.ledger import read
from receiver.ledger.runs import split_job

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from redis import Redis

    from receiver.ledger.rows import EventRow

PAGE, BATCH = 50, 100
MOST, LONGEST = 2_000, 0.08
"""Rows that one search looks at, and seconds that it takes, before it says how far it came."""
STATES = (
    "done", "due", "retrying", "running", "held", "skipped", "dead", "routing", "scheduled", "cancelled", "unmatched", "unrouted",
)  # fmt: skip
_BY_EVENT = {"unmatched": "unmatched", "unrouted": "dead"}
_BY_JOB = {
    "due": "due",
    "retrying": "due",
    "running": "running",
    "held": "held",
    "skipped": "skipped",
    "dead": "dead",
}


@dataclass(frozen=True, slots=True)
class Filters:
    """What the person asks for; empty is anything. A type may have wildcards."""

    type: str = ""
    source: str = ""
    record: str = ""
    state: str = ""

    @classmethod
    def of(cls, params: Mapping[str, str]) -> Filters:
        """The filters of a query string; a state that does not exist is no filter."""
        said = {name: params.get(name, "").strip()[:300] for name in ("type", "source", "record", "state")}
        if said["state"] not in STATES:
            said["state"] = ""
        return cls(**said)

    def __bool__(self) -> bool:
        return any((self.type, self.source, self.record, self.state))

    def query(self, **more: str) -> str:
        """The query string of these filters and more."""
        said = {"type": self.type, "source": self.source, "record": self.record, "state": self.state, **more}
        return urlencode({name: value for name, value in said.items() if value})


@dataclass(frozen=True, slots=True)
class Found:
    """Rows, the cursor of the next page, and, where a bound ended the search, the time that it came back to."""

    rows: tuple[EventRow, ...]
    cursor: str = ""
    back_to: int = 0


def search(
    redis: Redis, filters: Filters, cursor: str = "", *, most: int = MOST, longest: float = LONGEST
) -> Found:
    """One page of the events that pass the filters."""
    began = time.monotonic()
    by, value = _index(redis, filters)
    batch = _jobs if by == "job" else _events
    passes = _test(filters)
    rows: list[EventRow] = []
    seen, looked = set[str](), 0
    while True:
        for row, place in (step := batch(redis, by, value, cursor))[0]:
            looked += 1
            cursor = place
            if row.event.id in seen or not passes(row):
                continue
            seen.add(row.event.id)
            rows.append(row)
            if len(rows) == PAGE:
                return Found(tuple(rows), cursor)
        cursor = step[1]
        if not cursor:
            return Found(tuple(rows))
        if looked >= most or time.monotonic() - began > longest:
            last = step[0][-1][0].event.received if step[0] else 0
            return Found(tuple(rows), cursor, last)


Batch = tuple[list[tuple["EventRow", str]], str]


def _events(redis: Redis, by: str, value: str, cursor: str) -> Batch:
    page = read.page(redis, by=by, value=value, cursor=cursor, count=BATCH, data=False)
    return [(row, row.event.id) for row in page.rows], page.cursor


def _jobs(redis: Redis, _: str, state: str, cursor: str) -> Batch:
    """The events of the jobs in a state; one whose jobs are several comes several times."""
    jobs, after = queries.jobs_page(redis, state, cursor=cursor, count=BATCH)
    events = {row.event.id: row for row in read.events(redis, list({job.event for job in jobs}), data=False)}
    return [(events[job.event], job.id) for job in jobs if split_job(job.id)[0] in events], after


def _index(redis: Redis, filters: Filters) -> tuple[str, str]:
    """The index that leaves least to look through."""
    if filters.record:
        found = _record_key(redis, filters.record)
        if found:
            return "record", found
    if filters.state in _BY_EVENT:
        return "state", _BY_EVENT[filters.state]
    if filters.state in _BY_JOB:
        return "job", _BY_JOB[filters.state]
    if filters.type and not _wild(filters.type):
        spelled = {name.lower(): name for name in read.types(redis)}
        return "type", spelled.get(filters.type.lower(), filters.type)
    return ("source", filters.source) if filters.source else ("", "")


def _record_key(redis: Redis, record: str) -> str:
    """The index of a record: `crm.Deals:ID` as it stands; a bare id is looked for under every resource that was ever seen."""
    if ":" in record:
        return record
    resources = sorted({name.rpartition(".")[0] for name in read.types(redis)[:500]})
    candidates = [f"{resource}:{record}" for resource in resources]
    pipe = redis.pipeline(transaction=False)
    for each in candidates:
        pipe.zcard(keys.events_of_record(each))
    found = [each for each, count in zip(candidates, cast("list[int]", pipe.execute()), strict=True) if count]
    return found[0] if len(found) == 1 else ""


def _test(filters: Filters) -> Callable[[EventRow], bool]:
    wanted = filters.type.lower()

    def passes(row: EventRow) -> bool:
        event = row.event
        if wanted and not fnmatchcase(event.type.lower(), wanted):
            return False
        if filters.source and event.source != filters.source:
            return False
        if filters.record and filters.record not in {event.record_id, event.record_key()}:
            return False
        return not filters.state or queries.in_state(row, filters.state)

    return passes


def _wild(pattern: str) -> bool:
    return "*" in pattern or "?" in pattern or "[" in pattern

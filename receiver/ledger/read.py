"""The read model: what pages, commands and the demo ask the ledger. Nothing here writes; every answer is bounded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import orjson

from receiver import keys
from receiver.event import now_ms
from receiver.ledger.rows import (
    OF_VERDICT,
    DeliveryRow,
    EventRow,
    JobRow,
    delivery_row,
    event_row,
    handlers_in,
    job_row,
    with_attempts,
)
from receiver.ledger.runs import job_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from redis import Redis

COUNTED = (
    "deliveries", "accepted", "duplicates", "rejected", "quarantined", "unverified", "routed", "unmatched", "done", "skipped",
    "dead", "held", "retried", "lost", "replayed", "forged", "zoho_calls", "token_refreshes", "token_calls", "missing",
    "unverified_given_up", "filtered",
)  # fmt: skip
LINE = 4_096
"""Bytes that are read of what is kept where only its line is wanted; most lines are a tenth of that."""
STATES = ("due", "running", "held", "skipped", "dead")


@dataclass(frozen=True, slots=True)
class Page:
    """Rows, newest first, and the cursor of the next page ("" at the end)."""

    rows: tuple[EventRow, ...]
    cursor: str = ""


def totals(redis: Redis) -> dict[str, int]:
    """The counts since the ledger began, each of COUNTED; per source and handler ones are left out."""
    found = cast("dict[bytes, bytes]", redis.hgetall(keys.counts()))
    return {name: int(found.get(name.encode(), 0)) for name in COUNTED}


def counted(redis: Redis) -> dict[str, int]:
    """Every count, with those by handler (`done:module.function`) and source (`rejected:books`)."""
    found = cast("dict[bytes, bytes]", redis.hgetall(keys.counts()))
    return {name.decode(): int(value) for name, value in found.items()}


def per_minute(redis: Redis, minutes: int = 60) -> list[dict[str, int]]:
    """The counts of each of the last minutes, oldest first; a minute without anything is empty."""
    last = now_ms() // 60_000
    pipe = redis.pipeline(transaction=False)
    for minute in range(last - minutes + 1, last + 1):
        pipe.hgetall(keys.counts_in(minute))
    return [{name.decode(): int(value) for name, value in found.items()} for found in pipe.execute()]


def states(redis: Redis) -> dict[str, int]:
    """How many jobs are in each state but done, how many events wait to be routed, and how many work items are due or leased."""
    pipe = redis.pipeline(transaction=False)
    for state in STATES:
        pipe.zcard(keys.jobs_in_state(state))
    pipe.zcard(keys.due())
    pipe.zcard(keys.events())
    pipe.zcard(keys.events_in_state("dead"))
    found = dict(zip((*STATES, "open", "events", "dead_events"), pipe.execute(), strict=True))
    found["open"] += sum(waiting(redis).values())
    return found


def waiting(redis: Redis) -> dict[tuple[str, str], int]:
    """How many events and jobs are due and wait for room for a slip, by source and queue."""
    places = sorted(place.decode() for place in cast("set[bytes]", redis.smembers(keys.waits())))
    pairs = [(source, queue) for source, _, queue in (place.partition(" ") for place in places)]
    pipe = redis.pipeline(transaction=False)
    for source, queue in pairs:
        pipe.zcard(keys.waiting(queue, source))
    return dict(zip(pairs, pipe.execute(), strict=True)) if pairs else {}


def parked_work(redis: Redis) -> dict[str, int]:
    """What waits on hold, by reason."""
    reasons = sorted(reason.decode() for reason in cast("set[bytes]", redis.smembers(keys.parked_reasons())))
    return {reason: redis.scard(keys.parked(reason)) for reason in reasons}


def paused(redis: Redis) -> dict[str, int]:
    """What is paused (`handler:ID`, `queue:NAME`, `source:NAME`), and how much waits for each."""
    names = sorted(each.decode() for each in cast("set[bytes]", redis.smembers(keys.paused())))
    return {name: redis.scard(keys.parked(f"paused:{name}")) for name in names}


def latencies(redis: Redis) -> list[int]:
    """Milliseconds from webhook in to handler done of the last 1,000 finished jobs, newest first."""
    return [int(value) for value in cast("list[bytes]", redis.lrange(keys.latencies(), 0, -1))]


def queues(redis: Redis) -> dict[str, int]:
    """Slips that wait, by RQ queue. Read with LLEN: RQ's own registry getters would write."""
    names = sorted(key.decode() for key in cast("set[bytes]", redis.smembers(keys.rq_queues())))
    return {name.removeprefix(keys.rq_queue("")): redis.llen(name) for name in names}


def workers(redis: Redis) -> list[dict[str, str]]:
    """The living RQ workers, as they describe themselves."""
    names = sorted(key.decode() for key in cast("set[bytes]", redis.smembers(keys.rq_workers())))
    pipe = redis.pipeline(transaction=False)
    for name in names:
        pipe.hgetall(name)
        pipe.scard(keys.rq_worker_executions(name.removeprefix(keys.rq_worker(""))))
    found = pipe.execute()
    rows = []
    for name, about, busy in zip(names, found[::2], found[1::2], strict=True):
        if about:
            row = {key.decode(): value.decode("utf-8", "replace") for key, value in about.items()}
            rows.append({"name": name.removeprefix(keys.rq_worker("")), "busy": str(busy), **row})
    return rows


def catalogue(redis: Redis) -> list[dict[str, Any]]:
    """The handlers of every living catalogue, the newest first where two speak of one handler."""
    published = cast("list[bytes]", redis.zrevrange(keys.catalogues(), 0, 9))
    known: dict[str, dict[str, Any]] = {}
    for digest in published:
        text = cast("bytes | None", redis.get(keys.catalogue(digest.decode())))
        for handler in orjson.loads(text) if text else ():
            known.setdefault(handler["id"], handler)
    return [known[name] for name in sorted(known)]


def handler_names(redis: Redis, handler: str) -> list[str]:
    """The ids under which a handler's jobs are kept: its own, and those that it had before it was renamed."""
    former = (row["options"].get("was", ()) for row in catalogue(redis) if row["id"] == handler)
    return [handler, *next(former, ())]


def jobs(redis: Redis, ids: Sequence[str], *, attempts: bool = False) -> list[JobRow]:
    """The jobs of those ids, in their order; those that are gone are left out."""
    pipe = redis.pipeline(transaction=False)
    for each in ids:
        pipe.hgetall(keys.job(each))
        if attempts:
            pipe.lrange(keys.attempts(each), 0, -1)
    found = pipe.execute()
    step = 2 if attempts else 1
    rows = []
    for each, fields, kept in zip(ids, found[::step], found[1::step] if attempts else found, strict=True):
        row = job_row(each, fields)
        rows.append(with_attempts(row, int(fields.get(b"since") or 0), kept) if attempts else row)
    return [row for row in rows if row.state]


def jobs_in(redis: Redis, state: str, handler: str = "", *, start: int = 0, count: int = 50) -> list[JobRow]:
    """Jobs in a state (any but done), newest first, of one handler or of all."""
    index = keys.jobs_of_handler(handler, state) if handler else keys.jobs_in_state(state)
    ids = [each.decode() for each in cast("list[bytes]", redis.zrevrange(index, start, start + count - 1))]
    return jobs(redis, ids)


def recent(redis: Redis, count: int = 20) -> list[JobRow]:
    """The jobs that ended last, newest first."""
    return jobs(
        redis, [each.decode() for each in cast("list[bytes]", redis.lrange(keys.recent_jobs(), 0, count - 1))]
    )


def events(redis: Redis, ids: Sequence[str], *, with_jobs: bool = True, data: bool = True) -> list[EventRow]:
    """The events of those ids with their jobs' states; those that are gone are left out.

    Lists ask without `data`, for a page of fifty events may hold fifty megabytes of it.
    """
    pipe = redis.pipeline(transaction=False)
    for each in ids:
        pipe.hgetall(keys.event(each))
    found = {each: fields for each, fields in zip(ids, pipe.execute(), strict=True) if b"seq" in fields}
    by_event: dict[str, list[JobRow]] = {each: [] for each in found}
    if with_jobs:
        wanted = [job_id(each, name) for each, fields in found.items() for name in handlers_in(fields)]
        for row in jobs(redis, wanted):
            by_event[row.event].append(row)
    places = {
        each: keys.delivery(fields[b"delivery"].decode()) if b"delivery" in fields else keys.fact(each)
        for each, fields in found.items()
    }
    kept = _kept(redis, places) if data else _lines(redis, places)
    return [
        event_row(each, fields, kept[each], by_event[each]) for each, fields in found.items() if kept[each]
    ]


def _kept(redis: Redis, places: Mapping[str, str]) -> dict[str, bytes]:
    pipe = redis.pipeline(transaction=False)
    for place in places.values():
        pipe.get(place)
    return {each: answer or b"" for each, answer in zip(places, pipe.execute(), strict=True)}


def _lines(redis: Redis, places: Mapping[str, str]) -> dict[str, bytes]:
    """The line of each that says what it is, without the bytes after it: they may be a megabyte."""
    pipe = redis.pipeline(transaction=False)
    for place in places.values():
        pipe.getrange(place, 0, LINE - 1)
    found = dict(zip(places, pipe.execute(), strict=True))
    longer = {each: places[each] for each, kept in found.items() if b"\n" not in kept and len(kept) == LINE}
    return {each: kept.partition(b"\n")[0] for each, kept in {**found, **_kept(redis, longer)}.items()}


def handlers_of(redis: Redis, event_id: str) -> list[str]:
    """The handlers that have a job of an event."""
    return handlers_in(cast("dict[bytes, bytes]", redis.hgetall(keys.event(event_id))))


def event(redis: Redis, event_id: str) -> EventRow | None:
    """One event with its jobs and their attempts."""
    rows = events(redis, [event_id], with_jobs=False)
    if not rows:
        return None
    names = handlers_of(redis, event_id)
    found = jobs(redis, [job_id(event_id, name) for name in names], attempts=True)
    return replace(rows[0], jobs=tuple(found))


def page(
    redis: Redis, *, by: str = "", value: str = "", cursor: str = "", count: int = 50, data: bool = True
) -> Page:
    """Events newest first by one index: all, or `by` type, source, record (`crm.Deals:ID`) or state (unmatched, dead).

    The cursor is where the last page ended, so a page costs the same with a million events behind it.
    """
    indexes: dict[str, Callable[[str], str]] = {
        "": lambda _: keys.events(),
        "type": keys.events_of_type,
        "source": keys.events_of_source,
        "record": keys.events_of_record,
        "state": keys.events_in_state,
    }
    index = indexes[by](value)
    start = 0
    if cursor:
        rank = cast("int | None", redis.zrevrank(index, cursor))
        start = 0 if rank is None else rank + 1
    ids = [each.decode() for each in cast("list[bytes]", redis.zrevrange(index, start, start + count))]
    more = len(ids) > count
    ids = ids[:count]
    return Page(tuple(events(redis, ids, data=data)), ids[-1] if more else "")


def types(redis: Redis) -> list[str]:
    """Every event type ever seen."""
    return sorted(each.decode() for each in cast("set[bytes]", redis.smembers(keys.types())))


def delivery(redis: Redis, delivery_id: str, *, body: bool = True) -> DeliveryRow | None:
    """One delivery with its raw bytes."""
    place = {delivery_id: keys.delivery(delivery_id)}
    kept = (_kept if body else _lines)(redis, place)[delivery_id]
    said = cast("list[bytes | None]", redis.hmget(keys.verdict(delivery_id), *OF_VERDICT))
    return delivery_row(delivery_id, kept, said)


def deliveries(redis: Redis, verdict: str, *, start: int = 0, count: int = 50) -> list[DeliveryRow]:
    """Deliveries with a verdict other than accepted (rejected, quarantined, duplicate, unverified), newest first, without bodies."""
    found = cast("list[bytes]", redis.zrevrange(keys.deliveries(verdict), start, start + count - 1))
    ids = [each.decode() for each in found]
    kept = _lines(redis, {each: keys.delivery(each) for each in ids})
    pipe = redis.pipeline(transaction=False)
    for each in ids:
        pipe.hmget(keys.verdict(each), *OF_VERDICT)
    rows = [delivery_row(each, kept[each], fields) for each, fields in zip(ids, pipe.execute(), strict=True)]
    return [row for row in rows if row is not None]

"""The models of the pages, from the ledger's read model. Nothing here writes, and no cost grows with the number of events."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from receiver import keys
from receiver.dashboard.chart import Minute
from receiver.event import now_ms
from receiver.ledger import condition, read, spools

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis import Redis

    from receiver.ledger.condition import Memory
    from receiver.ledger.rows import DeliveryRow, EventRow, JobRow
    from receiver.ledger.spools import SpoolRow

HOUR = 60
VERDICTS = ("rejected", "quarantined", "duplicate", "unverified")
SHOWN_EVENTS = 1_000
"""Events of one delivery that are looked for; more were only ever sent by tests."""
SILENT = 90_000
"""Milliseconds without a heartbeat after which a worker counts as silent."""

ALARM_FOR = 3 * 86_400_000
"""Milliseconds for which every page says that the ledger lost something."""
BROKE = {
    "emptied": "Redis was emptied: what was open and dead in it is gone",
    "other": "This is another ledger than the one of before",
    "behind": "Redis went back to an earlier state, in a failover or with an older backup",
}

COUNTED = ("done", "skipped", "filtered", "dead", "due", "held")
"""What is counted by handler."""
TONES = {
    "done": "good", "ok": "good", "idle": "mute", "running": "busy", "scheduled": "wait", "cancelled": "mute", "busy": "busy", "routing": "busy", "due": "wait",
    "retrying": "wait", "held": "hold", "dead": "bad", "unrouted": "bad", "lost": "bad", "silent": "bad", "skipped": "mute",
    "unmatched": "mute", "accepted": "good", "rejected": "bad", "quarantined": "bad", "duplicate": "mute",
    "unverified": "wait", "revoked": "bad", "misconfigured": "bad", "not connected": "mute", "suspended": "hold",
    "throttled": "hold", "transient": "wait", "filling": "wait", "full": "bad",
}  # fmt: skip
"""The colour of each state; the word is always shown beside it."""


@dataclass(frozen=True, slots=True)
class Overview:
    """What the first page shows, and what is sent again while it is open."""

    minutes: tuple[Minute, ...]
    hour: dict[str, int]
    totals: dict[str, int]
    states: dict[str, int]
    held: dict[str, int]
    paused: dict[str, int]
    queues: dict[str, int]
    workers: tuple[dict[str, Any], ...]
    latencies: tuple[int, ...]
    p50: int
    p99: int
    events: tuple[EventRow, ...]
    dead: tuple[JobRow, ...]
    memory: Memory
    spools: tuple[SpoolRow, ...]


def overview(redis: Redis) -> Overview:
    """Everything of the first page, in a dozen round trips whatever the ledger holds."""
    counted = read.per_minute(redis, HOUR)
    minutes = _minutes(counted)
    latencies = sorted(read.latencies(redis))
    return Overview(
        minutes=minutes,
        hour={name: sum(each.get(name, 0) for each in counted) for name in read.COUNTED},
        totals=read.totals(redis),
        states=read.states(redis),
        held=read.parked_work(redis),
        paused=read.paused(redis),
        queues=read.queues(redis),
        workers=tuple(worker(each) for each in read.workers(redis)[:50]),
        latencies=tuple(latencies),
        p50=percentile(latencies, 0.5),
        p99=percentile(latencies, 0.99),
        events=read.page(redis, count=12, data=False).rows,
        dead=tuple(read.jobs_in(redis, "dead", count=6)),
        memory=condition.memory(redis),
        spools=tuple(spools.rows(redis)),
    )


def _minutes(counted: Sequence[Mapping[str, int]]) -> tuple[Minute, ...]:
    first = now_ms() // 60_000 - len(counted) + 1
    return tuple(
        Minute(
            datetime.fromtimestamp((first + index) * 60, UTC).strftime("%H:%M"),
            each.get("accepted", 0),
            each.get("done", 0),
            each.get("dead", 0) + each.get("retried", 0) + each.get("lost", 0),
        )
        for index, each in enumerate(counted)
    )


def percentile(ordered: Sequence[int], part: float) -> int:
    """The value below which that part of the sorted values lies; nought where there are none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0


def worker(row: Mapping[str, str]) -> dict[str, Any]:
    """A worker as pages show it."""
    beat = milliseconds(row.get("last_heartbeat", ""))
    busy = int(row.get("busy") or 0)
    state = "busy" if busy else row.get("state", "idle")
    if beat and now_ms() - beat > SILENT:
        state = "silent"
    elif not busy and state in {"busy", "started", ""}:
        state = "idle"
    return {
        "name": row["name"],
        "host": row.get("hostname", "") or "-",
        "pid": row.get("pid", "") or "-",
        "queues": [each for each in row.get("queues", "").split(",") if each],
        "busy": busy,
        "beat": beat,
        "born": milliseconds(row.get("birth", "")),
        "done": int(row.get("successful_job_count") or 0),
        "version": row.get("version", ""),
        "state": state,
    }


def milliseconds(iso: str) -> int:
    """A time as RQ writes it, in milliseconds; nought where it is none."""
    try:
        found = datetime.fromisoformat(iso)
    except ValueError:
        return 0
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def nav(redis: Redis) -> dict[str, Any]:
    """The numbers beside the names of the pages, and what is wrong with the ledger."""
    pipe = redis.pipeline(transaction=False)
    pipe.zcard(keys.jobs_in_state("dead"))
    pipe.zcard(keys.events_in_state("dead"))
    pipe.zcard(keys.jobs_in_state("held"))
    dead, unrouted, held = pipe.execute()
    return {"dead": dead + unrouted, "held": held, "alarm": alarm(redis)}


def alarm(redis: Redis) -> str:
    """The loss that the ledger was found to have suffered lately, in words; "" where there was none."""
    since = now_ms() - ALARM_FOR
    lately = [each for each in condition.breaks(redis) if each.at > since]
    if not lately:
        return ""
    last, missing = lately[0], sum(each.missing for each in lately)
    lost = f" {missing:,} accepted events are missing." if missing else ""
    when = datetime.fromtimestamp(last.at / 1000, UTC).strftime("%d %b %H:%M UTC").lstrip("0")
    return f"{BROKE[last.kind]} ({when}, found by {last.host}).{lost} Read on zohook check what to do."


def sequence(redis: Redis) -> int:
    """How many events the ledger has ever taken."""
    return int(cast("bytes | None", redis.get(keys.sequence())) or 0)


def stamp(row: EventRow) -> str:
    """What changes whenever an event or one of its jobs moves."""
    return f"{row.state} " + " ".join(f"{job.run}{job.state}" for job in row.jobs)


def standing(row: EventRow) -> str:
    """How far an event is, in one word: the worst of its jobs that are over, else the most urgent of those that are not."""
    if row.state == "due" and row.due > now_ms() + 1000 and not row.jobs:
        return "scheduled"
    if row.state in {"due", "running"}:
        return "routing"
    if row.state == "cancelled":
        return "cancelled"
    if row.state == "dead":
        return "unrouted"
    if row.state == "held":
        return "held"
    if not row.jobs:
        return "unmatched"
    words = {job_word(job) for job in row.jobs}
    return next(
        word for word in ("dead", "held", "running", "retrying", "due", "done", "skipped") if word in words
    )


def job_word(job: JobRow) -> str:
    """A job's state as people say it: one that failed and comes again is retrying."""
    if job.state == "due" and (job.tries or job.deaths):
        return "retrying"
    return job.state if job.state in TONES else "due"


def in_state(row: EventRow, state: str) -> bool:
    """Whether an event, or one of its jobs, is in a state that the filter offers."""
    if state == "done":
        return bool(row.jobs) and all(job.state == "done" for job in row.jobs)
    if state in {"routing", "scheduled", "cancelled", "unmatched", "unrouted"}:
        return standing(row) == state
    return any(state in {job.state, job_word(job)} for job in row.jobs)


def why_held(reason: str) -> str:
    """What a parked reason means."""
    kind, _, what = reason.partition(":")
    if kind == "connection" and what:
        return f"The connection {what} waits for a new consent"
    if kind == "limit" and what:
        return f"{' '.join(what.split(':')[1:2]).capitalize()} of {what.split(':')[0]} takes no calls for now"
    if kind == "no_handler" and what:
        return f"No living worker has the handler {what}"
    if kind == "paused":
        return f"The {' '.join(what.split(':', 1))} is paused" if ":" in what else f"Paused {what}".strip()
    return reason


def jobs_page(
    redis: Redis, state: str, handler: str = "", cursor: str = "", count: int = 50
) -> tuple[list[JobRow], str]:
    """Jobs in a state, newest first, and the cursor of the next page."""
    index = keys.jobs_of_handler(handler, state) if handler else keys.jobs_in_state(state)
    start = _after(redis, index, cursor)
    found = read.jobs_in(redis, state, handler, start=start, count=count + 1)
    return found[:count], found[count - 1].id if len(found) > count else ""


def deliveries_page(
    redis: Redis, verdict: str, cursor: str = "", count: int = 50
) -> tuple[list[DeliveryRow], str]:
    """Deliveries with a verdict, newest first, and the cursor of the next page."""
    start = _after(redis, keys.deliveries(verdict), cursor)
    found = read.deliveries(redis, verdict, start=start, count=count + 1)
    return found[:count], found[count - 1].id if len(found) > count else ""


def told(redis: Redis, row: DeliveryRow) -> tuple[list[str], bool]:
    """Those of a delivery's events that are in the ledger, and whether others never were, for they were the same as earlier ones."""
    ids = row.meta["events"][:SHOWN_EVENTS]
    pipe = redis.pipeline(transaction=False)
    for each in ids:
        pipe.exists(keys.event(each))
    there = [each for each, found in zip(ids, pipe.execute(), strict=True) if found]
    return there, bool(row.same) and not row.forgotten.issuperset(set(ids) - set(there))


def _after(redis: Redis, index: str, cursor: str) -> int:
    rank = cast("int | None", redis.zrevrank(index, cursor)) if cursor else None
    return 0 if rank is None else rank + 1


def delivery_counts(redis: Redis) -> dict[str, int]:
    """How many deliveries of each verdict are kept."""
    pipe = redis.pipeline(transaction=False)
    for verdict in VERDICTS:
        pipe.zcard(keys.deliveries(verdict))
    return dict(zip(VERDICTS, pipe.execute(), strict=True))


def dead_counts(redis: Redis, handlers: Sequence[str]) -> dict[str, int]:
    """How many dead jobs each handler has, for those that have any."""
    pipe = redis.pipeline(transaction=False)
    for handler in handlers:
        pipe.zcard(keys.jobs_of_handler(handler, "dead"))
    found = dict(zip(handlers, pipe.execute(), strict=True))
    return {handler: count for handler, count in found.items() if count}


def handlers(redis: Redis) -> list[dict[str, Any]]:
    """The catalogue with its counts; last, handlers that no worker has any more but that have done something.

    What a handler did under the ids that it had before it was renamed counts for it.
    """
    counted = read.counted(redis)
    rows = {row["id"]: {**row, "living": True} for row in read.catalogue(redis)}
    renamed = {former: row["id"] for row in rows.values() for former in row["options"].get("was", ())}
    for name in counted:
        state, _, handler = name.partition(":")
        known = handler in rows or handler in renamed
        if state in COUNTED and handler and not known:
            rows[handler] = {"id": handler, "doc": "", "patterns": [], "options": {}, "living": False}
    dead_now = dead_counts(redis, [*rows, *renamed])
    for handler, row in rows.items():
        names = [handler, *row["options"].get("was", ())]
        row["counts"] = {state: sum(counted.get(f"{state}:{name}", 0) for name in names) for state in COUNTED}
        row["dead_now"] = sum(dead_now.get(name, 0) for name in names)
    return sorted(rows.values(), key=lambda row: (not row["living"], row["id"]))


def differences(previous: Any, now: Any, changed: frozenset[str] | None) -> list[tuple[str, Any, Any]]:
    """(field, before, after) of what changed, where the event says what was before; a field without a value is None."""
    if not isinstance(previous, dict):
        return []
    after = now if isinstance(now, dict) else {}
    names = (
        sorted(changed) if changed else sorted(name for name in previous if previous[name] != after.get(name))
    )
    return [
        (name, previous.get(name), after.get(name)) for name in names if previous.get(name) != after.get(name)
    ][:200]

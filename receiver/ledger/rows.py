"""Rows: what the ledger keeps of deliveries, events and jobs, as pages and commands show it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import orjson

from receiver.ledger.accept import delivery_of
from receiver.ledger.pack import event_of, long, part, unpack
from receiver.ledger.runs import split_job

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from receiver.event import Delivery, Event

OPEN = ("due", "running", "held")
OF_VERDICT = ("verdict", "same", "sealed", "forward", "forgotten")
"""What is kept of a delivery beside it, for it may change."""


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job as pages show it; times in milliseconds, 0 where there is none."""

    id: str
    event: str
    handler: str
    state: str
    run: int = 0
    tries: int = 0
    due: int = 0
    made: int = 0
    ended: int = 0
    reason: str = ""
    worker: str = ""
    deaths: int = 0
    generation: int = 0
    lane: str = ""
    attempts: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event as lists show it: the event, how far it is, its jobs' states by handler, why it is dead or held, and when
    (in milliseconds) it is to be routed.
    """

    event: Event
    state: str
    jobs: tuple[JobRow, ...] = ()
    reason: str = ""
    due: int = 0

    @property
    def open(self) -> int:
        """How many of its jobs are not finished."""
        return sum(job.state in OPEN for job in self.jobs)


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """One delivery: its verdict and reason; the body only where it was asked for. `sealed` are its secrets, encrypted."""

    id: str
    verdict: str
    meta: dict[str, Any] = field(default_factory=dict)
    body: bytes | None = None
    same: tuple[str, ...] = ()
    sealed: str = ""
    forward: dict[str, Any] = field(default_factory=dict)
    """What became of relaying it to an old receiver: outcome, tries, status, error, and when (ms)."""
    forgotten: frozenset[str] = frozenset()
    """Those of its events that retention forgot, while others of them are still there."""

    def delivery(self) -> Delivery:
        """What is kept of the request, with *** in the place of its secrets."""
        return delivery_of(self.id, self.meta, self.body or b"")


def job_row(found_id: str, found: Mapping[bytes, bytes]) -> JobRow:
    """The job whose hash holds those fields; without a state where there is none."""
    text = {key.decode(): value.decode("utf-8", "replace") for key, value in found.items()}
    event, handler = split_job(found_id)
    return JobRow(
        id=found_id,
        event=event,
        handler=handler,
        state=text.get("state", ""),
        run=int(text.get("run") or 0),
        tries=int(text.get("tries") or 0),
        due=int(text.get("due") or 0),
        made=int(text.get("made") or 0),
        ended=int(text.get("ended") or 0),
        deaths=int(text.get("deaths") or 0),
        generation=int(text.get("generation") or 0),
        reason=text.get("reason", ""),
        worker=text.get("worker", "").partition("#")[0],
        lane=text.get("lane", ""),
    )


def with_attempts(row: JobRow, since: int, kept: Sequence[bytes]) -> JobRow:
    """The job with its attempts. One that was just done, which is the most of them, is told by the job itself."""
    attempts = [orjson.loads(each) for each in kept]
    if row.state == "done" and (not attempts or attempts[-1].get("run") != row.run):
        last = {"run": row.run, "tries": row.tries, "started": since, "ended": row.ended}
        attempts.append({**last, "outcome": "done", "worker": row.worker})
    return replace(row, attempts=tuple(attempts))


def event_row(event_id: str, fields: Mapping[bytes, bytes], kept: bytes, jobs: Sequence[JobRow]) -> EventRow:
    """The event whose hash holds those fields, and of which that is kept."""
    event = event_of(
        event_id,
        kept,
        seq=int(fields[b"seq"]),
        delivery=fields.get(b"delivery", b"").decode(),
        cause=fields.get(b"cause", b"").decode(),
        depth=int(fields.get(b"depth") or 0),
    )
    reason = fields.get(b"reason", b"").decode("utf-8", "replace")
    return EventRow(event, fields[b"state"].decode(), tuple(jobs), reason, int(fields.get(b"due") or 0))


def handlers_in(fields: Mapping[bytes, bytes]) -> list[str]:
    """The handlers that have a job of the event whose hash holds those fields."""
    return sorted(name[1:].decode() for name in fields if name.startswith(b"@"))


def delivery_row(delivery_id: str, kept: bytes, said: Sequence[bytes | None]) -> DeliveryRow | None:
    """The delivery of which that is kept, its body too or only the line; `said` are the fields OF_VERDICT."""
    if not kept:
        return None
    line, body = part(kept)
    line.pop("event", None)
    return DeliveryRow(
        id=delivery_id,
        verdict=(said[0] or b"accepted").decode(),
        sealed=(said[2] or b"").decode(),
        forward=orjson.loads(said[3]) if said[3] else {},
        meta=long(line),
        body=None if body is None else unpack(body),
        same=tuple((said[1] or b"").decode().split()),
        forgotten=frozenset((said[4] or b"").decode().split()),
    )

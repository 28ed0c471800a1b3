"""Echoes and causes: what our own writes bring back.

A write is remembered before the call is made: by whose job, on which record, which values. An event that it brought about, received
within a minute on that record and saying nothing else, knows the job as its cause and is one link deeper than the job's own event; so
two handlers that call each other through Zoho are a chain, and a chain too deep is a loop. If it says just what was written, it is an
echo, and is skipped for the handler that wrote. Never by who modified the record, for people work under the same user as the handlers
do. A write excuses one event, and causes one of each source: what comes after it is somebody else's doing.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import orjson
from redis.exceptions import OutOfMemoryError

from receiver import keys
from receiver.event import new_id, now_ms
from receiver.ledger import read, runs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from redis import Redis

    from receiver.event import Event
    from receiver.ledger.runs import Claim, Opening

WINDOW = 60_000
"""Milliseconds after a write within which an event may come of it."""
MOST = 50
DEEPEST = 5
"""A chain of events that cause each other deeper than this is a loop."""
STAMPS = frozenset(
    {"Modified_Time", "Modified_By", "Last_Activity_Time", "modifiedTime", "last_modified_time"}
)
"""Fields that every write changes by itself."""


def _singular(word: str) -> str:
    return word[:-3] + "y" if word.endswith("ies") else word.removesuffix("s")


_RESOURCE: dict[str, Callable[[str], str]] = {
    "crm": lambda module: module,
    "books": _singular,
    "desk": lambda module: "_".join(part.capitalize() for part in _singular(module).split("_")),
}
"""How the events of a product call what its API calls so."""


@dataclass(frozen=True, slots=True)
class Write:
    """A write of ours: by which job and handler, how deep the job's event is, and which values; none where they are not known."""

    id: str
    job: str
    handler: str
    depth: int
    at: int
    values: Mapping[str, Any]
    made: bool = False

    def covers(self, received: int) -> bool:
        """Whether an event received then may come of it. One about a new record may come in before its id has come back to us."""
        return -WINDOW * self.made <= received - self.at <= WINDOW


def remember(
    redis: Redis,
    claims: Sequence[Claim],
    product: str,
    module: str,
    record_id: str,
    values: Any,
    made: bool = False,
) -> None:
    """Note a write that is about to be made for a job, or a record that it has just `made`.

    The job is one of a batch's: the one about that record, else the deepest.
    """
    if not record_id or product not in _RESOURCE:
        return
    record = f"{product}.{_RESOURCE[product](module)}:{record_id}"
    deepest = max(claims, key=lambda each: each.event.depth)
    claim = next((each for each in claims if each.event.record_key() == record), deepest)
    told = Write(
        new_id(),
        claim.id,
        runs.split_job(claim.id)[1],
        claim.event.depth,
        now_ms(),
        values if isinstance(values, dict) else {},
        made,
    )
    name = keys.write(record)
    pipe = redis.pipeline()
    pipe.rpush(name, orjson.dumps(told, default=str))
    pipe.ltrim(name, -MOST, -1)
    pipe.expire(name, runs.WRITES_KEPT)
    pipe.set(keys.writes(), 1, ex=runs.WRITES_KEPT)
    # Without memory an echo may run, which is better than a write that is not made.
    with contextlib.suppress(OutOfMemoryError):
        pipe.execute()


def recognise(
    redis: Redis,
    routes: Sequence[tuple[Claim, list[Opening]]],
    names: Callable[[str], Collection[str]],
) -> list[tuple[Claim, list[Opening]]]:
    """The routes, with those jobs skipped that are echoes of their own handler's writes; each event has learnt its cause.

    `names` tells every id that a handler has or had.
    """
    asking = [
        (index, claim.event.record_key())
        for index, (claim, openings) in enumerate(routes)
        if openings and claim.event.record_id and claim.event.product in _RESOURCE
    ]
    if not asking:
        return list(routes)
    pipe = redis.pipeline(transaction=False)
    for _, record in asking:
        pipe.lrange(keys.write(record), 0, -1)
    found = cast("list[list[bytes]]", pipe.execute())
    known = list(routes)
    for (index, record), texts in zip(asking, found, strict=True):
        claim, openings = routes[index]
        writes = [Write(**orjson.loads(text)) for text in texts]
        writes = [each for each in writes if each.covers(claim.event.received)]
        if writes:
            _learn_cause(redis, record, claim.event, writes)
            known[index] = (
                claim,
                [_or_skipped(redis, record, claim.event, each, writes, names) for each in openings],
            )
    return known


def _learn_cause(redis: Redis, record: str, event: Event, writes: Sequence[Write]) -> None:
    if event.cause:
        return
    for write in writes:
        if not may_cause(write.values, event):
            continue
        cause, depth = write.job, write.depth + 1
        if runs.take_write(redis, record, f"{write.id} {event.source}", event.id, cause, depth):
            event.cause, event.depth = cause, depth
            return


def _or_skipped(
    redis: Redis,
    record: str,
    event: Event,
    opening: Opening,
    writes: Sequence[Write],
    names: Callable[[str], Collection[str]],
) -> Opening:
    for write in writes:
        if write.handler not in names(opening.handler) or not is_echo(event, write.values):
            continue
        if runs.take_write(redis, record, write.id, event.id):
            return opening._replace(state="skipped", reason=f"echo of job {write.job}", policy="")
    return opening


def is_echo(event: Event, written: Mapping[str, Any]) -> bool:
    """Whether an event says just what was written: no field beside those, and no other value where the values are told."""
    changed = (event.changed or frozenset()) - STAMPS
    if not changed or not changed <= written.keys():
        return False
    told = _told(event) or {}
    return all(_same(told[name], written[name]) for name in changed if name in told)


def may_cause(written: Mapping[str, Any], event: Event) -> bool:
    """Whether a write may have brought an event about: it has the fields and values that were written, and contradicts none.

    Zoho's own rules change further fields along with ours, so where values are told others may have changed too. Where nobody knows
    what changed, or what was written, it is enough that nothing speaks against it.
    """
    told = _told(event)
    if event.verb == "deleted" and written:
        return False
    if event.changed is None or not written:
        return all(
            _same(told[name], value) for name, value in written.items() if told and _plain(told, name, value)
        )
    changed = event.changed - STAMPS
    ours = changed & written.keys()
    if not ours or (told is None and ours != changed):
        return False
    return all(_same(told[name], written[name]) for name in ours if told and name in told)


def _told(event: Event) -> dict[str, Any] | None:
    """The fields of the record as the event tells them: CRM's `values`, Books' record under its own name, or what there is."""
    data = event.data
    if not isinstance(data, dict):
        return None
    if "values" in data:
        return data["values"] if isinstance(data["values"], dict) else None
    inner = data.get(event.resource)
    return inner if isinstance(inner, dict) else data


def _plain(told: Mapping[str, Any], name: str, value: Any) -> bool:
    """Whether a field is told in a form that can be compared: lists of lines come back with ids and totals of Zoho's own."""
    return name in told and not isinstance(value, list) and not isinstance(told[name], list)


def _same(told: Any, written: Any) -> bool:
    if isinstance(told, dict) and isinstance(written, dict) and "id" in told and "id" in written:
        return str(told["id"]) == str(written["id"])  # a lookup comes back with its name
    if told == written or str(told).strip() == str(written).strip():
        return True
    with contextlib.suppress(ValueError, TypeError):
        return float(told) == float(written)
    with contextlib.suppress(ValueError, TypeError):
        return datetime.fromisoformat(told) == datetime.fromisoformat(written)  # in the zone of another user
    return False


def loop(redis: Redis, event: Event) -> str:
    """Why an event is parked as a loop: how deep it is, and which handlers' work led to it, the first one first; "" if it is none."""
    if event.depth <= DEEPEST:
        return ""
    chain: list[str] = []
    cause = event.cause
    while cause and len(chain) <= DEEPEST:
        before, handler = runs.split_job(cause)
        chain.append(handler)
        rows = read.events(redis, [before], with_jobs=False, data=False)
        cause = rows[0].event.cause if rows else ""
    led = " > ".join(reversed(chain))
    return f"a loop: {event.depth} events that caused each other, by {led}; mend a handler, then route this again"

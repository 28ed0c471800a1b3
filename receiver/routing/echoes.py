"""Echoes: a handler's own write comes back as an event, and must not call the handler again.

A write is remembered before the call is made, for a minute, and excuses at most one event: one that changes nothing but what was
written. Never by who modified the record, for people work under the same user as the handlers do.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import orjson

from receiver import keys

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis import Redis

    from receiver.event import Event
    from receiver.ledger.runs import Claim, Opening

LIFE = 60
MOST = 50
STAMPS = frozenset(
    {"Modified_Time", "Modified_By", "Last_Activity_Time", "modifiedTime", "last_modified_time"}
)
"""Fields that every write changes by itself."""
_RESOURCE: dict[str, Callable[[str], str]] = {
    "crm": lambda module: module,
    "books": lambda module: module.removesuffix("s"),
    "desk": lambda module: module.removesuffix("s").capitalize(),
}


def remember(
    redis: Redis, claims: Sequence[Claim], product: str, module: str, record_id: str, values: Any
) -> None:
    """Note a write that is about to be made for a job: of a batch for the one about that record, else for its first."""
    if not record_id or product not in _RESOURCE or not isinstance(values, dict):
        return
    record = f"{product}.{_RESOURCE[product](module)}:{record_id}"
    claim = next((each for each in claims if each.event.record_key() == record), claims[0])
    name = keys.write(record)
    told = {"job": claim.id, "handler": claim.id.partition(":")[2], "values": values}
    pipe = redis.pipeline()
    pipe.rpush(name, orjson.dumps(told, default=str))
    pipe.ltrim(name, -MOST, -1)
    pipe.expire(name, LIFE)
    pipe.execute()


def without_echoes(
    redis: Redis, routes: Sequence[tuple[Claim, list[Opening]]]
) -> list[tuple[Claim, list[Opening]]]:
    """The routes, with those jobs skipped that a handler's own write called for; the writes are then used up."""
    asking = [
        (index, claim.event.record_key())
        for index, (claim, openings) in enumerate(routes)
        if openings and claim.event.changed and claim.event.record_id and claim.event.product in _RESOURCE
    ]
    if not asking:
        return list(routes)
    pipe = redis.pipeline(transaction=False)
    for _, record in asking:
        pipe.lrange(keys.write(record), 0, -1)
    found = cast("list[list[bytes]]", pipe.execute())
    mended = list(routes)
    for (index, record), texts in zip(asking, found, strict=True):
        if texts:
            claim, openings = routes[index]
            mended[index] = (
                claim,
                [_or_skipped(redis, record, claim.event, each, texts) for each in openings],
            )
    return mended


def _or_skipped(redis: Redis, record: str, event: Event, opening: Opening, texts: list[bytes]) -> Opening:
    for text in texts:
        write = orjson.loads(text)
        if write["handler"] != opening.handler or not is_echo(event, write["values"]):
            continue
        if redis.lrem(
            keys.write(record), 1, cast("str", text)
        ):  # it excuses one event, and only the one who takes it
            return replace(opening, state="skipped", reason=f"echo of job {write['job']}", policy="")
    return opening


def is_echo(event: Event, written: dict[str, Any]) -> bool:
    """Whether an event says just what was written: no field beside those, and no other value where the values are told."""
    changed = (event.changed or frozenset()) - STAMPS
    if not changed or not changed <= written.keys():
        return False
    told = event.data.get("values") if isinstance(event.data, dict) else None
    if not isinstance(told, dict):
        return True
    return all(_same(told[name], written[name]) for name in changed if name in told)


def _same(told: Any, written: Any) -> bool:
    if isinstance(told, dict) and isinstance(written, dict) and "id" in told and "id" in written:
        return str(told["id"]) == str(written["id"])  # a lookup comes back with its name
    return bool(told == written) or str(told) == str(written)

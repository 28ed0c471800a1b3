"""How deliveries and events are kept: a line of JSON that says what it is, then bytes, deflated beyond 1 KiB.

What a delivery's body says is kept once: where it tells one event, and the event's data stand in the body as they are, the
delivery's line also says what the event is, and where in the body its data are.
"""

from __future__ import annotations

import zlib
from collections import deque
from typing import TYPE_CHECKING, Any

import orjson

from receiver.event import Event

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from receiver.event import Delivery
    from receiver.ledger.accept import Record

PLAIN, DEFLATED = b"-", b"z"
WORTH_IT = 1024
LOOKED_AT = 64
"""How many values of a body are compared with an event's data; Desk's are two levels deep in it."""
OF_DELIVERY = ("source", "received", "verified_by")
"""What an event says as the line of its delivery does."""
Path = list[str | int]
NAMES = (
    *("host", "user-agent", "accept", "content-type", "content-length", "x-forwarded-for", "x-forwarded-proto", "x-real-ip"),
    *("x-forwarded-host", "accept-encoding", "connection", "x-request-id", "forwarded", "via", "accept-language", "traceparent"),
    *("x-com-zoho-organizationid", "x-zoho-webhook-signature", "x-zdesk-jwt", "x-zs-webhook-signature", "x-hook-secret"),
    *("x-hook-signature", "x-webhook-token", "x-zp-webhook-signature", "authorization", "x-amzn-trace-id", "cf-connecting-ip"),
    *("x-siqsignature", "x-zohowebhook-signature", "x-cliq-signature", "x-zoho-event"),
    *("cf-ray", "cf-ipcountry", "cf-visitor", "cdn-loop", "x-forwarded-port", "x-forwarded-server", "cache-control", "pragma"),
)  # fmt: skip
"""Names of headers that are kept as their place in this list. It only ever grows at its end."""
COMMON = {"method": "POST", "query": "", "remote": "", "reason": "", "verified_by": "", "secret": 0}
"""What the line of a delivery says by saying nothing. So it does of a path that is `/in/` and the source."""
_PLACE_OF = {name: place for place, name in enumerate(NAMES)}


def pack(raw: bytes) -> bytes:
    """The bytes to keep; never larger than what came by more than one."""
    if len(raw) > WORTH_IT:
        squeezed = zlib.compress(raw, 3)
        if len(squeezed) < len(raw):
            return DEFLATED + squeezed
    return PLAIN + raw


def unpack(kept: bytes) -> bytes:
    """What `pack` was given."""
    return zlib.decompress(kept[1:]) if kept[:1] == DEFLATED else kept[1:]


def join(line: bytes, body: bytes) -> bytes:
    """A line of JSON and the bytes that it is about, as they are kept."""
    return line + b"\n" + pack(body)


def part(kept: bytes) -> tuple[dict[str, Any], bytes | None]:
    """(what the line says, the bytes as `pack` gave them); no bytes where only the beginning was read."""
    line, newline, body = kept.partition(b"\n")
    return orjson.loads(line), body if newline else None


def short(record: Record) -> dict[str, Any]:
    """What `Record.meta` says, in the words of a delivery's line: a million of them are kept."""
    delivery = record.delivery
    headers: list[int | str] = []
    for name, value in delivery.headers:
        headers += _PLACE_OF.get(name, name), value
    line: dict[str, Any] = {
        "source": delivery.source,
        "headers": headers,
        "received": delivery.received,
        "size": len(delivery.body),
        "events": [event.id for event in record.events],
    }
    if delivery.method != "POST":
        line["method"] = delivery.method
    if delivery.query:
        line["query"] = delivery.query.decode("latin-1")
    if delivery.remote:
        line["remote"] = delivery.remote
    if record.reason:
        line["reason"] = record.reason
    if record.verified_by:
        line["verified_by"] = record.verified_by
    if record.secret:
        line["secret"] = record.secret
    if delivery.path != f"/in/{delivery.source}":
        line["path"] = delivery.path
    return line


def long(line: Mapping[str, Any]) -> dict[str, Any]:
    """What `short` was given."""
    parts = line["headers"]
    headers = [
        [NAMES[name] if isinstance(name, int) else name, value]
        for name, value in zip(parts[::2], parts[1::2], strict=True)
    ]
    return {"path": f"/in/{line['source']}", **COMMON, **line, "headers": headers}


def places(delivery: Delivery, event: Event) -> dict[str, Path] | None:
    """Where in the body of its delivery an event's data stand, and the state before: paths of names and positions.

    None where they are not there just so.
    """
    if event.previous is None and delivery.says(event.data):
        return {"data": []}
    try:
        document = orjson.loads(delivery.body)
    except orjson.JSONDecodeError:
        return None
    if event.previous is None and document == event.data and type(document) is type(event.data):
        return {"data": []}  # most bodies tell their event as a whole
    found = {"data": _find(document, event.data)}
    if event.previous is not None:
        found["previous"] = _find(document, event.previous)
    known = {name: path for name, path in found.items() if path is not None}
    return known if len(known) == len(found) else None


def _find(document: Any, wanted: Any) -> Path | None:
    waiting: deque[tuple[Path, Any]] = deque([([], document)])
    for _ in range(LOOKED_AT):
        if not waiting:
            return None
        path, value = waiting.popleft()
        if type(value) is type(wanted) and value == wanted:
            return path
        waiting.extend(([*path, key], inner) for key, inner in _items(value))
    return None


def _items(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value[:LOOKED_AT])


def _at(document: Any, path: Path) -> Any:
    for step in path:
        document = document[step]
    return document


def within(
    line: Mapping[str, Any], delivery_id: str, event: Event, where: Mapping[str, Path]
) -> dict[str, Any]:
    """What a delivery's line says of the event that it tells: all but what it says of the delivery, and where the data are."""
    told = event.meta()
    for name, said in (("delivery", delivery_id), *((name, line.get(name, "")) for name in OF_DELIVERY)):
        if told.get(name, "") == said:
            told.pop(name, None)
        else:
            told[name] = getattr(event, name)
    told["at"] = where
    return told


def alone(event: Event) -> bytes:
    """An event that no delivery tells, as it is kept."""
    meta, said = event.pack()
    return join(meta, said)


def event_of(
    event_id: str, kept: bytes, *, seq: int, delivery: str = "", cause: str = "", depth: int = 0
) -> Event:
    """The event that is kept so: on its own, or within the line of its `delivery`. `cause` and `depth` where it learnt them later.

    Without data where only the beginning of what is kept was read.
    """
    line, body = part(kept)
    said: dict[str, Any] = {}
    if delivery:
        meta = line["event"]
        for name in OF_DELIVERY:
            meta.setdefault(name, line.get(name, ""))
        meta.setdefault("delivery", delivery)
        where = meta.pop("at")
        if body is not None:
            document = orjson.loads(unpack(body))
            for name, path in where.items():
                said[name] = _at(document, path)
    else:
        meta = line
        if body is not None:
            said = orjson.loads(unpack(body))
    if cause:
        meta["cause"], meta["depth"] = cause, depth
    return Event.of(event_id, meta, said, seq)

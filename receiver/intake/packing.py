"""A record as bytes and back, for the spool: JSON beside the raw body, never pickle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from receiver.event import Event
from receiver.ledger.accept import Record, delivery_of
from receiver.ledger.pack import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 1


def pack_record(record: Record) -> tuple[bytes, bytes]:
    """(what it is, its body)."""
    events = []
    for event in record.events:
        meta, said = event.pack()
        events.append(
            {
                "id": event.id,
                "identity": event.identity,
                "meta": orjson.Fragment(meta),
                "said": orjson.Fragment(said),
            }
        )
    head = {
        "version": VERSION,
        "id": record.delivery.id,
        "verdict": record.verdict,
        "window": record.window,
        "due": record.due,
        "key": record.key,
        "replace": record.replace,
        "forward": record.forward,
        "meta": record.meta(),
        "sealed": record.sealed,
        "events": events,
    }
    return pack(orjson.dumps(head)), pack(record.delivery.body)


def unpack_record(head: bytes, body: bytes) -> Record:
    """The record that `pack_record` packed: the ledger keeps the same of both. Raises ValueError, KeyError, zlib.error."""
    found: Mapping[str, Any] = orjson.loads(unpack(head))
    if found["version"] > VERSION:
        raise ValueError(f"a newer Zohook wrote it (version {found['version']})")
    meta = found["meta"]
    events = []
    for each in found["events"]:
        event = Event.unpack(each["id"], orjson.dumps(each["meta"]), orjson.dumps(each["said"]))
        event.identity = each["identity"]
        events.append(event)
    return Record(
        delivery_of(found["id"], meta, unpack(body)),
        found["verdict"],
        meta["reason"],
        events,
        found["window"],
        meta["verified_by"],
        meta["secret"],
        found["sealed"],
        due=found["due"],
        key=found["key"],
        replace=found["replace"],
        forward=found.get("forward", False),
    )

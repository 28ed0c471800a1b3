"""A duplicate run anyway: the events of a delivery that was the same as an earlier one are accepted after all."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from receiver import keys
from receiver.intake.judge import read as read_events
from receiver.ledger import read
from receiver.ledger.accept import accept
from receiver.sources.source import Verified

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis import Redis

    from receiver.intake.keyring import Lock

Word = Literal["anyway", "twice", "gone", "unlike", "no_source"]


def run_anyway(redis: Redis, locks: Mapping[str, Lock], delivery_id: str, *, again: float) -> Word:
    """Accept the events of a kept duplicate, each under the id that it had when it came, so that a second click runs nothing twice.

    "anyway"; "twice" where they ran already; "gone" where there is no such duplicate any more; "no_source" where its source is
    not configured any more; "unlike" where the source reads it otherwise than when it came.
    """
    row = read.delivery(redis, delivery_id)
    if row is None or row.body is None or not row.same:
        return "gone"
    ids = row.meta["events"]
    if all(each in row.forgotten or redis.exists(keys.event(each)) for each in ids):
        return "twice"
    lock = locks.get(row.meta["source"])
    if lock is None:
        return "no_source"
    first = read.events(redis, row.same[:1], with_jobs=False, data=False)
    # It proved itself when it came, and its proof is not kept. Whose it is, the first one knows.
    proof = Verified(
        row.meta["verified_by"], row.meta["secret"], first[0].event.organisation if first else ""
    )
    record = read_events(row.delivery(), lock, proof).record
    if len(record.events) != len(ids):
        return "unlike"
    for event, own in zip(record.events, ids, strict=True):
        event.id = own
    # One that was done and is forgotten would be new again.
    events = [event for event in record.events if event.id not in row.forgotten]
    accept(redis, [replace(record, events=events, window=0, sealed=row.sealed, forward=False)], again=again)
    return "anyway"

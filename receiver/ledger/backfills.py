"""Giving the records of a backfill to the workers: each becomes an event of its own with one job, in the lane of replays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from receiver.event import Event, id_within, now_ms
from receiver.ledger.accept import QUEUE, REPLAY
from receiver.ledger.pack import alone
from receiver.ledger.script import Argument, call, iso

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis import Redis

SOURCE = "backfill"
"""The source that their events name, for nothing came in."""


def give(
    redis: Redis, part_of: str, said: Mapping[str, str], rows: Sequence[Mapping[str, Any]], again: float
) -> list[str]:
    """Open a job for each row (`id`, `data`, `policy`) of the backfill `part_of`; a word for each. Given twice it is the same job.

    `said` is what the backfill's record tells beside: `handler`, `queue`, `type`, `connection`.
    """
    if not rows:
        return []
    args: list[Argument] = [
        iso(), REPLAY, int(again * 1000), part_of, said["handler"], said.get("queue") or QUEUE, said["type"], SOURCE,
    ]  # fmt: skip
    for row in rows:
        event = event_of(part_of, said["type"], row["id"], row["data"], said["connection"])
        args += [event.id, event.record_key(), alone(event), row["policy"]]
    return [word.decode() for word in call(redis, "backfill", *args)]


def event_of(part_of: str, event_type: str, record_id: str, data: Any, connection: str) -> Event:
    """The event of one record: its id follows from the backfill and the record, so that it is the same whoever makes it again."""
    return Event(
        id=id_within(part_of, record_id),
        type=event_type,
        source=SOURCE,
        data=data,
        received=now_ms(),
        record_id=record_id,
        origin="backfill",
        connection=connection,
    )

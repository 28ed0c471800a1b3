"""The RQ side of a worker in as few round trips as it can be: turns, heartbeats, and slips given back."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from receiver.ledger.script import Argument, call, iso

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

FUNCTION = "receiver.routing.slips.work"


@dataclass(frozen=True, slots=True)
class Slip:
    """One RQ job that a worker took."""

    id: str
    queue: str
    execution: str
    data: bytes

    def ids(self) -> tuple[str, str, int] | None:
        """(kind, id, run), or None where it is no slip of ours: whoever can write to Redis must not run code here."""
        try:
            raw = self.data
            if raw[:1] != b"[":
                raw = zlib.decompressobj().decompress(raw, 65_536)
            function, instance, args, kwargs = json.loads(raw)
            kind, found, run = args
        except (ValueError, TypeError, zlib.error, RecursionError):
            return None
        fits = function == FUNCTION and instance is None and not kwargs and kind in {"e", "j"}
        return (kind, found, run) if fits and isinstance(found, str) and type(run) is int else None


def _flat(slips: Sequence[Slip]) -> list[Argument]:
    return [part for slip in slips for part in (slip.id, slip.queue, slip.execution)]


def turn(
    redis: Redis, worker: str, queues: Sequence[str], want: int, done: Sequence[Slip], beat: int = 90
) -> list[Slip]:
    """Strike off the slips that are done and take up to `want` new ones, oldest of the first queue first."""
    found = call(redis, "turn", iso(), worker, beat, want, len(queues), *queues, *_flat(done))
    parts = iter(found)
    return [Slip(slip.decode(), next(parts).decode(), next(parts).decode(), next(parts)) for slip in parts]


def beat(
    redis: Redis, worker: str, queues: Sequence[str], under_way: Sequence[Slip], seconds: int = 90
) -> int:
    """Keep RQ's records of what is under way alive; how many silent ones of other workers were struck off."""
    return int(call(redis, "beat", worker, seconds, len(queues), *queues, *_flat(under_way)))


def give_back(redis: Redis, worker: str, slips: Sequence[Slip]) -> None:
    """Put slips that were taken but not begun at the head of their queues again."""
    if slips:
        call(redis, "back", worker, *_flat(slips))

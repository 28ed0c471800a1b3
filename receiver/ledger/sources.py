"""What the ledger knows of each source. Read in one round trip, whatever it holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from receiver import keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

REFUSED = ("rejected", "quarantined", "unverified", "duplicates")


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One source: how many of its events are kept, when the last one came (ms, 0 for never), and what became no event, counted
    since the ledger began.
    """

    events: int = 0
    last: int = 0
    refused: tuple[tuple[str, int], ...] = ()


def rows(redis: Redis, names: Sequence[str]) -> dict[str, SourceRow]:
    """One row for each of the sources."""
    pipe = redis.pipeline(transaction=False)
    for name in names:
        pipe.zcard(keys.events_of_source(name))
        pipe.zrevrange(keys.events_of_source(name), 0, 0, withscores=True)
        pipe.hmget(keys.counts(), [f"{word}:{name}" for word in REFUSED])
    found = pipe.execute()
    made = {}
    for index, name in enumerate(names):
        events, newest, counts = found[index * 3 : index * 3 + 3]
        last = int(newest[0][1]) if newest else 0
        made[name] = SourceRow(
            events, last, tuple(zip(REFUSED, (int(each or 0) for each in counts), strict=True))
        )
    return made

"""How the ledger itself is: how much room its Redis has, and whether it ever lost something. It only reads."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import orjson
from redis.exceptions import OutOfMemoryError

from receiver import keys, logs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

log = logs.get("ledger")
FILLING = 0.70
"""The share of its memory above which Redis is said to fill up, and retention forgets more than it would by age."""
FULL = 0.85
"""The share above which deliveries are spooled, so that what ends work (finishing, retention) always has room."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that Redis uses and may use: `maxmemory`, or where it has none what its machine has. 0: nobody knows."""

    used: int
    limit: int
    maxmemory: int = 0

    @property
    def share(self) -> float:
        """How much of it is used, 0 to 1 and over."""
        return self.used / self.limit if self.limit else 0.0

    @property
    def word(self) -> str:
        """ok, filling or full."""
        return "full" if self.share > FULL else "filling" if self.share > FILLING else "ok"


def time_of(redis: Redis) -> int:
    """The ledger's clock in milliseconds, which is Redis's: hosts need not agree on the time."""
    seconds, micros = redis.time()
    return seconds * 1000 + micros // 1000


@contextmanager
def unless_full() -> Iterator[None]:
    """Leave out, for now, what a full Redis has no room for. What ends work is never left out: it is what makes room again."""
    try:
        yield
    except OutOfMemoryError as error:
        log.warning("redis.full", error=str(error), hint="finishing and retention go on, and make room")


def memory(client: Redis) -> Memory:
    """How much room Redis has. As it counts itself: what a rewrite of its append-only file, or a replica, keeps for a while is no data."""
    info = client.info("memory")
    maxmemory, used = int(info.get("maxmemory", 0)), int(info["used_memory"])
    used -= int(info.get("mem_not_counted_for_evict", 0))
    return Memory(used, maxmemory or int(info.get("total_system_memory", 0)), maxmemory)


@dataclass(frozen=True, slots=True)
class Break:
    """A time (ms) when the ledger was found emptied, exchanged (`other`) or behind, and how many events it then missed."""

    kind: str
    at: int
    missing: int
    host: str


def breaks(redis: Redis) -> list[Break]:
    """Every time that the ledger was found to have lost something, newest first."""
    found = cast("list[bytes]", redis.hvals(keys.breaks()))
    rows = [orjson.loads(each) for each in found]
    return sorted(
        (Break(row["kind"], row["at"], row["missing"], row["host"]) for row in rows), key=lambda row: -row.at
    )

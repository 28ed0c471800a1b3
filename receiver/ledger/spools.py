"""What waits on the disks of the hosts, as they tell the ledger of it, so that it is known also where a host is gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from receiver import keys
from receiver.ledger.script import call

if TYPE_CHECKING:
    from redis import Redis

TOLD_FOR = 60.0
"""Seconds that an empty spool is told of, and after which a host that tells nothing counts as gone."""
FIELDS = ("depth", "bytes", "oldest", "quarantined", "seen")


@dataclass(frozen=True, slots=True)
class SpoolRow:
    """What waits on the disk of one host: deliveries, bytes, when the oldest was received and the last was heard of it (ms),
    quarantined; and how long ago that is by the clock of Redis (ms).
    """

    host: str
    depth: int = 0
    bytes: int = 0
    oldest: int = 0
    quarantined: int = 0
    seen: int = 0
    silent: int = 0

    @property
    def gone(self) -> bool:
        """Whether nobody seems to be there to bring it into the ledger: while a host lives it tells every second."""
        return self.silent > TOLD_FOR * 1000


def tell(
    redis: Redis, host: str, former: str, *, depth: int, size: int, oldest: int, quarantined: int
) -> None:
    """Say what waits on this host. `former` is the name under which it told of the same file before."""
    call(redis, "spool", host, former, int(TOLD_FOR * 1000), depth, size, oldest, quarantined)


def rows(redis: Redis) -> list[SpoolRow]:
    """The spools that are told of, those of hosts which were not heard of for the longest time first."""
    hosts = [each.decode() for each in cast("list[bytes]", redis.zrange(keys.spools(), 0, 99))]
    pipe = redis.pipeline(transaction=False)
    pipe.time()
    for host in hosts:
        pipe.hgetall(keys.spool(host))
    (seconds, rest), *found = pipe.execute()
    now = seconds * 1000 + rest // 1000
    told = ({name: int(each.get(name.encode(), 0)) for name in FIELDS} for each in found)
    return [
        SpoolRow(host, **row, silent=max(0, now - row["seen"]))
        for host, row, kept in zip(hosts, told, found, strict=True)
        if kept
    ]


def forget(redis: Redis, host: str) -> None:
    """Give up what waits on a host that will never come back. One that does tells of it again."""
    pipe = redis.pipeline()
    pipe.delete(keys.spool(host))
    pipe.zrem(keys.spools(), host)
    pipe.execute()

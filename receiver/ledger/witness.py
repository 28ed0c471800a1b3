"""The witness: what a host remembers of its ledger outside of Redis, so that a Redis that lost something is found out.

It remembers the ledger's epoch, a random name made once, and the highest sequence that any process of the host was told. Redis
emptied or exchanged shows as another epoch; an older backup, a cut append-only file or a replica that lacked the last writes
shows as a sequence that went back, by just the number of events that are missing.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any

from receiver import logs, metrics
from receiver.ledger.script import acall, call
from receiver.reserve import reserve

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

    from receiver.ledger.script import Argument
    from receiver.settings import Settings

log = logs.get("ledger")
EPOCH = 32
SLOTS = struct.Struct("<64Q")
SLOT = struct.Struct("<Q")
LARGEST = 2**52
"""Beyond it Lua's numbers are not whole ones any more; a file that says more is damaged."""
MEANS = {
    "emptied": "Redis was emptied: what was open and dead in it is gone, and so are tokens; catch up from Zoho and connect again",
    "other": "this is another ledger than the one of before: what was open there is handled only if that Redis is served again",
    "behind": "Redis lost events that it had accepted, in a failover or with an older backup; catch up from Zoho",
}


class Witness:
    """One process's hold on the memory of its host. Safe from many threads; nothing of it waits for the disk."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._own = 0
        self._host = socket.gethostname()
        self._memory, self._place = _mapped(path)

    @classmethod
    def of(cls, settings: Settings) -> Witness:
        """The witness of a project on this host, beside its spool."""
        return cls((settings.folder / settings.spool.path).with_suffix(".ledger"))

    @property
    def told(self) -> int:
        """The highest sequence that any process of this host was told."""
        slots: tuple[int, ...] = SLOTS.unpack_from(self._memory, EPOCH)
        return max((each for each in slots if each < LARGEST), default=0)

    @property
    def epoch(self) -> str:
        """The ledger that this host knows; "" before it has met one."""
        return bytes(self._memory[:EPOCH]).rstrip(b"\0").decode("ascii", "replace")

    def note(self, sequence: int) -> None:
        """Remember a sequence that the ledger told us."""
        with self._lock:
            if sequence > self._own:
                self._own = sequence
                SLOT.pack_into(self._memory, self._place, sequence)

    def look(self, redis: Redis) -> str:
        """Hold the ledger against what is remembered: "" or what broke (emptied, other, behind), which is also said aloud."""
        return self._heard(call(redis, "witness", *self._asked()))

    async def alook(self, redis: AsyncRedis) -> str:
        """`look` for the door."""
        return self._heard(await acall(redis, "witness", *self._asked()))

    def _asked(self) -> list[Argument]:
        return [self.epoch, self.told, secrets.token_hex(EPOCH // 2), self._host]

    def _heard(self, answer: list[Any]) -> str:
        epoch, sequence, broke, missing = answer[0], int(answer[1]), str(answer[2].decode()), int(answer[3])
        with self._lock:
            self._memory[:EPOCH] = epoch.ljust(EPOCH, b"\0")[:EPOCH]
        self.note(sequence)
        if broke:
            metrics.LEDGER_BREAKS.labels(broke).inc()
            log.error("ledger.broke", kind=broke, missing=missing, means=MEANS[broke])
        return broke


def _mapped(path: Path) -> tuple[mmap.mmap | bytearray, int]:
    """The shared memory of the host and our place in it; one of our own where the disk does not give one."""
    size = EPOCH + SLOTS.size
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        reserve(descriptor, size)
        return mmap.mmap(descriptor, size), EPOCH + SLOT.size * _free_slot(descriptor)
    except (OSError, ValueError) as error:
        log.warning("ledger.not_remembered", path=str(path), error=str(error))
        return bytearray(size), EPOCH


def _free_slot(descriptor: int) -> int:
    """A slot that no living process writes, for two that write one would lose numbers. The kernel frees it when we die."""
    last = SLOTS.size // SLOT.size - 1
    for slot in range(last):
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
        except OSError:
            continue
        return slot
    return last

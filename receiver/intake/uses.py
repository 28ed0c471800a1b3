"""When each secret of a source verified last, so that the old one of two can be dropped. Noted in memory, and written every few
seconds beside the door: no delivery waits for it, and what a crash loses of it is seconds.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from redis.exceptions import RedisError

from receiver import keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

    from receiver.intake.keyring import Lock
    from receiver.sources.source import Keys
    from receiver.zoho.vault import Vault

EVERY = 2.0
HOUR = 3_600_000
KEPT = 90 * 86_400
"""Seconds after which a source that brings nothing is forgotten."""
PURPOSE = "labels of secrets"
ONLY = "keys"
"""The label where not we but the product tells its keys apart."""


class Labels:
    """Names for the secrets of locks, which say nothing of the secrets: to know one again after its place in the row has changed."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._made: dict[str, tuple[Keys, tuple[str, ...], tuple[str, ...]]] = {}

    def of(self, lock: Lock) -> tuple[str, ...]:
        """One for each secret or public key of a lock, newest first; one for all where the product shows its keys itself."""
        known = self._made.get(lock.way.name)
        if known is None or known[0] is not lock.keys or known[1] is not self._vault.keys:
            key = self._vault.derive(PURPOSE)
            known = self._made[lock.way.name] = lock.keys, self._vault.keys, _labels(lock, key)
        return known[2]

    def ever(self, lock: Lock) -> list[tuple[str, ...]]:
        """For each secret all its labels: a key of the project that was rotated has made others."""
        return list(zip(*(_labels(lock, key) for key in self._vault.derive_all(PURPOSE)), strict=True))


def _labels(lock: Lock, key: str) -> tuple[str, ...]:
    raw = [secret.encode("utf-8", "surrogatepass") for secret in lock.keys.secrets]
    raw += [each.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for each in lock.keys.public]
    source = lock.way.name.encode()
    made = (hmac.digest(key.encode(), source + b"\0" + each, hashlib.sha256) for each in raw)
    return tuple(each.hex()[:12] for each in made) or (ONLY,)


class Uses:
    """What the door saw since it was last written."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self._seen: dict[str, dict[str, int]] = {}

    def saw(self, lock: Lock, which: int, at: int) -> None:
        """The secret at that place of the row verified a delivery that came at `at` (ms)."""
        labels = self._labels.of(lock)
        if which < len(labels):
            self._seen.setdefault(lock.way.name, {})[labels[which]] = at

    async def write(self, redis: AsyncRedis) -> None:
        """Write what was seen; what Redis does not take is written the next time."""
        seen, self._seen = self._seen, {}
        for source, times in seen.items():
            try:
                async with redis.pipeline(transaction=False) as pipe:
                    pipe.hset(keys.secrets_used(source), mapping=times)  # type: ignore[arg-type]
                    pipe.expire(keys.secrets_used(source), KEPT)
                    await pipe.execute()
            except (RedisError, OSError):
                self._seen[source] = {**times, **self._seen.get(source, {})}

    async def write_until(self, over: asyncio.Event, redis: AsyncRedis) -> None:
        """Write every few seconds, and once more when it is over.

        It is told, and not cancelled: redis-py sends within `asyncio.wait_for`, which loses a cancellation on Python 3.11 that
        comes just when the bytes are sent, and the process would wait for this task for ever.
        """
        while not over.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY):
                    await over.wait()
            await self.write(redis)


@dataclass(frozen=True, slots=True)
class Use:
    """One secret of a source: when it verified last (ms, 0 for never in 90 days), and whether it can be dropped."""

    last: int
    idle: bool


def uses(redis: Redis, locks: Sequence[Lock], labels: Labels) -> dict[str, tuple[Use, ...]]:
    """The secrets of each lock, newest first, by source. An older one is idle once the newest has verified an hour later than it
    ever did.
    """
    pipe = redis.pipeline(transaction=False)
    for lock in locks:
        pipe.hgetall(keys.secrets_used(lock.way.name))
    made = {}
    for lock, times in zip(locks, cast("list[dict[bytes, bytes]]", pipe.execute()), strict=True):
        found = [max(int(times.get(label.encode(), 0)) for label in each) for each in labels.ever(lock)]
        made[lock.way.name] = tuple(
            Use(at, index > 0 and found[0] - at > HOUR) for index, at in enumerate(found)
        )
    return made

"""Secrets that a product tells us at its first request (Zoho Mail): taken only while an operator has armed the source, kept sealed.

Whoever comes first while a source is armed is believed, for he cannot prove anything yet. So the time is short, one secret is taken
and ends it, and the source's name in the URL should be one that nobody guesses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from receiver import keys
from receiver.event import now_ms
from receiver.ledger.script import acall

if TYPE_CHECKING:
    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

    from receiver.zoho.vault import Vault

ARMED_FOR = 600
"""Seconds."""
KEPT = 2
"""The newest and the one before it, for what was on its way while the secret changed."""


def arm(redis: Redis, source: str) -> None:
    """For ten minutes the first secret that comes for this source is taken."""
    redis.set(keys.armed(source), now_ms(), ex=ARMED_FOR)


def armed_for(redis: Redis, source: str) -> int:
    """How many seconds it is armed for still; 0 where it is not."""
    return max(0, int(redis.ttl(keys.armed(source))))


def forget(redis: Redis, source: str) -> None:
    """Drop the secrets that were told: what they sign is refused from now on."""
    redis.delete(keys.source_secret(source), keys.armed(source))


async def take(redis: AsyncRedis, vault: Vault, source: str, secret: str) -> bool:
    """Keep a secret if the source is armed, which ends that. Raises RedisError."""
    return bool(await acall(redis, "learn", source, vault.seal(_context(source), secret), KEPT))


async def read(redis: AsyncRedis, vault: Vault, source: str) -> tuple[str, ...]:
    """The secrets that were told, newest first. Raises RedisError, and SettingsError where the key does not open them."""
    return _opened(vault, source, await redis.lrange(keys.source_secret(source), 0, -1))


def read_now(redis: Redis, vault: Vault, source: str) -> tuple[str, ...]:
    """`read` for a command."""
    return _opened(vault, source, redis.lrange(keys.source_secret(source), 0, -1))


def _opened(vault: Vault, source: str, sealed: object) -> tuple[str, ...]:
    return tuple(vault.open(_context(source), blob.decode()) for blob in cast("list[bytes]", sealed))


def _context(source: str) -> str:
    return f"source:{source}:told"

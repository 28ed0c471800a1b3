"""What is sealed in Redis, all of it: sealed anew when the keys are rotated, and counted by the key that it needs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, cast

from cryptography.fernet import Fernet, InvalidToken

from receiver import keys
from receiver.zoho.token_row import text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from receiver.zoho.vault import Vault

VERDICTS = ("rejected", "quarantined", "unverified", "accepted")
TRIES = 5
SWAP = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
"""
SWAP_IN_LIST = """
if redis.call('LINDEX', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('LSET', KEYS[1], ARGV[1], ARGV[3])
return 1
"""


def reseal(redis: Redis, vault: Vault) -> int:
    """Seals everything with the first key; how many blobs there are. What others write meanwhile stays theirs. Raises
    SettingsError where a blob needs a key that is lost.
    """
    if probe := cast("bytes | None", redis.get(keys.probe())):
        redis.set(keys.probe(), vault.rotate(text(probe)), xx=True)
    count = sum(_reseal_told(redis, vault, key) for key in _told(redis))
    for key, field in _places(redis):
        for _ in range(TRIES):
            old = cast("bytes | None", redis.hget(key, field))
            if not old:
                break
            if redis.eval(SWAP, 1, key, field, old, vault.rotate(text(old))):
                count += 1
                break
    return count


def needed(redis: Redis, vault: Vault) -> Counter[str]:
    """How many blobs each key of the vault opens; under "" those that none does."""
    counts: Counter[str] = Counter()
    for key, field in _places(redis):
        if blob := cast("bytes | None", redis.hget(key, field)):
            counts[_opener(vault, text(blob))] += 1
    for key in _told(redis):
        counts.update(_opener(vault, text(blob)) for blob in cast("list[bytes]", redis.lrange(key, 0, -1)))
    return counts


def _told(redis: Redis) -> Iterator[str]:
    """The keys of the secrets that products told us."""
    return (
        text(key) for key in redis.scan_iter(match=f"{keys.source_secret('')}*", count=1000, _type="list")
    )


def _reseal_told(redis: Redis, vault: Vault, key: str) -> int:
    """The same for a list of blobs: each is replaced where it stands, if it still does."""
    count = 0
    for index, old in enumerate(cast("list[bytes]", redis.lrange(key, 0, -1))):
        count += int(cast("int", redis.eval(SWAP_IN_LIST, 1, key, index, old, vault.rotate(text(old)))))
    return count


def _places(redis: Redis) -> Iterator[tuple[str, str]]:
    """(key, field) of everything that may be sealed: the token rows, and the proofs of kept deliveries."""
    prefix = keys.token("")
    for found in redis.scan_iter(match=f"{prefix}*", count=1000, _type="hash"):
        key = text(found)
        if ":" not in key.removeprefix(prefix):
            yield key, "access"
            yield key, "refresh"
    for verdict in VERDICTS:
        for member, _ in redis.zscan_iter(keys.deliveries(verdict)):
            yield keys.verdict(text(member)), "sealed"


def _opener(vault: Vault, blob: str) -> str:
    for key in vault.keys:
        try:
            Fernet(key).decrypt(blob.encode())
        except InvalidToken:
            continue
        return key
    return ""

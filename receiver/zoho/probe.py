"""The probe: a word that the project's key sealed into Redis, by which a lost or wrong key is found out before it does harm.

Secrets of sources derive from the key, so that with another one their deliveries are refused, and most of Zoho's products send once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from receiver import keys
from receiver.errors import SettingsError
from receiver.ledger.condition import unless_full
from receiver.zoho import sealed
from receiver.zoho.vault import PUT_BACK, Vault

if TYPE_CHECKING:
    from redis import Redis

    from receiver.settings import Settings

CONTEXT, WORD = "probe", "zohook"
CURE = f"{PUT_BACK}; if it is lost for good, `zohook keys anew` begins with the one that is there now"


def vault(settings: Settings, redis: Redis) -> Vault:
    """The vault of a process that starts; its key is made where the ledger knows none yet. Raises SettingsError where it is not the
    key that sealed what lies in Redis.
    """
    found = Vault.of(settings, make=not redis.exists(keys.probe()))
    hold(redis, found)
    return found


def hold(redis: Redis, vault: Vault) -> None:
    """Hold the key against what Redis has sealed, and leave a probe where there is none. Raises SettingsError."""
    if not redis.exists(keys.probe()):
        counts = sealed.needed(redis, vault)  # a ledger that is older than its probe
        if set(counts) == {""}:
            raise SettingsError(f"what is sealed in Redis does not open with this key; {CURE}")
        with unless_full():  # else the next start leaves it
            redis.set(keys.probe(), vault.seal(CONTEXT, WORD), nx=True)
    look(redis, vault)


def look(redis: Redis, vault: Vault) -> None:
    """The same of a probe that is there, and nothing is written."""
    blob = cast("bytes | None", redis.get(keys.probe()))
    if blob is not None:
        vault.open(CONTEXT, blob.decode(), CURE)


def anew(redis: Redis, vault: Vault) -> int:
    """Take this key for the project's from now on; how many secrets it does not open, which are lost."""
    redis.set(keys.probe(), vault.seal(CONTEXT, WORD))
    return sealed.needed(redis, vault)[""]

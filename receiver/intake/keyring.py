"""The keys of every source, handed to the pure verifiers: of the settings, of our own making, of Desk's host, or told by Mail."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from redis.exceptions import RedisError

from receiver import logs
from receiver.errors import LedgerUnavailable, SettingsError
from receiver.intake import jwks, told
from receiver.intake.secrecy import Names
from receiver.sources import PRODUCTS, problems, rsa, signing
from receiver.sources.recipe import Recipe
from receiver.sources.source import Keys, Way

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from redis.asyncio import Redis as AsyncRedis

    from receiver.settings import Settings
    from receiver.settings_tables import SourceSettings
    from receiver.sources.source import Need, Source
    from receiver.zoho.vault import Vault

log = logs.get("keyring")
FETCH_AGAIN = 60.0
"""Seconds until an unknown key id may cause another look: a flood of forged tokens must not become a flood of calls."""
READ_AGAIN = 1.0
"""The same for what Redis holds, which is near."""
FAILED_AGAIN = 5.0
LOOK_EVERY = 2.0


@dataclass(slots=True)
class Lock:
    """One source with its keys. `look` looks where there may be newer ones; None where all come from the settings."""

    way: Way
    source: Source
    keys: Keys
    look: Callable[[], Awaitable[Keys]] | None = None
    again: float = FETCH_AGAIN
    missing: str = ""
    """What to say where the keys could not be had."""
    tried: float = float("-inf")
    found: bool = False
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)
    body_limit: int = 2**20
    proofs: Names = field(default_factory=Names)
    forward: bool = False
    """Whether what it verifies is relayed to an old receiver."""


class Keyring:
    """The configured sources by name. Raises SettingsError where a secret is missing, so that the door never opens half."""

    def __init__(self, settings: Settings, vault: Vault, redis: AsyncRedis | None = None) -> None:
        """`redis` is where secrets are that a product told us; without it none is known."""
        self._settings = settings
        self._vault = vault
        self._redis = redis
        self._seen = vault.keys
        self.locks = {name: self._lock(name) for name in settings.sources}

    def _lock(self, name: str) -> Lock:
        given = self._settings.sources[name]
        source = PRODUCTS.get(given.product)
        if source is None:
            known = ", ".join(sorted(PRODUCTS))
            raise SettingsError(
                f"sources.{name}.product: there is no product {given.product!r}; it is one of {known}"
            )
        way = source.settled(self._way(name, given))
        for problem in problems(way):
            raise SettingsError(problem)
        lock = Lock(
            way,
            source,
            Keys(self._settings.secrets(name)),
            body_limit=given.body_limit,
            proofs=Names.of(way, source.proof_members),
            forward=bool(given.forward),
        )
        self._furnish(lock, given)
        for secret in lock.keys.secrets:
            logs.hide(secret)
        return lock

    def _way(self, name: str, given: SourceSettings) -> Way:
        connection = self._settings.connection_of(name)
        return Way(
            name=name,
            product=given.product,
            connection=connection,
            events=given.events,
            id=given.id,
            time=given.time,
            organisation=given.organisation or self._organisation(connection, given.product),
            secret_header=given.secret_header.lower(),
            secret_parameter=given.secret_parameter,
            audience=given.audience,
            dedupe=given.dedupe,
            dedupe_for=given.dedupe_for,
            tolerance=given.tolerance,
            live_only=given.live_only,
            secure=given.secure,
            signature_base64=given.signature_base64,
            type=given.type,
            zone=ZoneInfo(given.timezone) if given.timezone else None,
            time_format=given.time_format,
            secret_prefix=given.secret_prefix,
            secret_user=given.secret_user,
            hmac=Recipe(**given.hmac.model_dump()) if given.hmac else None,
        )

    def _furnish(self, lock: Lock, given: SourceSettings) -> None:
        """Give the lock the keys that its product needs, or the way to them."""
        name, secrets = lock.way.name, lock.keys.secrets
        match lock.source.needs:
            case "own":
                lock.keys = Keys((*secrets, *self._vault.derive_all(f"source:{name}")))
            case "jwks":
                url = self._jwks_url(lock.way)
                lock.look, lock.missing = (
                    lambda: _fetched(url),
                    "the public keys of Desk could not be fetched",
                )
            case "public":
                lock.keys = Keys(public=tuple(_public_key(name, text) for text in given.public_keys))
                if not lock.keys.public:
                    raise SettingsError(
                        f"sources.{name}: its public key is missing; copy it from Zoho's page, "
                        f'for example   {name} = {{ product = "{given.product}", public_keys = ["MIIB..."] }}'
                    )
            case "told":
                lock.look, lock.again = lambda: self._told(name, secrets), READ_AGAIN
                lock.missing = "the secret that Zoho told us could not be read from Redis"
            case "secret" if not secrets:
                raise SettingsError(
                    f"sources.{name}: its secret is missing; put it into the environment or .env as "
                    f"ZOHOOK_SECRET_{name.upper()}=... (two with a comma while you rotate)"
                )

    def _jwks_url(self, way: Way) -> str:
        if not way.connection:
            raise SettingsError(
                f"sources.{way.name}.connection: Desk's public keys are at its data centre; name a connection, "
                f'for example   {way.name} = {{ product = "desk", connection = "acme" }}'
            )
        return f"{self._settings.data_centre(way.connection).desk}/.well-known/jwks.json"

    def _organisation(self, connection: str, product: str) -> str:
        """The organisation of the connection: Zoho's keys sign for every customer of Zoho's, so whose Desk it is must be known."""
        return self._settings.connections[connection].organisation(product) if connection else ""

    async def _told(self, name: str, configured: tuple[str, ...]) -> Keys:
        found = await told.read(self._redis, self._vault, name) if self._redis else ()
        for secret in found:
            logs.hide(secret)
        return Keys((*found, *configured))

    async def refresh(self, lock: Lock) -> bool:
        """Look for newer keys of a source, not too often. False: they could not be had just now."""
        if lock.look is None:
            return True
        async with lock.looking:
            if time.monotonic() - lock.tried < (lock.again if lock.found else FAILED_AGAIN):
                return lock.found
            news = lock.found or lock.tried == float("-inf")
            lock.tried = time.monotonic()
            try:
                lock.keys = await lock.look()
            except (*jwks.FAILURES, RedisError, OSError, SettingsError) as error:
                lock.found = False
                if news:  # and not again at every look while it lasts
                    log.warning(
                        "keys.missing",
                        source=lock.way.name,
                        reason=lock.missing,
                        error=f"{type(error).__name__}: {error}"[:300],
                    )
                return False
            lock.found = True
            return True

    async def take(self, lock: Lock, secret: str) -> bool:
        """Whether a secret that the product tells is ours: it was already, or the source is armed. Raises LedgerUnavailable."""
        if self._knows(lock, secret):
            return True
        if self._redis is None or lock.look is None:
            return False
        try:
            taken = await told.take(self._redis, self._vault, lock.way.name, secret)
            lock.keys = await lock.look()
        except (RedisError, OSError, SettingsError) as error:
            raise LedgerUnavailable(f"the secret could not be kept: {type(error).__name__}") from error
        if taken:
            log.info("secret.told", source=lock.way.name, effect="it proves deliveries from now on")
        return self._knows(lock, secret)

    def _knows(self, lock: Lock, secret: str) -> bool:
        return signing.which_static(secret, lock.keys.secrets) is not None

    async def prepare(self) -> None:
        """Look up what will be needed: at the first delivery Desk's host or Redis may be away."""
        await asyncio.gather(*(self.refresh(lock) for lock in self.locks.values()))

    async def keep(self) -> None:
        """Prepare, then take up what becomes of our own keys and of secrets that were told, while we run. Until it is cancelled."""
        await self.prepare()
        while True:
            await asyncio.sleep(LOOK_EVERY)
            self.renew()
            # A secret that an operator had forgotten is to be refused here too, though nothing lacks a key for that.
            await asyncio.gather(*(self.refresh(lock) for lock in self._of("told")))

    def _of(self, need: Need) -> list[Lock]:
        return [lock for lock in self.locks.values() if lock.source.needs == need]

    def renew(self) -> None:
        """Where the project's key was rotated, the tokens that the new one derives are good from now on."""
        self._vault.renewed()
        if self._vault.keys == self._seen:
            return
        self._seen = self._vault.keys
        for lock in self._of("own"):
            name = lock.way.name
            lock.keys = Keys(self._settings.secrets(name))
            self._furnish(lock, self._settings.sources[name])
            for secret in lock.keys.secrets:
                logs.hide(secret)
        log.info("keys.renewed", keys=len(self._seen))


async def _fetched(url: str) -> Keys:
    found = await jwks.fetch(url)
    log.info("jwks.fetched", url=url, keys=sorted(found))
    return Keys(jwks=found)


def _public_key(name: str, text: str) -> RSAPublicKey:
    try:
        return rsa.public_key(text)
    except ValueError as error:
        raise SettingsError(f"sources.{name}.public_keys: {text[:20]!r}... {error}") from None

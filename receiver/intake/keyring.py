"""The keys of every source, handed to the pure verifiers: secrets from the settings, Desk's public keys from its own host."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
from jwt import PyJWKSet, PyJWKSetError

from receiver import logs
from receiver.errors import SettingsError
from receiver.intake.secrecy import Names
from receiver.sources import PRODUCTS, problems
from receiver.sources.source import Keys, Way

if TYPE_CHECKING:
    from receiver.settings import Settings
    from receiver.sources.source import Source
    from receiver.zoho.vault import Vault

log = logs.get("keyring")
OWN_TOKENS = frozenset({"crm_channel"})
"""Products whose secret is Zohook's own: derived from the key, so that nothing has to be configured."""
PUBLIC_KEYS = frozenset({"desk"})
FETCH_AGAIN = 60.0
"""Seconds until an unknown key id may cause another look: a flood of forged tokens must not become a flood of calls."""
FAILED_AGAIN = 5.0
LARGEST = 256 * 1024


@dataclass(slots=True)
class Lock:
    """One source with its keys."""

    way: Way
    source: Source
    keys: Keys
    jwks_url: str = ""
    tried: float = -FETCH_AGAIN
    fetched: bool = False
    fetching: asyncio.Lock = field(default_factory=asyncio.Lock)
    body_limit: int = 2**20
    proofs: Names = field(default_factory=Names)


class Keyring:
    """The configured sources by name. Raises SettingsError where a secret is missing, so that the door never opens half."""

    def __init__(self, settings: Settings, vault: Vault) -> None:
        self._settings = settings
        self._vault = vault
        self.locks = {name: self._lock(name) for name in settings.sources}

    def _lock(self, name: str) -> Lock:
        given = self._settings.sources[name]
        source = PRODUCTS.get(given.product)
        if source is None:
            known = ", ".join(sorted(PRODUCTS))
            raise SettingsError(
                f"sources.{name}.product: there is no product {given.product!r}; it is one of {known}"
            )
        connection = self._settings.connection_of(name)
        way = Way(
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
        )
        for problem in problems(way):
            raise SettingsError(problem)
        secrets = self._settings.secrets(name)
        if given.product in OWN_TOKENS:
            secrets = (*secrets, *self._vault.derive_all(f"source:{name}"))
        elif given.product not in PUBLIC_KEYS and not secrets:
            raise SettingsError(
                f"sources.{name}: its secret is missing; put it into the environment or .env as "
                f"ZOHOOK_SECRET_{name.upper()}=... (two with a comma while you rotate)"
            )
        for secret in secrets:
            logs.hide(secret)
        url = f"{self._settings.data_centre(connection).desk}/.well-known/jwks.json" if connection else ""
        if given.product in PUBLIC_KEYS and not url:
            raise SettingsError(
                f"sources.{name}.connection: Desk's public keys are at its data centre; name a connection, "
                f'for example   {name} = {{ product = "desk", connection = "acme" }}'
            )
        return Lock(
            way,
            source,
            Keys(secrets=secrets),
            url if given.product in PUBLIC_KEYS else "",
            body_limit=given.body_limit,
            proofs=Names.of(way, source.proof_members),
        )

    def _organisation(self, connection: str, product: str) -> str:
        """The organisation of the connection: Zoho's keys sign for every customer of Zoho's, so whose Desk it is must be known."""
        return self._settings.connections[connection].organisation(product) if connection else ""

    async def refresh(self, lock: Lock) -> bool:
        """Look for newer public keys of a source, at most once a minute. False: they could not be had just now."""
        async with lock.fetching:
            if time.monotonic() - lock.tried < (FETCH_AGAIN if lock.fetched else FAILED_AGAIN):
                return lock.fetched
            lock.tried = time.monotonic()
            try:
                keys = await _fetch(lock.jwks_url)
            except (httpx.HTTPError, ValueError, KeyError, TypeError, PyJWKSetError) as error:
                lock.fetched = False
                log.warning("jwks.not_fetched", source=lock.way.name, url=lock.jwks_url, error=str(error))
                return False
            lock.fetched = True
            lock.keys = Keys(secrets=lock.keys.secrets, jwks=keys)
            log.info("jwks.fetched", source=lock.way.name, keys=sorted(keys))
            return True

    async def prepare(self) -> None:
        """Fetch what will be needed: at the first delivery Desk's host may be away."""
        await asyncio.gather(*(self.refresh(lock) for lock in self.locks.values() if lock.jwks_url))


async def _fetch(url: str) -> dict[str, Any]:
    """Key id -> public key, from the one URL that the table of data centres gives; RSA keys only, no redirects."""
    async with (
        httpx.AsyncClient(timeout=3, trust_env=False, follow_redirects=False) as client,
        client.stream("GET", url) as answer,
    ):
        answer.raise_for_status()
        raw = b""
        async for chunk in answer.aiter_bytes():
            raw += chunk
            if len(raw) > LARGEST:
                raise ValueError("the key set is too large")
    return {
        key.key_id: key.key
        for key in PyJWKSet.from_json(raw.decode()).keys
        if key.key_id and key.key_type == "RSA"
    }

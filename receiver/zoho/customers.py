"""Customers: connections that were made by a consent link, beside those of zohook.toml.

For an extension whose customers each consent: they share the client of one configured connection (`customers = true`), and each has
a refresh token, a data centre and organisations of his own.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
from redis.exceptions import RedisError

from receiver import keys
from receiver.errors import LedgerUnavailable, NotConnected, SettingsError
from receiver.event import now_ms
from receiver.zoho.token_row import text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from redis import Redis

    from receiver.settings import Settings
    from receiver.settings_tables import ConnectionSettings

INVITED_FOR = 7 * 86_400
"""Seconds that a consent link is good for."""
REREAD = 1.0


@dataclass(frozen=True, slots=True)
class Customer:
    """One customer. `of` is the configured connection whose client he consented for; organisations are ids by product."""

    name: str
    of: str
    label: str = ""
    dc: str = ""
    organisations: Mapping[str, str] = field(default_factory=dict)
    made: int = 0


@dataclass(frozen=True, slots=True)
class Invitation:
    """A consent link that is out."""

    of: str
    name: str
    label: str


class Customers:
    """The customers of one ledger, read at most once a second; safe from many threads."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis, self._settings = redis, settings
        self._known: dict[str, Customer] = {}
        self._places: dict[tuple[str, str, str], str] = {}
        self._read_at = float("-inf")
        self._reading = threading.Lock()
        self._some = any(each.customers for each in settings.connections.values())

    def all(self) -> dict[str, Customer]:
        """Customers by name; none, without a call, where no connection has any. Raises LedgerUnavailable."""
        if not self._some:
            return {}
        with self._reading:
            if time.monotonic() - self._read_at >= REREAD:
                found = self._safely(lambda: self._redis.hgetall(keys.customers()))
                self._known = {
                    text(name): _customer(text(name), text(value)) for name, value in found.items()
                }
                self._places = {
                    (each.of, product, ident): name
                    for name, each in self._known.items()
                    for product, ident in each.organisations.items()
                }
                self._read_at = time.monotonic()
            return self._known

    def get(self, name: str) -> Customer | None:
        """The customer of that name; one who is not known is looked for once more, for he may have consented just now."""
        return self.all().get(name) or self._anew().get(name)

    def settings_of(self, name: str) -> ConnectionSettings | None:
        """The settings of a customer's connection: those of the client, with his own data centre and organisations."""
        found = self.get(name)
        shared = self._settings.connections.get(found.of) if found else None
        if found is None or shared is None:
            return None
        own: dict[str, object] = {product: {"": ident} for product, ident in found.organisations.items()}
        return shared.model_copy(update={**own, "dc": found.dc or shared.dc, "customers": False})

    def of(self, connection: str) -> list[Customer]:
        """The customers of a configured connection, by name."""
        return sorted(
            (each for each in self.all().values() if each.of == connection), key=lambda each: each.name
        )

    def at(self, connection: str, product: str, organisation: str) -> str:
        """The name of the customer whose organisation of that product it is, or "" where it is nobody's."""
        place = (connection, product, organisation)
        if self.all() and place in self._places:
            return self._places[place]
        self._anew()
        return self._places.get(place, "")

    def owner(self, channel: str) -> str:
        """The customer for whom a CRM channel was made, whose callbacks name no organisation; "" where it is nobody's."""
        found = self._safely(lambda: self._redis.hget(keys.channel_owners(), channel))
        return text(found) if found else ""

    def owns(self, channel: str, customer: str) -> None:
        """Note whose a CRM channel is, before it is made: its callbacks may come at once."""
        self._safely(lambda: self._redis.hset(keys.channel_owners(), channel, customer))

    def _anew(self) -> dict[str, Customer]:
        self._read_at = float("-inf")
        return self.all()

    def invite(self, of: str, name: str, label: str = "") -> str:
        """The token of a new consent link, good once, for seven days. Raises SettingsError for a name that cannot be."""
        if not self._settings.connections[of].customers:
            raise SettingsError(
                f"connections.{of} is one consent; write   customers = true   there to let each customer consent for himself"
            )
        if not re.fullmatch(r"[a-z0-9_]{1,64}", name):
            raise SettingsError(f"{name!r} is no name for a customer; use small letters, digits and _ only")
        taken = self._settings.connections.keys() | self._settings.sources.keys()
        known = self.get(name)
        if name in taken or (known and known.of != of):
            raise SettingsError(f"{name!r} is taken by another connection or source; choose another name")
        token = secrets.token_urlsafe(24)
        value = orjson.dumps({"of": of, "name": name, "label": label[:120]})
        self._safely(lambda: self._redis.set(keys.invitation(_digest(token)), value, ex=INVITED_FOR))
        return token

    def invitation(self, token: str) -> Invitation:
        """The consent link with that token; raises NotConnected where there is none. It stays until somebody has consented."""
        found = self._safely(lambda: self._redis.get(keys.invitation(_digest(token))))
        if found is None:
            raise NotConnected(
                "this link was used already, or is older than seven days; ask whoever sent it for a new one",
                code="invitation_unknown",
            )
        return Invitation(**orjson.loads(found))

    def use(self, token: str) -> None:
        """End a consent link."""
        self._safely(lambda: self._redis.delete(keys.invitation(_digest(token))))

    def put(self, name: str, of: str, *, label: str, dc: str, organisations: Mapping[str, str]) -> Customer:
        """Note a customer who has consented, in place of what was known of him."""
        value = {"of": of, "label": label, "dc": dc, "organisations": dict(organisations), "made": now_ms()}
        self._safely(lambda: self._redis.hset(keys.customers(), name, orjson.dumps(value)))
        self._read_at = float("-inf")
        return _customer(name, orjson.dumps(value).decode())

    def remove(self, name: str) -> None:
        """Forget a customer."""
        self._safely(lambda: self._redis.hdel(keys.customers(), name))
        self._read_at = float("-inf")

    def _safely(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except RedisError as error:
            raise LedgerUnavailable(f"Redis does not answer: {error}") from error


def _customer(name: str, value: str) -> Customer:
    said = orjson.loads(value)
    return Customer(
        name, **{key: said[key] for key in ("of", "label", "dc", "organisations", "made") if key in said}
    )


def _digest(token: str) -> str:
    """A link's token is kept as a digest only: a dump of Redis opens no link."""
    return hashlib.sha256(token.encode()).hexdigest()[:40]

"""Clients: what a process has one of, and makes each job's `Zoho` from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from receiver.zoho import OnWrite, Zoho
from receiver.zoho.consent import Consent
from receiver.zoho.device import DeviceConsent
from receiver.zoho.gather import Gather
from receiver.zoho.shelf import Shelf
from receiver.zoho.tokens import Tokens
from receiver.zoho.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from receiver.settings import Settings
    from receiver.zoho.vault import Vault
    from receiver.zoho.wire import Wire


class Clients:
    """One process's tokens, connections to Zoho and consents; safe from many threads."""

    def __init__(self, redis: Redis, settings: Settings, vault: Vault, http: Wire | None = None) -> None:
        """`http` is the process's own wire where it is left out."""
        self.settings = settings
        self.tokens = Tokens(redis, settings, vault, http)
        self.consent = Consent(self.tokens)
        self.device = DeviceConsent(self.tokens, self.consent.grants)
        self._transport = Transport(self.tokens, redis, http)
        self._gather = Gather()
        self._shelf = Shelf(redis)

    def for_job(
        self,
        connection: str = "",
        organisation: str = "",
        product: str = "",
        *,
        channel: str = "",
        fence: Callable[[], None] | None = None,
        calls: list[dict[str, Any]] | None = None,
        shadow: bool = False,
        on_write: OnWrite | None = None,
        behind: bool = False,
        job: str = "",
        since: int = 0,
    ) -> Zoho:
        """A `Zoho` for one job. Without a connection it is the only one there is; `organisation` is the id
        that the job's event came from, which stands for the configured one in calls to that `product`. Where
        the connection is for customers, that organisation or the CRM `channel` tells whose the event is. `behind`: the
        job is a replay's, whose calls leave room to live events. `since` (ms): when its event came, for nothing that was read
        before tells what it did.
        """
        known = self.settings.connections
        name = connection or (next(iter(known)) if len(known) == 1 else "")
        if name in known and known[name].customers:
            name = self._customer(name, product, organisation, channel) or name
        return Zoho(
            self.tokens,
            self._transport,
            self.settings,
            name,
            organisations={product: organisation} if product and organisation else None,
            fence=fence,
            calls=calls,
            shadow=shadow or self.settings.mode == "shadow",
            on_write=on_write,
            behind=behind,
            gather=self._gather,
            shelf=self._shelf,
            job=job,
            since=since,
        )

    def flush(self) -> None:
        """Tell the ledger now of all calls that are over; a thread does it within a tenth of a second otherwise."""
        self._transport.flush()

    def _customer(self, connection: str, product: str, organisation: str, channel: str) -> str:
        customers = self.tokens.customers
        found = customers.at(connection, product, organisation) if organisation else ""
        return found or (customers.owner(channel) if channel else "")

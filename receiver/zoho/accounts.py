"""Calls to Zoho's accounts hosts: each is one POST with its secrets in the body, and comes back
classified.
"""

from __future__ import annotations

import hashlib
import os
import socket
import time
from typing import TYPE_CHECKING, Any

from receiver import logs
from receiver.errors import NotConnected
from receiver.event import now_ms
from receiver.zoho.token_answers import Answer, classify

if TYPE_CHECKING:
    from collections.abc import Mapping

    from receiver.datacentres import DataCentre
    from receiver.settings import Settings
    from receiver.settings_tables import ConnectionSettings
    from receiver.zoho.customers import Customers
    from receiver.zoho.wire import Reply, Wire

TOKEN = "/oauth/v2/token"  # noqa: S105 - a path
REVOKE = "/oauth/v2/revoke/token"
SERVICES = {"crm": "ZohoCRM", "books": "ZohoBooks", "inventory": "ZohoInventory", "desk": "ZohoDesk"}
"""Zoho's word for a product in the `soid` of client credentials."""
PROCESS = f"{socket.gethostname()}:{os.getpid()}"


class Accounts:
    """The token endpoint of each connection's data centre."""

    def __init__(
        self, settings: Settings, http: Wire | None = None, customers: Customers | None = None
    ) -> None:
        self._settings = settings
        self._http = http
        self._customers = customers

    @property
    def settings(self) -> Settings:
        """The project's settings."""
        return self._settings

    @property
    def connections(self) -> tuple[str, ...]:
        """The names of the connections that can be used: the configured ones and the customers'."""
        own = (name for name, each in self._settings.connections.items() if not each.customers)
        return (*own, *(self._customers.all() if self._customers else ()))

    def settings_of(self, connection: str) -> ConnectionSettings:
        """The connection's settings; raises NotConnected where there is no such connection."""
        found = self._settings.connections.get(connection)
        if found is None and self._customers is not None:
            found = self._customers.settings_of(connection)
        if found is None:
            known = ", ".join(self._settings.connections) or "none is configured"
            raise NotConnected(
                f"there is no connection {connection!r} in zohook.toml (known: {known})",
                connection=connection,
            )
        return found

    def of(self, connection: str) -> tuple[str, str]:
        """(the configured connection whose client it is, the customer's name or ""): where its secrets are."""
        customer = self._customers.get(connection) if self._customers else None
        return (customer.of, connection) if customer else (connection, "")

    def centre(self, connection: str, stored: str = "") -> DataCentre:
        """The data centre that the consent belongs to: the stored one, else the configured one.

        A consent of the simulator and one of Zoho never stand in for each other: a token would go to the
        wrong house.
        """
        centres = self._settings.data_centres
        configured = centres.find(self.settings_of(connection).dc)
        if not stored:
            return configured
        found = centres.find(stored)
        if found.simulated != configured.simulated:
            raise NotConnected(
                f"the stored consent of {connection} is for data centre {stored!r}, the settings say "
                f"{configured.name!r}; connect it again",
                connection=connection,
            )
        return found

    def by_url(self, field: str, url: str, connection: str) -> DataCentre | None:
        """The data centre with exactly that URL, of the same house (simulator or Zoho) as the connection, or
        None.
        """
        return self._settings.data_centres.by_url(field, url, simulated=self.centre(connection).simulated)

    def by_location(self, location: str, connection: str) -> DataCentre | None:
        """The data centre that Zoho calls by that word, of the same house as the connection, or None."""
        return self._settings.data_centres.by_location(location, simulated=self.centre(connection).simulated)

    def secrets(self, connection: str, dc: str) -> tuple[str, ...]:
        """The client's secrets in a data centre, newest first; one empty one where none is set."""
        return self._settings.secrets(self.of(connection)[0], dc) or ("",)

    def fingerprint(self, connection: str) -> str:
        """What a wrong configuration is known by again: it changes with the client, its secrets or its data
        centre.
        """
        known = self.settings_of(connection)
        parts = (known.client_id, known.dc, known.client, known.soid, *self.secrets(connection, known.dc))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    def soid(self, connection: str) -> str:
        """The organisation of client credentials: as set, else of the first organisation id that is."""
        known = self.settings_of(connection)
        made = (
            f"{service}.{known.organisation(product)}"
            for product, service in SERVICES.items()
            if known.organisation(product)
        )
        return known.soid or next(made, "")

    def ask(
        self, connection: str, centre: DataCentre, secret: str, form: Mapping[str, str], path: str = TOKEN
    ) -> Answer:
        """One POST to a token endpoint of that data centre; never raises for what comes back.

        https://www.zoho.com/accounts/protocol/oauth/web-apps/access-token.html; parameters go in the body,
        since query strings end in logs.
        """
        body = {"client_id": self.settings_of(connection).client_id, "client_secret": secret, **form}
        reply = self.post(centre, path, body)
        if isinstance(reply, Answer):
            return reply
        answer = classify(reply.status, reply.body)
        for token in (answer.access, answer.refresh):
            logs.hide(token)
        return answer

    def post(self, centre: DataCentre, path: str, form: Mapping[str, str]) -> Reply | Answer:
        """One POST to an accounts host: its reply, or an Answer that says why there is none."""
        from receiver.zoho.wire import NoReply, shared  # noqa: PLC0415 - loaded when it is used

        reply = (self._http or shared()).exchange(
            "POST", f"{centre.accounts}{path}", form={name: value for name, value in form.items() if value}
        )
        if isinstance(reply, NoReply):
            return Answer("transient", reply.why, f"no answer from {centre.accounts}: {reply.message}")
        return reply

    def revoke(self, connection: str, centre: DataCentre, token: str) -> bool:
        """Ends a refresh token at Zoho; whether Zoho says that it is ended, or knows no such token.

        https://www.zoho.com/accounts/protocol/oauth/token-revocation.html: the client proves itself.
        """
        client = self.settings_of(connection).client_id
        for secret in self.secrets(connection, centre.name):
            form = {
                "client_id": client,
                "client_secret": secret,
                "token": token,
                "token_type": "refresh_token",
            }
            reply = self.post(centre, REVOKE, form)
            if isinstance(reply, Answer):
                return False
            if b"success" in reply.body or b"invalid_code" in reply.body:
                return True
        return False


def entry(grant: str, answer: Answer, began: float, generation: int) -> dict[str, Any]:
    """One line of a connection's token history; no token in it."""
    return {
        "at": now_ms(),
        "process": PROCESS,
        "grant": grant,
        "outcome": answer.kind,
        "code": answer.code,
        "ms": int((time.monotonic() - began) * 1000),
        "generation": generation,
    }

"""Calls to Zoho's accounts hosts: each is one POST with its secrets in the body, and comes back
classified.
"""

from __future__ import annotations

import hashlib
import os
import socket
import time
from typing import TYPE_CHECKING, Any

from receiver.datacentres import DataCentre, by_url, find
from receiver.errors import NotConnected
from receiver.event import now_ms
from receiver.zoho.token_answers import Answer, classify

if TYPE_CHECKING:
    from collections.abc import Mapping

    from receiver.settings import Settings
    from receiver.settings_tables import ConnectionSettings
    from receiver.zoho.wire import Wire

SIMULATOR = "simulator"
PROCESS = f"{socket.gethostname()}:{os.getpid()}"


class Accounts:
    """The token endpoint of each connection's data centre."""

    def __init__(self, settings: Settings, http: Wire | None = None) -> None:
        self._settings = settings
        self._http = http

    @property
    def connections(self) -> tuple[str, ...]:
        """The names of the configured connections."""
        return tuple(self._settings.connections)

    def settings_of(self, connection: str) -> ConnectionSettings:
        """The connection's settings; raises NotConnected where there is no such connection."""
        found = self._settings.connections.get(connection)
        if found is None:
            known = ", ".join(self._settings.connections) or "none is configured"
            raise NotConnected(
                f"there is no connection {connection!r} in zohook.toml (known: {known})",
                connection=connection,
            )
        return found

    def centre(self, connection: str, stored: str = "") -> DataCentre:
        """The data centre that the consent belongs to: the stored one, else the configured one.

        A consent of the simulator and one of Zoho never stand in for each other: a token would go to the
        wrong house.
        """
        configured = self.settings_of(connection).dc
        if stored and (stored == SIMULATOR) != (configured == SIMULATOR):
            raise NotConnected(
                f"the stored consent of {connection} is for data centre {stored!r}, the settings say "
                f"{configured!r}; connect it again",
                connection=connection,
            )
        return find(stored or configured, self._settings.simulator.url or None)

    def by_url(self, field: str, url: str, connection: str) -> DataCentre | None:
        """The data centre with exactly that URL, of the same house (simulator or Zoho) as the connection, or
        None.
        """
        simulated = self.settings_of(connection).dc == SIMULATOR
        found = by_url(field, url, self._settings.simulator.url if simulated else None)
        return found if found and (found.name == SIMULATOR) == simulated else None

    def secrets(self, connection: str) -> tuple[str, ...]:
        """The client's secrets, newest first; one empty one where none is set."""
        return self._settings.secrets(connection) or ("",)

    def fingerprint(self, connection: str) -> str:
        """What a wrong configuration is known by again: it changes with the client, its secrets or its data
        centre.
        """
        known = self.settings_of(connection)
        parts = (known.client_id, known.dc, *self.secrets(connection))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    def ask(self, connection: str, centre: DataCentre, secret: str, form: Mapping[str, str]) -> Answer:
        """One POST to the token endpoint of that data centre; never raises for what comes back.

        https://www.zoho.com/accounts/protocol/oauth/web-apps/access-token.html; parameters go in the body,
        since query strings end in logs.
        """
        from receiver.zoho.wire import NoReply, shared  # noqa: PLC0415 - loaded when it is used

        body = {"client_id": self.settings_of(connection).client_id, "client_secret": secret, **form}
        reply = (self._http or shared()).exchange(
            "POST",
            f"{centre.accounts}/oauth/v2/token",
            form={name: value for name, value in body.items() if value},
        )
        if isinstance(reply, NoReply):
            return Answer("transient", reply.why, f"no answer from {centre.accounts}: {reply.message}")
        return classify(reply.status, reply.body)


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

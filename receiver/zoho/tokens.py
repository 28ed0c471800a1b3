"""Tokens: one access token per connection, shared by every thread and process, and renewed by one of them.

A token is fresh, stale (under ten minutes left: still used while one process renews it) or invalid (everybody
waits for that one). The lock carries a fencing value, the row a generation; what is written is written only
over the generation that was read. Eight calls in ten minutes is all that is ever spent, over all processes.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NoReturn

from receiver import logs
from receiver.errors import (
    ConnectionMisconfigured,
    ConnectionRevoked,
    LedgerUnavailable,
    NotConnected,
    TokenThrottled,
    Unavailable,
    ZohookError,
)
from receiver.event import new_id, now_ms
from receiver.zoho.accounts import Accounts
from receiver.zoho.customers import Customers
from receiver.zoho.token_refresh import Refresh
from receiver.zoho.token_row import Row, Status, Token
from receiver.zoho.token_rows import Rows, Taken

if TYPE_CHECKING:
    from redis import Redis

    from receiver.datacentres import DataCentre
    from receiver.settings import Settings
    from receiver.zoho.vault import Vault
    from receiver.zoho.wire import Wire

log = logs.get("tokens")

REREAD = 1.0
"""Seconds between two readings of a row by one process."""
HANDED = "handed"
ENDED = "the access token that was handed in has ended, and nothing can renew it; hand in another one"
CLEARS = 600.0
"""Seconds for which a refusal that a fresh token did not cure is not blamed on the token again."""


@dataclass(slots=True)
class _Slot:
    """What this process knows of one connection."""

    connection: str
    reading: threading.Lock = field(default_factory=threading.Lock)
    renewing: threading.Lock = field(default_factory=threading.Lock)
    jitter: float = field(default_factory=lambda: random.uniform(0.8, 1.0))  # noqa: S311 - spreads load, guards nothing
    row: Row | None = None
    token: Token | None = None
    checked: float = float("-inf")
    failed: float = float("-inf")
    behind: float = float("-inf")


class Tokens:
    """The access tokens of all connections; safe from many threads and processes."""

    def __init__(
        self,
        redis: Redis,
        settings: Settings,
        vault: Vault,
        http: Wire | None = None,
        *,
        lease: float = 30.0,
        patience: float = 35.0,
        confirm: float = 2.0,
        pause: float = 1.0,
    ) -> None:
        """`lease` outlasts a token call (5 s to connect, 20 s to read); `patience` is how long a caller waits
        for a token; `confirm` how long after Zoho's first `invalid_code` it is asked once more. All in
        seconds.
        """
        self._rows = Rows(redis, lease)
        self._vault = vault
        self._customers = Customers(redis, settings)
        self._accounts = Accounts(settings, http, self._customers)
        self.refresh = Refresh(self._rows, self._accounts, vault, confirm, pause)
        self._patience = patience
        self._slots: dict[str, _Slot] = {}

    @property
    def rows(self) -> Rows:
        """The rows in Redis, for the consent."""
        return self._rows

    @property
    def accounts(self) -> Accounts:
        """The accounts hosts, for the consent."""
        return self._accounts

    @property
    def customers(self) -> Customers:
        """The connections that consent links made."""
        return self._customers

    @property
    def vault(self) -> Vault:
        """What seals the rows, for the consent."""
        return self._vault

    def get(self, connection: str) -> Token:
        """A token that Zoho should take. Raises a ConnectionUnusable where none can be had and a person or
        time must help, Unavailable where the accounts host does not answer, LedgerUnavailable where Redis
        does not.
        """
        self._accounts.settings_of(connection)
        slot = self._slot(connection)
        row = self._recent(slot)
        left = row.left()
        if left <= 0:
            return self._open(slot, self._wait(slot, row))
        if left < row.margin(slot.jitter):
            self._renew_behind(slot, row)
        return self._open(slot, row)

    def invalidate(self, connection: str, generation: int, reason: str = "") -> bool:
        """Says that Zoho refused the token of that generation. True where trying again with `get` makes
        sense: a newer token is there, or one will be made. False where a fresh token was refused for the same
        reason lately.
        """
        slot = self._slot(connection)
        again = self._rows.invalidate(connection, generation, reason, CLEARS)
        slot.checked = float("-inf")
        return again

    def clear(self, connection: str, generation: int, reason: str = "") -> None:
        """Says that a token just made was refused for that reason too: it is not the token's fault for ten
        minutes.
        """
        self._rows.clear(connection, generation, reason)

    def centre(self, token: Token, connection: str) -> DataCentre:
        """The data centre whose hosts may be given this token."""
        return self._accounts.centre(connection, token.dc)

    def mark_stale(self, connection: str) -> bool:
        """Has the token renewed at its next use; False where there is none."""
        self._slot(connection).checked = float("-inf")
        return self._rows.mark_stale(connection)

    def status(self, connection: str) -> Status:
        """State, times, scopes and history of a connection; no token in it."""
        found = self._rows.status(connection)
        if found.grant == HANDED and found.expires_at < now_ms():
            return replace(found, state="not_connected", why=ENDED)
        if found.state == "not_connected" and self._own(connection):
            return replace(found, state="ok")
        return found

    def _own(self, connection: str) -> bool:
        """Whether its client makes tokens without anybody's consent."""
        return self._accounts.settings_of(connection).client == "credentials"

    def connections(self) -> list[Status]:
        """The status of every configured connection."""
        return [self.status(connection) for connection in self._accounts.connections]

    def _slot(self, connection: str) -> _Slot:
        return self._slots.get(connection) or self._slots.setdefault(connection, _Slot(connection))

    def _recent(self, slot: _Slot) -> Row:
        """The row, read at most once a second by this process. While Redis is away a token that still lives
        is used.
        """
        asked = time.monotonic()
        if slot.row and asked - slot.checked < REREAD:
            return slot.row
        with slot.reading:
            if slot.row and slot.checked > asked:
                return slot.row
            if slot.failed > asked and not (slot.row and slot.row.left() > 0):
                raise LedgerUnavailable("Redis does not answer, and no token is at hand")
            try:
                slot.row = self._rows.read(slot.connection)
            except LedgerUnavailable:
                slot.failed = time.monotonic()
                if not (slot.row and slot.row.left() > 0):
                    raise
            slot.checked = time.monotonic()
            return slot.row

    def _open(self, slot: _Slot, row: Row) -> Token:
        held = slot.token
        if held is None or held.generation != row.generation or held.expires_at != row.expires:
            value = self._vault.open(f"{row.connection} access", row.access)
            logs.hide(value)
            held = slot.token = Token(value, row.generation, row.expires, row.dc)
        return held

    def _renew_behind(self, slot: _Slot, row: Row) -> None:
        """Renews a stale token in a thread of its own: whoever asked goes on with the one that still
        lives.
        """
        now = time.monotonic()
        if now < slot.behind:
            return
        slot.behind = now + 5.0
        threading.Thread(
            target=self._behind, args=(slot, row), name=f"token-{slot.connection}", daemon=True
        ).start()

    def _behind(self, slot: _Slot, row: Row) -> None:
        fence = new_id()
        try:
            taken = self._take(slot, fence, row.generation)
            if taken.verdict == "yours":
                self._learn(slot, self.refresh.run(taken.row, fence))
        except ZohookError as error:
            log.warning("token.not_renewed", connection=slot.connection, error=str(error))

    def _wait(self, slot: _Slot, row: Row) -> Row:
        """The row with a living token, renewed here or elsewhere. One thread of this process asks, the others
        wait for it.
        """
        until = time.monotonic() + self._patience
        if not slot.renewing.acquire(timeout=self._patience):
            raise self._no_token(slot, "the token is still being renewed")
        try:
            known = slot.row
            if known and known.generation > row.generation and known.left() > 0:
                return known
            return self._renew(slot, row.generation, until)
        finally:
            slot.renewing.release()

    def _renew(self, slot: _Slot, seen: int, until: float) -> Row:
        nap = 0.02
        while time.monotonic() < until:
            fence = new_id()
            taken = self._take(slot, fence, seen)
            if taken.verdict == "newer":
                return self._learn(slot, taken.row)
            if taken.verdict == "yours":
                row = self._learn(slot, self.refresh.run(taken.row, fence))
                if row.left() > 0:
                    return row
            elif taken.verdict == "busy":
                time.sleep(nap * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, guards nothing
                nap = min(nap * 1.5, 0.25)
            elif taken.verdict == "pause" and taken.wait <= 3.0:
                time.sleep(taken.wait)
            else:
                self._refuse(taken)
        raise self._no_token(slot, "the token could not be renewed in time")

    def _take(self, slot: _Slot, fence: str, seen: int) -> Taken:
        name = slot.connection
        return self._rows.take(name, fence, seen, self._accounts.fingerprint(name), own=self._own(name))

    def _learn(self, slot: _Slot, row: Row) -> Row:
        slot.row, slot.checked = row, time.monotonic()
        return row

    def _no_token(self, slot: _Slot, why: str) -> Unavailable:
        return Unavailable(f"{why} (connection {slot.connection})", code="no_token", retry_after=10.0)

    def _refuse(self, taken: Taken) -> NoReturn:
        row, wait = taken.row, taken.wait
        name = row.connection
        if taken.verdict in {"cooldown", "budget"}:
            why = "asked for a pause" if taken.verdict == "cooldown" else "would refuse the next one"
            raise TokenThrottled(
                f"no new token for {name} for {wait:.0f} s: Zoho {why}",
                connection=name,
                retry_after=wait,
                code=row.outcome,
            )
        if taken.verdict == "pause":
            raise Unavailable(f"no token for {name}: {row.why}", code="no_token", retry_after=wait)
        if row.state == "revoked":
            raise ConnectionRevoked(
                f"Zoho no longer takes the consent of {name}; connect it again", connection=name
            )
        if row.state == "misconfigured":
            raise ConnectionMisconfigured(
                f"Zoho refuses the client of {name}: {row.why}; correct client_id, dc or "
                f"ZOHOOK_SECRET_{self._accounts.of(name)[0].upper()}",
                connection=name,
                retry_after=wait,
            )
        why = ENDED if row.grant == HANDED else "nobody has consented yet; connect it first"
        raise NotConnected(f"{name}: {why}", connection=name)

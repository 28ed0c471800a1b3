"""Grants: what a consent brings, exchanged at Zoho, put into the token row, counted, and revoked when it is replaced.

Each way to a consent ends here. A failure leaves the stored consent as it was.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

from receiver import logs
from receiver.errors import ConnectionMisconfigured, NotConnected, SettingsError, TokenThrottled, Unavailable
from receiver.zoho.accounts import TOKEN, entry
from receiver.zoho.token_answers import Answer
from receiver.zoho.tokens import HANDED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from receiver.datacentres import DataCentre
    from receiver.errors import ConnectionUnusable
    from receiver.zoho.token_row import Row
    from receiver.zoho.tokens import Tokens

log = logs.get("consent")
MOST, WARN = 20, 18
"""Live refresh tokens of one user and client: the 21st silently ends the oldest, with its access tokens
(https://www.zoho.com/accounts/protocol/oauth/web-apps/access-token-expiry.html).
"""
LONGEST_HANDED = 3600
_CURES = {
    "invalid_code": "Zoho does not take the code: it was used before, is older than a minute, or was made "
    "for another client or data centre. Start the consent again",
    "invalid_redirect_uri": "the redirect URI is not the one registered with the client: enter {redirect} in "
    "Zoho's API console, letter by letter",
    "invalid_client": "Zoho does not know the client at {host}: is client_id right, is dc the data centre "
    "where the client was made, and is this data centre switched on for it in Zoho's API console (Multi-DC)?",
    "invalid_client_secret": "the client secret is wrong for {host}: each data centre has its own; set "
    "ZOHOOK_SECRET_{name}, or ZOHOOK_SECRET_{name}__{dc} for that data centre alone",
}


class Grants:
    """Puts consents into the rows. Every failure is a ZohoError that says what to do."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._rows, self._accounts, self._vault = tokens.rows, tokens.accounts, tokens.vault

    def exchange(
        self,
        connection: str,
        centre: DataCentre,
        form: Mapping[str, str],
        scopes: Iterable[str] = (),
        path: str = TOKEN,
    ) -> Answer:
        """What a code, or whatever else is in the form, is worth; nothing is stored."""
        self._rows.count_call()
        secret = self._accounts.secrets(connection, centre.name)[0]
        answer = self._accounts.ask(connection, centre, secret, form, path)
        if answer.kind != "ok":
            raise self.failed(connection, centre, answer, form.get("redirect_uri", ""))
        return answer if answer.scopes else answer.of_scopes(scopes)

    def keep(self, connection: str, centre: DataCentre, answer: Answer, began: float, grant: str) -> None:
        """Puts a consent in place of the old one, and ends that one at Zoho: else it would fill one of the twenty places."""
        if not answer.refresh:
            raise NotConnected(
                "Zoho gave no refresh token: the consent was not asked offline, or the code is of another "
                "kind. Start the consent again from Zohook",
                code="no_refresh_token",
                connection=connection,
            )
        before = self._rows.read(connection)
        self._install(
            connection,
            centre,
            answer,
            began,
            grant,
            {"refresh": self._vault.seal(f"{connection} refresh", answer.refresh)},
        )
        self._count(connection, answer.refresh)
        self._end_replaced(connection, before, answer.refresh)

    def own(self, connection: str) -> None:
        """Tries client credentials: one token call, as every later renewal makes it."""
        self._tokens.mark_stale(connection)
        self._tokens.get(connection)

    def hand_refresh(self, connection: str, token: str, scopes: Iterable[str] = ()) -> None:
        """Takes a refresh token that an app of one's own was given (a mobile client's), once Zoho makes a token of it."""
        centre, began = self._accounts.centre(connection), time.monotonic()
        form = {"grant_type": "refresh_token", "refresh_token": _token(token)}
        answer = self.exchange(connection, centre, form, scopes)
        self.keep(
            connection, centre, answer.with_refresh(form["refresh_token"]), began, "handed_refresh_token"
        )

    def hand_access(self, connection: str, token: str, seconds: int, scopes: Iterable[str] = ()) -> None:
        """Takes an access token for what is left of its hour, from a client that is given no refresh token."""
        if not 0 < seconds <= LONGEST_HANDED:
            raise SettingsError(
                f"expires_in is the seconds that the token still lives, 1 to {LONGEST_HANDED}, not {seconds}"
            )
        answer = Answer("ok", access=_token(token), life=seconds, scopes=tuple(scopes))
        centre = self._accounts.centre(connection)
        self._install(connection, centre, answer, time.monotonic(), "handed_access_token", {"grant": HANDED})

    def remove(self, connection: str) -> bool:
        """Revokes a connection's consent at Zoho, and forgets it; whether Zoho confirmed that it is ended."""
        row = self._rows.read(connection)
        ended = not row.refresh or self._revoke(connection, row)
        self._rows.remove(connection)
        return ended

    def alive(self, connection: str) -> int:
        """How many refresh tokens of the connection's client are alive, as far as we know."""
        of, customer = self._accounts.of(connection)
        return self._rows.consents(self._accounts.settings_of(of).client_id, customer)

    def failed(
        self, connection: str, centre: DataCentre, answer: Answer, redirect: str = ""
    ) -> ConnectionUnusable | Unavailable:
        """The error that an answer without a token is told as, with its cure."""
        name = self._accounts.of(connection)[0].upper()
        words = {"redirect": redirect, "host": centre.accounts, "name": name, "dc": centre.location.upper()}
        cure = (
            _CURES.get(answer.code, answer.message).format(**words)
            if answer.code in _CURES
            else answer.message
        )
        if answer.kind == "transient":
            return Unavailable(f"{cure}; try again", code=answer.code)
        if answer.kind == "throttled":
            return TokenThrottled(
                f"{cure}; wait ten minutes and start the consent again",
                code=answer.code,
                connection=connection,
                retry_after=600.0,
            )
        kind = ConnectionMisconfigured if answer.kind == "misconfigured" else NotConnected
        return kind(cure, code=answer.code, connection=connection)

    def _install(
        self,
        connection: str,
        centre: DataCentre,
        answer: Answer,
        began: float,
        grant: str,
        more: Mapping[str, str],
    ) -> None:
        domain = self._accounts.by_url("api", answer.api_domain, connection) if answer.api_domain else None
        fields = {
            "access": self._vault.seal(f"{connection} access", answer.access),
            "life": str(answer.life),
            "dc": centre.name,
            # A domain that the table does not have is not kept; calls go to the table's hosts in any case.
            "api_domain": answer.api_domain if domain else "",
            "scopes": " ".join(answer.scopes),
            "client": self._accounts.fingerprint(connection),
        }
        age = time.monotonic() - began
        self._rows.install(connection, entry(grant, answer, began, 0), age, answer.life, {**fields, **more})

    def _count(self, connection: str, refresh: str) -> None:
        of, customer = self._accounts.of(connection)
        alive = self._rows.count_consent(self._accounts.settings_of(of).client_id, customer, _digest(refresh))
        if alive >= WARN:
            log.warning("consent.many", connection=connection, alive=alive, most=MOST,
                        effect="the next ones end the oldest without notice; `zohook connection remove` what is not used")  # fmt: skip

    def _end_replaced(self, connection: str, before: Row, refresh: str) -> None:
        """Best effort: the new consent is good whatever becomes of the old one."""
        if not before.refresh or before.client != self._accounts.fingerprint(connection):
            return
        try:
            if self._vault.open(f"{connection} refresh", before.refresh) != refresh and not self._revoke(
                connection, before
            ):
                log.warning("consent.old_not_revoked", connection=connection)
        except SettingsError as error:  # sealed with a key that is lost: nobody can end it from here
            log.warning("consent.old_not_revoked", connection=connection, error=str(error))

    def _revoke(self, connection: str, row: Row) -> bool:
        token = self._vault.open(f"{connection} refresh", row.refresh)
        if not self._accounts.revoke(connection, self._accounts.centre(connection, row.dc), token):
            return False
        of, customer = self._accounts.of(connection)
        self._rows.forget_consent(self._accounts.settings_of(of).client_id, customer, _digest(token))
        return True


def _digest(refresh: str) -> str:
    return hashlib.sha256(refresh.encode()).hexdigest()[:16]


def _token(text: str) -> str:
    found = text.strip()
    if not 10 <= len(found) <= 500 or not found.isascii() or not found.isprintable() or " " in found:
        raise SettingsError("that is no token of Zoho's: it begins with 1000. and has no blanks in it")
    return found

"""Consent: how a person lets Zohook work for an organisation. The authorization code flow, with one-use state
and PKCE.

https://www.zoho.com/accounts/protocol/oauth/web-apps/authorization.html and
.../multi-dc/client-authorization.html. A failure leaves the stored consent as it was.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import orjson

from receiver.datacentres import DATA_CENTRES, DataCentre
from receiver.errors import (
    ConnectionMisconfigured,
    ConnectionUnusable,
    NotConnected,
    TokenThrottled,
    Unavailable,
)
from receiver.zoho.accounts import SIMULATOR, entry

if TYPE_CHECKING:
    from receiver.zoho.token_answers import Answer
    from receiver.zoho.tokens import Tokens

KNOWN = ("state", "code", "error", "location", "accounts-server")

_CURES = {
    "invalid_code": "Zoho does not take the code: it was used before, is older than a minute, or was made "
    "for another client or data centre. Start the consent again",
    "invalid_redirect_uri": "the redirect URI is not the one registered with the client: enter {redirect} in "
    "Zoho's API console, letter by letter",
    "invalid_client": "Zoho does not know the client at {host}: is client_id right, is dc the data centre "
    "where the client was made, and is this data centre switched on for it in Zoho's API console (Multi-DC)?",
    "invalid_client_secret": "the client secret is wrong for {host}: each data centre has its own; set "
    "ZOHOOK_SECRET_{name}",
}


class Consent:
    """Begins and finishes consents. Every failure is a ZohoError that says what to do."""

    def __init__(self, tokens: Tokens) -> None:
        self._rows = tokens.rows
        self._accounts = tokens.accounts
        self._vault = tokens.vault

    def begin(self, connection: str, redirect_uri: str, scopes: Iterable[str], *, session: str = "") -> str:
        """The URL at Zoho to send the person to. The state in it is good once, for ten minutes, and for that
        `session` only.
        """
        known = self._accounts.settings_of(connection)
        centre = self._accounts.centre(connection)
        if not known.client_id:
            raise ConnectionMisconfigured(
                f"connections.{connection}.client_id is not set; make a client at {centre.console}",
                connection=connection,
            )
        wanted = ",".join(scopes)
        state, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(48)
        kept = {"connection": connection, "redirect": redirect_uri, "session": session, "scopes": wanted}
        self._rows.keep_state(state, orjson.dumps(kept | {"verifier": self._vault.seal(state, verifier)}))
        return authorization_url(centre, known.client_id, redirect_uri, wanted, state, verifier)

    def finish(self, params: Mapping[str, str] | Iterable[tuple[str, str]], *, session: str = "") -> str:
        """The connection that is connected now, from the parameters that Zoho sent the person back with."""
        said = _once(params)
        found = self._rows.take_state(said["state"]) if 0 < len(said["state"]) < 100 else None
        if found is None:
            raise NotConnected(
                "this answer of Zoho's belongs to no consent under way: it was used already, is older than "
                "ten minutes, or was begun elsewhere. Start the consent again",
                code="state_unknown",
            )
        kept: dict[str, str] = orjson.loads(found)
        connection = kept["connection"]
        if not hmac.compare_digest(kept["session"].encode(), session.encode()):
            raise NotConnected(
                "this consent was begun in another session", code="other_session", connection=connection
            )
        if said["error"] or not said["code"]:
            raise _refused(connection, said["error"])
        centre = self._where(connection, said["accounts-server"], said["location"])
        form = {
            "grant_type": "authorization_code",
            "code": said["code"],
            "redirect_uri": kept["redirect"],
            "code_verifier": self._vault.open(said["state"], kept["verifier"]),
        }
        self._exchange(connection, centre, form, kept["scopes"])
        return connection

    def self_client(self, connection: str, code: str, scopes: Iterable[str] = ()) -> str:
        """The connection, connected with a code that a person made in Zoho's API console (a self client has
        no redirect).

        https://www.zoho.com/accounts/protocol/oauth/self-client/authorization-code-flow.html
        """
        form = {"grant_type": "authorization_code", "code": code.strip()}
        self._exchange(connection, self._accounts.centre(connection), form, ",".join(scopes))
        return connection

    def _where(self, connection: str, server: str, location: str) -> DataCentre:
        """The data centre of the person's account. Only an exact entry of the table is taken, for whoever can
        open the callback's URL could otherwise have the client secret posted to his own host.
        """
        if not server and not location:
            return self._accounts.centre(connection)
        found = (
            self._accounts.by_url("accounts", server, connection)
            if server
            else DATA_CENTRES.get(location.lower())
        )
        contradicts = found and server and location.lower() in DATA_CENTRES and location.lower() != found.name
        simulated = self._accounts.settings_of(connection).dc == SIMULATOR
        if found is None or (contradicts and not simulated) or (simulated and found.name != SIMULATOR):
            raise NotConnected(
                "the answer names an accounts server or data centre that is not in the table of Zoho's; "
                "nothing was sent there. Start the consent again from Zohook",
                code="unknown_accounts_server",
                connection=connection,
            )
        return found

    def _exchange(self, connection: str, centre: DataCentre, form: dict[str, str], scopes: str) -> None:
        began = time.monotonic()
        self._rows.count_call()
        secret = self._accounts.secrets(connection)[0]
        answer = self._accounts.ask(connection, centre, secret, form)
        if answer.kind != "ok":
            raise _failed(connection, centre, form.get("redirect_uri", ""), answer)
        if not answer.refresh:
            raise NotConnected(
                "Zoho gave no refresh token: the consent was not asked offline, or the code is of another "
                "kind. Start the consent again from Zohook",
                code="no_refresh_token",
                connection=connection,
            )
        domain = self._accounts.by_url("api", answer.api_domain, connection) if answer.api_domain else None
        granted = answer.scopes or tuple(scope for scope in scopes.split(",") if scope)
        fields = {
            "access": self._vault.seal(f"{connection} access", answer.access),
            "refresh": self._vault.seal(f"{connection} refresh", answer.refresh),
            "life": str(answer.life),
            "dc": centre.name,
            # A domain that the table does not have is not kept; calls go to the table's hosts in any case.
            "api_domain": answer.api_domain if domain else "",
            "scopes": " ".join(granted),
            "client": self._accounts.fingerprint(connection),
        }
        age = time.monotonic() - began
        self._rows.install(
            connection, entry("authorization_code", answer, began, 0), age, answer.life, fields
        )


def authorization_url(
    centre: DataCentre, client_id: str, redirect_uri: str, scope: str, state: str, verifier: str
) -> str:
    """The URL of Zoho's consent page, with the S256 challenge of the verifier.

    `access_type=offline` and `prompt=consent`, for without them Zoho gives a refresh token at the first consent
    only. https://www.zoho.com/accounts/protocol/oauth/web-apps/authorization.html
    """
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    query = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "scope": scope,
        "access_type": "offline",
        "prompt": "consent",
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    return f"{centre.accounts}/oauth/v2/auth?{urlencode(query)}"


def _once(params: Mapping[str, str] | Iterable[tuple[str, str]]) -> dict[str, str]:
    """The parameters that are known, each once; one that comes twice is refused, for two readers might
    differ.
    """
    pairs: list[tuple[Any, Any]] = list(params.items() if isinstance(params, Mapping) else params)
    said: dict[str, str] = {}
    for name, value in pairs:
        if name not in KNOWN:
            continue
        if name in said or not isinstance(value, str):
            raise NotConnected(f"the parameter {name} came more than once", code="doubled_parameter")
        said[name] = value
    return dict.fromkeys(KNOWN, "") | said


def _refused(connection: str, error: str) -> NotConnected:
    if error == "access_denied":
        return NotConnected(
            "the consent was refused at Zoho, or asked for too often (ten in ten minutes); start it again",
            code=error,
            connection=connection,
        )
    return NotConnected(
        f"Zoho sent no code back ({error[:80] or 'and no reason'}); start the consent again",
        code=error[:80] or "no_code",
        connection=connection,
    )


def _failed(
    connection: str, centre: DataCentre, redirect: str, answer: Answer
) -> ConnectionUnusable | Unavailable:
    cure = _CURES.get(answer.code, answer.message).format(
        redirect=redirect, host=centre.accounts, name=connection.upper()
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

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

from receiver.errors import ConnectionMisconfigured, NotConnected
from receiver.zoho.grants import Grants

if TYPE_CHECKING:
    from receiver.datacentres import DataCentre
    from receiver.zoho.token_answers import Answer
    from receiver.zoho.tokens import Tokens

KNOWN = ("state", "code", "error", "location", "accounts-server")

BY_BROWSER = frozenset({"server", "mobile"})
"""The clients whose consent is given in a browser, which comes back to the redirect URI with a code."""


class Consent:
    """Begins and finishes consents. Every failure is a ZohoError that says what to do."""

    def __init__(self, tokens: Tokens) -> None:
        self._rows = tokens.rows
        self._accounts = tokens.accounts
        self._vault = tokens.vault
        self._customers = tokens.customers
        self.grants = Grants(tokens)

    def begin(
        self,
        connection: str,
        redirect_uri: str,
        scopes: Iterable[str],
        *,
        session: str = "",
        invitation: str = "",
    ) -> str:
        """The URL at Zoho to send the person to. The state in it is good once, for ten minutes, and for that
        `session` only, where there is one. With the token of a consent link it is a customer who is sent there.
        """
        known = self._accounts.settings_of(connection)
        centre = self._accounts.centre(connection)
        if known.client not in BY_BROWSER:
            raise ConnectionMisconfigured(
                f"connections.{connection}.client is {known.client!r}, and such a client has no consent page; "
                f"run   zohook connect {connection}",
                connection=connection,
            )
        if not known.client_id:
            raise ConnectionMisconfigured(
                f"connections.{connection}.client_id is not set; make a client at {centre.console}",
                connection=connection,
            )
        wanted = ",".join(scopes)
        state, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(48)
        kept = {"connection": connection, "redirect": redirect_uri, "session": session, "scopes": wanted}
        if invitation:
            kept["invitation"] = self._vault.seal(f"{state} invitation", invitation)
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
        if kept["session"] and not hmac.compare_digest(kept["session"].encode(), session.encode()):
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
        began = time.monotonic()
        answer = self.grants.exchange(connection, centre, form, kept["scopes"].split(","))
        if "invitation" in kept:
            connection = self._admit(
                self._vault.open(f"{said['state']} invitation", kept["invitation"]), centre, answer
            )
        self.grants.keep(connection, centre, answer, began, "authorization_code")
        return connection

    def self_client(self, connection: str, code: str, scopes: Iterable[str] = ()) -> str:
        """The connection, connected with a code that a person made in Zoho's API console (a self client has
        no redirect).

        https://www.zoho.com/accounts/protocol/oauth/self-client/authorization-code-flow.html
        """
        began, centre = time.monotonic(), self._accounts.centre(connection)
        form = {"grant_type": "authorization_code", "code": code.strip()}
        answer = self.grants.exchange(connection, centre, form, scopes)
        self.grants.keep(connection, centre, answer, began, "authorization_code")
        return connection

    def _admit(self, token: str, centre: DataCentre, answer: Answer) -> str:
        """Note the customer whose link it was, with no organisations yet; his connection's name. The link is used up."""
        link = self._customers.invitation(token)
        if not answer.refresh:
            raise NotConnected("Zoho gave no refresh token; open the link once more", code="no_refresh_token")
        before = self._customers.get(link.name)
        self._customers.use(token)
        organisations = before.organisations if before else {}
        self._customers.put(link.name, link.of, label=link.label, dc=centre.name, organisations=organisations)
        return link.name

    def _where(self, connection: str, server: str, location: str) -> DataCentre:
        """The data centre of the person's account. Only an exact entry of the table is taken, for whoever can
        open the callback's URL could otherwise have the client secret posted to his own host.
        """
        if not server and not location:
            return self._accounts.centre(connection)
        found = (
            self._accounts.by_url("accounts", server, connection)
            if server
            else self._accounts.by_location(location, connection)
        )
        named = self._accounts.by_location(location, connection) if location else None
        contradicts = found and server and named and named is not found and not found.simulated
        if found is None or contradicts:
            raise NotConnected(
                "the answer names an accounts server or data centre that is not in the table of Zoho's; "
                "nothing was sent there. Start the consent again from Zohook",
                code="unknown_accounts_server",
                connection=connection,
            )
        return found


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

"""The device flow: a consent given at another screen, for a client on a machine without a browser.

https://www.zoho.com/accounts/protocol/oauth/devices/initiation-request.html and .../polling-request.html.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from receiver.errors import ConnectionMisconfigured, NotConnected, Unavailable
from receiver.zoho.token_answers import Answer, classify

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from receiver.datacentres import DataCentre
    from receiver.zoho.grants import Grants
    from receiver.zoho.tokens import Tokens

CODE, TOKEN = "/oauth/v3/device/code", "/oauth/v3/device/token"
EVERY = 30.0
"""Seconds between two looks: Zoho takes one in thirty seconds, whatever interval it names. A simulator is taken at its word."""
TRIES = 3
"""How many looks may fail on the way to Zoho before it is given up."""
_ENDS = {
    "access_denied": "the consent was refused at the other screen; start it again",
    "expired": "nobody typed the code within its five minutes; start again",
    "invalid_code": "Zoho knows this code no more; start again",
}


@dataclass(frozen=True, slots=True)
class Device:
    """A consent that waits for its user. `code` is secret; the user code is what is typed at `url`."""

    code: str
    user_code: str
    url: str
    complete_url: str
    until: float
    every: float


class DeviceConsent:
    """Begins a consent by device, and waits for it."""

    def __init__(self, tokens: Tokens, grants: Grants) -> None:
        self._accounts, self._grants = tokens.accounts, grants

    def begin(self, connection: str, scopes: Sequence[str]) -> Device:
        """What the user is told. Raises a ZohoError that says what to do."""
        centre = self._accounts.centre(connection)
        form = {
            "client_id": self._accounts.settings_of(connection).client_id,
            "grant_type": "device_request",
            "scope": ",".join(scopes),
            "access_type": "offline",
            "prompt": "consent",
        }
        reply = self._accounts.post(centre, CODE, form)
        if isinstance(reply, Answer):
            raise self._grants.failed(connection, centre, reply)
        said = _object(reply.body)
        code, user_code = said.get("device_code"), said.get("user_code")
        if not isinstance(code, str) or not isinstance(user_code, str) or not code or not user_code:
            raise self._grants.failed(connection, centre, classify(reply.status, reply.body))
        url = self._page(centre, said.get("verification_url"))
        complete = self._page(centre, said.get("verification_uri_complete")) or url
        life, every = _number(said.get("expires_in"), 300.0), _number(said.get("interval"), EVERY)
        every = every if centre.simulated else max(every, EVERY)
        return Device(code, user_code, url, complete, time.monotonic() + life, every)

    def wait(
        self,
        connection: str,
        device: Device,
        scopes: Sequence[str],
        *,
        pause: Callable[[float], Any] = time.sleep,
    ) -> None:
        """Look until the user has decided; the connection is connected then. Raises NotConnected where it will not be.

        `other_dc` says that the user is at home in another data centre, where it goes on.
        """
        centre, every, failed = self._accounts.centre(connection), device.every, 0
        while time.monotonic() < device.until:
            pause(every)
            began = time.monotonic()
            said, answer = self._look(connection, centre, device)
            word = str(said.get("error") or answer.code)
            if answer.kind == "ok":
                self._grants.keep(
                    connection,
                    centre,
                    answer if answer.scopes else answer.of_scopes(scopes),
                    began,
                    "device_token",
                )
                return
            if word == "other_dc":
                centre = self._elsewhere(connection, said)
            elif word == "slow_down":
                every += 5.0
            elif word in _ENDS:
                raise NotConnected(_ENDS[word], code=word, connection=connection)
            elif answer.kind != "transient" and word != "authorization_pending":
                raise self._grants.failed(connection, centre, answer)
            elif word != "authorization_pending" and (failed := failed + 1) >= TRIES:
                raise Unavailable(f"{answer.message}; start again", code=answer.code)
        raise NotConnected(_ENDS["expired"], code="expired", connection=connection)

    def _look(self, connection: str, centre: DataCentre, device: Device) -> tuple[dict[str, Any], Answer]:
        secrets = self._accounts.secrets(connection, centre.name)
        form = {
            "client_id": self._accounts.settings_of(connection).client_id,
            "client_secret": secrets[0],
            "grant_type": "device_token",
            "code": device.code,
        }
        reply = self._accounts.post(centre, TOKEN, form)
        if isinstance(reply, Answer):
            return {}, reply
        return _object(reply.body), classify(reply.status, reply.body)

    def _elsewhere(self, connection: str, said: dict[str, Any]) -> DataCentre:
        found = self._accounts.by_location(str(said.get("user_location") or ""), connection)
        if found is None:
            raise ConnectionMisconfigured(
                "the account is in a data centre that the table does not have; set dc to its own, and start again",
                code="other_dc",
                connection=connection,
            )
        return found

    def _page(self, centre: DataCentre, url: object) -> str:
        """The page to open, if it is on the accounts host: nobody is sent elsewhere with a code."""
        text = str(url or "")
        ours, theirs = urlsplit(centre.accounts), urlsplit(text)
        return (
            text
            if (theirs.scheme, theirs.netloc) == (ours.scheme, ours.netloc)
            else f"{centre.accounts}/oauth/v3/device"
        )


def _object(body: bytes) -> dict[str, Any]:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) else {}


def _number(value: object, otherwise: float) -> float:
    try:
        found = float(str(value))
    except ValueError:
        return otherwise
    return found if 0 < found <= 3600 else otherwise

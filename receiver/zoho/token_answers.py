"""What Zoho's token endpoint says. Pure: status and bytes in, a classified answer out.

The body decides and not the status: errors come with HTTP 200 as well as 400 and 401
(https://www.zoho.com/accounts/protocol/oauth/web-apps/access-token.html and the pages on token limits).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable

LIFE = 3600
"""Seconds a token lives where the answer does not say; Zoho's documented life."""

Kind = Literal["ok", "throttled", "revoked", "misconfigured", "denied", "transient"]

_MISCONFIGURED = {
    "invalid_client": "the client id is wrong, or the client is not of this data centre",
    "invalid_client_secret": "the client secret is wrong for this data centre",
    "invalid_redirect_uri": "the redirect URI is not the one registered with the client",
    "missing_org_info": 'the client must be told the organisation; set soid, for example "ZohoCRM.759145822"',
    "invalid_soid": "the organisation of soid is not the client's",
    "invalid_scope": "a scope is unknown to Zoho; look for a slip in scopes, and in what handlers declare",
    "unauthorized_client": "the client may not use this grant",
}
_REVOKED = {"invalid_code", "invalid_grant"}
_THROTTLE_WORDS = ("too many requests", "throttle", "maximum request limit", "try again after some time")


@dataclass(frozen=True, slots=True)
class Answer:
    """One classified answer. `code` is Zoho's word, `message` ours; the tokens never show in its repr."""

    kind: Kind
    code: str = ""
    message: str = ""
    access: str = field(default="", repr=False)
    refresh: str = field(default="", repr=False)
    life: int = LIFE
    scopes: tuple[str, ...] = ()
    api_domain: str = ""

    def of_scopes(self, scopes: Iterable[str]) -> Answer:
        """The same, with the scopes that were asked for: Zoho does not always say which it gave."""
        return replace(self, scopes=tuple(scope for scope in scopes if scope))

    def with_refresh(self, refresh: str) -> Answer:
        """The same, with a refresh token that was known before."""
        return replace(self, refresh=refresh)


def classify(status: int, body: bytes) -> Answer:
    """What an answer of the token endpoint means; never raises."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _unreadable(status, body)
    if not isinstance(said, dict):
        return Answer(
            "transient", "not_an_object", f"the token endpoint answered HTTP {status} with no object"
        )
    access = said.get("access_token")
    if status < 500 and isinstance(access, str) and access and not said.get("error"):
        return _token(said, access)
    return _refusal(status, said)


def _unreadable(status: int, body: bytes) -> Answer:
    text = body[:2000].decode(errors="replace").lower()
    if "access denied" in text and any(word in text for word in _THROTTLE_WORDS):
        return Answer("throttled", "Access Denied", "Zoho makes no more tokens for now")
    return Answer(
        "transient", "not_json", f"the token endpoint answered HTTP {status} with something other than JSON"
    )


def _token(said: dict[str, Any], access: str) -> Answer:
    refresh = said.get("refresh_token")
    scope = said.get("scope")
    domain = said.get("api_domain")
    return Answer(
        "ok",
        access=access,
        refresh=refresh if isinstance(refresh, str) else "",
        life=lifetime(said),
        scopes=tuple(scope.replace(",", " ").split()) if isinstance(scope, str) else (),
        api_domain=domain.rstrip("/") if isinstance(domain, str) else "",
    )


def _refusal(status: int, said: dict[str, Any]) -> Answer:
    code = str(said.get("error") or "")[:80]
    words = f"{code} {said.get('error_description') or ''} {said.get('message') or ''}".lower()
    if any(word in words for word in _THROTTLE_WORDS):
        return Answer("throttled", code, "Zoho makes no more tokens for now")
    if code in _REVOKED:
        return Answer("revoked", code, "the code or refresh token is wrong, used, late or revoked")
    if code in _MISCONFIGURED:
        return Answer("misconfigured", code, _MISCONFIGURED[code])
    if code == "access_denied":
        return Answer("denied", code, "the user refused, or asked too often")
    if code == "Access Denied":
        return Answer("throttled", code, "Zoho makes no more tokens for now")
    return Answer(
        "transient", code or "no_token", f"the token endpoint answered HTTP {status} without a token"
    )


def lifetime(said: dict[str, Any]) -> int:
    """Seconds that a token lives: `expires_in_sec` where it is there (old servers, whose `expires_in` is
    milliseconds), else `expires_in`; above a day it is taken for milliseconds; an hour where neither is a
    number.
    """
    for key in ("expires_in_sec", "expires_in"):
        try:
            value = int(said[key])
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
        if value > 86_400:
            value //= 1000
        if 0 < value <= 86_400:
            return value
    return LIFE

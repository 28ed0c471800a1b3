"""Zoho Desk's proof: an RS256 token in X-ZDesk-JWT, read with the keys that were handed in and no other.

https://desk.zoho.com/support/WebhookDocument.do. The token binds who sent to which webhook, but not the body.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWS
from jwt.exceptions import PyJWTError

from receiver.errors import Malformed, Unauthenticated
from receiver.sources import strict_json

if TYPE_CHECKING:
    from receiver.event import Delivery
    from receiver.sources.source import Keys, Way

HEADER = "x-zdesk-jwt"
LEEWAY = 60.0

_FORM = re.compile(r"([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_ISSUER = re.compile(r"orgId:([0-9]+)")
_JWS = PyJWS(algorithms=["RS256"])


def key_id(delivery: Delivery) -> str:
    """The `kid` that the token names, unproven, or empty. It is only ever looked up among our own keys."""
    token = delivery.header(HEADER) or ""
    form = _FORM.fullmatch(token)
    if form is None:
        return ""
    try:
        header = strict_json.loads(urlsafe_b64decode(form[1] + "=" * (-len(form[1]) % 4)))
    except (Malformed, ValueError):
        return ""
    kid = header.get("kid") if isinstance(header, dict) else None
    return kid if isinstance(kid, str) else ""


def organisation(delivery: Delivery, way: Way, keys: Keys) -> str:
    """The organisation id of a token that is sound, in time and for us; else raises Unauthenticated."""
    claims = _claims(delivery.header(HEADER) or "", key_id(delivery), keys)
    _in_time(claims, delivery.received / 1000)
    issuer = claims.get("iss")
    form = _ISSUER.fullmatch(issuer) if isinstance(issuer, str) else None
    if form is None:
        raise Unauthenticated("the token does not name an organisation as its issuer")
    _for_us(claims, form[0], way, keys)
    return form[1]


def _claims(token: str, kid: str, keys: Keys) -> dict[str, Any]:
    if not kid:
        raise Unauthenticated("the token is no JWT that names its key")
    key = keys.jwks.get(kid)
    if not isinstance(key, RSAPublicKey):
        raise Unauthenticated("the token names a key that the data centre's Desk does not have")
    try:
        payload = _JWS.decode(token, key, algorithms=["RS256"])
    except PyJWTError as error:
        raise Unauthenticated(f"the token's signature does not hold: {error}") from None
    try:
        claims = strict_json.loads(payload)
    except Malformed as error:
        raise Unauthenticated(f"the token's claims cannot be read: {error}") from None
    if not isinstance(claims, dict):
        raise Unauthenticated("the token's claims are no object")
    return claims


def _in_time(claims: dict[str, Any], received: float) -> None:
    """Checks the times that are given against that of receipt, for a spooled delivery is verified later."""
    for name in ("exp", "nbf", "iat"):
        at = claims.get(name)
        if at is None:
            continue
        if isinstance(at, bool) or not isinstance(at, int | float):
            raise Unauthenticated(f"the token's {name} is no time")
        if name == "exp" and received >= at + LEEWAY:
            raise Unauthenticated("the token has expired")
        if name != "exp" and received < at - LEEWAY:
            raise Unauthenticated(f"the token is not valid yet ({name}); is this machine's clock right?")


def _for_us(claims: dict[str, Any], issuer: str, way: Way, keys: Keys) -> None:
    """Checks whose token it is, for Desk signs the tokens of all its customers with the same keys."""
    expected = keys.issuer or (f"orgId:{way.organisation}" if way.organisation else "")
    if not expected and not way.audience:
        raise Unauthenticated(
            f"it is not configured whose Desk this is: set organisation or audience in [sources.{way.name}]"
        )
    if expected and issuer != expected:
        raise Unauthenticated(f"the token is of another organisation ({issuer}) than configured ({expected})")
    if way.audience:
        said = claims.get("aud")
        wanted = {f"webhookId:{webhook.removeprefix('webhookId:')}" for webhook in way.audience}
        if wanted.isdisjoint(
            text for text in (said if isinstance(said, list) else [said]) if isinstance(text, str)
        ):
            raise Unauthenticated("the token is for another webhook than those of `audience`")

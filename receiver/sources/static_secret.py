"""The proof of products that sign nothing: a secret of the operator's own, in a header, in a parameter, or as a password."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from receiver.errors import BadFraming, Malformed, Unauthenticated
from receiver.sources import body, signing
from receiver.sources.product import need_secret
from receiver.sources.source import Verified

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.event import Delivery
    from receiver.sources.source import Keys, Way


def verify(delivery: Delivery, way: Way, keys: Keys) -> Verified:
    """The secret stands in the configured header or in the configured parameter, and is one of ours."""
    in_header = delivery.header(header(way)) if header(way) else None
    given = in_header or _parameter(delivery, way)
    if not given:
        raise Unauthenticated(f"no secret came: add {place(way)} to the webhook in Zoho")
    need_secret(way, keys)
    ours = [_written(secret, way) for secret in keys.secrets] if in_header else keys.secrets
    which = signing.which_static(given, ours)
    if which is None:
        raise Unauthenticated(f"the secret in {place(way)} is not the one of {way.name}")
    return Verified("static", which)


def sign(delivery: Delivery, way: Way, secret: str) -> Delivery:
    """The delivery with the secret in the configured header, or else in the configured parameter of the query."""
    if header(way):
        return signing.bearing(delivery, header(way), _written(secret, way))
    name = quote(way.secret_parameter, safe="").encode()
    others = [b"=".join(pair) for pair in body.pairs(delivery.query) if pair[0] != name]
    return replace(delivery, query=b"&".join([*others, name + b"=" + quote(secret, safe="").encode()]))


def problems(way: Way) -> Sequence[str]:
    """Where the secret could stand nowhere."""
    if header(way) or way.secret_parameter:
        return ()
    return (f"sources.{way.name}: set secret_header or secret_parameter, where the rules put the secret",)


def header(way: Way) -> str:
    """The header that the secret may stand in, in small letters; empty where it may stand in none."""
    return "authorization" if way.secret_user else way.secret_header.lower()


def place(way: Way) -> str:
    """Where the secret belongs, for a sentence."""
    user = f"basic authentication with the user {way.secret_user}" if way.secret_user else ""
    named = f"the header {way.secret_header}" if way.secret_header else ""
    parameter = f"the parameter {way.secret_parameter}" if way.secret_parameter else ""
    return " or ".join(place for place in (user or named, parameter) if place) or "a secret_header"


def _written(secret: str, way: Way) -> str:
    """A secret as its header has it; an empty one stays empty, and so fits nothing."""
    if not secret:
        return ""
    if way.secret_user:
        return (
            "Basic "
            + base64.b64encode(f"{way.secret_user}:{secret}".encode("utf-8", "surrogatepass")).decode()
        )
    return way.secret_prefix + secret


def _parameter(delivery: Delivery, way: Way) -> str:
    """What the parameter says; raises BadFraming where it came twice, for two readers may differ."""
    if not way.secret_parameter:
        return ""
    try:
        found = [
            read.get(way.secret_parameter, "") for read in (body.fields(delivery.query), body.form(delivery))
        ]
    except Malformed as error:
        raise Unauthenticated(f"no secret can be read: {error}") from None
    texts = [text for text in found if text]
    if len(texts) > 1 or any(isinstance(text, list) for text in texts):
        raise BadFraming(f"the parameter {way.secret_parameter} came more than once; send it once")
    return str(texts[0]) if texts else ""

"""The proof of products that sign nothing: a secret of the operator's own, in a header or in a parameter of query or form."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from receiver.errors import BadFraming, Malformed, Unauthenticated
from receiver.sources import body, signing
from receiver.sources.product import need_secret
from receiver.sources.source import Verified

if TYPE_CHECKING:
    from receiver.event import Delivery
    from receiver.sources.source import Keys, Way


def verify(delivery: Delivery, way: Way, keys: Keys) -> Verified:
    """The secret stands in the configured header or in the configured parameter, and is one of ours."""
    given = _given(delivery, way)
    if not given:
        raise Unauthenticated(f"no secret came: add {place(way)} to the webhook in Zoho")
    need_secret(way, keys)
    which = signing.which_static(given, keys.secrets)
    if which is None:
        raise Unauthenticated(f"the secret in {place(way)} is not the one of {way.name}")
    return Verified("static", which)


def sign(delivery: Delivery, way: Way, secret: str) -> Delivery:
    """The delivery with the secret in the configured header, or else in the configured parameter of the query."""
    if way.secret_header:
        return signing.bearing(delivery, way.secret_header, secret)
    pair = f"{quote(way.secret_parameter, safe='')}={quote(secret, safe='')}".encode()
    return replace(delivery, query=b"&".join(part for part in (delivery.query, pair) if part))


def place(way: Way) -> str:
    """Where the secret belongs, for a sentence."""
    header = f"the header {way.secret_header}" if way.secret_header else ""
    parameter = f"the parameter {way.secret_parameter}" if way.secret_parameter else ""
    return " or ".join(place for place in (header, parameter) if place) or "a secret_header"


def _given(delivery: Delivery, way: Way) -> str:
    """What was sent as the secret; raises BadFraming where it came twice, for two readers may differ."""
    header = delivery.header(way.secret_header.lower()) if way.secret_header else None
    if header or not way.secret_parameter:
        return header or ""
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

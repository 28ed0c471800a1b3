"""An HMAC of a chosen recipe: which hash and encoding, in which header, over what. For senders that we know nothing of.

What is signed is a text with the parts {body}, {timestamp}, {query}, {path}, {method} and {header:NAME}, for example
"{timestamp}.{body}"; the bytes of each are those that came.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

from receiver.errors import Unauthenticated
from receiver.sources import reading, signing
from receiver.sources.product import need_secret
from receiver.sources.source import Verified

if TYPE_CHECKING:
    from collections.abc import Iterator

    from receiver.event import Delivery
    from receiver.sources.source import Keys, Way

Hash = Literal["sha256", "sha384", "sha512", "sha1"]
Encoding = Literal["hex", "base64", "base64url"]

_PIECE = re.compile(r"\{([^{}]*)\}")
_PARTS = frozenset({"body", "timestamp", "query", "path", "method"})


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a sender signs. With `part` the header holds several parts, `t=1700000000,v1=ab12...`, of which that one is the
    signature; `timestamp` is then the name of the part with the time, and without `part` that of a header.
    """

    header: str
    hash: Hash = "sha256"
    encoding: Encoding = "hex"
    prefix: str = ""
    signed: str = "{body}"
    part: str = ""
    timestamp: str = ""


def verify(delivery: Delivery, way: Way, recipe: Recipe, keys: Keys) -> Verified:
    """The header is the digest of what is signed, under one of the secrets, and its time is near that of receipt."""
    given, stamp = _given(delivery, recipe)
    need_secret(way, keys)
    text = _text(delivery, recipe, stamp)
    ours = [
        _one_spelling(_spelled(signing.keyed(secret, text, recipe.hash), recipe), recipe) if secret else ""
        for secret in keys.secrets
    ]
    which = signing.which_static(_one_spelling(given, recipe), ours)
    if which is None:
        raise Unauthenticated(
            f"{recipe.header} does not fit what [sources.{way.name}] says is signed ({recipe.signed}), "
            f"or does not come of the secret of {way.name}"
        )
    if recipe.timestamp:
        _check_age(delivery, way, recipe, stamp)
    return Verified("hmac", which)


def sign(delivery: Delivery, recipe: Recipe, secret: str) -> Delivery:
    """The delivery as its sender would sign it at the time of its receipt."""
    stamp = str(delivery.received) if recipe.part else str(delivery.received // 1000)
    if recipe.timestamp and not recipe.part:
        delivery = signing.bearing(delivery, recipe.timestamp, stamp)
    digest = signing.keyed(secret, _text(delivery, recipe, stamp), recipe.hash)
    value = recipe.prefix + _spelled(digest, recipe)
    if recipe.part:
        time = f"{recipe.timestamp}={stamp}," if recipe.timestamp else ""
        value = f"{time}{recipe.part}={value}"
    return signing.bearing(delivery, recipe.header, value)


def problems(recipe: Recipe, where: str) -> Iterator[str]:
    """What is wrong with a recipe, each with its cure."""
    parts = _PIECE.findall(recipe.signed)
    for part in parts:
        if part not in _PARTS and not part.startswith("header:"):
            known = ", ".join(f"{{{name}}}" for name in sorted(_PARTS))
            yield f"{where}.signed: there is no {{{part}}}; there are {known} and {{header:NAME}}"
    if "body" not in parts:
        yield f"{where}.signed: without {{body}} anybody who has seen one delivery could send another body"
    if "timestamp" in parts and not recipe.timestamp:
        yield f"{where}.timestamp: name the header that holds the {{timestamp}} which is signed"


def _given(delivery: Delivery, recipe: Recipe) -> tuple[str, str]:
    """The signature without its prefix, and the time as it was written ("" where none is expected)."""
    value = delivery.header(recipe.header.lower())
    if not value:
        raise Unauthenticated(f"no {recipe.header} came, which the sender is said to sign with")
    stamp = ""
    if recipe.part:
        parts = _parts(value, recipe)
        value, stamp = unquote(parts.get(recipe.part, "")), parts.get(recipe.timestamp, "")
    elif recipe.timestamp:
        stamp = delivery.header(recipe.timestamp.lower()) or ""
    if recipe.timestamp and not stamp:
        raise Unauthenticated(f"no {recipe.timestamp} came, which says when it was signed")
    if not value.startswith(recipe.prefix):
        raise Unauthenticated(f"what is in {recipe.header} does not begin with {recipe.prefix!r}")
    return value.removeprefix(recipe.prefix), stamp


def _parts(value: str, recipe: Recipe) -> dict[str, str]:
    pairs = [part.partition("=") for part in re.split("[,;] ?", value)]
    names = [name for name, _, _ in pairs]
    for name in (recipe.part, recipe.timestamp):
        if name and names.count(name) > 1:
            raise Unauthenticated(f"{name} stands more than once in {recipe.header}; send it once")
    return {name: said for name, _, said in pairs}


def _text(delivery: Delivery, recipe: Recipe, stamp: str) -> bytes:
    pieces = _PIECE.split(recipe.signed)
    return b"".join(
        _part(delivery, piece, stamp) if index % 2 else piece.encode() for index, piece in enumerate(pieces)
    )


def _part(delivery: Delivery, name: str, stamp: str) -> bytes:
    if name == "body":
        return delivery.body
    if name == "query":
        return delivery.query
    if name.startswith("header:"):
        said = delivery.header(name.removeprefix("header:").strip().lower()) or ""
    else:
        said = {"timestamp": stamp, "path": delivery.path, "method": delivery.method}.get(name, "")
    return said.encode("utf-8", "surrogatepass")


def _spelled(digest: bytes, recipe: Recipe) -> str:
    if recipe.encoding == "hex":
        return digest.hex()
    encode = base64.urlsafe_b64encode if recipe.encoding == "base64url" else base64.b64encode
    return encode(digest).decode()


def _one_spelling(text: str, recipe: Recipe) -> str:
    """Hex is the same in either case, and base64url with and without its padding."""
    if recipe.encoding == "hex":
        return text.lower() if text.isascii() else text
    return text.removesuffix("=").removesuffix("=") if recipe.encoding == "base64url" else text


def _check_age(delivery: Delivery, way: Way, recipe: Recipe, stamp: str) -> None:
    when = reading.instant(stamp)
    if when is None:
        raise Unauthenticated(
            f"{recipe.timestamp} is no time: seconds or milliseconds since 1970, or ISO 8601"
        )
    off = abs(delivery.received - when) / 1000
    if off > way.tolerance:
        raise Unauthenticated(
            f"it was signed {off:.0f} s before or after it came, and {way.tolerance:.0f} s are tolerated: it was sent again by "
            "somebody, or a clock is wrong"
        )

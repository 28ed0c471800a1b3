"""The JSON reader of the door: strict where the standard one is lenient; it raises nothing but Malformed."""

from __future__ import annotations

import codecs
import json
import re
from typing import TYPE_CHECKING, Any

import orjson

from receiver.errors import Malformed

if TYPE_CHECKING:
    from receiver.event import Delivery

DEPTH = 64
"""Documented bodies nest about six deep; Python's own reader ends in a RecursionError near a thousand."""

_STRUCTURE = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
_LONG = b"0" * 19
"""As many digits as the largest integers of 64 bits have, with the sign or one digit less."""
_COLON = re.compile(rb"\\u003a", re.IGNORECASE)
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def loads(body: bytes) -> Any:
    """The value of a JSON text in UTF-8, a byte order mark allowed.

    Refused: more than 64 levels, a name twice in one object, NaN and infinite numbers, NUL, lone surrogates.
    An integer beyond 64 bits becomes a string, for the ledger's own writer takes none.
    """
    return _read(body)[0]


def document(delivery: Delivery) -> Any:
    """What `loads` makes of a delivery's body, which remembers it."""
    value, plain = _read(delivery.body)
    if plain:
        delivery.remember(value)
    return value


def _read(body: bytes) -> tuple[Any, bool]:
    """(the value, whether any reader of JSON would make the same of these bytes)."""
    raw = body.removeprefix(codecs.BOM_UTF8)
    if raw.count(b"[") + raw.count(b"{") > DEPTH and _depth(raw) > DEPTH:
        raise Malformed(f"JSON nested more than {DEPTH} levels deep")
    try:
        value = orjson.loads(raw)  # sees to UTF-8, lone surrogates, control characters and infinite numbers
        plain = _is_exact(raw, value)
        if not plain:
            value = _READER.decode(raw.decode())
    except ValueError as error:
        raise Malformed(f"not JSON: {error}") from None
    if b"\\" in raw and _NUL.search(raw):
        raise Malformed("a NUL character in the JSON")
    return value, plain and len(raw) == len(body)


def _is_exact(raw: bytes, value: Any) -> bool:
    r"""Whether this value, read by orjson, is surely what `_READER` would make of it; False where only that one can tell.

    orjson takes the last of two equal names, and makes a float of an integer beyond 64 bits. Each name in a text has its colon, and
    so it has in what orjson writes of the value; colons in texts are there as often, unless they are spelled `\u003a`. So a name that
    orjson dropped shows in the number of colons.
    """
    digits = raw.translate(_DIGITS)
    if _LONG in digits and (_LONG + b"0" in digits or b"-" + _LONG in digits):
        return False
    if b"\\" in raw and _COLON.search(raw):
        return False
    return raw.count(b":") == orjson.dumps(value).count(b":")


def _depth(raw: bytes) -> int:
    depth = deepest = 0
    for match in _STRUCTURE.finditer(raw):
        first = raw[match.start()]
        if first in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif first in b"]}":
            depth -= 1
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in found if names.count(name) > 1)
        raise Malformed(f"the name {double[:60]!r} comes twice in one JSON object")
    return found


def _integer(digits: str) -> int | str:
    if len(digits) > 20:
        return digits
    number = int(digits)
    return number if -(2**63) <= number < 2**64 else digits


_READER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer)

"""What a body is, by its first byte before its Content-Type, which Zoho gets wrong; a form's fields."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote_to_bytes

from python_multipart.multipart import MultipartParser, parse_options_header

from receiver.errors import Malformed

if TYPE_CHECKING:
    from receiver.event import Delivery

MOST_FIELDS = 1000
"""Zoho's forms have at most 36 fields; the cap keeps a hostile body from making a million small objects."""

Kind = Literal["empty", "json", "form", "multipart", "other"]
Fields = dict[str, str | list[str]]


def kind(delivery: Delivery) -> Kind:
    """What the body is. Commerce sends JSON under a form's Content-Type, so `{` and `[` win over it."""
    if delivery.body.startswith((b"{", b"[")):
        return "json"
    first = delivery.body.removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    if not first:
        return "empty"
    if first in b"{[":
        return "json"
    said = (delivery.header("content-type") or "").partition(";")[0].strip().lower()
    if said == "application/x-www-form-urlencoded":
        return "form"
    return "multipart" if said == "multipart/form-data" else "other"


def form(delivery: Delivery) -> Fields:
    """The fields of a body that is a form, empty for any other. A name that comes twice has a list."""
    what = kind(delivery)
    if what == "form":
        return fields(delivery.body)
    return _gather(_parts(delivery)) if what == "multipart" else {}


def fields(encoded: bytes) -> Fields:
    """The decoded fields of a query string or of an urlencoded body."""
    return _gather([(_decoded(name), _decoded(value)) for name, value in pairs(encoded)])


def pairs(encoded: bytes) -> list[tuple[bytes, bytes]]:
    """The pairs of a query string or of an urlencoded body, in their order and still encoded."""
    if encoded.count(b"&") >= MOST_FIELDS:
        raise Malformed(f"a form of more than {MOST_FIELDS} fields")
    return [
        (name, value) for name, _, value in (part.partition(b"=") for part in encoded.split(b"&") if part)
    ]


def _decoded(raw: bytes) -> bytes:
    return unquote_to_bytes(raw.replace(b"+", b" "))


def _gather(raw: list[tuple[bytes, bytes]]) -> Fields:
    found: dict[str, list[str]] = {}
    for name, value in raw:
        found.setdefault(_text(name), []).append(_text(value))
    return {name: values if len(values) > 1 else values[0] for name, values in found.items()}


def _text(raw: bytes) -> str:
    if b"\0" in raw:
        raise Malformed("a NUL character in a form field")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Malformed("a form field that is not UTF-8") from None


class _Part:
    """One part of a multipart body while it is read."""

    def __init__(self) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.name = self.value = bytearray()
        self.body = bytearray()


def _parts(delivery: Delivery) -> list[tuple[bytes, bytes]]:
    """Name and value of each part. Of a file only its name is kept: no automation of Zoho's documents one."""
    found: list[_Part] = []
    whole: list[bool] = []

    def begin() -> None:
        if len(found) >= MOST_FIELDS:
            raise Malformed(f"a form of more than {MOST_FIELDS} fields")
        found.append(_Part())

    def header_begin() -> None:
        found[-1].name, found[-1].value = bytearray(), bytearray()

    def header_end() -> None:
        found[-1].headers[bytes(found[-1].name).lower()] = bytes(found[-1].value)

    try:
        _, options = parse_options_header(delivery.header("content-type"))
        parser = MultipartParser(
            options[b"boundary"],
            {
                "on_part_begin": begin,
                "on_header_begin": header_begin,
                "on_header_field": lambda data, start, end: found[-1].name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: found[-1].value.extend(data[start:end]),
                "on_header_end": header_end,
                "on_part_data": lambda data, start, end: found[-1].body.extend(data[start:end]),
                "on_end": lambda: whole.append(True),
            },
        )
        parser.write(delivery.body)
        parser.finalize()
        if not whole:
            raise Malformed("a multipart form without its end")
        return [_named(part) for part in found]
    except (ValueError, KeyError) as error:
        raise Malformed(f"not a readable multipart form: {type(error).__name__}") from None


def _named(part: _Part) -> tuple[bytes, bytes]:
    _, options = parse_options_header(part.headers[b"content-disposition"])
    return options[b"name"], options.get(b"filename", bytes(part.body))

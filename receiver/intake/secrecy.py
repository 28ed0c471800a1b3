"""The secrets within a delivery: where they stand, the delivery without them, and the same with them again. Pure."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from receiver.logs import MASK, SHAPES, names_a_secret
from receiver.sources import static_secret
from receiver.sources.body import MOST_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from receiver.event import Delivery
    from receiver.sources.source import Way

NAMELESS = frozenset({"x-zdesk-jwt"})
"""Headers that open doors, which their names do not say."""
MEMBER = "token"
"""How CRM's callbacks name their proof."""
MOST = 100
"""Secrets of one delivery that are looked for in a place; no sender of Zoho's has more than two."""
LONGEST_NAME = 300

Piece = tuple[str, int, str]
"""A secret that was taken out: of "header", "query" or "body", at which header or offset, and its bytes as Latin-1."""
Span = tuple[int, int]

_SHAPES = re.compile(rb"\b(?:%b)" % SHAPES.encode())
_NAME_OF_PART = re.compile(rb"""\bname="?([^"\r\n;]*)""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Names:
    """Under which names secrets come: of headers, of parameters in query or form, of members in a JSON body.

    `wide` takes everything whose name or shape says that it is a secret, too, and looks for the values in `known` everywhere:
    for deliveries that were refused, whose sender may have put his secret anywhere.
    """

    headers: frozenset[str] = NAMELESS
    parameters: frozenset[str] = frozenset()
    members: frozenset[str] = frozenset()
    wide: bool = False
    known: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, way: Way, members: Iterable[str]) -> Names:
        """Where a source's own deliveries carry their proof."""
        parameters = {way.secret_parameter} if way.secret_parameter else set()
        headers = NAMELESS | {static_secret.header(way)}
        return cls(headers, frozenset(parameters), frozenset(members))

    def widened(self, known: tuple[bytes, ...]) -> Names:
        """The same, and whatever else may be a secret."""
        return replace(self, members=self.members | {MEMBER}, wide=True, known=known)

    def has_parameter(self, name: str) -> bool:
        """Whether the value of a parameter is a secret."""
        return name in self.parameters or (self.wide and names_a_secret(name))


def cover(delivery: Delivery, names: Names) -> tuple[Delivery, list[Piece]]:
    """The delivery with *** in the place of each secret, and what stood there."""
    given = delivery.headers
    hidden = _hidden(tuple([name for name, _ in given]), names.headers)
    if names.wide:
        hidden = [at for at, (_, value) in enumerate(given) if at in hidden or _holds_one(value, names)]
    pieces: list[Piece] = [("header", at, given[at][1]) for at in hidden if given[at][1]]
    headers = _with_headers(delivery, [(at, MASK) for _, at, _ in pieces]) if pieces else delivery.headers
    query, body = delivery.query, delivery.body
    if names.parameters or names.wide:
        query = _cut("query", query, _in_form(query, names), names, pieces)
    if names.parameters or names.members or names.wide:
        body = _cut("body", body, _in_body(body, names), names, pieces)
    if not pieces:
        return delivery, pieces
    return replace(delivery, headers=headers, query=query, body=body), pieces


@lru_cache(256)
def _hidden(given: tuple[str, ...], hidden: frozenset[str]) -> Sequence[int]:
    """Which of these headers have names that say that they are secrets: remembered, since a sender sends the same ones."""
    return [at for at, name in enumerate(given) if name in hidden or names_a_secret(name)]


def uncover(delivery: Delivery, pieces: Sequence[Piece]) -> Delivery:
    """The delivery as it came."""
    return replace(
        delivery,
        headers=_with_headers(delivery, [(at, text) for place, at, text in pieces if place == "header"]),
        query=_put_back("query", delivery.query, pieces),
        body=_put_back("body", delivery.body, pieces),
    )


def _with_headers(delivery: Delivery, values: list[tuple[int, str]]) -> tuple[tuple[str, str], ...]:
    headers = list(delivery.headers)
    for at, value in values:
        headers[at] = (headers[at][0], value)
    return tuple(headers)


def _holds_one(value: str, names: Names) -> bool:
    raw = value.encode("latin-1", "replace")
    return _SHAPES.search(raw) is not None or any(each in raw for each in names.known)


def _in_body(raw: bytes, names: Names) -> Iterator[Span]:
    """By its first byte alone: the Content-Type of a refused delivery may be anything."""
    first = raw[:64].removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    if first in (b"{", b"["):
        return _in_json(raw, names)
    return _in_parts(raw, names) if first == b"-" else _in_form(raw, names)


def _in_form(encoded: bytes, names: Names) -> Iterator[Span]:
    """The values of secret parameters, wherever they stand; a form that no source would read is not looked into."""
    if not (names.parameters or names.wide) or encoded.count(b"&") >= MOST_FIELDS:
        return
    start = 0
    for pair in encoded.split(b"&"):
        name, _, value = pair.partition(b"=")
        end = start + len(pair)
        if value and names.has_parameter(_decoded(name)):
            yield end - len(value), end
        start = end + 1


def _decoded(name: bytes) -> str:
    return unquote_to_bytes(name[:LONGEST_NAME].replace(b"+", b" ")).decode("utf-8", "replace")


def _in_parts(raw: bytes, names: Names) -> Iterator[Span]:
    start = 0
    for part in raw.split(b"\r\n--"):
        head, _, value = part.partition(b"\r\n\r\n")
        named = _NAME_OF_PART.search(head[:1000])
        end = start + len(part)
        if value and named and names.has_parameter(named[1].decode("utf-8", "replace")):
            yield end - len(value), end
        start = end + 4


def _in_json(raw: bytes, names: Names) -> Iterator[Span]:
    """The texts of secret members at any depth. The expression is linear: a text ends where the next one begins."""
    if names.members:
        for match in _texts_of(names.members).finditer(raw):
            yield match.span(1)


@lru_cache
def _texts_of(members: frozenset[str]) -> re.Pattern[bytes]:
    either = b"|".join(re.escape(member.encode()) for member in sorted(members))
    return re.compile(rb'"(?:%b)"\s*+:\s*+"((?:[^"\\]|\\.)++)' % either, re.DOTALL)


def _anywhere(raw: bytes, names: Names) -> Iterator[Span]:
    """What is known, or looks like it, wherever it stands."""
    if names.wide:
        yield from (match.span() for match in _SHAPES.finditer(raw))
    for value in names.known:
        at = raw.find(value)
        while at >= 0:
            yield at, at + len(value)
            at = raw.find(value, at + len(value))


def _cut(place: str, raw: bytes, spans: Iterator[Span], names: Names, pieces: list[Piece]) -> bytes:
    found = [*islice(spans, MOST), *islice(_anywhere(raw, names), MOST)]
    if not found:
        return raw
    kept, end = bytearray(), 0
    for start, stop in _merged(found):
        kept += raw[end:start]
        pieces.append((place, len(kept), raw[start:stop].decode("latin-1")))
        kept += MASK.encode()
        end = stop
    return bytes(kept + raw[end:])


def _merged(spans: list[Span]) -> Iterator[Span]:
    """The spans in their order, those that overlap as one."""
    spans.sort()
    start, stop = spans[0]
    for next_start, next_stop in spans[1:]:
        if next_start < stop:
            stop = max(stop, next_stop)
        else:
            yield start, stop
            start, stop = next_start, next_stop
    yield start, stop


def _put_back(place: str, kept: bytes, pieces: Sequence[Piece]) -> bytes:
    raw, end = bytearray(), 0
    for where, at, text in pieces:
        if where == place:
            raw += kept[end:at] + text.encode("latin-1")
            end = at + len(MASK)
    return bytes(raw + kept[end:])

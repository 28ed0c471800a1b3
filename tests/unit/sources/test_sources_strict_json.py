"""The quick reading of JSON and the thorough one never differ."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from receiver.errors import Malformed
from receiver.event import Delivery
from receiver.sources import strict_json

BLANKS = st.sampled_from(["", "", "", " ", "\n", "\t", "\r", "  "])
PIECES = st.sampled_from(
    ["a", "b", ":", '\\"', "\\\\", "\\u0022", "\\u003a", "\\u003A", "\\/", "\\n", " :", "ä", "\\u00e4", "\\u0000", "\\\\u0022", ",", "{"]
)  # fmt: skip
STRINGS = st.lists(PIECES, max_size=4).map(lambda pieces: f'"{"".join(pieces)}"')
NUMBERS = st.one_of(
    st.integers(-(10**21), 10**21).map(str),
    st.sampled_from(["-0", "1e5", "1E400", "0.1", "-1.50", str(2**64), str(2**64 - 1), str(-(2**63)), str(-(2**63) - 1)]),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
)  # fmt: skip
WORDS = st.sampled_from(["true", "false", "null", "NaN", "Infinity"])


def _object(pairs: list[tuple[str, ...]]) -> str:
    return (
        "{"
        + ",".join(f"{name}{before}:{after}{value}{last}" for name, before, after, value, last in pairs)
        + "}"
    )


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(STRINGS, BLANKS, BLANKS, inner, BLANKS)
    return st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(pair, max_size=4).map(_object),
    )


TEXTS = st.recursive(st.one_of(STRINGS, NUMBERS, WORDS), _grown, max_leaves=12)


def said(text: str) -> str:
    """What is read of a text, with the types of its values, or that it is refused."""
    try:
        return repr(strict_json.loads(text.encode()))
    except Malformed:
        return "refused"


def thoroughly(text: str) -> str:
    """The same by the reader that sees each name and each digit."""
    try:
        orjson.loads(text)
        value = strict_json._READER.decode(text)
    except (ValueError, Malformed):
        return "refused"
    return "refused" if strict_json._NUL.search(text.encode()) else repr(value)


@given(TEXTS)
@example('{"a":1,"a":"\\u0022:"}')
@example('{"a" :1,"a":2}')
@example('{"a":"\\":","a":""}')
@example('{"a\\":":1,"a\\":":2}')
@example('{"a":{"b":1},"c":{"b":1}}')
def test_what_is_read_quickly_is_what_is_read_thoroughly(text: str) -> None:
    """Names that come twice, wide integers, escapes and blanks wherever they may stand: the same value or the same refusal."""
    assert said(text) == thoroughly(text)


@pytest.mark.parametrize(
    ("text", "quick"),
    [
        ('{"a": {"b": [1, 2.5, "x: y"]}, "c": "say \\"hi\\": now", "d": "\\/"}', True),
        ('{"id": "4876876000000123456", "n": 18446744073709551615}', False),
        ('{"a": 1, "a": 2}', False),
        ('{"a" : 1}', True),
        ('{"a": "\\u003A"}', False),
        ('{"id": -9223372036854775808}', False),
    ],
)
def test_usual_bodies_are_read_quickly(text: str, quick: bool) -> None:
    """The thorough reader is for the rare ones; that costs five times as much."""
    assert strict_json._is_exact(text.encode(), orjson.loads(text)) is quick


@pytest.mark.parametrize(
    ("body", "remembered"),
    [(b'{"a": 1}', True), (b'\xef\xbb\xbf{"a": 1}', False), (b'{"a": 123456789012345678901}', False)],
)
def test_a_delivery_remembers_what_any_reader_would_read(body: bytes, remembered: bool) -> None:
    """And nothing of a body of which another reader, the ledger's own say, would make something else, or nothing."""
    delivery = Delivery.arrive("books", body)
    assert delivery.says(strict_json.document(delivery)) is remembered

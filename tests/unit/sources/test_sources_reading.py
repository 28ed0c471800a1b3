"""The strict reader of JSON, the pointers, the readings of single values, and bodies."""

from __future__ import annotations

import time

import orjson
import pytest

from receiver.errors import Malformed
from receiver.event import Delivery
from receiver.sources import body, pointer, reading, strict_json


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[" * 65 + b"]" * 65,
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b"[" * 100_000,
        b'{"a": 1, "a": 2}',
        b'[{"a": 1, "\\u0061": 2}]',
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e5000",
        b"-1e400",
        b"9" * 5_000,
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'"\\u0000"',
        b'"\\\\\\u0000"',
        b'"a\x00b"',
        b'{"\\u0000": 1}',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\xc0\x80"',
        '{"a": 1}'.encode("utf-16"),
        '{"a": 1}'.encode("utf-16-le"),
        b'\xef\xbb\xbf\xef\xbb\xbf{"a": 1}',
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": 1} {"b": 2}',
        b'\x0b{"a": 1}',
        b"01",
    ],
)
def test_unsound_json_is_malformed(text):
    """Deep nesting, doubled names, numbers that are none, NUL, surrogates and other encodings end in Malformed alone."""
    with pytest.raises(Malformed):
        strict_json.loads(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'\xef\xbb\xbf {"a": 1}\n', {"a": 1}),
        (b"[" * 64 + b"]" * 64, None),
        (b'"' + b"[" * 100 + b'"', "[" * 100),
        (b'["' + b'\\"[' * 100 + b'"]', ['"[' * 100]),
        (b'"\\\\u0000"', "\\u0000"),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b"9223372036854775807", 2**63 - 1),
        (b"18446744073709551615", 2**64 - 1),
        (b"18446744073709551616", "18446744073709551616"),
        (b"-9223372036854775808", -(2**63)),
        (b"-9223372036854775809", "-9223372036854775809"),
        (b"9" * 200, "9" * 200),
        (b"[1.5, -0.0, 1e2]", [1.5, -0.0, 100.0]),
        (b'{"a": {"a": [null, true]}}', {"a": {"a": [None, True]}}),
    ],
)
def test_sound_json_is_read(text, value):
    """What is sound is read, integers beyond 64 bits as text, and the ledger's own writer takes all of it."""
    read = strict_json.loads(text)
    assert read == value or value is None
    orjson.dumps(read)


@pytest.mark.parametrize(
    ("head", "filling"),
    [(b'["', b'\\"'), (b"[" * 70 + b'"', b"1"), (b'["', b"\\")],
    ids=["quotes", "deep", "backslashes"],
)
def test_hostile_json_costs_no_more_than_its_length(head, filling):
    """What is made to run the depth check in circles takes eight times the time at eight times the size, and not sixty-four."""

    def cost(size):
        text = head + filling * (size // len(filling)) + b"[" * 70
        spent = []
        for _ in range(3):
            start = time.process_time()
            with pytest.raises(Malformed):
                strict_json.loads(text)
            spent.append(time.process_time() - start)
        return min(spent)

    assert cost(2**20) < 24 * max(cost(2**17), 1e-4)


DOCUMENT = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
    "~1": 9,
    "0": {"x": [10]},
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *[
            ("", DOCUMENT),
            ("/foo", ["bar", "baz"]),
            ("/foo/0", "bar"),
            ("/", 0),
            ("/a~1b", 1),
            ("/c%d", 2),
            ("/e^f", 3),
        ],
        *[('/k"l', 6), ("/ ", 7), ("/m~0n", 8), ("/~01", 9), ("/0/x/0", 10)],
        *[
            ("/foo/2", None),
            ("/foo/-", None),
            ("/foo/00", None),
            ("/foo/+1", None),
            ("/foo/\u0661", None),
            ("/no", None),
        ],
        *[("/foo/0/x", None), ("foo", None), ("/a~2b", None), ("/a~", None), ("/foo/" + "9" * 5_000, None)],
    ],
)
def test_pointers_find_as_rfc_6901_says(path, value):
    """The examples of the RFC are found; what is absent, out of range or ill-formed finds nothing."""
    assert pointer.find(DOCUMENT, path) == value


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        *[
            (1_618_493_667_780, 1_618_493_667_780),
            ("1618493667780", 1_618_493_667_780),
            (1_618_493_667, 1_618_493_667_000),
        ],
        *[(" 1618493667 ", 1_618_493_667_000), ("2021-04-15T13:34:27.780Z", 1_618_493_667_780)],
        *[("2016-06-05T18:28:20-0700", 1_465_176_500_000), ("2016-06-05T18:28:20+05:30", 1_465_131_500_000)],
        *[
            ("2016-06-05T18:28:20", None),
            ("2016-06-05", None),
            ("Jun 5, 2016 6:28 PM", None),
            ("", None),
            (None, None),
        ],
        *[
            (True, None),
            (1.5, None),
            (-1, None),
            (10**18, None),
            ("9" * 15, None),
            ("9" * 4_400, None),
            ([], None),
        ],
        *[
            ("\uff11\uff16\uff11\uff18\uff14\uff19\uff13\uff16\uff16\uff17", None),
            ("0001-01-01T00:00:00+14:00", None),
        ],
        *[
            ("9999-12-31T23:59:59-14:00", None),
            ("1969-12-31T23:00:00-14:00", 46_800_000),
            ("1969-12-31T23:00:00Z", None),
        ],
    ],
)
def test_times(value, ms):
    """Epoch in ms or s and ISO with an offset are read; a time whose zone nobody knows is not guessed."""
    assert reading.instant(value) == ms


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2**53 + 1, "9007199254740993"),
        (" 57 ", "57"),
        ("c-1", "c-1"),
        (True, ""),
        (1.0, ""),
        (None, ""),
        ({}, ""),
        ("", ""),
    ],
)
def test_ids_are_text(value, text):
    """An id is text whether it came as digits or as a number; what is neither is none."""
    assert reading.identifier(value) == text


def test_what_stands_for_nothing_is_left_out():
    """Empty texts and unfilled merge fields go, at any depth; null, zero and text that holds a field stay."""
    said = {
        "a": "",
        "b": " ${Leads.X} ",
        "c": [" ", "x", {"d": "${!Y}", "e": None}],
        "f": 0,
        "g": "to ${Leads.X}",
        "h": None,
    }
    assert reading.present(said) == {"c": ["x", {"e": None}], "f": 0, "g": "to ${Leads.X}", "h": None}


def arrived(sent: bytes, kind: str = "") -> Delivery:
    """A delivery of these bytes and Content-Type."""
    return Delivery.arrive("rules", sent, headers={"content-type": kind} if kind else {})


FORM = "application/x-www-form-urlencoded"
MULTI = "multipart/form-data; boundary=XX"


@pytest.mark.parametrize(
    ("sent", "said", "kind"),
    [
        *[
            (b"", FORM, "empty"),
            (b" \r\n", "", "empty"),
            (b"\xef\xbb\xbf", "", "empty"),
            (b" " * 100, "", "empty"),
        ],
        *[
            (b'{"a":1}', FORM, "json"),
            (b"\xef\xbb\xbf\n [1]", "", "json"),
            (b"a=1", FORM + ";charset=UTF-8", "form"),
        ],
        *[(b"a=1", FORM.upper(), "form"), (b"--XX", MULTI, "multipart"), (b"a=1", "", "other")],
        *[
            (b"<a/>", "text/xml", "other"),
            (b"a=1", "application/json", "other"),
            (b" " * 100 + b"{}", "", "json"),
        ],
    ],
)
def test_kinds_of_bodies(sent, said, kind):
    """The first byte wins over the Content-Type, which Commerce for one sets wrongly."""
    assert body.kind(arrived(sent, said)) == kind


def test_forms_are_read():
    """Fields are decoded, a name that comes twice has a list, and a pair without a value has an empty one."""
    assert body.form(arrived(b"a=1+2%263&b=%C3%BC&a=4&c&&d=", FORM)) == {
        "a": ["1 2&3", "4"],
        "b": "\u00fc",
        "c": "",
        "d": "",
    }
    assert body.form(arrived(b'{"a":1}', FORM)) == {}


MULTIPART = (
    b'--XX\r\nContent-Disposition: form-data; name="id"\r\n\r\n57\r\n'
    b'--XX\r\ncontent-disposition: form-data; name="note"\r\nContent-Type: text/plain\r\n\r\na\r\nb\r\n'
    b'--XX\r\nContent-Disposition: form-data; name="f"; filename="x.pdf"\r\n\r\n%PDF\x00\r\n--XX--\r\n'
)


def test_multipart_forms_are_read():
    """Parts become fields; of a file its name is kept."""
    assert body.form(arrived(MULTIPART, MULTI)) == {"id": "57", "note": "a\r\nb", "f": "x.pdf"}


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        *[
            (b"a=%00", FORM),
            (b"a=%FF", FORM),
            (b"a\x00=1", FORM),
            (b"&" * 1_000, FORM),
            (b"a=\xed\xa0\x80", FORM),
        ],
        *[
            (MULTIPART, "multipart/form-data"),
            (MULTIPART[:-6], MULTI),
            (b"garbage", MULTI),
            (MULTIPART, MULTI + "y"),
        ],
        (MULTIPART.replace(b"; name=", b"; nom="), MULTI),
        (MULTIPART.replace(b"ontent-", b"x-"), MULTI),
        (MULTIPART, "multipart/form-data; boundary=" + "X" * 5_000),
        (MULTIPART, "multipart/form-data; boundary=\u20ac"),
        (b'--XX\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 1_001 + b"--XX--\r\n", MULTI),
    ],
)
def test_unsound_forms_are_malformed(sent, said):
    """Bad encodings, NUL, too many fields, no boundary, no end or no name: Malformed, whatever the library raises."""
    with pytest.raises(Malformed):
        body.form(arrived(sent, said))

"""Bad deliveries by the thousand, the same for the same seed: samples that are cut, spliced and respoken, and what parsers stumble over."""

from __future__ import annotations

import json
import random
from typing import Any

from receiver.sources import samples

BODIES = [
    file.read_bytes()
    for file in sorted(samples.FOLDER.glob("*/*"))
    if file.suffix == ".json" and not file.name.endswith(".headers.json")
]
NASTY = [
    *[b"[" * 70, b"[" * 30_000, b'{"a":' * 900, b'{"ids":1,"ids":2}', b"NaN", b"[Infinity]", b"-Infinity"],
    *[b"9" * 5_000, b'{"ids":[' + b"9" * 5_000 + b"]}", b"1e999", b'{"event_id":1e400}', b"\xef\xbb\xbf{}"],
    *['{"a":1}'.encode("utf-16"), '{"a":"ü"}'.encode("latin-1"), b"a=1&a=2&a", b"&" * 2_000, b"%", b"%zz=%"],
    *[
        b"--XX\r\n",
        b"--XX--",
        b"\0",
        b"\0" * 500,
        b'"\\ud800"',
        b'{"module":"\\udfff"}',
        b"\x1f\x8b\x08\0garbage",
    ],
    *[
        b'[{"eventType":"a","payload":{"id":1e308}}]',
        b"JSONString=%7B%22a%22:1e999%7D",
        b"{",
        b"[",
        b'"',
        b"{}",
    ],
    *[
        b"[]",
        b"null",
        b"true",
        b"''",
        b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>",
    ],
    *[
        b"key=" + b"x" * 9_000,
        b"event=a%00b",
        b'{"__proto__":{"a":1}}',
        b"${jndi:ldap://x}",
        b"\xff\xfe\xfd" * 100,
    ],
]
VALUES: list[Any] = [
    *[
        None,
        True,
        False,
        0,
        -1,
        1.5,
        2**53,
        2**63,
        2**64,
        -(2**63) - 1,
        10**30,
        "",
        " ",
        "\t",
        "x",
        "${a}",
        "0",
    ],
    *[
        [],
        {},
        [[]],
        [None],
        {"a": 1},
        {"id": []},
        "9" * 400,
        "ü\u202e\ufeff",
        "a.b.c",
        "*",
        "**",
        "../../etc",
        "%00",
    ],
    *[
        "2026-13-45T99:99:99Z",
        "9999999999999999",
        -1e308,
        "NaN",
        "1e5",
        "\r\nX-Injected: 1",
        "<script>",
        ["x"] * 50,
    ],
]
TYPES = [
    *["", "application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=XX"],
    *["multipart/form-data", "text/plain; charset=utf-16", "application/json; charset=\xff", "a" * 500],
]
QUERIES = [
    *[b"", b"event=Deals.won", b"event=invoice.paid", b"event=invoice.paid&event=invoice.paid", b"event="],
    *[
        b"event=%00",
        b"event=*",
        b"key=%FF",
        b"a=1&b=2",
        b"%",
        b"event=task.updated&x=1",
        b"&" * 300,
        b"event=" + b"a" * 3_000,
    ],
]
METHODS = ["POST"] * 12 + ["PUT", "DELETE", "GET", "HEAD"]


class Hostile:
    """One who sends them."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def body(self, of: bytes | None = None) -> bytes:
        """A bad body: of this one, or of any sample."""
        body = self.random.choice(BODIES) if of is None else of
        return self.random.choice((self._cut, self._spliced, self._flipped, self._respoken, self._nasty))(
            body
        )

    def proof(self, length: int = 64) -> str:
        """What may stand in a header as a proof, and proves nothing."""
        letters = self.random.choice(("0123456789abcdef", "ABCabc012+/=", "t=,v1. -_", "\xe9\xff\xa0", "A"))
        return "".join(self.random.choices(letters, k=self.random.choice((0, 1, 43, 44, length, 344, 4_000))))

    def query(self) -> bytes:
        return self.random.choice(QUERIES)

    def type(self) -> str:
        return self.random.choice(TYPES)

    def method(self) -> str:
        return self.random.choice(METHODS)

    def _bytes(self, most: int) -> bytes:
        return self.random.randbytes(self.random.randrange(most))

    def _cut(self, body: bytes) -> bytes:
        start = self.random.randrange(len(body) + 1) if self.random.random() < 0.3 else 0
        return body[start : self.random.randrange(start, len(body) + 1)]

    def _spliced(self, body: bytes) -> bytes:
        at = self.random.randrange(len(body) + 1)
        return (
            body[:at] + self.random.choice((*NASTY, self._bytes(40))) + body[at + self.random.randrange(30) :]
        )

    def _flipped(self, body: bytes) -> bytes:
        flipped = bytearray(body)
        for _ in range(self.random.randrange(1, 5)):
            flipped[self.random.randrange(len(flipped))] = self.random.randrange(256)
        return bytes(flipped)

    def _respoken(self, body: bytes) -> bytes:
        """The same names with other values, at any depth."""
        try:
            document = json.loads(body)
        except ValueError:
            return self._flipped(body) if body else b"{"
        places = list(_places(document))
        for _ in range(min(len(places), self.random.randrange(1, 4))):
            holder, key = self.random.choice(places)
            holder[key] = self.random.choice(VALUES)
        return json.dumps(document).encode()

    def _nasty(self, _: bytes) -> bytes:
        return self.random.choice((*NASTY, self._bytes(300)))


def _places(document: Any) -> Any:
    items = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    for key, value in list(items):
        yield document, key
        yield from _places(value)

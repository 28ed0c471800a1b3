"""A generator of bad deliveries: what no sender of Zoho's sends, and what one that is broken or hostile may."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

from signed_deliveries import RECEIVED, SAMPLES

from receiver.event import Delivery

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

GOOD = [file.read_bytes() for file in sorted(SAMPLES.glob("*/*.json")) if ".headers" not in file.name]
TYPES = [
    *("application/json", "application/json; charset=utf-16", "APPLICATION/JSON;;;", "text/plain", "", "x" * 2000),
    *("application/x-www-form-urlencoded", "application/x-www-form-urlencoded;charset=latin-1", "\udcff"),
    *("multipart/form-data; boundary=B", "multipart/form-data", 'multipart/form-data; boundary="', "multipart/mixed; boundary=B"),
    *("multipart/form-data; boundary=" + "B" * 300, "multipart/form-data; boundary=\x00", "multipart/form-data; boundary=B; boundary=C"),
]  # fmt: skip
QUERIES = [
    *(b"", b"event=Deals.won", b"event=invoice.paid", b"event=order.paid", b"job=read", b"event=", b"event", b"%", b"%zz=%", b"=&=&="),
    *(b"event=Deals.won%0d%0aX-Injected:%201", b"event=%00", b"event=%FF%FE", b"event[]=a", b"event=a&event=b", b"Event=a", b"+=+"),
    *(b"token=&key=", b"key[$ne]=1", b"token=a&token=b", b"event=../../etc/passwd", b"event=${jndi:ldap://x}", b"event=<script>"),
    *(b"&" * 1500, b"a=" + b"1" * 20_000, b"event=" + b"a." * 500),
]  # fmt: skip
JSON = [
    *(b"[" * 70 + b"]" * 70, b'{"a":' * 900, b"[" * 100_000, b'{"a":1,"a":2}', b'{"token":"a","token":"b"}', b"NaN", b"[-Infinity]"),
    *(b'{"id":' + b"9" * 5000 + b"}", b'{"ids":[1e999]}', b'{"id":1E400}', b'{"id":-0}', b'{"id":01}', b'{"a":"\\ud800"}', b'{"a":"\\u0000"}'),
    *(b"\xef\xbb\xbf{}", b"\xef\xbb\xbf", b"{}{}", b"{},", b'{"a":"\n"}', b"{'a':1}", b"{a:1}", b"null", b"true", b'"text"', b"7", b"[]"),
    *(b'{"__proto__":{}}', b'{"":""}', b"[[],{}]", b'{"data":[]}', b'{"data":{}}', b'{"data":"{}"}', b'{"payload":"{\\"a\\":"}', b"/**/{}"),
    *('{"a":"\u00e4"}'.encode("latin-1"), '{"a":1}'.encode("utf-16"), '{"a":1}'.encode("utf-32"), b'{"a":"\xc0\xaf"}', b'{"a":"\xed\xa0\x80"}'),
]  # fmt: skip
FORMS = [
    *(b"&".join(b"f%d=%d" % (n, n) for n in range(3000)), b"a=%", b"a=%zz&%=1", b"a=%C3", b"a=%00", b"a=1&a=2&a=3", b"=1", b"&&&", b"a"),
    *(b"JSONString=%7B", b"JSONString=" + b"%5B" * 200, b"JSONString={}&JSONString={}", b"JSONString=7", b"a=1;b=2", b"a[b][c]=1"),
    *(b"key=s&key=t", b"event=Deals.won&event=Deals.lost", b"a=" + b"%25" * 5000, b"+" * 5000, b"%2B" * 3000 + b"=1"),
]  # fmt: skip


def part(head: bytes, body: bytes = b"x") -> bytes:
    """One part of a multipart form."""
    return b"--B\r\n" + head + b"\r\n\r\n" + body + b"\r\n"


NAMED = b'Content-Disposition: form-data; name="a"'
PARTS = [
    *(
        part(NAMED),
        part(NAMED) + b"--B--",
        b"--B--",
        b"--B",
        b"--B--\r\n--B--",
        b"--C\r\n\r\n--B--",
        b"\r\n--B\r\n\r\n\r\n--B--",
    ),
    *(
        part(NAMED) * 2 + b"--B--",
        part(NAMED) * 1200 + b"--B--",
        part(b"") + b"--B--",
        part(b"X: y") + b"--B--",
    ),
    *(
        part(b"Content-Disposition: form-data") + b"--B--",
        part(b'Content-Disposition: form-data; name=""') + b"--B--",
    ),
    part(b'Content-Disposition: form-data; name="a"; filename="../../x"') + b"--B--",
    part(b'Content-Disposition: form-data; name="a\r\nX: y"') + b"--B--",
    part(b"Content-Disposition: form-data; name*=utf-8''%ff") + b"--B--",
    part(NAMED + b"\r\nContent-Type: multipart/mixed; boundary=C", b"--C\r\n" + NAMED + b"\r\n\r\nx\r\n--C--")
    + b"--B--",
    part(NAMED + b"\r\nContent-Transfer-Encoding: base64", b"eA==") + b"--B--",
    part(NAMED, b"\xff\xfe\x00") + b"--B--",
    part(NAMED, b"--B" * 500) + b"--B--",
    part(b"A" * 20_000 + b": x") + b"--B--",
    (part(NAMED) + b"--B--").replace(b"\r\n", b"\n"),
]


def cut(chance: random.Random) -> bytes:
    """The beginning of a sample."""
    body = chance.choice(GOOD)
    return body[: chance.randrange(len(body))]


def torn(chance: random.Random) -> bytes:
    """A sample with a piece of it replaced."""
    body = chance.choice(GOOD)
    start = chance.randrange(len(body))
    other = chance.choice(
        [
            chance.randbytes(chance.randrange(9)),
            chance.choice(JSON)[:200],
            b'"',
            b"{",
            b"\\",
            b"\x00",
            b"\xff",
            b"null",
        ]
    )
    return body[:start] + other + body[start + chance.randrange(12) :]


def swapped(chance: random.Random) -> bytes:
    """A sample with a value of another type somewhere in it."""
    document = json.loads(chance.choice(GOOD))
    odd = chance.choice(
        [None, True, [], {}, "", -1, 2**70, 1e308, "x" * 3000, [[]], {"a": {}}, "\u2028", "9" * 30]
    )
    _put(document, odd, chance)
    return json.dumps(document).encode()


def _put(value: object, odd: object, chance: random.Random) -> None:
    names = (
        list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    )
    if not names:
        return
    name = chance.choice(names)
    inner = value[name]  # type: ignore[index]
    if isinstance(inner, dict | list) and inner and chance.random() < 0.6:
        _put(inner, odd, chance)
    else:
        value[name] = odd  # type: ignore[index]


MAKERS: list[Callable[[random.Random], bytes]] = [
    lambda chance: chance.randbytes(chance.randrange(400)),
    cut,
    torn,
    torn,
    swapped,
    swapped,
    lambda chance: chance.choice(JSON),
    lambda chance: chance.choice(FORMS),
    lambda chance: chance.choice(PARTS),
    lambda chance: gzip.compress(chance.choice(GOOD)),
    lambda chance: chance.choice(GOOD).decode().encode("utf-16"),
    lambda chance: chance.choice(GOOD),
]


def body(chance: random.Random) -> bytes:
    """One bad body."""
    return chance.choice(MAKERS)(chance)


def headers(chance: random.Random, proof_header: str) -> list[tuple[str, str]]:
    """Headers of all sorts, some of which pretend to a proof."""
    proofs = [
        "",
        "none",
        "0" * 64,
        "A" * 43 + "=",
        "t=1,v=" + "0" * 64,
        "Basic Og==",
        "Bearer x",
        "\xff",
        "a" * 9000,
        "x\r\ny: z",
        "eyJhbGciOiJub25lIn0.e30.",
    ]
    found = [("content-type", chance.choice(TYPES))] if chance.random() < 0.9 else []
    for name in {
        proof_header,
        "authorization",
        "x-webhook-token",
        "x-zdesk-jwt",
        "x-zoho-webhook-signature",
    } - {""}:
        found += [(name, chance.choice(proofs))] * chance.choice([0, 0, 0, 1, 1, 2])
    return found


def delivery(chance: random.Random, source: str, proof_header: str) -> Delivery:
    """One bad delivery."""
    return Delivery.arrive(
        source,
        body(chance),
        method=chance.choice(["POST", "POST", "POST", "PUT", "GET", "DELETE", "HEAD", "PATCH"]),
        query=chance.choice(QUERIES),
        headers=headers(chance, proof_header),
        received=RECEIVED,
    )

"""Whatever comes, only the errors of a delivery leave a source: hypothesis on every reader."""

from __future__ import annotations

import contextlib
import json

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kits import KITS
from signed_deliveries import RECEIVED, SAMPLES, token

from receiver.errors import DeliveryError, Malformed
from receiver.event import Delivery, Event
from receiver.sources import PRODUCTS, looks_like, mistaken_for, pointer, reading, strict_json
from receiver.sources.source import Verified, Way

FUZZ = settings(max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
FEW = settings(FUZZ, max_examples=25)
"""For what runs over all products: the corpus has the numbers, hypothesis the smallest example."""
BODIES = [file.read_bytes() for file in sorted(SAMPLES.glob("*/*.json"))]
NASTY = [
    *[
        b"[" * 70,
        b'{"a":' * 900,
        b'{"ids":1,"ids":2}',
        b"NaN",
        b"[Infinity]",
        b"9" * 5_000,
        b'{"ids":[' + b"9" * 5_000 + b"]}",
    ],
    *[
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
        b"a=1&a=2&a",
        b"&" * 2_000,
        b"%",
        b"%zz=%",
        b"--XX\r\n",
        b"--XX--",
        b"\0",
    ],
    *[
        b'"\\ud800"',
        b'{"module":"\\udfff"}',
        b'[{"eventType":"a","payload":{"id":1e308}}]',
        b"JSONString=%7B%22a%22:1e999%7D",
    ],
]
TYPES = [
    "",
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=XX",
    "multipart/form-data",
]

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
documents = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)
NAMES = [
    *[
        "module",
        "operation",
        "ids",
        "channel_id",
        "token",
        "server_time",
        "affected_fields",
        "affected_values",
        "query_params",
    ],
    *[
        "eventType",
        "payload",
        "prevState",
        "eventTime",
        "orgId",
        "invoice",
        "data",
        "event_id",
        "event_type",
        "organization_id",
    ],
]
envelopes = st.dictionaries(st.sampled_from(NAMES), documents, max_size=8)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A sample with a piece of it replaced by others' bytes."""
    body = draw(st.sampled_from(BODIES))
    start = draw(st.integers(0, len(body)))
    end = draw(st.integers(start, min(len(body), start + 40)))
    return body[:start] + draw(st.binary(max_size=20) | st.sampled_from(NASTY)) + body[end:]


@st.composite
def respoken(draw: st.DrawFn) -> bytes:
    """A sample with the value of one name replaced by any other value."""
    body = json.loads(draw(st.sampled_from(BODIES)))
    inner = body[0] if isinstance(body, list) else body
    inner[draw(st.sampled_from(sorted(inner)))] = draw(documents)
    return json.dumps(body).encode()


bodies = (
    st.binary(max_size=300)
    | st.sampled_from(NASTY)
    | mutated()
    | respoken()
    | envelopes.map(lambda said: json.dumps(said).encode())
    | st.lists(envelopes, max_size=3).map(lambda said: json.dumps(said).encode())
    | st.binary(max_size=80).map(
        lambda part: b'--XX\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + part + b"\r\n--XX--"
    )
)
queries = st.binary(max_size=60) | st.sampled_from(
    [b"", b"event=Deals.won", b"event=invoice.paid", b"key=%FF&event=%00", *NASTY]
)
ways = st.builds(
    Way,
    name=st.just("x"),
    product=st.just("x"),
    events=st.sampled_from([(), ("Deals.won",), ("Deals.won", "invoice.paid")]),
    id=st.sampled_from(["", "/id", "/0/payload/id", "/ids/0", "bad"]),
    time=st.sampled_from(["", "/server_time", "/event_time"]),
    dedupe=st.sampled_from(["", False, "/id", "/a,/b", "bad"]),
    secret_parameter=st.sampled_from(["", "key"]),
)


def sound(event: Event) -> None:
    """An event can be written to the ledger and read back, and its texts are texts."""
    back = Event.unpack(event.id, *event.pack())
    assert (back.type, back.record_id, back.data) == (event.type, event.record_id, event.data)
    assert all(isinstance(text, str) for text in (event.record_id, event.identity, event.organisation))
    assert event.occurred is None or event.occurred_at
    assert event.type.isprintable()
    assert "*" not in event.type
    event.dedupe_key()


@pytest.mark.parametrize("product", PRODUCTS)
@FEW
@given(
    body=bodies,
    query=queries,
    way=ways,
    kind=st.sampled_from(TYPES),
    method=st.sampled_from(["POST", "PUT", "GET", "DELETE", "HEAD"]),
)
def test_any_body_gives_events_or_an_error_of_a_delivery(product, body, query, way, kind, method):
    """Random, mutated and nasty bodies end in sound events or in Malformed, never in another exception."""
    delivery = Delivery.arrive(
        "x", body, query=query, method=method, headers={"content-type": kind}, received=RECEIVED
    )
    source = PRODUCTS[product]
    source.handshake(delivery, way)
    assert looks_like(delivery) is None or mistaken_for(product, delivery) is not None
    with contextlib.suppress(Malformed):
        for event in source.parse(delivery, way, Verified("test", organisation="54983163")).events:
            sound(event)


headers = st.text(st.characters(codec="latin-1"), max_size=80)


@pytest.mark.parametrize("product", PRODUCTS)
@FEW
@given(body=bodies, query=queries, proof=headers, kind=headers | st.sampled_from(TYPES))
def test_any_proof_is_refused_with_an_error_of_a_delivery(product, body, query, proof, kind):
    """Random proofs are refused, and nothing but the errors of a delivery escapes."""
    kit, source = KITS[product], PRODUCTS[product]
    sent = [("content-type", kind), *([(kit.header, proof)] if kit.header else [])]
    delivery = Delivery.arrive("x", body, query=query, headers=sent, received=RECEIVED)
    source.lacks(delivery, kit.keys("new"))
    source.offered(delivery, kit.keys("new"))
    with pytest.raises(DeliveryError) as refused:
        source.verify(delivery, kit.way, kit.keys("new"))
    assert not isinstance(refused.value, Malformed)


TOKEN = token()


@FUZZ
@given(at=st.integers(0, len(TOKEN) - 1), letter=st.characters(codec="latin-1"))
def test_a_token_with_another_letter_is_refused(at, letter):
    """No letter of a token can be another one, but those that the last group of its base64 would ignore are refused too."""
    changed = TOKEN[:at] + letter + TOKEN[at + 1 :]
    kit = KITS["desk"]
    if changed == TOKEN:
        PRODUCTS["desk"].verify(kit.deliver(changed), kit.way, kit.keys("new"))
        return
    with pytest.raises(DeliveryError):
        PRODUCTS["desk"].verify(kit.deliver(changed), kit.way, kit.keys("new"))


@FUZZ
@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0")), lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.characters(codec="utf-8", exclude_characters="\0")), inner, max_size=4)))  # fmt: skip
def test_sound_json_comes_back(value):
    """What any sound writer wrote is read as the same value, escaped or not."""
    assert strict_json.loads(orjson.dumps(value)) == value
    assert strict_json.loads(json.dumps(value).encode()) == value


@FUZZ
@given(
    document=documents,
    path=st.text(max_size=20) | st.lists(st.text(max_size=4)).map(lambda parts: "/" + "/".join(parts)),
)
def test_any_pointer_finds_or_does_not(document, path):
    """No text as a pointer raises."""
    pointer.find(document, path)


@FUZZ
@given(documents)
def test_any_value_can_be_read(value):
    """No value as an id, a time or a document raises."""
    reading.identifier(value)
    reading.present(value)
    assert reading.instant(value) is None or reading.instant(value) >= 0

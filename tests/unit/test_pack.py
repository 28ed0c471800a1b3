"""What is kept of deliveries and events comes back as it was, and what a delivery's body says is kept once."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.event import Delivery, Event
from receiver.ledger.accept import Record
from receiver.ledger.pack import NAMES, WORTH_IT, event_of, long, pack, part, places, short, unpack
from receiver.sources import strict_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


def event(data: Any, of: Delivery, /, **fields: Any) -> Event:
    """An event of a delivery."""
    told: dict[str, Any] = {"source": of.source, "received": of.received, "delivery": of.id}
    return Event(id="e", type="desk.Ticket.updated", data=data, **told | fields)


def kept(record: Record) -> tuple[bytes, bytes]:
    """(the delivery, its first event) as the script gets them."""
    args = record.args()
    return args[3], args[12]  # type: ignore[return-value]


@pytest.mark.parametrize("size", [0, 1, WORTH_IT, WORTH_IT + 1, 100_000])
def test_what_is_packed_is_unpacked_and_deflated_where_it_is_long(size: int) -> None:
    """Text gets small beyond 1 KiB, and what cannot get small gets no larger than by the byte that says so."""
    for raw in (b"a" * size, os.urandom(size)):
        assert unpack(pack(raw)) == raw
        assert len(pack(raw)) <= size + 1
    assert len(pack(b"a" * size)) < max(WORTH_IT + 2, size // 2)


@given(JSON, JSON)
def test_an_event_comes_back_from_its_delivery_as_it_was(data: Any, previous: Any) -> None:
    """Its data and the state before are found in the body, whatever stands beside them."""
    body = json.dumps([{"eventType": "x", "payload": data, "prevState": previous}, "more"]).encode()
    delivery = Delivery.arrive("desk", body)
    told = event(
        data, delivery, previous=previous, record_id="7", changed=frozenset({"a"}), verified_by="jwt"
    )
    whole, own = kept(Record(delivery, "accepted", events=[told], verified_by="jwt"))
    assert own == b""
    assert event_of("e", whole, seq=3, delivery=delivery.id) == event(
        data,
        delivery,
        previous=previous,
        record_id="7",
        changed=frozenset({"a"}),
        verified_by="jwt",
        seq=3,
    )


@pytest.mark.parametrize(
    "differing",
    [{"source": "other"}, {"received": 5}, {"delivery": "d"}, {"verified_by": ""}, {"cause": "j"}],
)
def test_what_an_event_says_otherwise_than_its_delivery_stays_its_own(differing: dict[str, Any]) -> None:
    """Its own word wins, also where it is empty."""
    delivery = Delivery.arrive("desk", b'{"a": 1}')
    told = event({"a": 1}, delivery, **{"verified_by": "jwt", **differing})
    whole, own = kept(Record(delivery, "accepted", events=[told], verified_by="jwt"))
    assert own == b""
    assert event_of("e", whole, seq=0, delivery=delivery.id) == told


@pytest.mark.parametrize(
    "body",
    [
        b"a=1&b=2", b'{"a": "1", "b": "2"}', b'{"a": 1, "b": "2", "c": 3}', b'{"x": {"y": {"z": {"a": 1, "b": "2"}}}',
        b'"a: 1, b: 2"', b"", b"[[[[",
    ],
)  # fmt: skip
def test_data_that_do_not_stand_in_the_body_are_kept_beside_it(body: bytes) -> None:
    """A form, a number written as text, a part of an object, no JSON at all: the event keeps its own."""
    delivery = Delivery.arrive("books", body)
    told = event({"a": 1, "b": "2"}, delivery)
    assert places(delivery, told) is None
    whole, own = kept(Record(delivery, "accepted", events=[told]))
    assert "event" not in part(whole)[0]
    assert event_of("e", own, seq=0) == told


def test_only_an_accepted_delivery_of_one_event_tells_it() -> None:
    """A quarantined one may be thrown away before its event, and of many events each would bring the whole body."""
    delivery = Delivery.arrive("desk", b'[{"payload": {"a": 1}}, {"payload": {"a": 2}}]')
    first, second = event({"a": 1}, delivery), event({"a": 2}, delivery)
    assert kept(Record(delivery, "accepted", events=[first]))[1] == b""
    assert kept(Record(delivery, "quarantined", events=[first]))[1] != b""
    assert kept(Record(delivery, "accepted", events=[first, second]))[1] != b""


def test_a_body_is_looked_through_within_bounds() -> None:
    """A hundred thousand values are not compared one by one while the sender waits."""
    document = {"many": [[number] for number in range(100_000)], "last": {"a": 1}}
    told = event({"a": 1}, Delivery.arrive("desk"))
    assert places(Delivery.arrive("desk", orjson.dumps(document)), told) == {"data": ["last"]}
    document = {"many": [[[number]] for number in range(100_000)] + [{"a": 1}]}
    assert places(Delivery.arrive("desk", orjson.dumps(document)), told) is None


@pytest.mark.parametrize(
    ("body", "remembered"),
    [
        (b'{"a": 1}', True), (b'\xef\xbb\xbf{"a": 1}', False), (b'{"a": 123456789012345678901}', False),
        (b'{"a\\u003ab": 1}', False), (b"[]", True), (b"null", False),
    ],
)  # fmt: skip
def test_what_a_source_read_is_not_read_again_where_every_reader_reads_the_same(
    body: bytes, remembered: bool
) -> None:
    """And only as long as it is the same object, of the same bytes; whatever is kept comes back the same."""
    delivery = Delivery.arrive("desk", body)
    found = strict_json.document(delivery)
    assert delivery.says(found) is remembered
    assert not replace(delivery, body=b"{}").says(found)
    assert not delivery.says(orjson.loads(orjson.dumps(found)))
    told = event(found, delivery)
    whole, own = kept(Record(delivery, "accepted", events=[told]))
    assert event_of("e", own or whole, seq=0, delivery="" if own else delivery.id).data == found


@given(
    st.lists(st.tuples(st.sampled_from([*NAMES, "x-own", "0", "7"]), st.text(max_size=8)), max_size=6),
    st.sampled_from(["POST", "PUT", ""]), st.sampled_from(["/in/desk", "/in/desk/", ""]),
    st.sampled_from(["", "why"]), st.integers(0, 2), st.binary(max_size=4),
)  # fmt: skip
def test_what_is_said_of_a_delivery_comes_back_from_its_short_form(
    headers, method, path, reason, secret, query
) -> None:
    """Names that are counted off, and what is said by saying nothing, are said again."""
    delivery = Delivery("d", "desk", method, path, query, tuple(headers), b"", 5, "")
    record = Record(delivery, "rejected", reason, secret=secret)
    assert long(orjson.loads(orjson.dumps(short(record)))) == orjson.loads(orjson.dumps(record.meta()))


def test_no_name_of_a_header_stands_twice() -> None:
    """What is kept would be read as another."""
    assert len(set(NAMES)) == len(NAMES)


def test_the_line_alone_says_what_the_event_is() -> None:
    """Lists read no body: the event has no data then."""
    delivery = Delivery.arrive("desk", b'{"a": 1}')
    whole, _ = kept(Record(delivery, "accepted", events=[event({"a": 1}, delivery)]))
    found = event_of("e", whole.partition(b"\n")[0], seq=0, delivery=delivery.id)
    assert (found.type, found.data) == ("desk.Ticket.updated", None)

"""Delivery and Event: ids that sort by time, keys that are stable, and what the ledger keeps of them."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import BadFraming
from receiver.event import ALPHABET, Delivery, Event, moment, new_id, now_ms

TEXT = st.text(max_size=20)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
TIME = st.integers(0, 2**47)
EVENTS = st.builds(
    Event,
    id=st.builds(new_id, TIME),
    type=st.text(min_size=1, max_size=20),
    source=st.text(min_size=1, max_size=20),
    data=JSON,
    received=TIME,
    organisation=TEXT,
    record_id=TEXT,
    occurred=st.none() | TIME,
    native=TEXT,
    changed=st.none() | st.frozensets(TEXT, max_size=3),
    previous=JSON,
    origin=st.sampled_from(["live", "catchup", "poll", "handler"]),
    cause=TEXT,
    delivery=TEXT,
    connection=TEXT,
    verified_by=TEXT,
    seq=TIME,
    depth=st.integers(0, 9),
)


def event(**fields):
    """An event of which only these fields matter."""
    return Event(
        **{"id": "e", "type": "crm.Deals.updated", "source": "crm", "data": {}, "received": 1, **fields}
    )


@given(st.lists(TIME, min_size=2, max_size=20))
def test_ids_sort_by_time(times):
    """Whatever chance adds: an id that was made a millisecond later sorts later."""
    ids = [(new_id(at), at) for at in times]
    assert [at for _, at in sorted(ids)] == sorted(times)
    assert all(len(each) == 20 and set(each) <= set(ALPHABET) for each, _ in ids)


def test_ids_of_one_moment_differ():
    """52 bits of chance: of ten thousand made in one millisecond no two are alike."""
    assert len({new_id(5) for _ in range(10_000)}) == 10_000
    assert new_id(now_ms() - 1) < new_id() < new_id(now_ms() + 1)


@given(EVENTS)
def test_what_is_packed_is_unpacked(made):
    """All that the ledger keeps of an event comes back as it was; what a run adds to it is not kept."""
    assert Event.unpack(made.id, *made.pack(), seq=made.seq) == made


def test_what_a_run_adds_is_not_kept():
    """The record, the tries and the keys are of one run; the identity lives on as the mark."""
    ran = event(record={"a": 1}, tries=3, idempotency_key="k", identity="i")
    again = Event.unpack("e", *ran.pack())
    assert (again.record, again.tries, again.idempotency_key, again.identity) == (None, 0, "", "")


def test_empty_fields_take_no_room():
    """A million events are kept: what is not said is left out, but an empty set of changes says something."""
    meta, data = event().pack()
    assert meta == b'{"type":"crm.Deals.updated","source":"crm","received":1}'
    assert data == b'{"data":{}}'
    assert b'"changed":[]' in event(changed=frozenset()).pack()[0]
    assert Event.unpack("e", *event(changed=frozenset()).pack()).changed == frozenset()


@given(TEXT, TEXT, TEXT, TEXT)
def test_the_mark_of_a_fact_is_its_sources_own(source, identity, other_source, other):
    """The same identity from two sources is two facts; the same one from one source is one."""
    made = event(source=source, identity=identity)
    assert made.dedupe_key() == event(id="f", source=source, identity=identity, data=[1]).dedupe_key()
    if (source, identity) != (other_source, other):
        twin = event(source=other_source, identity=other)
        assert made.dedupe_key() != twin.dedupe_key() or not identity
    assert bool(made.dedupe_key()) == bool(identity)


def test_the_idempotency_key_is_one_over_all_tries_and_new_with_a_rerun():
    """It depends on the event, the handler and how often a person asked to run it afresh."""
    made = event()
    assert made.job_key("m.f") == event(tries=5, seq=9).job_key("m.f")
    keys = {made.job_key("m.f"), made.job_key("m.g"), made.job_key("m.f", 1), event(id="x").job_key("m.f")}
    assert len(keys) == 4
    assert {len(key) for key in keys} == {32}


@pytest.mark.parametrize(
    ("event_type", "parts"),
    [
        ("crm.Deals.updated", ("crm", "Deals", "updated")),
        ("desk.a.b.created", ("desk", "a.b", "created")),
        ("app.hello", ("app", "hello", "hello")),
        ("odd", ("odd", "odd", "odd")),
        ("", ("", "", "")),
    ],
)
def test_a_type_has_a_product_a_resource_and_a_verb(event_type, parts):
    """As many parts as it has: a type that we don't know is no error."""
    made = event(type=event_type)
    assert (made.product, made.resource, made.verb) == parts


def test_a_record_is_known_by_product_resource_and_id():
    """Deals and invoices may have one id; an event about no record has no key."""
    assert event(record_id="7").record_key() == "crm.Deals:7"
    assert event(record_id="7", type="crm.Deals.deleted").record_key() == "crm.Deals:7"
    assert event().record_key() == ""


def test_times_are_aware_and_in_utc():
    """Zoho's own time where it is told, and when it came to our door."""
    made = event(occurred=1_790_000_000_500, received=1_790_000_001_000)
    assert made.occurred_at == datetime(2026, 9, 21, 14, 13, 20, 500_000, tzinfo=UTC)
    assert made.received_at == moment(made.received) == datetime(2026, 9, 21, 14, 13, 21, tzinfo=UTC)
    assert event().occurred_at is None
    assert abs(now_ms() / 1000 - time.time()) < 1


@pytest.mark.parametrize("act", ["emit", "cancel", "step"])
def test_effects_need_a_run(act):
    """An event that lies about has nobody to do them for."""
    given = {"emit": ("app.x",), "cancel": ("key",), "step": ("name", os.getpid)}[act]
    with pytest.raises(RuntimeError, match="only while a handler runs"):
        getattr(event(), act)(*given)


def test_a_header_is_found_by_its_small_name():
    """However it was sent, as pairs or as a table."""
    assert Delivery.arrive("crm", headers={"X-Token": "a"}).header("x-token") == "a"
    assert Delivery.arrive("crm", headers=[("X-TOKEN", "a"), ("Other", "b")]).header("x-token") == "a"
    assert Delivery.arrive("crm").header("x-token") is None


@pytest.mark.parametrize("second", ["X-Token", "x-token", "X-TOKEN"])
def test_a_doubled_header_is_refused(second):
    """Of two signatures one reader might take the first and another the last, in whatever case they came."""
    twice = Delivery.arrive("crm", headers=[("X-Token", "a"), (second, "a")])
    with pytest.raises(BadFraming, match="came 2 times"):
        twice.header("x-token")


def test_a_digest_tells_one_request_from_another():
    """By method, query and body, and by where one ends and the next begins; not by headers or time."""
    made = Delivery.arrive("crm", b"body", query=b"a=1", headers={"date": "x"}, received=1)
    assert made.digest() == Delivery.arrive("crm", b"body", query=b"a=1", received=2).digest()
    others = [
        Delivery.arrive("crm", b"body", query=b"a=2"),
        Delivery.arrive("crm", b"bod", query=b"a=1"),
        Delivery.arrive("crm", b"ybody", query=b"a=1"),
        Delivery.arrive("crm", b"body", query=b"a=1", method="put"),
        Delivery.arrive("crm", b"1\0body", query=b"a="),
    ]
    assert len({made.digest(), *(each.digest() for each in others)}) == 6
    assert (others[3].method, others[3].path) == ("PUT", "/in/crm")


def test_a_deliverys_id_sorts_by_when_it_came():
    """The ledger's lists are by time received."""
    early, late = (Delivery.arrive("crm", received=at) for at in (1000, 2000))
    assert early.id < late.id
    assert abs(Delivery.arrive("crm").received - now_ms()) < 1000


def test_what_a_newer_version_added_to_an_event_is_left_out() -> None:
    """Old and new processes read one ledger while a version is exchanged."""
    meta, body = Event(
        id="e1", type="crm.Deals.updated", source="crm", data={}, received=1, record_id="7"
    ).pack()
    event = Event.unpack("e1", meta[:-1] + b',"of_tomorrow":[1]}', body, 3)
    assert (event.type, event.record_id, event.seq) == ("crm.Deals.updated", "7", 3)

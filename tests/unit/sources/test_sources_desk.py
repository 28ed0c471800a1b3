"""Zoho Desk: its probes and its arrays of events."""

from __future__ import annotations

import json

import pytest
from kits import KITS
from signed_deliveries import (
    ORGANISATION,
    desk,
    sample,
)

from receiver.errors import Malformed, Unauthenticated
from receiver.event import Delivery, Event
from receiver.sources import PRODUCTS
from receiver.sources.source import Verified

DESK = PRODUCTS["desk"]
WAY = KITS["desk"].way
KEYS = KITS["desk"].keys("new", "old")
JWT = Verified("jwt", organisation="700123")


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("GET", b""),
        ("HEAD", b""),
        ("GET", b'[{"eventType":"Ticket_Add"}]'),
        *[("POST", b) for b in (b"", b"[]", b"{}", b"\0")],
    ],
)
def test_probes_are_handshakes(method, body):
    """Desk's probes are unsigned and wanted at 200."""
    assert DESK.handshake(Delivery.arrive("desk", body, method=method), WAY)


def test_events_are_no_handshake():
    """Events without a token are refused, and with one, even a bad one, they are no probe."""
    delivery = desk(None, b'[{"eventType":"Ticket_Add"}]')
    assert not DESK.handshake(delivery, WAY)
    with pytest.raises(Unauthenticated, match="without"):
        DESK.verify(delivery, WAY, KEYS)
    assert not DESK.handshake(desk("x", b"[]"), WAY)


def told(case: str, verified: Verified = JWT) -> list[Event]:
    """The events of a sample."""
    return DESK.parse(desk("x", sample("desk", case)), WAY, verified).events


def test_an_update_with_the_state_before():
    """The documented update gives the state before and the names of what differs."""
    (event,) = told("ticket-update-excerpt", Verified("jwt", organisation=ORGANISATION))
    assert (event.type, event.native) == ("desk.Ticket.updated", "Ticket_Update")
    assert (event.record_id, event.organisation) == ("31138000011967402", ORGANISATION)
    assert event.occurred == 1_618_493_667_780
    assert event.changed == {"modifiedTime", "status"}
    assert event.previous["status"] == "On Hold"
    assert json.loads(event.identity)[1:] == [
        ORGANISATION,
        "Ticket_Update",
        "31138000011967402",
        1_618_493_667_780,
    ]


def test_a_new_ticket_without_its_envelope():
    """An element that lacks orgId and eventTime takes the token's organisation; its bytes are its identity."""
    (event,) = told("ticket-add-partial")
    assert (event.type, event.organisation, event.changed) == ("desk.Ticket.created", "700123", None)
    assert event.identity.startswith("sha256:")


def test_custom_fields_are_data():
    """Custom fields stay under `cf`; what changed is unknown without the state before."""
    (event,) = told("ticket-update-cf-partial")
    assert event.data["cf"]["cf_ai_intent"] == "permit_inquiry"
    assert (event.changed, event.previous) == (None, None)


def test_a_comment():
    """A comment's word keeps its thing and gets our verb; its HTML is not touched."""
    (event,) = told("comment-add-html")
    assert (event.type, event.record_id) == ("desk.Ticket_Comment.created", "comment-1")
    assert event.data["content"].startswith("<div")


def test_several_events_in_one_delivery():
    """Each element is an event of its own with an identity of its own."""
    thread, comment = told("batch-thread-and-comment")
    assert [thread.type, comment.type] == ["desk.Ticket_Thread.created", "desk.Ticket_Comment.created"]
    assert thread.identity != comment.identity


def parse(*elements: object) -> tuple[list[Event], list[str]]:
    """Events and reasons of an array."""
    parsed = DESK.parse(desk("x", json.dumps(elements).encode()), WAY, JWT)
    return parsed.events, parsed.bad


GOOD = {"eventType": "Ticket_Add", "payload": {"id": "1"}, "eventTime": "1700000000000", "orgId": "700123"}


@pytest.mark.parametrize(
    "bad",
    [
        *[5, None, [], {}, {**GOOD, "eventType": 5}, {**GOOD, "eventType": "a.*"}, {**GOOD, "eventType": ""}],
        *[
            {**GOOD, "payload": None},
            {**GOOD, "payload": []},
            {**GOOD, "prevState": "x"},
            {**GOOD, "eventTime": "soon"},
        ],
        *[{**GOOD, "orgId": "1"}, {**GOOD, "orgId": {}}],
    ],
    ids=repr,
)
def test_a_bad_element_is_set_apart(bad):
    """An unreadable element, or one of another organisation than the token's, is told and the good ones are taken."""
    events, reasons = parse(GOOD, bad, {**GOOD, "eventType": "New_Thing_Happened"})
    assert [event.type for event in events] == ["desk.Ticket.created", "desk.New_Thing_Happened"]
    (reason,) = reasons
    assert reason.startswith("element 1: ")
    with pytest.raises(Malformed):
        parse(bad)


@pytest.mark.parametrize("body", [b"{}", b"5", b"[", b'"x"', b"[" * 5_000])
def test_what_is_no_array_is_malformed(body):
    """A body that is no array is malformed."""
    with pytest.raises(Malformed):
        DESK.parse(desk("x", body), WAY, JWT)


@pytest.mark.parametrize("body", [b"", b" ", b"[]"])
def test_an_empty_array_is_no_event(body):
    """A signed delivery may be empty."""
    assert DESK.parse(desk("x", body), WAY, JWT).events == []


def test_what_changed():
    """A field that came, went or differs has changed, custom fields under their own names; null and absent are one."""
    before = {"a": 1, "gone": 1, "null": None, "same": [1], "cf": {"cf_a": 1, "cf_b": 2}}
    now = {"a": 2, "came": 1, "same": [1], "cf": {"cf_a": 1, "cf_b": 3, "cf_c": None}}
    events, _ = parse({**GOOD, "payload": now, "prevState": before})
    assert events[0].changed == {"a", "gone", "came", "cf", "cf.cf_b"}
    events, _ = parse({**GOOD, "payload": {"cf": None}, "prevState": {"cf": {"cf_a": 1}}})
    assert events[0].changed == {"cf"}
    events, _ = parse({**GOOD, "payload": {}, "prevState": {}})
    assert events[0].changed == frozenset()


def test_a_payload_without_an_id():
    """An event about no record has no record id, and its bytes are its identity."""
    events, _ = parse({**GOOD, "payload": {}}, {**GOOD, "payload": {"id": 5}})
    assert [event.record_id for event in events] == ["", "5"]
    assert events[0].identity.startswith("sha256:")

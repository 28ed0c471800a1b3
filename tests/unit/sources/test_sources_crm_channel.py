"""Zoho CRM's Notification API: the callbacks of channels."""

from __future__ import annotations

import json

import pytest
from signed_deliveries import CHANNEL, RECEIVED, SECRETS, changed, notification

from receiver.errors import Malformed, Unauthenticated
from receiver.event import Delivery, Event
from receiver.sources import PRODUCTS
from receiver.sources.source import Keys, Verified, Way

WEEK = 7 * 86_400
CHANNELS = PRODUCTS["crm_channel"]
CRM = Way("crm", "crm_channel", connection="acme", organisation="60001")
TOKEN = Verified("token")
KEYS = Keys((SECRETS["new"],))


def told(case: str = "insert", way: Way = CRM, **changed: object) -> list[Event]:
    """The events of a callback."""
    return CHANNELS.parse(notification("a-token-in-clear", case=case, **changed), way, TOKEN).events


def test_an_insert_is_one_event():
    """The documented insert gives one event with its record, time, connection and native identity."""
    (event,) = told()
    assert (event.type, event.record_id, event.native) == (
        "crm.Leads.created",
        "5725767000003000064",
        "Leads.insert",
    )
    assert (event.occurred, event.changed, event.organisation) == (1_718_117_126_473, None, "60001")
    assert (event.connection, event.verified_by) == ("acme", "token")
    assert event.data == {
        "id": "5725767000003000064",
        "module": "Leads",
        "operation": "insert",
        "values": None,
        "server_time": 1_718_117_126_473,
        "query_params": {},
        "channel_id": CHANNEL,
    }
    assert json.loads(event.identity)[1:] == [
        CHANNEL,
        "Leads",
        "insert",
        1_718_117_126_473,
        "5725767000003000064",
    ]


def test_an_update_says_what_changed():
    """The captured update gives the names of the fields and their values."""
    (event,) = told("update-live")
    assert event.type == "crm.Leads.updated"
    assert event.changed == {"Company", "Phone"}
    assert event.data["values"] == {"Company": "Rangoni Of Test", "Phone": "555-555-1111"}


def test_each_id_is_an_event():
    """A callback of two records gives two events, each with its own values, identity and id."""
    first, second = told("batch-two-ids")
    assert [first.data["values"], second.data["values"]] == [
        {"field71": "商談中(B)"},
        {"field71": "受注(Won)"},
    ]
    assert first.identity != second.identity
    assert first.id != second.id


def test_the_token_is_nowhere_in_the_events():
    """The token proves later callbacks too, so no event keeps it."""
    for case in ("insert", "update-values", "update-live", "batch-two-ids"):
        assert all("a-token-in-clear" not in repr(event) for event in told(case))


@pytest.mark.parametrize(
    "fields",
    [[], None, [{}], [{"1": ["Phone"]}], [{"5725767000003000010": []}]],
    ids=["empty", "null", "none", "other", "no"],
)
def test_unnamed_fields_are_unknown(fields):
    """An update that names no field of a record may have changed any: unknown, not none."""
    assert told("update-values", affected_fields=fields)[0].changed is None


@pytest.mark.parametrize(
    ("operation", "kind"),
    [("delete", "crm.Leads.deleted"), ("update", "crm.Leads.updated"), ("merge", "crm.Leads.merge")],
)
def test_operations_are_verbs(operation, kind):
    """The three operations have our verbs; another word is passed on as it stands."""
    assert told(operation=operation)[0].type == kind


def test_a_redelivery_has_the_same_identity():
    """The same callback under another token tells the same fact; another time or channel another one."""
    one = told()[0].identity
    assert CHANNELS.parse(notification("rotated"), CRM, TOKEN).events[0].identity == one
    assert told(server_time=1)[0].identity != one
    assert told(channel_id="9")[0].identity != one


def test_without_a_time_the_bytes_are_compared():
    """A callback that lost its time is told apart by its bytes and id, and only within a minute."""
    events = told("batch-two-ids", server_time=None)
    assert len({event.identity for event in events}) == 2
    assert all(event.identity.startswith("sha256:") for event in events)
    later = changed(notification("a-token-in-clear", server_time=None), received=RECEIVED + 59_000)
    event = CHANNELS.parse(later, CRM, TOKEN).events[0]
    assert event.identity == told(server_time=None)[0].identity
    assert (event.mark_life(WEEK), told()[0].mark_life(WEEK)) == (60, WEEK)


def test_ids_may_be_numbers_and_bad_ones_are_set_apart():
    """An id as a number is taken as text; an element that is no id goes to `bad` while the others are taken."""
    parsed = CHANNELS.parse(notification("t", ids=[5725767000003000064, None, "", {}, True, "7"]), CRM, TOKEN)
    assert [event.record_id for event in parsed.events] == ["5725767000003000064", "7"]
    assert [reason.split()[0] for reason in parsed.bad] == ["ids[1]", "ids[2]", "ids[3]", "ids[4]"]


@pytest.mark.parametrize(
    "wrong",
    [
        *[{"ids": []}, {"ids": [None]}, {"ids": "5"}, {"module": "Le ads"}, {"module": 5}, {"module": "a.b"}],
        *[
            {"operation": "*"},
            {"operation": None},
            {"server_time": "soon"},
            {"server_time": -1},
            {"query_params": []},
        ],
        *[
            {"affected_fields": {"1": ["a"]}},
            {"affected_fields": [{"1": "a"}]},
            {"affected_values": [{"values": {}}]},
        ],
        *[
            {"affected_values": [{"record_id": "1", "values": []}]},
            {"channel_id": None},
            {"channel_id": True},
        ],
    ],
    ids=repr,
)
def test_a_wrong_envelope_is_malformed(wrong):
    """A documented key of the wrong type is not guessed at, and the reason holds no value."""
    with pytest.raises(Malformed):
        told(**wrong)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"5", b"{", b"[" * 5_000, b'{"token": 5}', b'{"token": null}', b'{"token":"x"}']
)
def test_a_body_without_a_token_is_unauthenticated(body):
    """What cannot be proven is never called malformed, for that would be answered 200 and kept."""
    with pytest.raises(Unauthenticated):
        CHANNELS.verify(Delivery.arrive("crm", body), CRM, KEYS)


@pytest.mark.parametrize(
    ("way", "window", "identity"),
    [
        ({}, WEEK, '["crm.Leads.created","123456789012345678"'),
        ({"dedupe": False}, 0, ""),
        ({"dedupe_for": 5.0}, 5, '["crm.Leads.created","123456789012345678"'),
        ({"dedupe_for": 0.0}, 0, ""),
        ({"dedupe": "/id, /server_time"}, WEEK, '["crm.Leads.created","5725767000003000064",1718117126473]'),
        ({"dedupe": "/id,/nothing"}, WEEK, "sha256:"),
    ],
    ids=repr,
)
def test_marks_can_be_set(way, window, identity):
    """A source may name its own identity and how long it lives, or switch the check off."""
    chosen = Way("crm", "crm_channel", **way)
    assert CHANNELS.window(chosen) == window
    found = told(way=chosen)[0].identity
    assert found.startswith(identity)
    assert bool(found) is bool(identity)

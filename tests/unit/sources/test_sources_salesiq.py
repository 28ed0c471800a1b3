"""Zoho SalesIQ: conversations as records, executions that are retried by hand, and a Zobot that strayed here."""

from __future__ import annotations

import json

import pytest
from kits import KITS
from signed_deliveries import RECEIVED, sample

from receiver.errors import Malformed, Unauthenticated
from receiver.event import Delivery, Event
from receiver.sources import PRODUCTS
from receiver.sources.source import Keys, Verified, Way

SALESIQ, WAY = PRODUCTS["salesiq"], Way("salesiq", "salesiq", organisation="77")


def told(case: str = "operator-replied", way: Way = WAY, query: bytes = b"", **changed: object) -> Event:
    """The event of a sample, with other values."""
    document = {**json.loads(sample("salesiq", case)), **changed}
    delivery = Delivery.arrive("salesiq", json.dumps(document).encode(), query=query, received=RECEIVED)
    (event,) = SALESIQ.parse(delivery, way, Verified("rsa")).events
    return event


def test_a_reply_is_about_its_conversation():
    """All that happens to one conversation is about one record, however many words its name has."""
    event = told()
    assert (event.type, event.native) == (
        "salesiq.conversation.operator_replied",
        "conversation.operator.replied",
    )
    assert (event.record_id, event.organisation, event.occurred) == (
        "19367000000131007",
        "759145822",
        1_756_096_975_624,
    )
    assert told(event="conversation.created").record_key() == event.record_key()
    assert event.record_key() == "salesiq.conversation:19367000000131007"


def test_an_execution_that_is_retried_is_the_same_fact():
    """Only the number of the attempt differs; another time is another fact, and without any the bytes are compared."""
    one = told()
    assert told(attempt=2).identity == one.identity
    assert told(event_time="1756096975625").identity != one.identity
    assert told(event_time=None).identity.startswith("sha256:")


def test_what_is_missing_of_the_envelope_is_left_out():
    """It is printed nowhere, so nothing of it but a name is asked for; the URL may have that."""
    bare = told(event="visitor.updated", entity_id=None, entity={"id": 5}, org_id="", event_time=None)
    assert (bare.type, bare.record_id, bare.organisation) == ("salesiq.visitor.updated", "5", "77")
    assert told(event="visitor.updated", entity_id=None, entity=None).record_id == ""
    named = Way("salesiq", "salesiq", events=("conversation.rated",))
    assert told(way=named, event="", query=b"event=conversation.rated").type == "salesiq.conversation.rated"
    with pytest.raises(Malformed, match="the body names no event"):
        told(event="")


@pytest.mark.parametrize(
    ("case", "kind", "conversation"),
    [
        ("zobot-trigger", "trigger", "c-1"),
        ("zobot-message", "message", "c-1"),
        ("zobot-failure", "failure", "c-fail-1"),
    ],
)
def test_a_zobots_calls_are_told_apart(case, kind, conversation):
    """They are no event webhooks; whoever points one here sees that it came, by a name of its own."""
    event = told(case)
    assert (event.type, event.record_id) == (f"salesiq.zobot.{kind}", conversation)
    assert event.identity.startswith("sha256:")


@pytest.mark.parametrize(
    "spoil", [{"event": "a b"}, {"event": 5}, {"event_time": "soon"}, {"entity": []}, {"attempt": "often"}]
)
def test_wrong_types_are_malformed(spoil):
    """What is not of its type goes into quarantine."""
    with pytest.raises(Malformed):
        told(**spoil)


def test_native_words():
    """Handlers may wait for SalesIQ's own words."""
    assert SALESIQ.native("conversation.transfer.accepted") == "salesiq.conversation.transfer_accepted"
    assert SALESIQ.native("conversation.archived") is None


def test_without_keys_nothing_is_taken():
    """The reason names the setting, and without a header the step that makes a key."""
    kit = KITS["salesiq"]
    with pytest.raises(Unauthenticated, match="public_keys"):
        SALESIQ.verify(kit.proven(), WAY, Keys())
    with pytest.raises(Unauthenticated, match="make a public key"):
        SALESIQ.verify(kit.deliver(None), WAY, kit.keys("new"))

"""Zoho Projects: a signature whose spelling is not printed, over the body and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from kits import KITS
from kits_signed import mac
from signed_deliveries import RECEIVED, SECRETS, changed

from receiver.errors import Malformed, Unauthenticated
from receiver.event import Delivery, Event
from receiver.sources import PRODUCTS
from receiver.sources.source import Keys, Verified, Way

PROJECTS, KIT = PRODUCTS["projects"], KITS["projects"]
WAY = Way("projects", "projects", events=("task.updated", "issue.closed"))
FORM = "application/x-www-form-urlencoded"
KEYS, HMAC = Keys((SECRETS["new"],)), Verified("hmac")


def told(body: bytes, way: Way = WAY, query: bytes = b"event=task.updated", kind: str = FORM) -> Event:
    """The event of a body."""
    delivery = Delivery.arrive(
        "projects", body, query=query, headers={"content-type": kind}, received=RECEIVED
    )
    (event,) = PROJECTS.parse(delivery, way, HMAC).events
    return event


def test_both_spellings_are_read():
    """Base64 and hex of the same digest: no text can be both."""
    body = KIT.deliver(None).body
    for proof in (KIT.proof(), mac(SECRETS["new"], body).hex(), mac(SECRETS["new"], body).hex().upper()):
        assert PROJECTS.verify(KIT.deliver(proof), WAY, KEYS) == Verified("hmac", 0)


def test_a_body_of_the_admins_own():
    """Id and time come from where the settings point, and equal bytes at one time are one fact for a week."""
    (event,) = PROJECTS.parse(KIT.proven(), KIT.way, HMAC).events
    assert (event.type, event.record_id, event.occurred) == (
        "projects.task.updated",
        "170876000004566013",
        1_756_179_731_000,
    )
    assert "owner" not in event.data
    assert event.identity.startswith('["projects.task.updated","')
    assert PROJECTS.window(KIT.way) == 7 * 86_400
    assert PROJECTS.window(WAY) == 60
    assert PROJECTS.window(replace(KIT.way, dedupe_for=9.0)) == 9


def test_standard_parameters():
    """A form is read as well; where the id is, the settings say."""
    event = told(b"taskId=17&taskName=Fit+the+worktop", replace(WAY, id="/taskId"))
    assert (event.type, event.record_id, event.data["taskName"]) == (
        "projects.task.updated",
        "17",
        "Fit the worktop",
    )
    assert told(b"taskId=17").record_id == ""


def test_the_body_may_name_the_event():
    """What the signature covers cannot be changed by who sends it again, which the URL can."""
    way = replace(WAY, type="/what")
    assert told(b"what=issue.closed&id=1", way).type == "projects.issue.closed"
    with pytest.raises(Malformed, match="does not list"):
        told(b"what=issue.opened&id=1", way)


@pytest.mark.parametrize(
    ("body", "query", "reason"),
    [
        (b"", b"event=task.updated", "the body is empty"),
        (b"<task/>", b"event=task.updated", "neither JSON nor a form"),
        (b"id=1", b"event=task.deleted", "does not list"),
        (b"id=1", b"", "which of"),
        (b"{", b"event=task.updated", "not JSON"),
    ],
)
def test_what_tells_nothing_is_malformed(body, query, reason):
    """No body, no event or one that is not listed: into quarantine, with the cure."""
    with pytest.raises(Malformed, match=reason):
        told(body, query=query, kind="text/xml" if body.startswith(b"<") else FORM)


def test_a_source_without_events_says_so():
    """Nothing in a body says what happened."""
    with pytest.raises(Malformed, match="nothing says what happened"):
        told(b"id=1", Way("projects", "projects"), b"")


def test_get_is_refused_for_its_query_is_not_signed():
    """A bare look is answered; a GET with parameters is none, and never a delivery."""
    assert PROJECTS.handshake(Delivery.arrive("projects", method="GET"), WAY)
    assert PROJECTS.handshake(Delivery.arrive("projects", method="HEAD", query=b"event=task.updated"), WAY)
    asked = Delivery.arrive("projects", method="GET", query=b"taskId=17")
    assert not PROJECTS.handshake(asked, WAY)
    assert "GET" not in PROJECTS.methods


def test_parameters_in_the_query_are_not_read():
    """What stands in the URL may be anybody's: the signature covers the body only."""
    event = told(b"taskId=17", replace(WAY, id="/taskId"), b"event=task.updated&taskId=99&projectId=1")
    assert (event.record_id, event.data) == ("17", {"taskId": "17"})


def test_without_a_signature_the_reason_says_where_it_is_switched_on():
    """HMAC is a switch of each webhook in Projects."""
    with pytest.raises(Unauthenticated, match="switch the HMAC signature"):
        PROJECTS.verify(changed(KIT.proven(), headers=()), WAY, KEYS)

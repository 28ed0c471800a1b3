"""Zoho Commerce: its event in a header, its JSON under a form's Content-Type, and two ways to prove it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kits import KITS
from signed_deliveries import SECRETS, changed, finance_signature, sample, samples

from receiver.errors import BadFraming, Malformed, Unauthenticated
from receiver.sources import PRODUCTS, signing
from receiver.sources import samples as shipped
from receiver.sources.source import Keys, Verified, Way

if TYPE_CHECKING:
    from receiver.event import Event

COMMERCE, KIT = PRODUCTS["commerce"], KITS["commerce"]
WAY, SECURE = Way("shop", "commerce", organisation="77"), Way("shop", "commerce", secure=True)
KEYS = Keys((SECRETS["new"],))


def told(event: str | None = "salesorder.delivered", way: Way = WAY, query: bytes = b"") -> Event:
    """The event of the sample, under that header."""
    delivery = changed(KIT.deliver(None), query=query)
    others = tuple(pair for pair in delivery.headers if pair[0] != "x-zoho-event")
    headers = others if event is None else (*others, ("x-zoho-event", event))
    (found,) = COMMERCE.parse(changed(delivery, headers=headers), way, Verified("static")).events
    return found


def test_a_delivered_order():
    """Header and body together tell the fact; the body is read as the JSON that it is."""
    event = told()
    assert (event.type, event.record_id, event.organisation) == (
        "commerce.salesorder.delivered",
        "460000000137017",
        "77",
    )
    assert event.data["salesorder"]["salesorder_number"] == "SO-00001"
    assert event.native == "salesorder.delivered"
    assert told(" salesorder.delivered ").type == event.type


def test_two_events_with_one_body_are_two_facts():
    """The bytes are equal within the minute, and the header is not among them."""
    assert told("salesorder.delivered").identity != told("salesorder.shipped").identity
    assert told().identity == told().identity
    assert COMMERCE.window(WAY) == 60


def test_without_the_header_the_url_may_name_the_event():
    """As in the rest of the family."""
    listed = Way("shop", "commerce", events=("salesorder.delivered", "salesorder.void"))
    assert told(None, listed, b"event=salesorder.void").type == "commerce.salesorder.void"
    assert told(None).type == "commerce.salesorder.changed"


def test_listed_events_are_the_only_ones():
    """The header is proven by nothing, so who sends a delivery again may not choose another event than those."""
    listed = Way("shop", "commerce", events=("salesorder.delivered",))
    assert told("SalesOrder.Delivered", listed).type == "commerce.SalesOrder.Delivered"
    with pytest.raises(Malformed, match="does not list"):
        told("salesorder.void", listed)


@pytest.mark.parametrize("word", ["sales order.x", "*.created", "", "a..b", "a\u00b7b.c"])
def test_an_odd_name_is_malformed(word):
    """What cannot be a type goes into quarantine."""
    with pytest.raises(Malformed):
        told(word)


def test_a_doubled_event_is_refused():
    """Two readers may each take another one."""
    delivery = KIT.proven()
    with pytest.raises(BadFraming):
        COMMERCE.parse(
            changed(delivery, headers=(*delivery.headers, ("x-zoho-event", "a.b"))), WAY, Verified("static")
        )


def test_a_secure_source_takes_the_signature_and_nothing_else():
    """The weaker proof cannot be chosen by who sends, nor the stronger one where it is not configured."""
    body = KIT.deliver(None).body
    signed = signing.bearing(
        KIT.deliver(None), "x-zoho-webhook-signature", finance_signature(SECRETS["new"], body)
    )
    assert COMMERCE.verify(signed, SECURE, KEYS) == Verified("hmac", 0)
    assert (
        COMMERCE.verify(COMMERCE.sign(KIT.deliver(None), SECURE, SECRETS["new"]), SECURE, KEYS).by == "hmac"
    )
    with pytest.raises(Unauthenticated):
        COMMERCE.verify(KIT.proven(), SECURE, KEYS)
    with pytest.raises(Unauthenticated):
        COMMERCE.verify(signed, WAY, KEYS)


def test_a_bare_request_with_an_event_is_no_probe():
    """It wants to tell something, and has to prove itself."""
    assert not COMMERCE.handshake(changed(KIT.deliver(None), body=b""), WAY)


def test_the_headers_of_zohos_page():
    """They are kept beside the sample, as Zoho prints them."""
    assert samples("commerce") == ["salesorder-delivered"]
    assert shipped.headers("commerce", "salesorder-delivered")["X-ZOHO-Event"] == "salesorder.delivered"
    assert sample("commerce", "salesorder-delivered").startswith(b"{")

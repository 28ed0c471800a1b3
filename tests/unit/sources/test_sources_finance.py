"""The finance family: Books and its sisters, and Billing with its event ids."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
from signed_deliveries import SECRETS, finance, finance_signature, sample

from receiver.errors import Malformed, Unauthenticated
from receiver.event import Delivery, Event
from receiver.sources import PRODUCTS
from receiver.sources.source import Keys, Verified, Way

FORM = "application/x-www-form-urlencoded"
BOOKS, BILLING = PRODUCTS["books"], PRODUCTS["billing"]
PAID = Way("books", "books", connection="acme", events=("invoice.paid", "salesorder.created"))
KEYS, HMAC = Keys((SECRETS["new"],)), Verified("hmac")


def ran(delivery: Delivery, way: Way = PAID) -> Event:
    """The one event of a finance webhook."""
    (event,) = PRODUCTS[way.product].parse(delivery, way, HMAC).events
    return event


def signed(text: bytes, delivery: Delivery, way: Way = PAID) -> Verified:
    """The verdict on a delivery to which that text was signed."""
    headers = (*delivery.headers, ("x-zoho-webhook-signature", finance_signature(SECRETS["new"], text)))
    proven = Delivery.arrive(
        "books", delivery.body, query=delivery.query, headers=headers, received=delivery.received
    )
    return PRODUCTS[way.product].verify(proven, way, KEYS)


def test_a_paid_invoice():
    """The default payload gives the event that the URL names, with ids as text and the organisation of the body."""
    event = ran(finance(None, headers={"X-com-zoho-organizationid": "1"}))
    assert (event.type, event.record_id, event.organisation) == (
        "books.invoice.paid",
        "987654321",
        "60069194202",
    )
    assert (event.native, event.connection, event.occurred) == ("invoice.paid", "acme", None)
    assert event.data["invoice"]["total"] == 100.5
    assert event.identity.startswith("sha256:")
    assert BOOKS.window(PAID) == 60


def test_a_record_without_its_id():
    """The abridged sales order has no id: the event is about no known record, but its type is right."""
    event = ran(finance(None, sample("books", "salesorder-wrapper"), query=b"event=salesorder.created"))
    assert (event.type, event.record_id) == ("books.salesorder.created", "")


@pytest.mark.parametrize(
    ("header", "configured", "organisation"),
    [(" 71 ", "", "71"), ("71", "72", "72"), ("", "72", "72"), ("", "", "")],
)
def test_the_organisation(header, configured, organisation):
    """The unsigned header speaks only where neither the body nor the settings do."""
    way = Way("books", "books", events=("invoice.paid",), organisation=configured)
    headers = {"X-Com-Zoho-OrganizationId": header} if header else {}
    assert (
        ran(finance(None, b'{"invoice":{"invoice_id":1}}', headers=headers), way).organisation == organisation
    )


@pytest.mark.parametrize(
    ("query", "sent", "kind", "text"),
    [
        (b"", b'{"a":1}', "application/json", b'{"a":1}'),
        (b"event=invoice.paid", b'{"a":1}', FORM, b'eventinvoice.paid{"a":1}'),
        (b"", b"", "", b""),
        (b"event=invoice.paid", b"z=1&a=2", FORM, b"a2eventinvoice.paidz1"),
        (b"", b"note=a+b%2Bc", FORM, b"notea b+c"),
        (b"", b"note=a+b%2Bc", FORM, b"notea+b+c"),
        (b"", b"JSONString=%7B%22invoice%22%3A%7B%7D%7D", FORM, b'JSONString{"invoice":{}}'),
        (b"event=invoice.paid", b"<a/>", "text/xml", b"eventinvoice.paid<a/>"),
    ],
)
def test_what_is_signed(query, sent, kind, text):
    """Each sort of body is proven by the text that the recipe makes of it, in both readings of `+`."""
    assert signed(text, finance(None, sent, query=query, content_type=kind)).by == "hmac"


@pytest.mark.parametrize(
    ("query", "sent", "kind"),
    [
        *[(b"a=1", b"{}", "application/json"), (b"event=a&x=1", b"{}", "application/json")],
        *[(b"event=a&event=b", b"{}", "application/json"), (b"Event=a", b"{}", "application/json")],
        *[(b"", b"%7B%22a=1", FORM), (b"", b"=1", FORM), (b"", b"a%FF=1", FORM), (b"", b"a%00=1", FORM)],
        *[(b"", b"a" * 101 + b"=1", FORM), (b"", b"&" * 1_000, FORM)],
    ],
)
def test_what_a_signature_cannot_protect_is_refused(query, sent, kind):
    """The recipe has no separators, so other parameters and odd names of fields are refused whatever the signature."""
    delivery = finance(None, sent, query=query, content_type=kind)
    text = query.replace(b"=", b"").replace(b"&", b"") + sent.replace(b"=", b"")
    with pytest.raises(Unauthenticated, match="cannot be read"):
        signed(text, delivery)


def test_text_moved_from_the_body_into_the_query_is_refused():
    """A captured delivery cannot be sent again with the start of its body as a parameter, though the signature fits."""
    sent = b'{"invoice":{"invoice_id":1}}'
    assert signed(sent, finance(None, sent, query=b"")).by == "hmac"
    with pytest.raises(Unauthenticated):
        signed(sent, finance(None, sent[2:], query=sent[:1] + b"=" + sent[1:2]))
    moved = finance(None, b"{}", query=b"event=invoice.pai")
    with pytest.raises(Malformed):
        ran(moved)


@pytest.mark.parametrize("value", ["t=1700000000000,v=" + "a" * 64, " t=1,v=2"])
def test_the_signature_form_of_payments_is_refused_and_named(value):
    """The header that Payments shares is refused in Payments' form, and the reason says whose it is."""
    with pytest.raises(Unauthenticated, match="Zoho Payments"):
        BOOKS.verify(finance(value), PAID, KEYS)


def test_a_missing_secret_is_named():
    """Where no secret is set the reason names the variable to set."""
    with pytest.raises(Unauthenticated, match="ZOHOOK_SECRET_BOOKS"):
        BOOKS.verify(finance("a" * 64), PAID, Keys())


def test_an_unsigned_empty_delete_is_refused():
    """A DELETE without a body is no handshake: unsigned it is refused, signed it is taken."""
    delivery = Delivery.arrive("books", method="DELETE")
    assert not BOOKS.handshake(delivery, PAID)
    with pytest.raises(Unauthenticated):
        BOOKS.verify(delivery, PAID, KEYS)
    assert signed(b"", delivery).by == "hmac"
    assert not BOOKS.handshake(Delivery.arrive("books", headers={"X-Zoho-Webhook-Signature": "x"}), PAID)


@pytest.mark.parametrize(
    ("sent", "kind", "record_id"),
    [
        (b"invoice_id=57&total=5", FORM, "57"),
        (b"JSONString=%7B%22invoice%22%3A%7B%22invoice_id%22%3A57%7D%7D", FORM, "57"),
        (b'{"contact":{"contact_id":1},"invoice":{"invoice_id":57}}', "text/plain", "57"),
        (b'{"customer":{"customer_id":1},"note":{}}', FORM, "1"),
        (b'{"customer":{"customer_id":1},"contact":{"contact_id":1}}', FORM, ""),
        (b"", "", ""),
    ],
)
def test_bodies_of_all_sorts(sent, kind, record_id):
    """JSON, a form, and JSON in a form are read; the record is the one that the event names, or the only one."""
    event = ran(finance(None, sent, content_type=kind))
    assert (event.type, event.record_id) == ("books.invoice.paid", record_id)


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        *[
            (b"[]", "application/json"),
            (b"{", "application/json"),
            (b"<a/>", "text/xml"),
            (b"JSONString=5", FORM),
        ],
        *[(b"JSONString=%7B", FORM), (b"JSONString=[]", FORM), (b"a=%FF", FORM)],
    ],
)
def test_unreadable_bodies_are_malformed(sent, kind):
    """What is no JSON object and no form is malformed."""
    with pytest.raises(Malformed):
        ran(finance(None, sent, content_type=kind))


@pytest.mark.parametrize(
    ("sent", "kind", "record_id"),
    [
        (b'{"invoice":{"invoice_id":57},"customer":{}}', "books.invoice.changed", "57"),
        (b'{"purchaseorder":{"number":"x"}}', "books.purchaseorder.changed", ""),
        (b'{"data":{"bill":{"bill_id":"9"}}}', "books.bill.changed", "9"),
    ],
)
def test_without_events_listed_the_type_ends_with_changed(sent, kind, record_id):
    """A source that lists no events still gives some, named after the record."""
    event = ran(finance(None, sent, query=b""), Way("books", "books"))
    assert (event.type, event.record_id, event.native) == (kind, record_id, "")


@pytest.mark.parametrize(
    "sent", [b"{}", b'{"total":5}', b'{"a":{},"b":{}}', b'{"a b":{"a b_id":1}}', b'{"*":{}}']
)
def test_without_a_name_anywhere_it_is_malformed(sent):
    """Where neither the URL nor the body names a thing, there is no type to route by."""
    with pytest.raises(Malformed, match="event="):
        ran(finance(None, sent, query=b""), Way("books", "books"))


def test_pointers_win():
    """The configured pointers say where id and time are."""
    way = Way("books", "books", events=("invoice.paid",), id="/invoice/number", time="/invoice/at")
    event = ran(finance(None, b'{"invoice":{"invoice_id":1,"number":"INV-1","at":1700000000}}'), way)
    assert (event.record_id, event.occurred) == ("INV-1", 1_700_000_000_000)


def test_times_without_an_offset_are_in_the_zone_of_the_source():
    """A body of the admin's own may hold them as the organisation shows them."""
    zone = ZoneInfo("America/New_York")
    way = Way("books", "books", events=("invoice.paid",), time="/at", zone=zone, time_format="%d %b %Y %H:%M")
    event = ran(finance(None, b'{"invoice":{"invoice_id":1},"at":"01 Jul 2026 04:15"}'), way)
    assert event.occurred == 1_782_893_700_000


@pytest.mark.parametrize("product", ["inventory", "invoice", "billing", "expense"])
def test_the_sisters_name_themselves(product):
    """Each product of the family puts its own name before the type."""
    way = Way(product, product, events=("invoice.paid", f"{product}.bill.paid"))
    assert ran(finance(None), way).type == f"{product}.invoice.paid"
    assert ran(finance(None, query=b"event=bill.paid"), way).type == f"{product}.bill.paid"


BILLED = Way("billing", "billing")


def test_billing_names_its_events():
    """Billing's event has id, word and time in its body; a redelivery is recognised by the id for a week."""
    event = ran(finance(None, sample("billing", "event-object"), query=b""), BILLED)
    assert (event.type, event.native) == ("billing.subscription.activation", "subscription_activation")
    assert event.occurred == 1_465_176_500_000
    assert json.loads(event.identity)[1:] == ["90300000005337"]
    assert BILLING.window(BILLED) == 7 * 86_400


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        *[
            ("subscription_created", "billing.subscription.created"),
            ("payment_thankyou", "billing.payment.thankyou"),
        ],
        *[
            ("subscription_cancellation_scheduled", "billing.subscription.cancellation_scheduled"),
            ("creditnote_refund", "billing.creditnote.refund"),
            ("ping", "billing.ping"),
        ],
    ],
)
def test_billings_words(word, kind):
    """The first part of Billing's word is the thing, the rest what happened to it; others are passed on as they stand."""
    sent = json.dumps({"event_id": 5, "event_type": word, "data": {"subscription": {"subscription_id": "7"}}})
    event = ran(finance(None, sent.encode(), query=b""), BILLED)
    assert (event.type, event.record_id) == (kind, "7")


def test_billings_payload_may_be_a_text():
    """The payload that Billing holds as a text of JSON is looked into for the record; an unreadable one is left alone."""
    for payload, record_id in [
        ('{"invoice":{"invoice_id":57}}', "57"),
        ('{"invoice"', ""),
        ("{...}", ""),
        ("5", ""),
    ]:
        sent = json.dumps({"event_id": "1", "event_type": "invoice_notification", "payload": payload})
        assert ran(finance(None, sent.encode(), query=b""), BILLED).record_id == record_id


def test_billings_workflow_webhooks_are_named_by_the_url():
    """A workflow's webhook of Billing has no event in its body, and its mark fits for a minute only."""
    event = ran(finance(None), Way("billing", "billing", events=("invoice.paid",)))
    assert event.type == "billing.invoice.paid"
    assert event.mark_life(7 * 86_400) == 60
    assert ran(
        finance(None, sample("billing", "signing-example"), query=b"event=a.b"),
        Way("b", "billing", events=("a.b",)),
    )


@pytest.mark.parametrize(
    "sent", [b'{"event_type":5}', b'{"event_type":"a.b"}', b'{"event_type":"*"}', b'{"event_id":{}}']
)
def test_billings_wrong_types_are_malformed(sent):
    """A documented key of the wrong type is not guessed at."""
    with pytest.raises(Malformed):
        ran(finance(None, sent, query=b""), BILLED)


def test_base64_is_read_where_the_settings_say_so():
    """How Zoho spells the digest is printed nowhere: hex by default, and base64 beside it at a switch."""
    delivery = finance(None)
    text = b"eventinvoice.paid" + delivery.body
    digest = bytes.fromhex(finance_signature(SECRETS["new"], text))
    spelled = finance(base64.b64encode(digest).decode())
    with pytest.raises(Unauthenticated):
        BOOKS.verify(spelled, PAID, KEYS)
    either = replace(PAID, signature_base64=True)
    assert (
        BOOKS.verify(spelled, either, KEYS)
        == BOOKS.verify(finance(digest.hex()), either, KEYS)
        == Verified("hmac", 0)
    )
    with pytest.raises(Unauthenticated):
        BOOKS.verify(finance(base64.b64encode(digest[:-1] + b"x").decode()), either, KEYS)

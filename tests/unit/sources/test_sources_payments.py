"""Zoho Payments: the time in its signature, its events and its test mode."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from kits import KITS
from kits_signed import mac, stamped
from signed_deliveries import RECEIVED, SECRETS, changed, sample

from receiver.errors import BadFraming, Malformed, Unauthenticated
from receiver.event import Delivery, Event
from receiver.sources import PRODUCTS, signing
from receiver.sources.source import Keys, Verified, Way

PAYMENTS, KIT, WAY = PRODUCTS["payments"], KITS["payments"], Way("payments", "payments", organisation="77")
KEYS, HMAC = Keys((SECRETS["new"],)), Verified("hmac")


def told(case: str = "refund-succeeded", way: Way = WAY, **changed: object) -> Event:
    """The event of a sample, with other values."""
    document = {**json.loads(sample("payments", case)), **changed}
    (event,) = PAYMENTS.parse(Delivery.arrive("payments", json.dumps(document).encode()), way, HMAC).events
    return event


def signed_at(at: int) -> Delivery:
    """A delivery that came at RECEIVED and was signed then."""
    return KIT.deliver(stamped("new", KIT.deliver(None).body, at))


def test_the_known_answer():
    """The recipe of Zoho's page gives the digest that was computed apart from this code."""
    at, body = 1_700_000_000_000, b'{"event_id":1}'
    given = f"t={at},v=fe2d4fb0224d4dabd54d3b6d7d0bc19eeca1aa388535f5c075d51439c51457cf"
    delivery = signing.bearing(Delivery.arrive("payments", body, received=at), PAYMENTS.header, given)
    assert PAYMENTS.verify(delivery, WAY, Keys(("throwawaypaykey01",))) == Verified("hmac", 0)


@pytest.mark.parametrize("off", [0, 299_999, -299_999, 300_000, -300_000])
def test_a_signature_within_the_tolerance_is_taken(off):
    """Five minutes either way cover a clock that is wrong."""
    assert PAYMENTS.verify(signed_at(RECEIVED + off), WAY, KEYS).by == "hmac"


@pytest.mark.parametrize("off", [300_001, -300_001, -86_400_000])
def test_a_signature_that_is_old_is_a_replay(off):
    """Each attempt of Zoho's is signed anew, so an old signature was sent again by somebody else."""
    with pytest.raises(Unauthenticated, match="sent again by somebody"):
        PAYMENTS.verify(signed_at(RECEIVED + off), WAY, KEYS)
    assert PAYMENTS.verify(signed_at(RECEIVED + off), replace(WAY, tolerance=90_000.0), KEYS).by == "hmac"


def test_the_time_is_part_of_what_is_signed():
    """Another time under the same digest is another text."""
    given = KIT.proof().replace(f"t={RECEIVED}", f"t={RECEIVED + 1}")
    with pytest.raises(Unauthenticated, match="does not fit time and body"):
        PAYMENTS.verify(KIT.deliver(given), WAY, KEYS)


@pytest.mark.parametrize(
    "form",
    [
        *[
            "v={v},t={t}",
            "t={t}, v={v}",
            "t={t};v={v}",
            "T={t},v={v}",
            "t={t},v={v},v={v}",
            "{v}",
            "t=,v={v}",
        ],
        *["t=0{t},v={v}", "t=-{t},v={v}", "t={t}.0,v={v}", "t={t},v=", "t={t},v1={v}", "t=1e12,v={v}"],
    ],
)
def test_another_form_is_refused(form):
    """Only the form that Zoho prints is read, in its order and without blanks, and bare hex is another product's."""
    digest = mac(SECRETS["new"], f"{RECEIVED}.".encode() + KIT.deliver(None).body).hex()
    with pytest.raises(Unauthenticated, match="has not the form"):
        PAYMENTS.verify(KIT.deliver(form.format(t=RECEIVED, v=digest)), WAY, KEYS)


def test_the_older_spelling_of_the_header():
    """It is taken too, but never beside the other one."""
    older = signing.bearing(KIT.deliver(None), "x-zohowebhook-signature", KIT.proof())
    assert PAYMENTS.verify(older, WAY, KEYS).by == "hmac"
    assert not PAYMENTS.handshake(changed(older, body=b""), WAY)
    with pytest.raises(BadFraming):
        PAYMENTS.verify(signing.bearing(older, PAYMENTS.header, KIT.proof()), WAY, KEYS)


def test_a_payment_and_a_refund():
    """Ids are texts, times are in milliseconds whatever the amounts' own times are in, and the account is the organisation."""
    event = told("payment-succeeded-cut")
    assert (event.type, event.native, event.record_id) == (
        "payments.payment.succeeded",
        "payment.succeeded",
        "",
    )
    assert (event.organisation, event.occurred) == ("105078477", 1_756_096_975_624)
    assert event.identity == '["payments.payment.succeeded","9973000000138072"]'
    refund = told(account_id=None)
    assert (refund.type, refund.record_id, refund.organisation) == (
        "payments.refund.succeeded",
        "9973000000139004",
        "77",
    )


@pytest.mark.parametrize(
    ("word", "kind", "thing", "record_id"),
    [
        ("payment_session.failed", "payments.payment_session.failed", {"payments_session_id": "5"}, "5"),
        ("payment_link.paid", "payments.payment_link.paid", {"payment_link_id": 6}, "6"),
        ("dispute.evidence.asked", "payments.dispute.evidence_asked", {"id": "7"}, "7"),
        ("settled", "payments.settled", {}, ""),
    ],
)
def test_words_of_payments(word, kind, thing, record_id):
    """Words that are not known stand as they are, with one resource and one verb."""
    event = told(event_type=word, event_object={word.split(".")[0]: thing})
    assert (event.type, event.record_id) == (kind, record_id)


def test_native_words():
    """Handlers may wait for Payments' own words."""
    assert PAYMENTS.native("payment_link.paid") == "payments.payment_link.paid"
    assert PAYMENTS.native("dispute.opened") is None


@pytest.mark.parametrize(
    "spoil",
    [
        *[{"event_id": None}, {"event_type": "a..b"}, {"event_type": "*"}, {"event_type": 5}],
        *[{"event_time": "soon"}, {"live_mode": "perhaps"}, {"event_object": []}, {"event_object": {"a": 1}}],
    ],
)
def test_wrong_types_are_malformed(spoil):
    """What is not of its documented type goes into quarantine."""
    with pytest.raises(Malformed):
        told(**spoil)


def test_the_test_mode_may_be_shut_out():
    """A source that is `live_only` puts events of the test mode into quarantine; others hand them to the handlers as they are."""
    live = replace(WAY, live_only=True)
    assert told(way=live).data["live_mode"] is True
    assert told("payment-succeeded-cut").data["live_mode"] is False
    for mode in (False, None):
        with pytest.raises(Malformed, match="live_only"):
            told(way=live, live_mode=mode)


def test_the_ping_at_registration_is_answered():
    """Of which Zoho says neither the method nor the body: nothing signed, and no event in it."""
    for ping in (b"", b"{}", b'{"ping":true}', b"test"):
        assert PAYMENTS.handshake(Delivery.arrive("payments", ping), WAY)
    assert not PAYMENTS.handshake(Delivery.arrive("payments", b"{}", method="PUT"), WAY)
    assert not PAYMENTS.handshake(KIT.deliver(None), WAY)
    with pytest.raises(Unauthenticated, match="sends it with each"):
        PAYMENTS.verify(KIT.deliver(None), WAY, KEYS)

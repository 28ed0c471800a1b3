"""Zoho Sign: each signer's part apart from the whole, the button "Test Url", and Zoho's own known answer."""

from __future__ import annotations

import json

import pytest
from kits import KITS
from signed_deliveries import SECRETS, changed, sample

from receiver.errors import Malformed, Unauthenticated
from receiver.event import Delivery, Event
from receiver.sources import PRODUCTS, signing
from receiver.sources.source import Keys, Verified, Way

SIGN, KIT, WAY = PRODUCTS["sign"], KITS["sign"], Way("sign", "sign", connection="acme", organisation="77")
HMAC = Verified("hmac")


def told(case: str = "signing-success", **changed: object) -> Event:
    """The event of a sample, with other values in its notification."""
    document = json.loads(sample("sign", case))
    document["notifications"] |= changed
    (event,) = SIGN.parse(Delivery.arrive("sign", json.dumps(document).encode()), WAY, HMAC).events
    return event


def test_the_known_answer_of_zohos_page():
    """Key and message as Zoho prints them, which is not even JSON, give the signature that Zoho prints."""
    body = b'{{"requests":{"request_name":"Test Name"},"notifications":{"operation_type":"RequestSigningSuccess"}}'
    delivery = signing.bearing(
        Delivery.arrive("sign", body), SIGN.header, "drbSrM4H816RYKpZiRBLddUa0yHaTrwjtY04sIZFZus="
    )
    keys = Keys(("thisisthesamplekeyfortestingpurposes",))
    assert SIGN.verify(delivery, WAY, keys) == Verified("hmac", 0)
    for at in range(len(body)):
        with pytest.raises(Unauthenticated):
            SIGN.verify(changed(delivery, body=body[:at] + b"!" + body[at + 1 :]), WAY, keys)
    with pytest.raises(Malformed):
        SIGN.parse(delivery, WAY, HMAC)


def test_one_signers_part():
    """A signature of one of several is `signed`, with the signer's action in its identity."""
    event = told()
    assert (event.type, event.native) == ("sign.Request.signed", "RequestSigningSuccess")
    assert (event.record_id, event.organisation, event.occurred) == ("1000000000000", "77", 1_555_062_604_837)
    assert event.identity == (
        '["sign.Request.signed","1000000000000","RequestSigningSuccess","1000000000090",1555062604837]'
    )
    assert event.data["requests"]["request_status"] == "inprogress"
    assert told("signing-success-extended").organisation == "9876543210"


def test_the_whole_is_another_fact_than_its_parts():
    """`completed` alone says that all have signed; what two signers do at one time stays apart, and each is told once."""
    whole = told("request-completed")
    assert (whole.type, whole.record_id) == ("sign.Request.completed", "222008000000016075")
    assert whole.identity.count('""') == 1  # it is about no signer's action
    one, two = told(action_id="1"), told(action_id=2)
    assert len({one.identity, two.identity, told().identity}) == 3
    assert told(action_id=1).identity == one.identity
    assert one.record_key() == two.record_key() == "sign.Request:1000000000000"


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        *[("RequestSubmitted", "submitted"), ("RequestViewed", "viewed"), ("RequestApproved", "approved")],
        *[
            ("RequestRejected", "declined"),
            ("RequestDeclined", "declined"),
            ("RequestForwarded", "forwarded"),
        ],
        *[
            ("RequestExpired", "expired"),
            ("RequestRecalled", "recalled"),
            ("RequestBounced", "RequestBounced"),
        ],
        ("OddWord", "OddWord"),
    ],
)
def test_words_of_sign(word, kind):
    """Known words have our verbs, others stand as they are; handlers may wait for Sign's own words."""
    event = told(operation_type=word)
    assert (event.type, event.native) == (f"sign.Request.{kind}", word)
    assert SIGN.native(word) == (event.type if word != "OddWord" else None)


def test_without_a_time_the_bytes_are_compared():
    """A fact that says not when it was cannot be told from another by its ids."""
    assert told(performed_at=None).identity.startswith("sha256:")


@pytest.mark.parametrize(
    "spoil",
    [
        *[{"operation_type": 5}, {"operation_type": "a b"}, {"operation_type": ""}, {"performed_at": "soon"}],
        *[{"action_id": [1]}, {"activity": 5}],
    ],
)
def test_wrong_types_are_malformed(spoil):
    """What is not of its documented type puts the delivery into quarantine, with a reason that holds no value."""
    with pytest.raises(Malformed) as refused:
        told(**spoil)
    assert "soon" not in str(refused.value)


def test_the_button_test_url_has_no_effect():
    """Its unsigned sample is a handshake, with numbers or texts as ids; signed it is a delivery like any other."""
    probe = Delivery.arrive("sign", sample("sign", "test-url"))
    assert SIGN.handshake(probe, WAY)
    assert SIGN.handshake(changed(probe, body=probe.body.replace(b"1000000102049", b'"1000000102049"')), WAY)
    assert SIGN.handshake(changed(probe, method="GET"), WAY)
    assert not SIGN.handshake(changed(probe, method="PUT"), WAY)
    signed = KIT.proven(body=probe.body)
    assert not SIGN.handshake(signed, WAY)
    assert SIGN.verify(signed, WAY, Keys((SECRETS["new"],))).by == "hmac"


@pytest.mark.parametrize(
    "body",
    [
        sample("sign", "test-url").replace(b"1000000102049", b"1000000102048"),
        sample("sign", "test-url").replace(b"1000000102052", b"1000000102053"),
        b'{"notifications":{"operation_type":"a","action_id":1000000102052},"requests":{"request_id":10000001020490}}',
        b'{"requests":{"request_id":1000000102049},"notifications":{"action_id":1000000102052}}',
        b'{"requests":1000000102049,"notifications":1000000102052',
        sample("sign", "test-url") + b" " * 8_192,
        sample("sign", "signing-success"),
    ],
)
def test_nothing_else_passes_for_the_button(body):
    """Another id, another shape, or the ids anywhere else: no handshake, and without a proof refused."""
    delivery = Delivery.arrive("sign", body)
    assert not SIGN.handshake(delivery, WAY)
    with pytest.raises(Unauthenticated, match="no x-zs-webhook-signature came"):
        SIGN.verify(delivery, WAY, Keys((SECRETS["new"],)))

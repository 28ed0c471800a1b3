"""Zoho Mail: messages and tasks, and the secret that comes with the first request."""

from __future__ import annotations

import json

import pytest
from kits import KITS
from kits_signed import in_base64
from signed_deliveries import RECEIVED, SECRETS, changed, sample

from receiver.errors import BadFraming, Malformed, Unauthenticated
from receiver.event import BYTES_ONLY, Delivery, Event
from receiver.sources import PRODUCTS, signing
from receiver.sources.source import Keys, Offer, Verified, Way

MAIL, KIT, WAY = PRODUCTS["mail"], KITS["mail"], Way("mail", "mail", organisation="77")
HMAC = Verified("hmac")
TOLD = "told-by-mail-0123456789"


def told(case: str = "new-mail", **changed: object) -> Event:
    """The event of a sample, with other values."""
    document = {**json.loads(sample("mail", case)), **changed}
    (event,) = MAIL.parse(
        Delivery.arrive("mail", json.dumps(document).encode(), received=RECEIVED), WAY, HMAC
    ).events
    return event


def first(secret: str = TOLD, signature: str = "", body: bytes = b"", **also: object) -> Delivery:
    """The first request of a webhook: its secret, and perhaps a delivery already."""
    headers = {"X-Hook-Secret": secret, **({"X-Hook-Signature": signature} if signature else {})}
    return changed(Delivery.arrive("mail", body, headers=headers, received=RECEIVED), **also)


def test_the_known_answer():
    """The masked capture, byte for byte, gives the signature that was computed apart from this code."""
    delivery = signing.bearing(
        KIT.deliver(None), "x-hook-signature", "Dfzv35+eDkZpVgFFCGAVhwmod17vCV5VDblzbzuLybc="
    )
    assert MAIL.verify(delivery, WAY, Keys(("throwaway-secret-not-from-zoho",))) == Verified("hmac", 0)
    with pytest.raises(Unauthenticated):
        MAIL.verify(
            changed(delivery, body=delivery.body + b"\n"), WAY, Keys(("throwaway-secret-not-from-zoho",))
        )


def test_a_new_message():
    """Its id is that of the text, for the number is rounded by others; its time is that of receipt, not the odd "GMT" one."""
    event = told()
    assert (event.type, event.record_id, event.occurred) == (
        "mail.message.received",
        "1784105487965154200",
        1_784_105_487_962,
    )
    assert (event.identity, event.organisation) == (
        '["mail.message.received","848632206","1784105487965154200"]',
        "77",
    )
    assert told(messageIdString=None).identity == event.identity
    older = told("new-mail-older")
    assert (older.record_id, older.data["ccAddress"]) == ("1560840837125110000", "")


def test_a_changed_task():
    """It has no id of its fact: equal bytes are a redelivery within the minute only."""
    event = told("task-updated")
    assert (event.type, event.record_id, event.native) == (
        "mail.task.updated",
        "4000000012345",
        "taskUpdated",
    )
    assert event.identity.startswith(BYTES_ONLY)
    assert event.identity.endswith(":mail.task.updated:4000000012345")
    assert event.mark_life(7 * 86_400) == 60
    assert told("task-updated", action="taskSnoozed").type == "mail.task.taskSnoozed"


@pytest.mark.parametrize(
    ("case", "spoil"),
    [
        *[("new-mail", {"messageId": None, "messageIdString": ""}), ("new-mail", {"messageId": [1]})],
        *[("new-mail", {"receivedTime": "soon"}), ("new-mail", {"subject": 5})],
        *[
            ("task-updated", {"action": "a b"}),
            ("task-updated", {"action": 1}),
            ("task-updated", {"entityId": ""}),
        ],
    ],
)
def test_wrong_types_are_malformed(case, spoil):
    """What is not of its documented type, or about nothing, goes into quarantine."""
    with pytest.raises(Malformed):
        told(case, **spoil)


def test_a_body_that_is_no_object_is_malformed():
    """An array or a text tells no event."""
    with pytest.raises(Malformed):
        MAIL.parse(Delivery.arrive("mail", b"[1]"), WAY, HMAC)


def test_the_secret_is_offered_and_no_handshake_without_effect():
    """The first request offers its secret, with a body or without one; a bare request without it is a probe."""
    assert MAIL.offered(first(), Keys()) == Offer(TOLD, signed=False)
    assert MAIL.offered(first(body=sample("mail", "new-mail")), Keys()) == Offer(TOLD, signed=False)
    assert not MAIL.handshake(first(), WAY)
    assert MAIL.handshake(Delivery.arrive("mail"), WAY)
    assert MAIL.offered(Delivery.arrive("mail"), Keys()) is None
    assert all(PRODUCTS[name].offered(first(), Keys()) is None for name in PRODUCTS if name != "mail")


def test_a_signature_beside_the_secret_has_to_fit():
    """It may be made with the secret that comes along, or with one that is known; any other makes the offer void."""
    body = sample("mail", "new-mail")
    by_told = signing.bearing(MAIL.sign(Delivery.arrive("mail", body), WAY, TOLD), "x-hook-secret", TOLD)
    assert MAIL.offered(by_told, Keys()) == Offer(TOLD, signed=True)
    by_known = first(signature=in_base64("new", body), body=body)
    assert MAIL.offered(by_known, Keys((SECRETS["new"],))) == Offer(TOLD, signed=True)
    assert MAIL.offered(by_known, Keys((SECRETS["old"],))) is None


@pytest.mark.parametrize(
    "delivery",
    [
        first("short"),
        first(""),
        first("with a blank in it"),
        first("x" * 513),
        first("schl\u00fcssel-012345"),
        first(method="PUT"),
    ],
)
def test_what_is_no_secret_is_not_offered(delivery):
    """Too short, too long, or not of visible ASCII: it cannot be Zoho's, or would guard nothing."""
    assert MAIL.offered(delivery, Keys()) is None


def test_two_secrets_at_once_are_refused():
    """Two readers may each take another one."""
    with pytest.raises(BadFraming):
        MAIL.offered(changed(first(), headers=(("x-hook-secret", TOLD), ("x-hook-secret", TOLD))), Keys())


def test_what_does_not_fit_asks_for_newer_secrets():
    """Another process may have been told one; without a signature there is nothing to ask for."""
    assert MAIL.lacks(KIT.proven(), Keys())
    assert MAIL.lacks(KIT.proven("old"), KIT.keys("new"))
    assert not MAIL.lacks(KIT.proven(), KIT.keys("old", "new"))
    assert not MAIL.lacks(KIT.deliver(None), Keys())


@pytest.mark.parametrize(
    ("delivery", "keys", "cure"),
    [
        (first(), Keys((TOLD,)), "not armed: run   zohook source arm mail   and save"),
        (KIT.proven(), Keys(), "told no secret yet: run   zohook source arm mail   and save"),
        (KIT.deliver(None), Keys((TOLD,)), "Zoho Mail sends it with all but the first request"),
    ],
)
def test_reasons_say_what_to_do(delivery, keys, cure):
    """Whoever is not armed, has no secret, or gets no signature is told the next step."""
    with pytest.raises(Unauthenticated, match=cure):
        MAIL.verify(delivery, WAY, keys)

"""Zoho Payments: payments, refunds, links and payouts, proven by an HMAC that bears the time of its making.

https://www.zoho.com/in/payments/developerdocs/webhooks/verification, https://www.zoho.com/us/payments/api/v1/webhooks-events
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from receiver.errors import BadFraming, Malformed, Unauthenticated
from receiver.sources import reading, signing, strict_json
from receiver.sources.fingerprints import FINANCE as HEADER
from receiver.sources.fingerprints import carries, looks_like
from receiver.sources.guide import Guide
from receiver.sources.product import WEEK, Product, need_secret
from receiver.sources.reading import (  # noqa: TC001 - pydantic reads them
    Identifier,
    MaybeIdentifier,
    Milliseconds,
)
from receiver.sources.source import Parsed, Verified

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.event import Delivery
    from receiver.sources.source import Keys, Way

OLD_HEADER = "x-zohowebhook-signature"
"""As an older copy of Zoho's page spells it."""

WORDS = (
    *("payment.succeeded", "payment.failed", "payment.pending"),
    *("payment_session.succeeded", "payment_session.failed"),
    *("payment_link.paid", "payment_link.expired", "payment_link.canceled"),
    *("virtual_account.paid", "virtual_account.closed", "refund.succeeded", "refund.failed"),
    *("payout.initiated", "payout.paid", "payout.failed"),
)

_FORM = re.compile(r"t=([1-9][0-9]{0,14}),v=([0-9a-fA-F]{64})")


GUIDE = Guide(
    title="Zoho Payments",
    proof="HMAC-SHA256 of time and body, in X-Zoho-Webhook-Signature",
    whose="theirs",
    screen="""\
1. In Zoho Payments open Settings > Developer Space > Webhooks, and add an endpoint for the events that you want.
2. Give it this URL, which is tried once while it is saved:

       {url}

3. Zoho Payments shows a signing key. It is the secret of this source.
""",
    ids=("/event_id",),
    times=("/event_time", "/event_object/*/date"),
    organisations=("/account_id",),
)


class PaymentsEvent(BaseModel):
    """A body of Payments, which is also the `data` of its events. Amounts are texts, and `date` of a payment is in seconds."""

    model_config = ConfigDict(extra="allow")

    event_id: Identifier
    event_type: str
    account_id: MaybeIdentifier = ""
    live_mode: bool | None = None
    event_time: Milliseconds = None
    event_object: dict[str, dict[str, Any]] = {}


class Payments(Product):
    """One event for each delivery; its id is the same over all the attempts that Payments makes, for up to two days."""

    life = WEEK
    guide = GUIDE
    knows = frozenset({"live_only"})
    header = HEADER

    def handshake(self, delivery: Delivery, way: Way) -> bool:
        """A bare request, or the ping at registration, of which Zoho says neither the method nor the body: nothing signed, no event."""
        if carries(delivery, HEADER, OLD_HEADER):
            return False
        ping = delivery.method == "POST" and b'"event_type"' not in delivery.body
        return super().handshake(delivery, way) or (ping and looks_like(delivery) is None)

    def verify(self, delivery: Delivery, way: Way, keys: Keys) -> Verified:
        """The signature is the HMAC of its time, a dot and the body; the time is within the tolerance of that of receipt."""
        given = _given(delivery)
        form = _FORM.fullmatch(given)
        if form is None:
            raise Unauthenticated(f"{HEADER} has not the form t=...,v=... of Zoho Payments")
        need_secret(way, keys)
        text = form[1].encode() + b"." + delivery.body
        which = signing.which_hmac(signing.from_hex(form[2]), keys.secrets, (text,))
        if which is None:
            raise Unauthenticated(
                f"{HEADER} does not fit time and body, or does not come of the signing key of {way.name}"
            )
        off = abs(delivery.received - int(form[1])) / 1000
        if off > way.tolerance:
            raise Unauthenticated(
                f"the signature is {off:.0f} s off, and {way.tolerance:.0f} s are tolerated: it was sent again by somebody, "
                "or this machine's clock is wrong"
            )
        return Verified("hmac", which)

    def sign(self, delivery: Delivery, way: Way, secret: str) -> Delivery:  # noqa: ARG002
        """The signature, as if it were made at receipt."""
        stamp = str(delivery.received)
        digest = signing.hmac_sha256(secret, stamp.encode() + b"." + delivery.body).hex()
        return signing.bearing(delivery, HEADER, f"t={stamp},v={digest}")

    def parse(self, delivery: Delivery, way: Way, verified: Verified) -> Parsed:
        """The one event. One of the test mode goes into quarantine where the source is `live_only`."""
        document = strict_json.document(delivery)
        told = reading.checked(PaymentsEvent, document)
        if way.live_only and not told.live_mode:
            raise Malformed(
                f"an event of the test mode, and [sources.{way.name}] says live_only; without it handlers get it"
            )
        kind = self.dotted(told.event_type)
        resource = kind.split(".")[1]
        event = self._event(
            delivery,
            way,
            verified,
            (told.event_id,),
            type=kind,
            native=told.event_type,
            data=document,
            organisation=told.account_id or way.organisation,
            record_id=_record_id(told.event_object.get(resource, {}), resource),
            occurred=told.event_time,
        )
        return Parsed([event])

    def native(self, word: str) -> str | None:
        """`payments.payment.succeeded` for "payment.succeeded"."""
        return self.dotted(word) if word in WORDS else None

    def types(self) -> Sequence[str]:
        """What Payments is known to send."""
        return [self.dotted(word) for word in WORDS]


def _given(delivery: Delivery) -> str:
    spelled = [name for name in (HEADER, OLD_HEADER) if carries(delivery, name)]
    if len(spelled) > 1:
        raise BadFraming("two headers with a signature came; send one")
    given = delivery.header(spelled[0]) if spelled else None
    if not given:
        raise Unauthenticated(f"no {HEADER} came; Zoho Payments sends it with each of its deliveries")
    return given


def _record_id(record: dict[str, Any], resource: str) -> str:
    """The API calls the id of a payment session `payments_session_id`, and those of all others after the record."""
    names = (f"{resource}_id", "payments_session_id", "id")
    return reading.identifier(next((record[name] for name in names if name in record), None))

"""Zoho Sign: what happens to a request for signatures, each signer's part apart from the whole, proven by an HMAC of the body.

https://help.zoho.com/portal/en/kb/zoho-sign/admin-guide/webhooks/articles/securing-zoho-sign-webhooks-with-hmac-authentication
(the secret is the key: a formula there reads as if it were put behind the body, and the page's own example disproves that).
`X-ZS-WEBHOOK-TIMESTAMP`, which an account may switch on, is not known to be signed, so nothing is built on it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from receiver.errors import Malformed
from receiver.sources import reading, strict_json
from receiver.sources.fingerprints import carries
from receiver.sources.guide import Guide
from receiver.sources.product import WEEK
from receiver.sources.reading import (  # noqa: TC001 - pydantic reads them
    Identifier,
    MaybeIdentifier,
    Milliseconds,
)
from receiver.sources.signed_body import HmacBody
from receiver.sources.source import Parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.event import Delivery
    from receiver.sources.source import Verified, Way

VERBS = {
    "RequestSubmitted": "submitted",
    "RequestViewed": "viewed",
    "RequestSigningSuccess": "signed",
    "RequestApproved": "approved",
    "RequestCompleted": "completed",
    "RequestRejected": "declined",
    "RequestDeclined": "declined",
    "RequestForwarded": "forwarded",
    "RequestExpired": "expired",
    "RequestRecalled": "recalled",
}
"""`signed` is one signer's part, and the request may still be open; `completed` alone says that all have signed."""

TEST_REQUEST, TEST_ACTION = "1000000102049", "1000000102052"
"""What the button "Test Url" sends, unsigned even where the HMAC is switched on; it fails unless it hears 200."""

LONGEST_SAMPLE = 8_192

_WORD = re.compile(r"Request[A-Z]\w*")


GUIDE = Guide(
    title="Zoho Sign",
    proof="HMAC-SHA256 of the body, in X-ZS-WEBHOOK-SIGNATURE",
    screen="""\
1. In Zoho Sign open Settings > Developer settings > Webhooks, and add a webhook.
2. Choose its events, and give it this callback URL:

       {url}

3. Switch HMAC on, and type this as the secret key. Whatever Zoho Sign makes itself may be used as well, to its last character:

       {secret}

4. "Test Url" sends a sample that is not signed: it is answered, and nothing is run on it.
""",
    ids=("/requests/request_id", "/notifications/action_id"),
    times=("/notifications/performed_at", "/requests/action_time", "/requests/modified_time"),
    organisations=("/requests/org_id",),
)


class SignNotification(BaseModel):
    """What happened, and by whom; `action_id` names the signer's part where it was about one."""

    model_config = ConfigDict(extra="allow")

    operation_type: str
    performed_at: Milliseconds = None
    action_id: MaybeIdentifier = ""
    performed_by_email: str | None = None
    performed_by_name: str | None = None
    activity: str | None = None


class SignDocument(BaseModel):
    """A document of a request."""

    model_config = ConfigDict(extra="allow")

    document_id: Identifier
    document_name: str | None = None


class SignRequest(BaseModel):
    """The request as it was then. `request_status` is that of the whole: `inprogress` while others have to sign."""

    model_config = ConfigDict(extra="allow")

    request_id: Identifier
    request_name: str | None = None
    request_status: str | None = None
    org_id: MaybeIdentifier = ""
    document_ids: list[SignDocument] | None = None
    actions: list[dict[str, Any]] | None = None


class SignDelivery(BaseModel):
    """A body of Sign, which is also the `data` of its events."""

    model_config = ConfigDict(extra="allow")

    notifications: SignNotification
    requests: SignRequest


class Sign(HmacBody):
    """One event for each delivery."""

    life = WEEK
    guide = GUIDE
    header = "x-zs-webhook-signature"
    cure = "give the webhook in Zoho Sign a secret key (Settings > Developer settings > Webhooks)"

    def handshake(self, delivery: Delivery, way: Way) -> bool:
        """A bare request, or the unsigned sample of the button "Test Url": 200 without any effect."""
        if super().handshake(delivery, way):
            return True
        return delivery.method == "POST" and not carries(delivery, self.header) and _is_sample(delivery.body)

    def parse(self, delivery: Delivery, way: Way, verified: Verified) -> Parsed:
        """The one event, about the request whoever has done what with it."""
        document = strict_json.document(delivery)
        told = reading.checked(SignDelivery, document)
        notification, request = told.notifications, told.requests
        if not reading.is_name(notification.operation_type):
            raise Malformed("operation_type is no name")
        fact = (
            request.request_id,
            notification.operation_type,
            notification.action_id,
            notification.performed_at,
        )
        event = self._event(
            delivery,
            way,
            verified,
            None if notification.performed_at is None else fact,
            type=_type(notification.operation_type),
            native=notification.operation_type,
            data=document,
            organisation=request.org_id or way.organisation,
            record_id=request.request_id,
            occurred=notification.performed_at,
        )
        return Parsed([event])

    def native(self, word: str) -> str | None:
        """`sign.Request.completed` for "RequestCompleted"."""
        return _type(word) if _WORD.fullmatch(word) else None

    def types(self) -> Sequence[str]:
        """What Sign is known to send."""
        return [_type(word) for word in VERBS]


def _type(word: str) -> str:
    """A word that is not known stands as it is, where the verb would."""
    return f"sign.Request.{VERBS.get(word, word)}"


def _is_sample(body: bytes) -> bool:
    """Nothing is proven here, so a long body is not read at all; the sample has some 600 bytes."""
    if len(body) > LONGEST_SAMPLE or TEST_REQUEST.encode() not in body or TEST_ACTION.encode() not in body:
        return False
    try:
        told = SignDelivery.model_validate(strict_json.loads(body))
    except (Malformed, ValueError):
        return False
    return told.requests.request_id == TEST_REQUEST and told.notifications.action_id == TEST_ACTION

"""ZeptoMail: what became of transactional mails, proven by an HMAC of the body beside the time of its making.

https://www.zoho.com/zeptomail/help/webhooks.html. The recipe is that of two receivers which agree, for no page of Zoho's was seen to print it:
`producer-signature: ts=<ms>;s=<base64 of HMAC-SHA256 of the raw body>;s-algorithm=HmacSHA256`, the signature percent-encoded or not.
The time is not signed, so a delivery that somebody has seen could be sent again with another one; the marks of a week meet that.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from pydantic import BaseModel, BeforeValidator, ConfigDict

from receiver.errors import Malformed, Unauthenticated
from receiver.sources import reading, recipe, signing, strict_json
from receiver.sources.fingerprints import looks_like
from receiver.sources.guide import Guide
from receiver.sources.product import WEEK, Product, taken
from receiver.sources.reading import MaybeIdentifier  # noqa: TC001 - pydantic reads it
from receiver.sources.source import Parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.event import Delivery, Event
    from receiver.sources.source import Keys, Verified, Way

HEADER = "producer-signature"
RECIPE = recipe.Recipe(header=HEADER, encoding="base64", part="s", timestamp="ts")

_FORM = re.compile(r"ts=[0-9]{13};s=[A-Za-z0-9+/=%]+;s-algorithm=HmacSHA256")

WORDS = {
    "open": "opened",
    "email_open": "opened",
    "click": "clicked",
    "email_link_click": "clicked",
    "delivered": "delivered",
    "softbounce": "soft_bounced",
    "hardbounce": "hard_bounced",
    "feedback_loop": "marked_as_spam",
}

GUIDE = Guide(
    title="ZeptoMail",
    proof="HMAC-SHA256 of the body, in producer-signature",
    whose="theirs",
    screen="""\
1. In ZeptoMail open the Mail Agent's Webhooks, and add one for the events that you want. Its URL, which is tried while it is saved:

       {url}

2. ZeptoMail shows an authentication key. It is the secret of this source.
""",
    ids=("/webhook_request_id", "/event_message/*/request_id"),
    times=("/event_message/*/event_data/*/details/*/time",),
)


def _several(value: object) -> object:
    return value if isinstance(value, list) or value is None else [value]


class ZeptoMessage(BaseModel):
    """One element of `event_message`, which is also the `data` of its event."""

    model_config = ConfigDict(extra="allow")

    request_id: MaybeIdentifier = ""
    email_info: dict[str, Any] | None = None
    event_data: Annotated[list[dict[str, Any]] | None, BeforeValidator(_several)] = None


class ZeptoMail(Product):
    """One event for each message."""

    life = WEEK
    guide = GUIDE
    header = HEADER

    def handshake(self, delivery: Delivery, way: Way) -> bool:
        """A bare request, or the test while a webhook is saved: nothing signed, no message."""
        test = delivery.method == "POST" and b'"event_message"' not in delivery.body
        return super().handshake(delivery, way) or (test and looks_like(delivery) is None)

    def verify(self, delivery: Delivery, way: Way, keys: Keys) -> Verified:
        """The header is the digest of these very bytes under one of the secrets, made not long ago."""
        given = delivery.header(HEADER)
        if given and not _FORM.fullmatch(given):
            raise Unauthenticated(
                f"{HEADER} has not the form ts=...;s=...;s-algorithm=HmacSHA256 of ZeptoMail"
            )
        return recipe.verify(delivery, way, RECIPE, keys)

    def sign(self, delivery: Delivery, way: Way, secret: str) -> Delivery:  # noqa: ARG002
        """The signature, as if it were made at receipt."""
        signature = quote(base64.b64encode(signing.hmac_sha256(secret, delivery.body)), safe="")
        value = f"ts={delivery.received};s={signature};s-algorithm=HmacSHA256"
        return signing.bearing(delivery, HEADER, value)

    def parse(self, delivery: Delivery, way: Way, verified: Verified) -> Parsed:
        """One event for each message. Names and messages come as lists of the same order, or as one of each."""
        document = strict_json.document(delivery)
        if not isinstance(document, dict):
            raise Malformed("the body is no JSON object")
        names, messages = _listed(document, "event_name"), _listed(document, "event_message")
        # Whoever sends a delivery again may change all but its body.
        request = reading.identifier(document.get("webhook_request_id")) or reading.digest(delivery.body)
        parsed = Parsed()
        for position, message in enumerate(messages):
            name = names[position if len(names) == len(messages) else 0]
            try:
                parsed.events.append(self._of(name, message, (request, position), delivery, way, verified))
            except Malformed as error:
                parsed.bad.append(f"event_message[{position}]: {error}")
        return taken(parsed)

    def types(self) -> Sequence[str]:
        """What ZeptoMail is known to send."""
        return list(dict.fromkeys(f"{self.prefix}.email.{verb}" for verb in WORDS.values()))

    def _of(
        self,
        name: object,
        message: object,
        sent: tuple[str, int],
        delivery: Delivery,
        way: Way,
        verified: Verified,
    ) -> Event:
        told = reading.checked(ZeptoMessage, message)
        word = "_".join(name.lower().split()) if isinstance(name, str) else ""
        if not reading.is_name(word):
            raise Malformed("event_name is no name")
        return self._event(
            delivery,
            way,
            verified,
            sent,
            type=f"{self.prefix}.email.{WORDS.get(word, word)}",
            native=word,
            data=message,
            organisation=way.organisation,
            record_id=told.request_id,
            occurred=self.instant(_time(told), way),
        )


def _listed(document: dict[str, Any], name: str) -> list[Any]:
    found = document.get(name)
    listed = found if isinstance(found, list) else [found]
    if not listed or None in listed:
        raise Malformed(f"{name} is missing")
    return listed


def _time(told: ZeptoMessage) -> object:
    """The time of the first detail, which is the latest that happened to the mail."""
    details = (told.event_data or [{}])[0].get("details")
    first = details[0] if isinstance(details, list) and details else details
    return first.get("time") if isinstance(first, dict) else None

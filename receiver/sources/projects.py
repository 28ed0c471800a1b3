"""Zoho Projects: webhooks of business rules, with a body of the admin's making, proven by an HMAC of the body.

Zoho's help page "Webhook Security: HMAC signature". It does not print how the digest is spelled: base64, which a public receiver takes,
and hex are both read, and no text can be both. The signature covers the body and nothing else, so what stands in the query is not
read but for the event's name, and GET, which has no body, is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.errors import Malformed
from receiver.sources import body, signing
from receiver.sources.guide import Guide
from receiver.sources.product import Product, unlisted
from receiver.sources.signed_body import HmacBody
from receiver.sources.written import Written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.event import Delivery
    from receiver.sources.source import Parsed, Verified, Way

RESOURCES = ("project", "milestone", "tasklist", "task", "issue", "timesheet")


GUIDE = Guide(
    title="Zoho Projects",
    proof="HMAC-SHA256 of the body, in X-ZP-WEBHOOK-SIGNATURE",
    by_event=True,
    screen="""\
1. In Zoho Projects open Setup > Developer Space > Webhooks, and make a webhook for what {event} is about.
2. Method POST, and as URL:

       {url}

3. Choose a body of your own, JSON, and put the id and the modified time of the record into it, as "id" and "modified_time".
4. Switch the HMAC signature on, and type this as its key:

       {secret}

5. Make it the action of the business rule that means {event}.
""",
    defaults=(("id", "/id"), ("time", "/modified_time")),
    ids=("/id",),
    times=("/modified_time",),
)


class Projects(HmacBody, Written):
    """One event for each request, named by the URL or, where `type` points to it, by the body, which is signed."""

    methods = frozenset({"POST"})
    knows = frozenset({"type"})
    guide = GUIDE
    header = "x-zp-webhook-signature"
    spellings = (signing.from_base64, signing.from_hex)
    cure = "switch the HMAC signature of the webhook on in Zoho Projects, and let it POST its parameters in the body"

    def handshake(self, delivery: Delivery, way: Way) -> bool:
        """A bare request; a GET with parameters is a webhook set to GET, and is told so."""
        return Product.handshake(self, delivery, way) and (delivery.method != "GET" or not delivery.query)

    def problems(self, way: Way) -> Sequence[str]:
        """Where nothing can say what happened."""
        named = way.events or way.type
        return [*Product.problems(self, way), *(() if named else [unlisted(way, "task.updated")])]

    def parse(self, delivery: Delivery, way: Way, verified: Verified) -> Parsed:
        """The one event, of the body: the query is not signed, and nothing of it but the event's name is read."""
        if body.kind(delivery) == "empty":
            raise Malformed(
                "the body is empty: let the webhook send its parameters in the body, which is what is signed"
            )
        return super().parse(delivery, way, verified)

    def types(self) -> Sequence[str]:
        """The things that rules are about; the admin names the verbs, in zohook.toml."""
        return [f"projects.{resource}.*" for resource in RESOURCES]

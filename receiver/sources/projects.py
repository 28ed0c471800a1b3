"""Zoho Projects: webhooks of business rules, with a body of the admin's making, proven by an HMAC of the body.

Zoho's help page "Webhook Security: HMAC signature". It does not print how the digest is spelled: base64, which a public receiver takes,
and hex are both read, and no text can be both. The signature covers the body and nothing else, so what stands in the query is not
read but for the event's name, and GET, which has no body, is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from receiver.errors import Malformed
from receiver.sources import body, pointer, reading, signing, strict_json
from receiver.sources.guide import Guide
from receiver.sources.product import WEEK, unlisted
from receiver.sources.signed_body import HmacBody
from receiver.sources.source import Parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.event import Delivery
    from receiver.sources.source import Verified, Way

RESOURCES = ("project", "milestone", "tasklist", "task", "issue", "timesheet")
IDS = {"task": "taskId", "project": "projectId"}
"""Where a public receiver finds the ids in the standard parameters; `id` of the source points elsewhere."""


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
    ids=("/id", "/taskId"),
    times=("/modified_time",),
)


class Projects(HmacBody):
    """One event for each request, named by the URL."""

    guide = GUIDE
    header = "x-zp-webhook-signature"
    spellings = (signing.from_base64, signing.from_hex)
    cure = "switch the HMAC signature of the webhook on in Zoho Projects, and let it POST its parameters in the body"

    def handshake(self, delivery: Delivery, way: Way) -> bool:
        """A bare request; a GET with parameters is a webhook set to GET, and is told so."""
        return super().handshake(delivery, way) and (delivery.method != "GET" or not delivery.query)

    def problems(self, way: Way) -> Sequence[str]:
        """Where nothing can say what happened."""
        return [*super().problems(way), *(() if way.events else [unlisted(way, "task.updated")])]

    def window(self, way: Way) -> float:
        """A week where the body says when the record was changed, so that no two facts read alike."""
        return WEEK if way.time and way.dedupe == "" and way.dedupe_for is None else super().window(way)

    def parse(self, delivery: Delivery, way: Way, verified: Verified) -> Parsed:
        """The one event, named by the URL."""
        word = self._event_in_url(delivery, way)
        if not word:
            raise Malformed(
                f'nothing says what happened: list it in [sources.{way.name}], events = ["task.updated"], '
                "and let the URL in Zoho end with ?event=task.updated"
            )
        kind = self.named(word)
        data = reading.present(_document(delivery))
        when = reading.instant(pointer.find(data, way.time)) if way.time else None
        event = self._event(
            delivery,
            way,
            verified,
            None if when is None else (delivery.digest(), when),
            type=kind,
            native=word,
            data=data,
            organisation=way.organisation,
            record_id=_record_id(data, kind, way),
            occurred=when,
        )
        return Parsed([event])

    def types(self) -> Sequence[str]:
        """The things that rules are about; the admin names the verbs, in zohook.toml."""
        return [f"projects.{resource}.*" for resource in RESOURCES]


def _document(delivery: Delivery) -> Any:
    what = body.kind(delivery)
    if what == "empty":
        raise Malformed(
            "the body is empty: let the webhook send its parameters in the body, which is what is signed"
        )
    if what == "other":
        raise Malformed("the body is neither JSON nor a form")
    return strict_json.loads(delivery.body) if what == "json" else body.form(delivery)


def _record_id(data: Any, kind: str, way: Way) -> str:
    if way.id:
        return reading.identifier(pointer.find(data, way.id))
    name = IDS.get(kind.split(".")[1].lower(), "id") if kind.count(".") else "id"
    return reading.identifier(data.get(name)) if isinstance(data, dict) else ""

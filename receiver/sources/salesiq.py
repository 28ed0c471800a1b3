"""Zoho SalesIQ: the event webhooks of conversations and visitors, proven by an RSA signature of the body.

https://www.zoho.com/salesiq/help/developer-section/generate-public-key-webhook-v2.html: the API makes a new key at every call, of which
there may be two, so a key is copied into the settings and never fetched. The envelope of an event is printed nowhere; it is read as two
public receivers read it, and what of it is not there is left out. A Zobot's calls look otherwise: they want their answer at once, which
no queue can give. Whoever points one here has its calls as `salesiq.zobot.*` events, and a visitor who waits for a reply in vain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from pydantic import BaseModel, ConfigDict

from receiver.errors import Malformed
from receiver.sources import reading, strict_json
from receiver.sources.guide import Guide
from receiver.sources.product import WEEK
from receiver.sources.reading import MaybeIdentifier, Milliseconds  # noqa: TC001 - pydantic reads them
from receiver.sources.signed_body import RsaBody
from receiver.sources.source import Parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.event import Delivery
    from receiver.sources.source import Verified, Way

WORDS = (
    *("conversation.created", "conversation.attender.updated", "conversation.missed"),
    *("conversation.operator.replied", "conversation.visitor.replied", "conversation.completed"),
    *("conversation.rated", "conversation.transfer.initiated", "conversation.transfer.accepted"),
    *("conversation.transfer.rejected", "conversation.participants.added"),
    *("conversation.participants.deleted", "conversation.supervisor.added"),
    *("conversation.message.edited", "conversation.message.deleted", "visitor.updated"),
)


GUIDE = Guide(
    title="Zoho SalesIQ",
    proof="an RSA signature of the body, in x-siqsignature",
    whose="public",
    screen="""\
1. Make a webhook for the events that you want with SalesIQ's REST API (POST /api/v2/SCREENNAME/webhooks, type "data", secured), and
   give it this URL; SalesIQ wants it on port 443:

       {url}

2. Make a key for it (POST /api/v2/SCREENNAME/webhooks/ID/keys), and copy what the answer shows in public_keys into zohook.toml:

       {name} = { product = "salesiq", public_keys = ["MIIB..."] }

3. A Zobot's webhook does not belong here: its visitor waits for the answer, and a queue has none.
""",
    ids=("/entity_id", "/entity/id"),
    times=("/event_time",),
    organisations=("/org_id",),
)


class SalesIqEvent(BaseModel):
    """A body of SalesIQ, which is also the `data` of its events; `entity` is the conversation or the visitor."""

    model_config = ConfigDict(extra="allow")

    event: str = ""
    entity_id: MaybeIdentifier = ""
    entity: dict[str, Any] | None = None
    event_time: Milliseconds = None
    org_id: MaybeIdentifier = ""
    app_id: MaybeIdentifier = ""
    attempt: int | None = None
    handler: str = ""
    """Of a Zobot's call: trigger, message, context or failure."""
    request: dict[str, Any] | None = None
    visitor: dict[str, Any] | None = None


class SalesIq(RsaBody):
    """One event for each delivery."""

    life = WEEK
    guide = GUIDE
    header = "x-siqsignature"
    cure = "make a public key for the webhook by SalesIQ's API, and copy it into public_keys"

    def parse(self, delivery: Delivery, way: Way, verified: Verified) -> Parsed:
        """The one event, named by the body, or by the URL where the body has no name for it."""
        document = strict_json.document(delivery)
        told = reading.checked(SalesIqEvent, document)
        kind, native = self._kind(told, delivery, way)
        event = self._event(
            delivery,
            way,
            verified,
            None if told.event_time is None else (_without_attempt(document),),
            type=kind,
            native=native,
            data=document,
            organisation=told.org_id or way.organisation,
            record_id=_record_id(told),
            occurred=told.event_time,
        )
        return Parsed([event])

    def native(self, word: str) -> str | None:
        """`salesiq.conversation.operator_replied` for "conversation.operator.replied"."""
        return self.dotted(word) if word in WORDS else None

    def types(self) -> Sequence[str]:
        """What SalesIQ is known to send."""
        return [self.dotted(word) for word in WORDS]

    def _kind(self, told: SalesIqEvent, delivery: Delivery, way: Way) -> tuple[str, str]:
        if told.event:
            return self.dotted(told.event), told.event
        if told.handler:
            return self.dotted(f"zobot.{told.handler}"), told.handler
        word = self._event_in_url(delivery, way)
        if not word:
            raise Malformed(
                f"the body names no event; list it in [sources.{way.name}] events and end the URL with ?event=..."
            )
        return self.named(word), word


def _record_id(told: SalesIqEvent) -> str:
    """The conversation or visitor that it is about."""
    inner, request, visitor = told.entity or {}, told.request or {}, told.visitor or {}
    named = (inner.get("id"), request.get("conversation_id"), visitor.get("active_conversation_id"))
    return told.entity_id or next(filter(None, map(reading.identifier, named)), "")


def _without_attempt(document: dict[str, Any]) -> str:
    """What an execution says but for how often it was tried: one that is retried by hand is the same fact."""
    said = {name: value for name, value in document.items() if name != "attempt"}
    return reading.digest(orjson.dumps(said, option=orjson.OPT_SORT_KEYS))

"""Zoho Campaigns: what became of mails sent with its e-mail API, and webhooks of its workflows, which an admin writes.

https://www.zoho.com/campaigns/help/emailapi/events/opens.html, .../emailapi/webhooks/create-webhook.html. Nothing is signed; the webhook's
`custom_headers` or `authorization` bear a secret of the operator's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from receiver.errors import Malformed
from receiver.sources import body, reading, strict_json
from receiver.sources.guide import Guide
from receiver.sources.product import WEEK, taken
from receiver.sources.reading import MaybeIdentifier, Milliseconds  # noqa: TC001 - pydantic reads them
from receiver.sources.source import Parsed
from receiver.sources.written import Written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.event import Delivery, Event
    from receiver.sources.source import Verified, Way

ACTIONS = {
    "email_delivered": "email.delivered",
    "email_open": "email.opened",
    "email_click": "email.clicked",
    "bounce": "email.bounced",
    "spam": "email.marked_as_spam",
    "unsubscribed": "contact.unsubscribed",
}
"""What a webhook of the e-mail API may be called for."""

GUIDE = Guide(
    title="Zoho Campaigns",
    proof="a secret of yours, in {header}",
    screen="""\
1. Make a webhook with Campaigns' e-mail API: POST https://campaigns.zoho.com/emailapi/v2/settings/webhook with this body, and the
   actions that you want:

       {"name": "Zohook", "type": "POST", "url": "{url}", "webhook_actions": ["bounce", "email_open", "email_click", "unsubscribed"], "custom_headers": {"{header}": "{secret}"}}

2. For a workflow of Campaigns use the same address with ?event=... and a name that the source lists in its events.
""",
    ids=("/data/*/contact_id", "/contact_id"),
    times=("/data/*/action_time", "/action_time", "/injected_time"),
)


class CampaignsFact(BaseModel):
    """One element of `data` with what is common to all of them, which is also the `data` of its event."""

    model_config = ConfigDict(extra="allow")

    action: str
    webhook_id: MaybeIdentifier = ""
    webhook_name: str | None = None
    action_by: str | None = None
    action_time: Milliseconds = None
    contact_id: MaybeIdentifier = ""
    contact_email: str | None = None
    rcpt_additional_data: dict[str, Any] | None = None
    transmission_id: MaybeIdentifier = ""
    transmission_name: str | None = None
    injected_time: Milliseconds = None
    zuid: MaybeIdentifier = ""


class Campaigns(Written):
    """One event for each element of `data`."""

    methods = frozenset({"POST", "PUT", "GET"})
    life = WEEK
    guide = GUIDE

    def parse(self, delivery: Delivery, way: Way, verified: Verified) -> Parsed:
        """The e-mail API's facts, of which an unreadable one goes to `bad`; any other body is a workflow's."""
        document = strict_json.document(delivery) if body.kind(delivery) == "json" else None
        if not isinstance(document, dict) or not {"action", "webhook_id"} <= document.keys():
            return super().parse(delivery, way, verified)
        common = {name: value for name, value in document.items() if name != "data"}
        told = document.get("data") or [{}]
        if not isinstance(told, list):
            raise Malformed("data is no list")
        parsed = Parsed()
        for position, element in enumerate(told):
            try:
                parsed.events.append(self._of(common, element, position, delivery, way, verified))
            except Malformed as error:
                parsed.bad.append(f"data[{position}]: {error}")
        return taken(parsed)

    def problems(self, way: Way) -> Sequence[str]:
        """None that is about events: the e-mail API names them."""
        return [each for each in super().problems(way) if not each.startswith(f"sources.{way.name}.events")]

    def types(self) -> Sequence[str]:
        """What the e-mail API tells."""
        return [f"{self.prefix}.{word}" for word in ACTIONS.values()]

    def _of(
        self,
        common: dict[str, Any],
        element: object,
        position: int,
        delivery: Delivery,
        way: Way,
        verified: Verified,
    ) -> Event:
        if not isinstance(element, dict):
            raise Malformed("it is no object")
        data = {**common, **element}
        told = reading.checked(CampaignsFact, data)
        word = ACTIONS.get(told.action, f"email.{told.action}")
        if not reading.is_name(told.action):
            raise Malformed("action is no name")
        known = told.contact_id and told.action_time is not None
        event = self._event(
            delivery,
            way,
            verified,
            (told.webhook_id, told.transmission_id, told.contact_id, told.action_time) if known else None,
            type=f"{self.prefix}.{word}",
            native=told.action,
            data=data,
            organisation=way.organisation,
            record_id=told.contact_id,
            occurred=told.action_time,
        )
        if event.identity.startswith("sha256:"):
            event.identity += f"#{position}"
        return event

"""Zoho Desk: an array of events, each with its record and sometimes the state before, proven by a token.

https://desk.zoho.com/support/WebhookDocument.do
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from receiver.errors import Malformed, Unauthenticated
from receiver.sources import desk_jwt, reading, signing, strict_json
from receiver.sources.fingerprints import looks_like
from receiver.sources.guide import Guide
from receiver.sources.product import WEEK, Product, taken
from receiver.sources.reading import Identifier, Milliseconds  # noqa: TC001 - pydantic reads it
from receiver.sources.source import Parsed, Verified

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.event import Delivery, Event
    from receiver.sources.source import Keys, Need, Way

WORDS = (
    *(
        "Ticket_Add",
        "Ticket_Update",
        "Ticket_Delete",
        "Ticket_Comment_Add",
        "Ticket_Comment_Update",
        "Ticket_Thread_Add",
    ),
    *("Ticket_Attachment_Add", "Ticket_Attachment_Update", "Ticket_Attachment_Delete", "Ticket_Approval_Add"),
    *(
        "Ticket_Approval_Update",
        "Contact_Add",
        "Contact_Update",
        "Contact_Delete",
        "Account_Add",
        "Account_Update",
    ),
    *("Account_Delete", "Department_Add", "Department_Update", "Agent_Add", "Agent_Update", "Agent_Delete"),
    *("Agent_Presence_Update", "Agent_Channel_Preference_Update", "Task_Add", "Task_Update", "Task_Delete"),
    *("Call_Add", "Call_Update", "Call_Delete", "Event_Add", "Event_Update", "Event_Delete"),
    *(
        "TimeEntry_Add",
        "TimeEntry_Update",
        "TimeEntry_Delete",
        "Article_Add",
        "Article_Update",
        "Article_Delete",
    ),
    *("Article_Feedback_Add", "IM_Message_Add", "IM_Session_Status", "IM_Message_Status"),
)

_VERBS = {"Add": "created", "Update": "updated", "Delete": "deleted"}
_WORD = re.compile(r"[A-Z][A-Za-z]*(?:_[A-Za-z]+)+")


GUIDE = Guide(
    title="Zoho Desk",
    proof="an RS256 token of Desk's own, in X-ZDesk-JWT",
    whose="public",
    screen="""\
1. Let Zohook run and be reached at its public address: Desk tries the URL while it saves the webhook.
2. Make a webhook in Desk, choose its events, and give it this URL:

       {url}

3. Nothing secret is typed: Desk signs, and its public keys are fetched from the data centre of the connection.
4. Put the id that Desk gave the webhook into zohook.toml, so that no other webhook's token is taken:

       {name} = { product = "desk", audience = ["its id"] }
""",
    ids=("/*/payload/id",),
    organisations=("/*/orgId",),
    times=("/*/eventTime", "/*/payload/modifiedTime", "/*/payload/createdTime", "/*/prevState/modifiedTime"),
)


class DeskEvent(BaseModel):
    """One element of the array."""

    model_config = ConfigDict(extra="allow")

    eventType: str  # noqa: N815 - Zoho's name
    payload: dict[str, Any]
    prevState: dict[str, Any] | None = None  # noqa: N815
    eventTime: Milliseconds = None  # noqa: N815
    orgId: Identifier | None = None  # noqa: N815


class Desk(Product):
    """One event for each element."""

    life = WEEK
    guide = GUIDE
    needs: Need = "jwks"
    header = desk_jwt.HEADER

    def handshake(self, delivery: Delivery, way: Way) -> bool:  # noqa: ARG002
        """Desk tries the URL first: a GET, then a POST without token or events, and wants 200 for both."""
        if delivery.method in ("GET", "HEAD"):
            return True
        return b'"eventType"' not in delivery.body and looks_like(delivery) is None

    def verify(self, delivery: Delivery, way: Way, keys: Keys) -> Verified:
        """The token is Desk's, in time, and of our organisation and webhook."""
        if not delivery.header(desk_jwt.HEADER):
            raise Unauthenticated(
                f"events without {desk_jwt.HEADER}; Zoho Desk sends it with each of its deliveries"
            )
        return Verified("jwt", organisation=desk_jwt.organisation(delivery, way, keys))

    def sign(self, delivery: Delivery, way: Way, secret: str) -> Delivery:  # noqa: ARG002
        """The token in its header. `secret` is the token: nobody but Desk, or the simulator, can make one."""
        return signing.bearing(delivery, desk_jwt.HEADER, secret)

    def lacks(self, delivery: Delivery, keys: Keys) -> bool:
        """Whether the token names a key that is not at hand. It may be newer than ours."""
        named = desk_jwt.key_id(delivery)
        return bool(named) and named not in keys.jwks

    def parse(self, delivery: Delivery, way: Way, verified: Verified) -> Parsed:
        """One event for each element; one that is unreadable or of another organisation goes to `bad`."""
        document = strict_json.document(delivery) if delivery.body.strip() else []
        if not isinstance(document, list):
            raise Malformed("the body is no JSON array")
        parsed = Parsed()
        for position, element in enumerate(document):
            try:
                told = reading.checked(DeskEvent, element)
                parsed.events.append(self._of(told, position, delivery, way, verified))
            except Malformed as error:
                parsed.bad.append(f"element {position}: {error}")
        return taken(parsed)

    def native(self, word: str) -> str | None:
        """`desk.Ticket.created` for "Ticket_Add"; other words of Desk's keep their spelling."""
        if not _WORD.fullmatch(word):
            return None
        thing, _, verb = word.rpartition("_")
        return f"desk.{thing}.{_VERBS[verb]}" if verb in _VERBS else f"desk.{word}"

    def types(self) -> Sequence[str]:
        """What Desk is known to send; its list is not closed."""
        return [self.named(word) for word in WORDS]

    def _of(self, told: DeskEvent, position: int, delivery: Delivery, way: Way, verified: Verified) -> Event:
        if told.orgId and verified.organisation and told.orgId != verified.organisation:
            raise Malformed("orgId is another than the token's")
        if not reading.is_name(told.eventType):
            raise Malformed("eventType is no name")
        organisation = told.orgId or verified.organisation
        record_id = reading.identifier(told.payload.get("id"))
        known = told.eventTime is not None and record_id
        event = self._event(
            delivery,
            way,
            verified,
            (organisation, told.eventType, record_id, told.eventTime) if known else None,
            type=self.named(told.eventType),
            native=told.eventType,
            data=told.payload,
            previous=told.prevState,
            organisation=organisation,
            record_id=record_id,
            occurred=told.eventTime,
            changed=None if told.prevState is None else _changed(told.prevState, told.payload),
        )
        if event.identity.startswith("sha256:"):
            event.identity += f"#{position}"
        return event


def _changed(before: dict[str, Any], now: dict[str, Any]) -> frozenset[str]:
    """The names of what differs; custom fields as `cf.cf_name`, beside the `cf` that holds them."""
    names = _differing(before, now)
    old, new = before.get("cf"), now.get("cf")
    if isinstance(old, dict) and isinstance(new, dict):
        names |= {f"cf.{name}" for name in _differing(old, new)}
    return frozenset(names)


def _differing(before: dict[str, Any], now: dict[str, Any]) -> set[str]:
    return {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)}

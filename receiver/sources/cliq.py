"""Zoho Cliq: what a webhook-based extension is called for (bots, commands, functions), proven by an RSA signature of the body.

https://www.zoho.com/cliq/help/platform/build-url-invoke-type-extensions.html; the shape is that of Zoho's own SDK (zcatalyst-cliq), the
signature that of three public receivers; its key is on the extension's page. The answer to the call is ours and says nothing to the
user: what a handler has to say it posts to `response_url`. What an author's own Deluge code posts is as he likes it, and mostly
unsigned: a `custom` source is for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from receiver.errors import Malformed
from receiver.sources import pointer, reading, strict_json
from receiver.sources.guide import Guide
from receiver.sources.product import WEEK
from receiver.sources.reading import MaybeIdentifier, Milliseconds  # noqa: TC001 - pydantic reads them
from receiver.sources.signed_body import RsaBody
from receiver.sources.source import Parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.event import Delivery
    from receiver.sources.source import Verified, Way

HANDLERS = {
    "bot": (
        "welcome",
        "message",
        "context",
        "mention",
        "action",
        "incomingwebhook",
        "participation",
        "alert",
    ),
    "command": ("execution", "suggestion"),
    "messageaction": ("execution",),
    "widget": ("view",),
    "function": ("button", "form", "form_change", "form_values", "form_view", "applet_button"),
    "link_preview": (*("unfurl", "unfurl_button_action", "unfurl_dynamic_action", "unfurl_post_message"),),
    "extension": ("installation", "uninstallation"),
}
"""Component -> its handlers, without the `_handler` that each of their names ends with."""


GUIDE = Guide(
    title="Zoho Cliq",
    proof="an RSA signature of the body, in X-Cliq-Signature",
    whose="public",
    screen="""\
1. In Cliq open Bots & Tools > Extensions, and make a webhook-based extension with the bots and commands that you want.
2. Give it this URL:

       {url}

3. Copy the public key of the extension's page into zohook.toml:

       {name} = { product = "cliq", public_keys = ["MIIB..."] }
""",
    ids=("/params/chat/id", "/params/access/message_id", "/message/id"),
    times=("/timestamp",),
    organisations=("/params/user/organization_id",),
)


class CliqHandler(BaseModel):
    """Which handler of the component is called."""

    model_config = ConfigDict(extra="allow")

    type: str
    name: str | None = None


class CliqCall(BaseModel):
    """A call of Cliq, which is also the `data` of its event. `type` is the component; `params` are the handler's arguments."""

    model_config = ConfigDict(extra="allow")

    handler: CliqHandler | str
    type: str = ""
    name: str | None = None
    unique_name: str | None = None
    response_url: str | None = None
    timestamp: Milliseconds = None
    params: dict[str, Any] = {}


class CliqUser(BaseModel):
    """Who did it, as far as it is needed here."""

    organization_id: MaybeIdentifier = ""


class Cliq(RsaBody):
    """One event for each call."""

    life = WEEK
    guide = GUIDE
    header = "x-cliq-signature"
    cure = "it must be called by a webhook-based extension of Cliq, whose page shows the public key"

    def parse(self, delivery: Delivery, way: Way, verified: Verified) -> Parsed:
        """The one event: the component is the resource, its handler the verb."""
        document = strict_json.document(delivery)
        told = reading.checked(CliqCall, document)
        native = told.handler if isinstance(told.handler, str) else told.handler.type
        component = told.type or ("bot" if isinstance(told.handler, str) else "extension")
        verb = native.removesuffix("_handler")
        if not reading.is_name(component) or not reading.is_name(verb):
            raise Malformed("type or handler is no name")
        event = self._event(
            delivery,
            way,
            verified,
            None if told.timestamp is None else (delivery.digest(),),
            type=f"cliq.{component}.{verb}",
            native=native,
            data=document,
            organisation=_organisation(told) or way.organisation,
            record_id=_chat(document, way),
            occurred=told.timestamp,
        )
        return Parsed([event])

    def types(self) -> Sequence[str]:
        """What the components of an extension are called for."""
        return [f"cliq.{component}.{verb}" for component, verbs in HANDLERS.items() for verb in verbs]


def _chat(document: dict[str, Any], way: Way) -> str:
    """The chat that it happened in, by which the calls of one conversation keep their order; `id` may point to another thing."""
    places = (way.id,) if way.id else ("/params/chat/id", "/params/access/chat_id", "/chat/id")
    found = (reading.identifier(pointer.find(document, place)) for place in places)
    return next(filter(None, found), "")


def _organisation(told: CliqCall) -> str:
    user = told.params.get("user")
    return reading.checked(CliqUser, user).organization_id if isinstance(user, dict) else ""

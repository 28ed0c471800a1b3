"""Zoho CRM's Notification API: callbacks of a channel that Zohook made, proven by the token in their body.

https://www.zoho.com/crm/developer/docs/api/v7/notifications/enable.html
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import BaseModel, ConfigDict

from receiver.errors import Malformed, Unauthenticated
from receiver.sources import crm_words, reading, signing, strict_json
from receiver.sources.guide import Guide
from receiver.sources.product import WEEK, Product, need_secret, taken
from receiver.sources.reading import Identifier, Milliseconds  # noqa: TC001 - pydantic reads it
from receiver.sources.source import Parsed, Verified

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.event import Delivery, Event
    from receiver.sources.source import Keys, Need, Way


GUIDE = Guide(
    title="Zoho CRM, notification channels",
    proof="a token that is derived from Zohook's own key, in the body",
    whose="derived",
    screen="""\
1. Nothing is typed at Zoho: Zohook makes the channels itself and renews them. Connect the organisation (`zohook connect`), and
   let zohook.toml say which events you want:

       [channels]
       deals = { source = "{name}", events = ["Deals.all"], values = true }
""",
    ids=("/ids/*",),
    times=("/server_time",),
)


class Values(BaseModel):
    """One element of `affected_values`."""

    model_config = ConfigDict(extra="allow")

    record_id: Identifier
    values: dict[str, Any] | None = None


class Notification(BaseModel):
    """A callback's body; Zoho may add keys. It holds no record, and the changed values only if asked for."""

    model_config = ConfigDict(extra="allow")

    module: str
    operation: str
    ids: list[Any]
    channel_id: Identifier
    server_time: Milliseconds = None
    query_params: dict[str, Any] | None = None
    affected_fields: list[dict[str, list[str]]] | None = None
    affected_values: list[Values] | None = None


class CrmChannel(Product):
    """Callbacks of CRM channels: one event for each of the `ids`."""

    proof_members = frozenset({"token"})
    life = WEEK
    guide = GUIDE
    needs: Need = "own"

    def verify(self, delivery: Delivery, way: Way, keys: Keys) -> Verified:
        """The token in the body is one that we derived for this channel, not long ago."""
        try:
            document = strict_json.document(delivery)
        except Malformed as error:
            raise Unauthenticated(f"no token can be read, for the body is unreadable: {error}") from None
        token = document.get("token") if isinstance(document, dict) else None
        if not isinstance(token, str) or not token:
            raise Unauthenticated("the body has no token; Zohook's own channels always bear one")
        need_secret(way, keys)
        channel = reading.identifier(document.get("channel_id"))
        which = signing.which_channel(token, channel, keys.secrets, delivery.received)
        if which is None:
            raise Unauthenticated(
                "the token is not one that we made for this channel, or it is more than 16 days old"
            )
        return Verified("token", which)

    def sign(self, delivery: Delivery, way: Way, secret: str) -> Delivery:  # noqa: ARG002
        """The body with the token of its channel."""
        document = strict_json.document(delivery)
        if not isinstance(document, dict):
            raise Malformed("the body is no JSON object, which could hold a token")
        channel = reading.identifier(document.get("channel_id"))
        token = signing.channel_token(secret, channel, delivery.received // signing.DAY)
        return replace(delivery, body=orjson.dumps({**document, "token": token}))

    def parse(self, delivery: Delivery, way: Way, verified: Verified) -> Parsed:
        """One event for each id; an id that is none goes to `bad`."""
        told = reading.checked(Notification, strict_json.document(delivery))
        if not reading.is_name(told.module) or not reading.is_name(told.operation):
            raise Malformed("module or operation is no name")
        if not told.ids:
            raise Malformed("ids is empty")
        parsed = Parsed()
        for position, given in enumerate(told.ids):
            record_id = reading.identifier(given)
            if record_id:
                parsed.events.append(self._of(record_id, told, delivery, way, verified))
            else:
                parsed.bad.append(f"ids[{position}] is no id")
        return taken(parsed)

    def native(self, word: str) -> str | None:
        """`crm.Deals.updated` for "Deals.edit"."""
        return crm_words.native(word)

    def types(self) -> Sequence[str]:
        """The standard modules with the three verbs; custom modules are not known here."""
        return [f"crm.{module}.{verb}" for module in crm_words.MODULES for verb in crm_words.VERBS.values()]

    def _of(
        self, record_id: str, told: Notification, delivery: Delivery, way: Way, verified: Verified
    ) -> Event:
        fact = None
        if told.server_time is not None:
            fact = (told.channel_id, told.module, told.operation, told.server_time, record_id)
        return self._event(
            delivery,
            way,
            verified,
            fact,
            type=f"crm.{told.module}.{crm_words.VERBS.get(told.operation, told.operation)}",
            native=f"{told.module}.{told.operation}",
            data={
                "id": record_id,
                "module": told.module,
                "operation": told.operation,
                "values": _values(told, record_id),
                "server_time": told.server_time,
                "query_params": told.query_params or {},
                "channel_id": told.channel_id,
            },
            organisation=way.organisation,
            record_id=record_id,
            occurred=told.server_time,
            changed=_changed(told, record_id),
        )


def _values(told: Notification, record_id: str) -> dict[str, Any] | None:
    return next((one.values for one in told.affected_values or () if one.record_id == record_id), None)


def _changed(told: Notification, record_id: str) -> frozenset[str] | None:
    """The changed fields. None named is not none changed: related records notify too, and name no field."""
    if told.operation != "update":
        return None
    return frozenset(name for of in told.affected_fields or () for name in of.get(record_id, ())) or None

"""Zoho Billing (once Subscriptions): the finance family's webhooks, and events that name themselves.

https://www.zoho.com/billing/api/v1/events/
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from receiver.errors import Malformed
from receiver.sources import finance, reading
from receiver.sources.finance import Finance
from receiver.sources.reading import Identifier  # noqa: TC001 - pydantic reads it

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.event import Delivery
    from receiver.sources.source import Way

RESOURCES = (
    "subscription",
    "invoice",
    "payment",
    "card",
    "customer",
    "trial",
    "creditnote",
    "refund",
    "quote",
    "addon",
    "plan",
)

_WORD = re.compile(rf"({'|'.join(RESOURCES)})_(\w+)")


GUIDE = replace(
    finance.GUIDE,
    by_event=False,
    ids=(*finance.GUIDE.ids, "/event_id", "/data/*/*_id"),
    times=(*finance.GUIDE.times, "/event_time"),
)


class BillingEvent(BaseModel):
    """What Billing adds to the family's bodies."""

    model_config = ConfigDict(extra="allow")

    event_id: Identifier | None = None
    event_type: str | None = None


class Billing(Finance):
    """Billing's events bear an id, so a redelivery is recognised for a week."""

    life = 7 * 86_400.0
    guide = GUIDE

    def native(self, word: str) -> str | None:
        """`billing.subscription.created` for "subscription_created"."""
        form = _WORD.fullmatch(word)
        return f"billing.{form[1]}.{form[2]}" if form else None

    def types(self) -> Sequence[str]:
        """The family's records, and those that only Billing has."""
        own = [f"billing.{resource}.*" for resource in RESOURCES]
        return list(dict.fromkeys([*super().types(), *own]))

    def _word(self, delivery: Delivery, way: Way, document: dict[str, Any]) -> str:
        said = _read(document).event_type
        if not said:
            return self._event_in_url(delivery, way)
        if not reading.is_name(said):
            raise Malformed("event_type is no name")
        return said

    def _fact(self, document: dict[str, Any]) -> Sequence[object] | None:
        event_id = _read(document).event_id
        return (event_id,) if event_id else None


def _read(document: dict[str, Any]) -> BillingEvent:
    return reading.checked(BillingEvent, document)

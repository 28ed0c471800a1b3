"""The ways in: pure, bytes in and events out, one file a product. `PRODUCTS` is the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.sources.bigin import Bigin
from receiver.sources.billing import Billing
from receiver.sources.campaigns import Campaigns
from receiver.sources.cliq import Cliq
from receiver.sources.commerce import Commerce
from receiver.sources.crm_bulk import CrmBulk
from receiver.sources.crm_channel import CrmChannel
from receiver.sources.crm_workflow import CrmWorkflow
from receiver.sources.custom import Custom
from receiver.sources.desk import Desk
from receiver.sources.finance import Finance
from receiver.sources.fingerprints import looks_like, mistaken_for
from receiver.sources.forms import Forms
from receiver.sources.mail import Mail
from receiver.sources.payments import Payments
from receiver.sources.projects import Projects
from receiver.sources.recruit import Recruit
from receiver.sources.salesiq import SalesIq
from receiver.sources.sign import Sign
from receiver.sources.source import Way
from receiver.sources.sprints import Sprints
from receiver.sources.zeptomail import ZeptoMail

if TYPE_CHECKING:
    from collections.abc import Mapping

    from receiver.sources.source import Listing, Source

__all__ = [
    "PRODUCTS",
    "expected_types",
    "known_types",
    "looks_like",
    "mistaken_for",
    "native_pattern",
    "problems",
]

PRODUCTS: Mapping[str, Source] = {
    "crm_channel": CrmChannel("crm_channel", "crm"),
    "crm_workflow": CrmWorkflow("crm_workflow", "crm"),
    "crm_bulk": CrmBulk("crm_bulk", "crm"),
    "books": Finance("books"),
    "inventory": Finance("inventory"),
    "invoice": Finance("invoice"),
    "billing": Billing("billing"),
    "expense": Finance("expense"),
    "commerce": Commerce("commerce"),
    "desk": Desk("desk"),
    "mail": Mail("mail"),
    "sign": Sign("sign"),
    "payments": Payments("payments"),
    "projects": Projects("projects"),
    "salesiq": SalesIq("salesiq"),
    "cliq": Cliq("cliq"),
    "recruit": Recruit("recruit"),
    "bigin": Bigin("bigin"),
    "sprints": Sprints("sprints"),
    "forms": Forms("forms"),
    "campaigns": Campaigns("campaigns"),
    "zeptomail": ZeptoMail("zeptomail"),
    "custom": Custom("custom"),
}


SOME_ONLY = ("type", "secret_user", "secret_prefix", "hmac", "live_only", "secure", "signature_base64")
"""Settings of a source that mean something to some products only."""


def native_pattern(word: str) -> str | None:
    """Our pattern for a word of Zoho's own: `crm.Deals.updated` for "Deals.edit", or None."""
    return next((found for source in PRODUCTS.values() if (found := source.native(word))), None)


def known_types() -> tuple[str, ...]:
    """Patterns of the event types that the products are known to give, for "did you mean"; never complete."""
    return tuple(dict.fromkeys(kind for source in PRODUCTS.values() for kind in source.types()))


def expected_types(configured: Mapping[str, Listing]) -> list[str]:
    """Patterns of what the configured sources may give beside the known types: what their `events` list, in our words."""
    ways = [Way(name, each.product, events=each.events, type=each.type) for name, each in configured.items()]
    return [kind for way in ways if way.product in PRODUCTS for kind in PRODUCTS[way.product].expected(way)]


def problems(way: Way) -> tuple[str, ...]:
    """What is wrong with a configured source, each with its cure, before the first delivery shows it."""
    where, source = f"sources.{way.name}", PRODUCTS.get(way.product)
    if source is None:
        return (f"{where}.product: there is no {way.product!r}; there are {', '.join(PRODUCTS)}",)
    strange = [key for key in SOME_ONLY if getattr(way, key) and key not in source.knows]
    return (
        *(f"{where}.{key}: only {_those_that_know(key)} have it" for key in strange),
        *source.problems(way),
    )


def _those_that_know(key: str) -> str:
    names = [name for name, source in PRODUCTS.items() if key in source.knows]
    return f"{', '.join(names)} sources"

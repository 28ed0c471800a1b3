"""The ways in: pure, bytes in and events out, one file a product. `PRODUCTS` is the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.sources import pointer
from receiver.sources.billing import Billing
from receiver.sources.cliq import Cliq
from receiver.sources.commerce import Commerce
from receiver.sources.crm_channel import CrmChannel
from receiver.sources.crm_workflow import CrmWorkflow
from receiver.sources.desk import Desk
from receiver.sources.finance import Finance
from receiver.sources.fingerprints import looks_like, mistaken_for
from receiver.sources.mail import Mail
from receiver.sources.payments import Payments
from receiver.sources.projects import Projects
from receiver.sources.salesiq import SalesIq
from receiver.sources.sign import Sign

if TYPE_CHECKING:
    from collections.abc import Mapping

    from receiver.sources.source import Source, Way

__all__ = ["PRODUCTS", "known_types", "looks_like", "mistaken_for", "native_pattern", "problems"]

PRODUCTS: Mapping[str, Source] = {
    "crm_channel": CrmChannel("crm_channel", "crm"),
    "crm_workflow": CrmWorkflow("crm_workflow", "crm"),
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
}


NAMED_BY_URL = {"crm_workflow": '"Deals.won"', "projects": '"task.updated"'}
"""Products whose bodies never say what happened, with an example of what the URL says."""


def native_pattern(word: str) -> str | None:
    """Our pattern for a word of Zoho's own: `crm.Deals.updated` for "Deals.edit", or None."""
    return next((found for source in PRODUCTS.values() if (found := source.native(word))), None)


def known_types() -> tuple[str, ...]:
    """Patterns of the event types that the products are known to give, for "did you mean"; never complete."""
    return tuple(dict.fromkeys(kind for source in PRODUCTS.values() for kind in source.types()))


def problems(way: Way) -> tuple[str, ...]:
    """What is wrong with a configured source, each with its cure, before the first delivery shows it."""
    where = f"sources.{way.name}"
    found = []
    if way.product not in PRODUCTS:
        found.append(f"{where}.product: there is no {way.product!r}; there are {', '.join(PRODUCTS)}")
    marks = way.dedupe.split(",") if isinstance(way.dedupe, str) and way.dedupe else []
    for key, text in [("id", way.id), ("time", way.time), *(("dedupe", mark.strip()) for mark in marks)]:
        if not pointer.well_formed(text):
            found.append(
                f"{where}.{key}: {text!r} is no JSON pointer; did you mean {'/' + text.strip('/')!r}?"
            )
    if way.product in NAMED_BY_URL and not way.events:
        found.append(
            f"{where}.events: list what the rules tell, for example events = [{NAMED_BY_URL[way.product]}]"
        )
    static = way.product == "crm_workflow" or (way.product == "commerce" and not way.secure)
    if static and not (way.secret_header or way.secret_parameter):
        found.append(f"{where}: set secret_header or secret_parameter, where the rules put the secret")
    for key, product in (("live_only", "payments"), ("secure", "commerce")):
        if getattr(way, key) and way.product != product:
            found.append(f"{where}.{key}: only a {product} source has it")
    return tuple(found)

"""Whose delivery it seems to be, by headers or body: used to name a mistake, never to choose a verifier."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from receiver.event import Delivery

FINANCE = "x-zoho-webhook-signature"
COMMERCE = "x-zoho-event"

TITLES = {
    "desk": "Zoho Desk",
    "mail": "Zoho Mail",
    "sign": "Zoho Sign",
    "payments": "Zoho Payments",
    "books": "Zoho Books, Inventory, Invoice, Billing or Expense",
    "salesiq": "Zoho SalesIQ",
    "cliq": "Zoho Cliq",
    "commerce": "Zoho Commerce",
    "projects": "Zoho Projects",
    "zeptomail": "ZeptoMail",
    "campaigns": "Zoho Campaigns",
    "crm_channel": "a notification channel of Zoho CRM",
}


def carries(delivery: Delivery, *names: str) -> bool:
    """Whether one of these headers came at all, once or more often."""
    return any(name in names for name, _ in delivery.headers)


def looks_like(delivery: Delivery) -> str | None:
    """The product whose marks a delivery bears, or None; `books` stands for its family, which signs alike."""
    return next((product for product, has in _MARKS if has(delivery)), None)


def mistaken_for(product: str, delivery: Delivery) -> str:
    """Such as "this looks like Zoho Sign, the source is `books`"; empty where nothing is amiss."""
    seen = looks_like(delivery)
    if seen is None or seen == family(product):
        return ""
    return f"this looks like {TITLES[seen]}, the source is `{product}`"


def family(product: str) -> str:
    """The product that stands for this one among the fingerprints."""
    return "books" if product in ("inventory", "invoice", "billing", "expense") else product


def _header(*names: str) -> Callable[[Delivery], bool]:
    return lambda delivery: carries(delivery, *names)


def _says(*words: bytes) -> Callable[[Delivery], bool]:
    return lambda delivery: all(word in delivery.body for word in words)


def _stamped(delivery: Delivery) -> bool:
    """Payments and the finance family share a header; Payments' value begins with its time."""
    return any(name == FINANCE and value.lstrip().startswith("t=") for name, value in delivery.headers)


_MARKS: tuple[tuple[str, Callable[[Delivery], bool]], ...] = (
    ("desk", _header("x-zdesk-jwt")),
    ("commerce", _header(COMMERCE)),
    ("mail", _header("x-hook-secret", "x-hook-signature")),
    ("sign", _header("x-zs-webhook-signature")),
    ("payments", _stamped),
    ("payments", _header("x-zohowebhook-signature")),
    ("books", _header(FINANCE)),
    ("salesiq", _header("x-siqsignature")),
    ("cliq", _header("x-cliq-signature")),
    ("projects", _header("x-zp-webhook-signature")),
    ("zeptomail", _header("producer-signature")),
    ("crm_channel", _says(b'"channel_id"', b'"resource_uri"', b'"operation"')),
    ("sign", _says(b'"notifications"', b'"requests"', b'"operation_type"')),
    ("desk", _says(b'"eventType"', b'"payload"')),
    ("mail", _says(b'"zuid"', b'"messageId')),
    ("payments", _says(b'"event_object"', b'"event_type"')),
    ("salesiq", _says(b'"event"', b'"entity_type"', b'"entity"')),
    ("campaigns", _says(b'"webhook_id"', b'"actionType"', b'"transmission_id"')),
    ("zeptomail", _says(b'"event_name"', b'"event_message"')),
)

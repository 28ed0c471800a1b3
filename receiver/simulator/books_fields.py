"""Books' kinds of rows, their custom fields, and the form of its errors; no rows are kept here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from receiver.simulator.wire import Answer, Refused

if TYPE_CHECKING:
    from receiver.simulator.wire import Json


@dataclass(frozen=True, slots=True)
class Kind:
    """A resource: its words in paths and answers, and what it cannot do without."""

    plural: str
    one: str
    id: str
    title: str
    needed: tuple[str, ...]


KINDS = {
    "contacts": Kind("contacts", "contact", "contact_id", "contact_name", ("contact_name",)),
    "items": Kind("items", "item", "item_id", "name", ("name", "rate")),
    "invoices": Kind("invoices", "invoice", "invoice_id", "invoice_number", ("customer_id", "line_items")),
    "customerpayments": Kind(
        "customerpayments",
        "payment",
        "payment_id",
        "payment_number",
        ("customer_id", "payment_mode", "amount", "date"),
    ),
}
NEVER = frozenset(
    {"balance", "total", "status", "payment_made", "created_time", "last_modified_time", "customer_name"}
)


def wrong(code: int, message: str, status: int = 400) -> Refused:
    return Refused(Answer(status, {"code": code, "message": message}))


@dataclass(frozen=True, slots=True)
class CustomField:
    """A custom field of one kind; a unique one may stand for the id in X-Unique-Identifier-Key."""

    api_name: str
    id: str
    label: str
    unique: bool = False


def fill_custom(known: dict[str, CustomField], rows: dict[str, Json], row: Json, given: Json) -> None:
    """As in Books' own answers, a value stands in `custom_fields` and under its API name."""
    for entry in given.get("custom_fields") or []:
        found = [
            c
            for c in known.values()
            if entry.get("api_name") == c.api_name
            or str(entry.get("customfield_id", "")) == c.id
            or entry.get("label") == c.label
        ]
        if not found:
            raise wrong(2, "Invalid value passed for custom_fields")
        value = str(entry.get("value", ""))
        twins = [
            r for r in rows.values() if r is not row and value and str(r.get(found[0].api_name, "")) == value
        ]
        if found[0].unique and twins:
            raise wrong(2, f"The value of {found[0].label} already exists")
        row[found[0].api_name] = value
    row["custom_fields"] = [
        {"customfield_id": c.id, "api_name": c.api_name, "label": c.label, "value": row[c.api_name]}
        for c in known.values()
        if c.api_name in row
    ]
    row["custom_field_hash"] = {c.api_name: row[c.api_name] for c in known.values() if c.api_name in row}

"""Books' lists: filters, order and pages over the rows of one kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from receiver.simulator.books_fields import wrong
from receiver.simulator.wire import Answer, whole
from receiver.simulator.world import instant

if TYPE_CHECKING:
    from receiver.simulator.books_fields import Kind
    from receiver.simulator.books_records import Ledgers
    from receiver.simulator.wire import Call, Json

# Lists show a row without these; they come with GET of one.
DETAIL = frozenset({"line_items", "contact_persons", "notes", "terms", "custom_field_hash"})
ENDINGS = frozenset({"startswith", "contains", "start", "end", "before", "after"})
TIMES = frozenset({"date", "due_date"})
FILTERS = {
    "contacts": frozenset({"contact_name", "company_name", "email", "phone", "contact_type"}),
    "items": frozenset({"name", "description", "rate", "sku", "status"}),
    "invoices": frozenset(
        {
            "invoice_number",
            "reference_number",
            "customer_id",
            "customer_name",
            "email",
            "status",
            "total",
            "balance",
        }
    )
    | TIMES,
    "customerpayments": frozenset(
        {"payment_number", "reference_number", "customer_id", "customer_name", "date"}
    ),
}


def listed(ledgers: Ledgers, spec: Kind, call: Call) -> Answer:
    size, page = whole(call.param("per_page"), 200), whole(call.param("page"), 1)
    if size is None or page is None or not 1 <= size <= 200 or page < 1:
        raise wrong(2, "Invalid value passed for per_page")
    rows = list(ledgers.rows[spec.plural].values())[::-1]
    known = FILTERS[spec.plural] | set(ledgers.custom[spec.plural])
    for name, value in call.query:
        rows = _filtered(rows, known, name, value)
    rows = _searched(rows, spec, call.param("search_text"))
    rows = _by_status(rows, call.param("filter_by"))
    rows = _since(rows, call.param("last_modified_time"))
    column = call.param("sort_column")
    if column:
        rows.sort(
            key=lambda row: str(row.get(column, "")), reverse=call.param("sort_order") in ("D", "descending")
        )
    shown = rows[(page - 1) * size : page * size]
    context = {
        "page": page,
        "per_page": size,
        "has_more_page": len(rows) > page * size,
        "report_name": spec.plural.capitalize(),
        "applied_filter": call.param("filter_by") or "Status.All",
        "sort_column": column or "created_time",
        "sort_order": call.param("sort_order") or "D",
    }
    short = [{name: value for name, value in row.items() if name not in DETAIL} for row in shown]
    return Answer(200, {"code": 0, "message": "success", spec.plural: short, "page_context": context})


def _filtered(rows: list[Json], known: frozenset[str], name: str, value: str) -> list[Json]:
    """By a field's own name, or with an ending; a parameter that Books doesn't know filters nothing."""
    if name in known:
        return [row for row in rows if str(row.get(name, "")).casefold() == value.casefold()]
    field, joint, ending = name.rpartition("_")
    if field not in known or ending not in ENDINGS:
        return rows
    return [row for row in rows if _fits(str(row.get(field, "")), value, joint + ending)]


def _fits(have: str, value: str, ending: str) -> bool:
    have, value = have.casefold(), value.casefold()
    outcomes: dict[str, Any] = {
        "_startswith": have.startswith(value),
        "_contains": value in have,
        "_start": have >= value,
        "_end": have <= value,
        "_before": have < value,
        "_after": have > value,
    }
    return bool(outcomes[ending])


def _searched(rows: list[Json], spec: Kind, text: str) -> list[Json]:
    if not text:
        return rows
    names = (spec.title, "customer_name", "company_name", "email", "reference_number", "description")
    return [
        row for row in rows if any(text.casefold() in str(row.get(name, "")).casefold() for name in names)
    ]


def _by_status(rows: list[Json], chosen: str) -> list[Json]:
    status = chosen.removeprefix("Status.").lower()
    if status in ("", "all"):
        return rows
    if status == "unpaid":
        return [row for row in rows if row["status"] not in ("paid", "void", "draft")]
    return [row for row in rows if row["status"].replace("_", "") == status.replace("_", "")]


def _since(rows: list[Json], text: str) -> list[Json]:
    if not text:
        return rows
    at = instant(text)
    if at is None:
        raise wrong(2, "Invalid value passed for last_modified_time")
    return [row for row in rows if (instant(row["last_modified_time"]) or 0.0) >= at]

"""Zoho's finance products, which share one way of speaking: Books, Inventory, Invoice, Billing and Expense; and whatever in them has an id.
https://www.zoho.com/books/api/v3/introduction/, .../inventory/api/v1/, .../invoice/api/v3/, .../billing/api/v1/, .../expense/api/v1/.

Every call names its organisation, in the query or in a header as the product wants it; success is `code == 0` and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from receiver.errors import InvalidRequest, Unavailable
from receiver.zoho import part, texts
from receiver.zoho.ask import Ask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from receiver.zoho import Zoho
    from receiver.zoho.ask import Answer

Record = dict[str, Any]
BASES = {
    "books": "/books/v3",
    "inventory": "/inventory/v1",
    "invoice": "/invoice/v3",
    "billing": "/billing/v1",
    "expense": "/expense/v1",
}
PAGE = 200
SHADOW = "shadow"
"""The id of what shadow mode did not make."""

# Where the name of one is not the name of many without its s.
_ONE = {
    "currencies": "currency",
    "expenses": "expense",
    "taxes": "tax",
    "journals": "journal",
    "chartofaccounts": "chart_of_account",
}
_KEYS = {
    "expensereports": "expense_report",
    "customerpayments": "payment",
    "vendorpayments": "vendorpayment",
    "bankaccounts": "bankaccount",
    "creditnotes": "creditnote",
}


class Finance:
    """One product of one organisation; `zoho.books("name")` is another one of the same connection."""

    def __init__(self, zoho: Zoho, product: str, organisation: str = "") -> None:
        self._zoho = zoho
        self._product = product
        self._organisation = organisation

    def __call__(self, organisation: str) -> Self:
        """The same product of the organisation that the connection's settings name so."""
        return type(self)(self._zoho, self._product, organisation)

    def get(self, resource: str, record_id: str) -> Record:
        """One record ("invoices", its id). Raises NotFound."""
        return self._one(resource, self._call("GET", f"/{part(resource)}/{part(record_id)}"))

    def list(self, resource: str, **filters: Any) -> Iterator[Record]:
        """The records of a resource one by one; `filters` are the product's own query parameters. Pages of 200 are
        read as needed.
        """
        number: int | None = 1
        while number is not None:
            rows, number = self.page(resource, number, **filters)
            yield from rows

    def page(self, resource: str, number: int, **filters: Any) -> tuple[Sequence[Record], int | None]:
        """One page of `list`, counted from 1, and the number of the next one; None where there is no further one."""
        asked = {"per_page": str(PAGE), **texts(filters), "page": str(number)}
        data = self._call("GET", f"/{part(resource)}", params=asked).data
        rows = data.get(_many(resource)) if isinstance(data, dict) else None
        if not isinstance(rows, list):
            raise Unavailable(f"{self._product}: the answer has no list of {resource}", code="misfit")
        context = data.get("page_context")
        more = isinstance(context, dict) and context.get("has_more_page")
        return rows, number + 1 if more else None

    def create(self, resource: str, values: Mapping[str, Any], **params: Any) -> Record:
        """Makes a record. Never sent again once it may have arrived: prefer `ensure`, so that a lost answer
        makes no second one.
        """
        answer = self._call(
            "POST",
            f"/{part(resource)}",
            params=texts(params),
            json=dict(values),
            pretend=self._pretended(resource, SHADOW, values),
        )
        record = self._one(resource, answer)
        self._zoho.made(self._product, resource, record.get(_id_key(resource)), dict(values))
        return record

    def update(self, resource: str, record_id: str, values: Mapping[str, Any], **params: Any) -> Record:
        """Changes a record, and returns it as it is then."""
        answer = self._call(
            "PUT",
            f"/{part(resource)}/{part(record_id)}",
            params=texts(params),
            json=dict(values),
            pretend=self._pretended(resource, record_id, values),
            touch=record_id,
        )
        return self._one(resource, answer)

    def delete(self, resource: str, record_id: str) -> None:
        """Deletes a record. Raises NotFound where there is none."""
        self._call("DELETE", f"/{part(resource)}/{part(record_id)}", pretend={"code": 0}, touch=record_id)

    def ensure(
        self, resource: str, by: Mapping[str, str], values: Mapping[str, Any], *, unique: bool = True
    ) -> tuple[Record, bool]:
        """(the record whose field in `by` has that value, whether it was made now). One that is there already
        is returned as it is. `by` holds one field.

        It is looked up first. For a custom field (`cf_...`) it is then made by Books' own upsert (headers
        X-Unique-Identifier-Key and -Value with X-Upsert), so that two at once make one record and a lost
        answer does no harm; the field must be set in Books not to take duplicate values. `unique=False`, or
        any other field, makes it with a plain create: two at the same moment may make two.
        https://www.zoho.com/books/api/v3/invoices/#update-an-invoice-using-a-custom-fields-unique-value
        """
        if len(by) != 1:
            raise InvalidRequest(
                f"{self._product}: ensure looks for one field; give by= with one name and value",
                code="bad_by",
            )
        name, value = next((name, str(value)) for name, value in by.items())
        found = next((row for row in self._lookup(resource, name, value) if _has(row, name, value)), None)
        if found is not None:
            return self.get(resource, str(found[_id_key(resource)])), False
        custom = name.startswith("cf_")
        body = _with_field(values, name, value) if custom else {**values, name: value}
        if not (custom and unique):
            return self.create(resource, body), True
        answer = self._call(
            "PUT",
            f"/{part(resource)}",
            json=body,
            headers={"X-Unique-Identifier-Key": name, "X-Unique-Identifier-Value": value, "X-Upsert": "true"},
            pretend=self._pretended(resource, SHADOW, body),
        )
        record = self._one(resource, answer)
        self._zoho.made(self._product, resource, record.get(_id_key(resource)), body)
        return record, _was_made(answer, record)

    def organizations(self) -> Sequence[Record]:
        """The organisations that this consent reaches, with their ids; the one call that needs no
        organisation.
        """
        data = self._zoho.send(Ask(self._product, "GET", f"{BASES[self._product]}/organizations")).data
        return tuple(data.get("organizations") or ())

    def _lookup(self, resource: str, name: str, value: str) -> Iterator[Record]:
        """At most one page: a filter that Books does not know gives every record there is."""
        data = self._call("GET", f"/{part(resource)}", params={name: value, "per_page": str(PAGE)}).data
        rows = data.get(_many(resource)) if isinstance(data, dict) else None
        return iter(row for row in rows or () if isinstance(row, dict))

    def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        pretend: Any = None,
        touch: str = "",
        safe: bool | None = None,
    ) -> Answer:
        resource = path.split("/")[1]
        ask = Ask(
            self._product,
            method,
            BASES[self._product] + path,
            params or {},
            json,
            headers or {},
            safe=safe,
            pretend=pretend,
            touches=((resource, touch, json),),
        )
        return self._zoho.send(ask, organisation=self._organisation)

    def _one(self, resource: str, answer: Answer) -> Record:
        found = answer.data.get(_key(resource)) if isinstance(answer.data, dict) else None
        if not isinstance(found, dict):
            raise Unavailable(
                f"{self._product}: the answer has no {_key(resource)}", code="misfit", status=answer.status
            )
        return found

    def _pretended(self, resource: str, record_id: str, values: Mapping[str, Any]) -> Record:
        said = "created, not sent" if record_id == SHADOW else "updated, not sent"
        return {"code": 0, "message": said, _key(resource): {**values, _id_key(resource): record_id}}


class Books(Finance):
    """Books: what only it has beside the rest."""

    def mark_sent(self, invoice_id: str) -> None:
        """Marks an invoice as sent, without mailing it. Marking it twice is the same as once."""
        self._call(
            "POST",
            f"/invoices/{part(invoice_id)}/status/sent",
            pretend={"code": 0},
            touch=invoice_id,
            safe=True,
        )


def one_of(resource: str) -> str:
    """What one of a resource is called in Zoho's answers and in our event types: invoices -> invoice."""
    return _singular(resource)


def _singular(resource: str) -> str:
    return _ONE.get(resource) or (
        resource[:-3] + "y" if resource.endswith("ies") else resource.removesuffix("s")
    )


def _key(resource: str) -> str:
    """The name under which an answer holds one record: invoices -> invoice, customerpayments -> payment."""
    return _KEYS.get(resource) or _singular(resource)


def _many(resource: str) -> str:
    return resource


def _id_key(resource: str) -> str:
    return {"customerpayments": "payment_id"}.get(resource) or f"{_singular(resource)}_id"


def _has(row: Mapping[str, Any], name: str, value: str) -> bool:
    if str(row.get(name, "")) == value:
        return True
    fields = row.get("custom_fields")
    return isinstance(fields, list) and any(
        isinstance(one, dict) and one.get("api_name") == name and str(one.get("value", "")) == value
        for one in fields
    )


def _with_field(values: Mapping[str, Any], name: str, value: str) -> Record:
    others = [one for one in values.get("custom_fields") or () if one.get("api_name") != name]
    return {**values, "custom_fields": [*others, {"api_name": name, "value": value}]}


def _was_made(answer: Answer, record: Record) -> bool:
    """Books answers 201 or says "created" of a new record and "updated" of another; in a language of the
    organisation's own the two times of the record decide.
    """
    message = str(answer.data.get("message", "")).lower()
    if answer.status == 201 or "created" in message or "added" in message:
        return True
    return (
        "updated" not in message
        and bool(record.get("created_time"))
        and (record.get("created_time") == record.get("last_modified_time"))
    )

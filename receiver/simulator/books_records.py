"""What Books keeps: contacts, items, invoices and payments, and how one changes another; no HTTP here."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from receiver.simulator.books_fields import KINDS, NEVER, CustomField, fill_custom, wrong

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from receiver.simulator.wire import Json
    from receiver.simulator.world import World


@dataclass(slots=True)
class Ledgers:
    """All rows; `told` hears of each change as kind, verb and row."""

    world: World
    told: Callable[[str, str, Json], None]
    rows: dict[str, dict[str, Json]] = field(default_factory=lambda: {name: {} for name in KINDS})
    custom: dict[str, dict[str, CustomField]] = field(default_factory=lambda: {name: {} for name in KINDS})
    _invoices: Iterator[int] = field(default_factory=lambda: count(1))
    _payments: Iterator[int] = field(default_factory=lambda: count(1))

    def add_custom_field(self, kind: str, api_name: str, *, unique: bool = False) -> None:
        label = api_name.removeprefix("cf_").replace("_", " ").capitalize()
        self.custom[kind][api_name] = CustomField(api_name, self.world.books_id(), label, unique)

    def create(self, kind: str, given: Json, *, own_number: bool = False, sent: bool = False) -> Json:
        spec = KINDS[kind]
        for name in spec.needed:
            if given.get(name) in (None, "", []):
                raise wrong(2, f"Invalid value passed for {name}")
        row: Json = {spec.id: self.world.books_id(), "created_time": self.world.books_stamp()}
        getattr(self, f"_{spec.one}")(row, given, own_number)
        row["last_modified_time"] = row["created_time"]
        fill_custom(self.custom[kind], self.rows[kind], row, given)
        if sent:
            row["status"] = "sent"
        self.rows[kind][row[spec.id]] = row
        if kind == "customerpayments":
            self._apply(row)
        self.told(kind, "created", row)
        return row

    def update(self, kind: str, row: Json, given: Json) -> Json:
        spec = KINDS[kind]
        before = dict(row)
        for name, value in given.items():
            if name in NEVER or name == spec.id or name in ("custom_fields", "line_items"):
                continue
            if name in row:
                row[name] = value
        if kind == "contacts":
            self._same_name(row)
            self._persons(row, given)
        if kind == "invoices":
            if "customer_id" in given:
                row["customer_name"] = self._customer(given)["contact_name"]
            if "line_items" in given:
                self._lines(row, given["line_items"])
        fill_custom(self.custom[kind], self.rows[kind], row, given)
        row["last_modified_time"] = self.world.books_stamp()
        if row != before:
            self.told(kind, "updated", row)
        return row

    def delete(self, kind: str, row: Json) -> None:
        spec = KINDS[kind]
        if kind == "contacts" and any(
            i["customer_id"] == row["contact_id"] for i in self.rows["invoices"].values()
        ):
            raise wrong(3008, "Contacts having transactions cannot be deleted")
        del self.rows[kind][row[spec.id]]
        self.told(kind, "deleted", row)

    def mark(self, row: Json, status: str) -> None:
        """Marks an invoice sent, void or draft; a paid one stays paid."""
        if row["status"] in ("paid", "partially_paid"):
            raise wrong(1003, f"Invoices with payments cannot be marked as {status}")
        row["status"] = status
        row["last_modified_time"] = self.world.books_stamp()
        self.told("invoices", status, row)

    def pay(self, invoice_id: str) -> Json:
        """Pays an invoice in full, as a customer would."""
        row = self.rows["invoices"][invoice_id]
        return self.create(
            "customerpayments",
            {
                "customer_id": row["customer_id"],
                "payment_mode": "banktransfer",
                "amount": row["balance"],
                "date": self.world.today(),
                "invoices": [{"invoice_id": invoice_id, "amount_applied": row["balance"]}],
            },
        )

    def with_value(self, kind: str, name: str, value: str) -> list[Json]:
        return [row for row in self.rows[kind].values() if str(row.get(name, "")) == value]

    def _contact(self, row: Json, given: Json, _: bool) -> None:
        row.update(
            contact_name=str(given["contact_name"]),
            company_name=given.get("company_name", ""),
            contact_type=given.get("contact_type", "customer"),
            email=given.get("email", ""),
            phone=given.get("phone", ""),
            status="active",
            currency_code="GBP",
            notes=given.get("notes", ""),
            contact_persons=[],
        )
        self._same_name(row)
        self._persons(row, given)

    def _same_name(self, row: Json) -> None:
        name = str(row["contact_name"])
        for other in self.rows["contacts"].values():
            if (
                other["contact_id"] != row["contact_id"]
                and other["contact_name"].casefold() == name.casefold()
            ):
                raise wrong(3062, f'The customer "{name}" already exists. Please specify a different name.')

    def _persons(self, row: Json, given: Json) -> None:
        persons = given.get("contact_persons")
        if not isinstance(persons, list):
            return
        row["contact_persons"] = [{"contact_person_id": self.world.books_id(), **p} for p in persons]
        first = next((p for p in persons if p.get("is_primary_contact")), persons[0] if persons else {})
        row["email"] = first.get("email", row["email"])
        row["phone"] = first.get("phone", row["phone"])

    def _item(self, row: Json, given: Json, _: bool) -> None:
        if not isinstance(given["rate"], int | float):
            raise wrong(2, "Invalid value passed for rate")
        row.update(
            name=str(given["name"]),
            rate=given["rate"],
            description=given.get("description", ""),
            sku=given.get("sku", ""),
            status="active",
            unit=given.get("unit", ""),
        )

    def _invoice(self, row: Json, given: Json, own_number: bool) -> None:
        number = given.get("invoice_number")
        if number and not own_number:
            raise wrong(4097, "Auto-generation of invoice numbers is on; pass ignore_auto_number_generation")
        if number and self.with_value("invoices", "invoice_number", str(number)):
            raise wrong(1001, f'Invoice number "{number}" already exists.')
        customer = self._customer(given)
        row.update(
            invoice_number=number or f"INV-{next(self._invoices):06d}",
            customer_id=customer["contact_id"],
            customer_name=customer["contact_name"],
            email=customer["email"],
            status="draft",
            date=given.get("date") or self.world.today(),
            due_date=given.get("due_date") or self.world.day(15),
            reference_number=given.get("reference_number", ""),
            currency_code="GBP",
            notes=given.get("notes", ""),
            terms=given.get("terms", ""),
            payment_made=0.0,
        )
        self._lines(row, given["line_items"])

    def _customer(self, given: Json) -> Json:
        customer = self.rows["contacts"].get(str(given.get("customer_id")))
        if customer is None:
            raise wrong(2, "Invalid value passed for customer_id")
        return customer

    def _lines(self, row: Json, lines: Any) -> None:
        if not isinstance(lines, list) or not lines or not all(isinstance(line, dict) for line in lines):
            raise wrong(2, "Invalid value passed for line_items")
        kept: list[Json] = []
        for number, line in enumerate(lines, 1):
            item = self.rows["items"].get(str(line.get("item_id", "")), {})
            if line.get("item_id") and not item:
                raise wrong(2, "Invalid value passed for item_id")
            name, rate, quantity = (
                line.get("name", item.get("name")),
                line.get("rate", item.get("rate")),
                line.get("quantity", 1),
            )
            if not (name or line.get("description")) or not all(
                isinstance(n, int | float) for n in (rate, quantity)
            ):
                raise wrong(2, "Invalid value passed for line_items")
            kept.append(
                {
                    "line_item_id": self.world.books_id(),
                    "item_id": item.get("item_id", ""),
                    "name": name or "",
                    "description": line.get("description", ""),
                    "item_order": number,
                    "rate": rate,
                    "quantity": quantity,
                    "item_total": round(rate * quantity, 2),
                }
            )
        row["line_items"] = kept
        row["total"] = round(sum(line["item_total"] for line in kept), 2)
        row["balance"] = round(row["total"] - row["payment_made"], 2)

    def _payment(self, row: Json, given: Json, _: bool) -> None:
        customer = self._customer(given)
        applied = given.get("invoices") or []
        if not isinstance(given["amount"], int | float) or given["amount"] <= 0:
            raise wrong(2, "Invalid value passed for amount")
        for part in applied:
            invoice = self.rows["invoices"].get(str(part.get("invoice_id")))
            if invoice is None or invoice["customer_id"] != customer["contact_id"]:
                raise wrong(2, "Invalid value passed for invoice_id")
            amount = part.get("amount_applied", 0)
            if not isinstance(amount, int | float) or amount <= 0 or amount > invoice["balance"]:
                raise wrong(24016, "The amount applied is more than the balance of the invoice")
        if sum(part["amount_applied"] for part in applied) > given["amount"]:
            raise wrong(24016, "The amount applied is more than the amount paid")
        row.update(
            payment_number=str(next(self._payments)),
            customer_id=customer["contact_id"],
            customer_name=customer["contact_name"],
            payment_mode=given["payment_mode"],
            amount=given["amount"],
            date=given["date"],
            reference_number=given.get("reference_number", ""),
            invoices=[
                {"invoice_id": str(p["invoice_id"]), "amount_applied": p["amount_applied"]} for p in applied
            ],
        )

    def _apply(self, payment: Json) -> None:
        for part in payment["invoices"]:
            invoice = self.rows["invoices"][part["invoice_id"]]
            invoice["payment_made"] = round(invoice["payment_made"] + part["amount_applied"], 2)
            invoice["balance"] = round(invoice["total"] - invoice["payment_made"], 2)
            invoice["status"] = "paid" if invoice["balance"] == 0 else "partially_paid"
            invoice["last_modified_time"] = self.world.books_stamp()
            self.told("invoices", invoice["status"], invoice)

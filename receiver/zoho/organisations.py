"""Whose a consent is: the organisations that its token opens, asked of each product that its scopes reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.errors import ZohoError
from receiver.zoho.scopes import covers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from receiver.zoho import Zoho

FINANCE = {
    "books": "ZohoBooks.settings.READ",
    "inventory": "ZohoInventory.settings.READ",
    "invoice": "ZohoInvoice.settings.READ",
}
PATHS = {
    "books": "/books/v3/organizations",
    "inventory": "/inventory/v1/organizations",
    "invoice": "/invoice/v3/organizations",
}


def found(zoho: Zoho, scopes: Iterable[str]) -> tuple[dict[str, list[tuple[str, str]]], list[str]]:
    """([(id, name) by product], what could not be asked and why)."""
    granted = tuple(scopes)
    known: dict[str, list[tuple[str, str]]] = {}
    troubles: list[str] = []

    def ask(product: str, scope: str, path: str, rows: str, ident: str, name: str) -> None:
        if not covers(granted, scope):
            return
        try:
            said = zoho.request(product, "GET", path) or {}
        except ZohoError as error:
            troubles.append(f"{product}: {error}")
            return
        listed = said if isinstance(said, list) else said.get(rows, [])
        found = [(str(row[ident]), str(row.get(name, ""))) for row in listed if row.get(ident)]
        if found:
            known[product] = found

    ask("crm", "ZohoCRM.org.READ", "/crm/v8/org", "org", "zgid", "company_name")
    for product, scope in FINANCE.items():
        ask(product, scope, PATHS[product], "organizations", "organization_id", "name")
    ask("desk", "Desk.basic.READ", "/api/v1/organizations", "data", "id", "companyName")
    ask("mail", "ZohoMail.accounts.READ", "/api/accounts", "data", "accountId", "primaryEmailAddress")
    ask("projects", "ZohoProjects.portals.READ", "/api/v3/portals", "portals", "id", "name")
    return known, troubles


def first(known: dict[str, list[tuple[str, str]]]) -> dict[str, str]:
    """The first organisation of each product: a customer's own, where he has but one."""
    return {product: rows[0][0] for product, rows in known.items()}

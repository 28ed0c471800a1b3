"""Zoho CRM's own words for what happened, and our types for them."""

from __future__ import annotations

import re

VERBS = {"insert": "created", "update": "updated", "delete": "deleted"}
"""What a callback's `operation` says."""

SUBSCRIBED = {"create": "created", "edit": "updated", "update": "updated", "delete": "deleted", "all": "*"}
"""What the events of a channel are called, which differs from what its callbacks say."""

MODULES = (
    *(
        "Leads",
        "Accounts",
        "Contacts",
        "Deals",
        "Campaigns",
        "Tasks",
        "Cases",
        "Events",
        "Calls",
        "Solutions",
        "Products",
    ),
    *("Vendors", "Price_Books", "Quotes", "Sales_Orders", "Purchase_Orders", "Invoices", "Services", "users"),
    *("Appointments__s", "Appointments_Rescheduled_History__s"),
)

_WORD = re.compile(r"(\w+)\.(create|edit|update|delete|all)", re.IGNORECASE)
_OURS = frozenset(
    {
        *(
            "app",
            "bigin",
            "books",
            "billing",
            "campaigns",
            "cliq",
            "commerce",
            "crm",
            "desk",
            "expense",
            "forms",
        ),
        *("inventory", "invoice", "mail", "payments", "projects", "recruit", "salesiq", "sign", "sprints"),
        *("zeptomail", "zohook"),
    }
)
"""First parts of types: `app.create` is a type of the user's own, not a module called app."""


def native(word: str, prefix: str = "crm") -> str | None:
    """`crm.Deals.updated` for "Deals.edit", `crm.Deals.*` for "Deals.all"; None for what is no such word."""
    form = _WORD.fullmatch(word)
    if form is None or form[1] in _OURS:
        return None
    return f"{prefix}.{form[1]}.{SUBSCRIBED[form[2].lower()]}"

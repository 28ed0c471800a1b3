"""The CRM's modules and fields, and what a field takes as a value; no records are kept here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from receiver.simulator.world import instant

if TYPE_CHECKING:
    from receiver.simulator.wire import Json

EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
LOOKUP_TYPES = ("lookup", "ownerlookup")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a module; `length` counts characters."""

    api_name: str
    data_type: str = "text"
    mandatory: bool = False
    unique: bool = False
    length: int = 255
    lookup: str = ""
    picks: tuple[str, ...] = ()
    custom: bool = False
    read_only: bool = False
    external: bool = False

    @property
    def label(self) -> str:
        return self.api_name.replace("_", " ")

    def fault(self, value: Any) -> Json | None:
        """Details of an INVALID_DATA, None when the value is well formed."""
        if value is None:
            return None
        expected = self._expected(value)
        if expected:
            return {"expected_data_type": expected}
        if isinstance(value, str) and len(value) > self.length:
            return {"maximum_length": self.length}
        return None

    def _expected(self, value: Any) -> str:
        kind = self.data_type
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if kind in ("currency", "double"):
            return "" if number else "double"
        if kind == "integer":
            return "" if number and isinstance(value, int) else "integer"
        if kind == "boolean":
            return "" if isinstance(value, bool) else "boolean"
        if kind in LOOKUP_TYPES:
            return "" if isinstance(value, dict | str) else "jsonobject"
        if not isinstance(value, str):
            return "text" if kind != "email" else "email"
        if kind == "email" and value and not EMAIL.fullmatch(value):
            return "email"
        if kind == "date" and not _is_day(value):
            return "date"
        if kind == "datetime" and instant(value) is None:
            return "datetime"
        return ""


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


@dataclass(slots=True)
class Module:
    """`title` is the field that names a record, `check` the fields that upsert looks at unasked."""

    api_name: str
    id: str
    title: str
    check: tuple[str, ...]
    fields: dict[str, Field]


SYSTEM = (
    Field("Owner", "ownerlookup"),
    Field("Created_By", "ownerlookup", read_only=True),
    Field("Modified_By", "ownerlookup", read_only=True),
    Field("Created_Time", "datetime", read_only=True),
    Field("Modified_Time", "datetime", read_only=True),
    Field("id", "bigint", read_only=True),
)
STAGES = (
    "Qualification",
    "Needs Analysis",
    "Proposal/Price Quote",
    "Negotiation/Review",
    "Closed Won",
    "Closed Lost",
)
ADDRESS = tuple(
    Field(f"Mailing_{part}", length=250) for part in ("Street", "City", "State", "Zip", "Country")
)
TABLE: dict[str, tuple[str, str, tuple[str, ...], tuple[Field, ...]]] = {
    "Leads": (
        "5725767000000002175",
        "Full_Name",
        ("Email",),
        (
            Field("First_Name", length=40),
            Field("Last_Name", mandatory=True, length=80),
            Field("Full_Name", length=120, read_only=True),
            Field("Company", length=200),
            Field("Email", "email", unique=True, length=100),
            Field("Phone", "phone", length=30),
            Field("Mobile", "phone", length=30),
            Field("Lead_Source", "picklist", picks=("Web Research", "Trade Show", "Partner", "Cold Call")),
            Field("Lead_Status", "picklist", picks=("Not Contacted", "Contacted", "Junk Lead")),
            Field("Annual_Revenue", "currency"),
            Field("Description", "textarea", length=32_000),
        ),
    ),
    "Contacts": (
        "5725767000000002179",
        "Full_Name",
        ("Email",),
        (
            Field("First_Name", length=40),
            Field("Last_Name", mandatory=True, length=80),
            Field("Full_Name", length=120, read_only=True),
            Field("Account_Name", "lookup", lookup="Accounts"),
            Field("Email", "email", unique=True, length=100),
            Field("Phone", "phone", length=50),
            Field("Mobile", "phone", length=30),
            Field("Title", length=100),
            Field("Description", "textarea", length=32_000),
            *ADDRESS,
        ),
    ),
    "Accounts": (
        "5725767000000002177",
        "Account_Name",
        ("Account_Name",),
        (
            Field("Account_Name", mandatory=True, length=200),
            Field("Phone", "phone", length=30),
            Field("Website", "website", length=450),
            Field("Industry", "picklist", picks=("Hospitality", "Retail", "Construction")),
            Field("Annual_Revenue", "currency"),
            Field("Billing_City", length=100),
            Field("Billing_Country", length=100),
            Field("Description", "textarea", length=32_000),
        ),
    ),
    "Deals": (
        "5725767000000002181",
        "Deal_Name",
        ("Deal_Name",),
        (
            Field("Deal_Name", mandatory=True, length=120),
            Field("Stage", "picklist", mandatory=True, picks=STAGES),
            Field("Amount", "currency"),
            Field("Closing_Date", "date"),
            Field("Account_Name", "lookup", lookup="Accounts"),
            Field("Contact_Name", "lookup", lookup="Contacts"),
            Field("Probability", "integer"),
            Field("Lead_Source", "picklist", picks=("Web Research", "Trade Show", "Partner", "Cold Call")),
            Field("Description", "textarea", length=32_000),
            Field("Invoice_No", custom=True, length=100),
        ),
    ),
    "Tasks": (
        "5725767000000002193",
        "Subject",
        (),
        (
            Field("Subject", mandatory=True),
            Field("Due_Date", "date"),
            Field("Status", "picklist", picks=("Not Started", "In Progress", "Completed")),
            Field("Priority", "picklist", picks=("High", "Normal", "Low")),
            Field("What_Id", "lookup"),
            Field("Who_Id", "lookup", lookup="Contacts"),
            Field("Description", "textarea", length=32_000),
        ),
    ),
    "Notes": (
        "5725767000000002197",
        "Note_Title",
        (),
        (
            Field("Note_Title", length=120),
            Field("Note_Content", "textarea", length=32_000),
            Field("Parent_Id", "lookup", mandatory=True),
        ),
    ),
}


def modules() -> dict[str, Module]:
    """A fresh set of modules, to which custom fields may be added."""
    return {
        name: Module(name, ident, title, check, {field.api_name: field for field in (*fields, *SYSTEM)})
        for name, (ident, title, check, fields) in TABLE.items()
    }

"""What a call costs at Zoho, and which calls Zoho lets fewer of in at once. Pure.

Sources: https://www.zoho.com/crm/developer/docs/api/v8/api-limits.html for CRM, the limits pages of Books and Desk; Desk's costs stand in its
documentation at second hand. What a failed call costs nobody says: it is counted as if it had succeeded.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from receiver.settings_tables import ConnectionSettings
    from receiver.zoho.ask import Ask

EDITIONS = {"free": 5, "standard": 10, "professional": 15, "enterprise": 20, "ultimate": 25}
"""CRM's calls in progress per organisation and client."""
HEAVY = 10
"""CRM's heavy calls in progress, in every edition."""
SPARE = 2
"""Places that are left free: somebody else may call with the same client."""
FINANCE = frozenset({"books", "inventory", "invoice", "billing", "expense"})


@dataclass(frozen=True, slots=True)
class Allowed:
    """What is allowed at one place. 0 is no limit; `credits` are for 24 hours, `per_minute` for `window` seconds."""

    in_flight: int = 0
    heavy: int = 0
    per_minute: int = 0
    credits: int = 0
    window: float = 60.0


def allowed(product: str, settings: ConnectionSettings) -> Allowed:
    """What the settings say, else what every edition has, less what is left free."""
    own = settings.limits.get(product)
    found = _defaults(product, settings.edition)
    if own is None:
        return found
    given = {name: value for name, value in own.model_dump().items() if value is not None}
    return Allowed(
        in_flight=given.get("in_flight", found.in_flight),
        heavy=min(found.heavy, given.get("in_flight", found.heavy)),
        per_minute=given.get("per_minute", found.per_minute),
        credits=given.get("credits", found.credits),
        window=given.get("window", found.window),
    )


def _defaults(product: str, edition: str) -> Allowed:
    if product in {"crm", "bigin", "recruit"}:
        places = EDITIONS[edition] - SPARE
        return Allowed(places, min(HEAVY - SPARE, places), credits=5_000 if edition == "free" else 50_000)
    if product in FINANCE:
        return Allowed(8, per_minute=90)  # of 10 at once and 100 a minute; the day's number goes by the plan
    if product == "desk":
        return Allowed(8)  # of 10 in the smaller paid editions; the day's credits go by edition and users
    if product == "projects":
        return Allowed(4, per_minute=45)  # of 100 in two minutes
    if product == "mail":
        return Allowed(4, per_minute=25)  # no number is documented; others found a block after 30
    return Allowed(8)


def cost(ask: Ask) -> int:
    """Credits that a call costs; of products that count calls and no credits each is one."""
    if ask.product in {"crm", "bigin", "recruit"}:
        return _crm(ask)
    if ask.product == "desk":
        return _desk(ask)
    return 1


def heavy(ask: Ask) -> bool:
    """Whether a call is one of CRM's heavy ones: COQL, search, composite, sorted lists, more than ten records at once, conversion."""
    if ask.product != "crm":
        return False
    path = ask.path
    if (
        path.endswith(("/coql", "/search", "/__composite_requests"))
        or "/actions/convert" in path
        or "send_mail" in path
    ):
        return True
    if ask.method == "GET":
        return "sort_by" in ask.params or "cvid" in ask.params
    return _records(ask) > 10


def _crm(ask: Ask) -> int:
    path, count = ask.path, _records(ask)
    if path.startswith("/crm/bulk/") and ask.method == "POST":
        return 500 if "/write" in path else 50
    if path.endswith("/coql"):
        return _coql(str((ask.json or {}).get("select_query", "")))
    if "/actions/convert" in path:
        return 5
    if "send_mail" in path:
        return 20
    if path.endswith(("/actions/count", "/actions/merge")):
        return 50
    if "/actions/add_tags" in path or "/actions/remove_tags" in path:
        return max(1, math.ceil(count / 50))
    if ask.method == "DELETE":
        return max(1, math.ceil(len(ask.params.get("ids", "").split(",")) / 100))
    if ask.method in {"POST", "PUT"} and count:
        return math.ceil(count / 10)
    return 3 if "cvid" in ask.params else 1


def _coql(query: str) -> int:
    found = re.search(r"\blimit\s+(?:\d+\s*,\s*)?(\d+)\s*$", query, re.IGNORECASE)
    rows = int(found[1][:6]) if found else 200
    return 1 if rows <= 200 else 2 if rows <= 1000 else 3


def _desk(ask: Ask) -> int:
    if ask.method != "GET":
        return 1
    if ask.path.endswith("/count"):
        return 50
    return 3 if "limit" in ask.params or "/search" in ask.path else 1


def _records(ask: Ask) -> int:
    data = ask.json.get("data") if isinstance(ask.json, dict) else None
    return len(data) if isinstance(data, list) else 0

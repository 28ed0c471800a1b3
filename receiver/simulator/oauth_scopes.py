"""The grammar of Zoho's scopes, and whether a granted list covers what a call needs; no tokens here."""

from __future__ import annotations

OPERATIONS = frozenset({"ALL", "READ", "CREATE", "UPDATE", "DELETE", "WRITE"})
KNOWN = {
    "ZohoCRM": (
        "modules settings users org bulk notifications coql composite_requests files mass_update mass_delete "
        "mass_convert send_mail change_owner features functions share"
    ),
    "ZohoSearch": "securesearch",
    "ZohoFiles": "files",
    "ZohoBooks": (
        "invoices contacts settings banking projects bills creditnotes salesorders purchaseorders expenses "
        "estimates accountants debitnotes fixedasset vendorpayments customerpayments custommodules fullaccess"
    ),
    "ZohoInventory": "invoices contacts settings items salesorders packages shipmentorders purchaseorders bills customerpayments fullaccess",
    "ZohoInvoice": "invoices contacts settings estimates customerpayments creditnotes expenses projects fullaccess",
    "ZohoSubscriptions": "customers subscriptions invoices plans products contacts settings customerpayments fullaccess",
    "ZohoExpense": "fullaccess expensereport approval reimbursement advance settings contacts invoices customerpayments",
    "Desk": (
        "settings basic contacts tickets community forums articles tasks search events products calls "
        "integrations imports exports custommodule webhooks agents activities"
    ),
    "ZohoMail": "messages accounts folders organization signatures tasks notes bookmarks tags links",
    "ZohoProjects": "portals projects tasks",
    "ZohoBigin": "modules settings users org coql notifications",
    "ZohoRecruit": "modules settings users org",
    "ZohoSign": "documents templates account",
    "WorkDrive": "files teamfolders organization workspace links",
    "ZohoCliq": "Channels Messages Users Webhooks Bots Chats",
    "AaaServer": "profile",
}
_KNOWN = {service.lower(): frozenset(words.lower().split()) for service, words in KNOWN.items()}
# Where the operation is a word of its own: https://www.zoho.com/crm/developer/docs/api/v8/scopes.html
_ODD = frozenset({"zohocrm.composite_requests.custom"})


def parse(text: str) -> tuple[str, ...]:
    """Scopes joined by commas; blanks too are taken, as self clients' pages do."""
    return tuple(dict.fromkeys(part for part in text.replace(" ", ",").split(",") if part))


def valid(scope: str) -> bool:
    parts = scope.lower().split(".")
    if scope.lower() in _ODD:
        return True
    if not 3 <= len(parts) <= 4 or parts[1] not in _KNOWN.get(parts[0], frozenset()):
        return False
    return parts[-1].upper() in OPERATIONS and all(parts)


def covers(granted: tuple[str, ...], needed: str) -> bool:
    """Whether one of the granted scopes is the needed one or a wider one of the same service.

    Case does not count: Zoho's own pages print `ALL` and `all`, `Leads` and `leads`.
    """
    *path, operation = needed.lower().split(".")
    for scope in granted:
        *had, allowed = scope.lower().split(".")
        if had[1:] == ["fullaccess"] and had[:1] == path[:1]:
            return True
        if had != path[: len(had)]:
            continue
        if allowed in ("all", operation) or (allowed == "write" and operation in ("create", "update")):
            return True
    return False

"""A paid invoice closes its deal, and tells sales with a note on it.

The deal is the one that `cf_crm_deal` of the invoice names (see `won_deal`). The stage is "Closed Won", or in zohook.toml:

    [values]
    paid_stage = "Paid"
"""

from typing import Any

from receiver import Event, Skip, Zoho, on, resource
from receiver.errors import NotFound


@resource
def paid_stage(settings: Any) -> str:
    """The stage that a deal with a paid invoice belongs in."""
    return str(settings.values.get("paid_stage", "Closed Won"))


@on("books.invoice.paid", record=True, where={"status": "paid"})
def close_paid_deal(event: Event, zoho: Zoho, paid_stage: str) -> None:
    """Close the deal when its invoice is paid, and note the payment on it."""
    invoice = event.record
    deal_id = custom_field(invoice, "cf_crm_deal")
    if not deal_id:
        raise Skip("the invoice belongs to no deal")
    try:
        moved = zoho.crm.update("Deals", deal_id, {"Stage": paid_stage}, only_changed=True)
    except NotFound:
        raise Skip(f"the deal {deal_id} is gone") from None
    title = f"Invoice {invoice['invoice_number']} is paid"
    if all(note["Note_Title"] != title for note in zoho.crm.notes("Deals", deal_id)):
        zoho.crm.note("Deals", deal_id, title, f"{invoice['total']} {invoice['currency_code']} in Books.")
    elif moved["action"] == "none":
        raise Skip("the deal knows already")


def custom_field(record: dict[str, Any], name: str) -> str:
    """The value of a custom field of Books, "" where it is not set."""
    found = (each["value"] for each in record.get("custom_fields") or () if each.get("api_name") == name)
    return str(next(found, ""))

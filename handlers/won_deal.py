"""A won deal raises its invoice in Books, once, and the deal learns the invoice's number.

Needs a custom field on invoices in Books, `cf_crm_deal`, set not to take duplicate values, and a field on deals in CRM,
`Invoice_No`. The customer in Books is the one with the name of the deal's account, made if there is none.
"""

from typing import Any

from receiver import Event, RetryLater, Skip, Zoho, on
from receiver.errors import InvalidRequest

NAME_TAKEN = "3062"
"""Books' code for a second contact of one name."""


@on(
    "crm.Deals.created",
    "crm.Deals.updated",
    changed="Stage",
    record=True,
    where={"Stage": "Closed Won"},
    order="record",
    retry_for="3d",
)
def invoice_won_deal(event: Event, zoho: Zoho) -> None:
    """Raise the invoice in Books when a deal is won."""
    deal = event.record
    if not deal.get("Amount"):
        raise Skip("the deal has no amount")
    invoice, _ = zoho.books.ensure(
        "invoices", by={"cf_crm_deal": deal["id"]}, values=invoice_from(deal, zoho)
    )
    number = invoice["invoice_number"]
    if deal.get("Invoice_No") != number:  # not "if made": an earlier try may have got just so far
        zoho.crm.update("Deals", deal["id"], {"Invoice_No": number}, trigger=[])


def invoice_from(deal: dict[str, Any], zoho: Zoho) -> dict[str, Any]:
    """The invoice as Books wants it: one line, for the deal's amount."""
    line = {"name": deal["Deal_Name"], "rate": deal["Amount"], "quantity": 1}
    return {"customer_id": customer_of(deal, zoho), "line_items": [line]}


def customer_of(deal: dict[str, Any], zoho: Zoho) -> str:
    """The id of the customer in Books. Two deals of a new account may be won at once, and only one of them makes it."""
    who = deal.get("Account_Name") or deal.get("Contact_Name")
    if not who:
        raise Skip("the deal has neither an account nor a contact to bill")
    name = who["name"]
    try:
        customer, _ = zoho.books.ensure("contacts", by={"contact_name": name}, values={"company_name": name})
    except InvalidRequest as error:
        if error.code != NAME_TAKEN:
            raise
        raise RetryLater(5, reason=f"the customer {name} is just being made in Books") from error
    return str(customer["contact_id"])

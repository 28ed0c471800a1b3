"""A new ticket gets what CRM knows of its sender, as a comment that only agents see."""

from typing import Any

from receiver import Event, Skip, Zoho, on

MARK = "From CRM:"
"""How the comment begins, and is found again."""


@on("desk.Ticket.created", record=True)
def add_crm_context(event: Event, zoho: Zoho) -> None:
    """Put the sender's account and open deals beside a new ticket."""
    ticket = event.record
    address = ticket.get("email")
    if not address:
        raise Skip("the ticket came without an e-mail address")
    if any(MARK in comment["content"] for comment in zoho.desk.comments(ticket["id"])):
        raise Skip("the ticket has its context already")
    found = zoho.crm.search("Contacts", email=address, limit=1)
    if not found:
        raise Skip(f"nobody in CRM has the address {address}")
    zoho.desk.comment(ticket["id"], context(found[0], zoho))


def context(contact: dict[str, Any], zoho: Zoho) -> str:
    """What an agent wants to know of the sender before answering."""
    account = contact.get("Account_Name")
    whose = ("Accounts", account["id"]) if account else ("Contacts", contact["id"])
    deals = zoho.crm.related(*whose, "Deals", fields=["Deal_Name", "Stage", "Amount"])
    lines = [
        f"{MARK} {contact['Full_Name']}, {account['name'] if account else 'no account'}",
        f"Phone: {contact.get('Phone') or 'unknown'}",
        "Open deals:",
    ]
    lines += [f"- {deal_line(deal)}" for deal in deals if not deal["Stage"].startswith("Closed")] or [
        "- none"
    ]
    return "\n".join(lines)


def deal_line(deal: dict[str, Any]) -> str:
    """A deal in one line."""
    amount = "" if deal.get("Amount") is None else f", {deal['Amount']:,.2f}"
    return f"{deal['Deal_Name']} ({deal['Stage']}{amount})"

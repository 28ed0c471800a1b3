"""The examples of receiver/zoho/README.md, as handlers: read by mypy in its strict mode, and run against the simulator."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from receiver.errors import DuplicateData, NotFound, ZohoError

if TYPE_CHECKING:
    from receiver import Event, Zoho


def crm(event: Event, zoho: Zoho) -> None:
    """Records, queries, notes and tags of CRM."""
    lead = zoho.crm.get("Leads", event.record_id)
    zoho.crm.update("Leads", lead["id"], {"Lead_Status": "Contacted"}, trigger=[], only_changed=True)
    rows = zoho.crm.coql("select Deal_Name, Amount from Deals where Stage = 'Closed Won' limit 100")
    total = sum(row["Amount"] or 0 for row in rows)
    since = datetime.now(UTC) - timedelta(days=1)
    fresh = [each["id"] for each in zoho.crm.list("Leads", fields=["id"], modified_since=since)]
    contact, made = zoho.crm.ensure("Contacts", {"Email": "mara@x.example"}, {"Last_Name": "Lind"})
    for result in zoho.crm.upsert("Leads", [{"Email": "a@x.example", "Last_Name": "A"}], by=["Email"]):
        if result.error is not None:
            raise result.error
    zoho.crm.note("Contacts", contact["id"], "Won", f"{total} in all, {len(fresh)} leads, new: {made}")
    zoho.crm.tags.add("Leads", lead["id"], "hot")


def bulk(event: Event, zoho: Zoho) -> None:
    """Hundreds of thousands of rows of CRM in one job; the rows are read as they come."""
    names = {
        row["id"]: row["Last_Name"] for row in zoho.crm.bulk.read("Leads", ["id", "Last_Name"], every=0.1)
    }
    assert event.record_id in names


def books(event: Event, zoho: Zoho) -> None:
    """Books; inventory, invoice, billing and expense alike."""
    customer, _ = zoho.books.ensure("contacts", {"contact_name": "Acme"}, {"company_name": "Acme Ltd"})
    line = {"name": "Roof", "rate": 1200.0, "quantity": 1}
    invoice = zoho.books.create("invoices", {"customer_id": customer["contact_id"], "line_items": [line]})
    zoho.books.mark_sent(invoice["invoice_id"])
    unpaid = zoho.books.list("invoices", filter_by="Status.Unpaid", customer_id=customer["contact_id"])
    assert invoice["invoice_id"] in [each["invoice_id"] for each in unpaid]


def desk(event: Event, zoho: Zoho) -> None:
    """Tickets, contacts and comments of Desk."""
    contact = next(iter(zoho.desk.search("contacts", lastName="Doe")))
    for ticket in zoho.desk.list("tickets", sortBy="-createdTime", limit=20):
        if ticket["contactId"] == contact["id"]:
            zoho.desk.comment(ticket["id"], "CRM says: a good customer.")
            zoho.desk.update("tickets", ticket["id"], {"priority": "High"})


def mail(event: Event, zoho: Zoho) -> None:
    """Read and send mail, once."""
    (inbox,) = [each["folderId"] for each in zoho.mail.folders() if each["folderName"] == "Inbox"]
    for message in zoho.mail.list(inbox, limit=10):
        body = zoho.mail.content(inbox, message["messageId"])
        event.step(f"answer {message['messageId']}", answer, zoho, message["fromAddress"], body)


def answer(zoho: Zoho, to: str, body: str) -> None:
    """One answer."""
    me = zoho.mail.accounts()[0]["primaryEmailAddress"]
    zoho.mail.send(me, to, "Thank you", f"<p>We read: {body[:100]}</p>")


def sign(event: Event, zoho: Zoho) -> None:
    """A signed document goes into CRM in pieces; it is never whole in memory."""
    for request in zoho.sign.list():
        if request["request_status"] == "completed":
            with zoho.sign.pdf(request["request_id"]) as file:
                zoho.crm.attachments.upload("Leads", event.record_id, file)


def workdrive(event: Event, zoho: Zoho) -> None:
    """What was signed is filed in a folder, each under its own name; a second run makes a new version of it."""
    folder = event.data["folder"]
    for request in zoho.sign.list():
        with zoho.sign.pdf(request["request_id"]) as file:
            kept = zoho.workdrive.upload(folder, file, f"{request['request_id']}.pdf", replace=True)
        zoho.crm.note("Leads", event.record_id, "Filed", kept["Permalink"])


def projects(event: Event, zoho: Zoho) -> None:
    """A task for each project that is open."""
    for project in zoho.projects.list():
        zoho.projects.create_task(project["id"], {"name": f"Call back {event.record_id}"})


def kin(event: Event, zoho: Zoho) -> None:
    """Bigin and Recruit, whose records are as CRM's."""
    zoho.bigin.upsert("Contacts", {"Email": "x@x.example", "Last_Name": "X"}, by=["Email"])
    for candidate in zoho.recruit.search("Candidates", email="x@x.example"):
        zoho.recruit.note("Candidates", candidate["id"], "Seen", "As a contact in Bigin too.")


def anything(event: Event, zoho: Zoho) -> None:
    """Whatever has no method here, with the same token, limits, record and errors."""
    count = zoho.request("crm", "GET", "/crm/v8/Leads/actions/count")["count"]
    assert count > 0


def errors(event: Event, zoho: Zoho) -> None:
    """What can go wrong, and what it says."""
    try:
        zoho.crm.create("Leads", {"Last_Name": "Doe", "Email": "a@x.example"})
    except DuplicateData as error:
        zoho.crm.update("Leads", str(error.existing_id), {"Phone": "1"})
    except NotFound:
        return
    except ZohoError as error:
        if not error.retryable:
            raise RuntimeError(f"{error.code} of {error.request}, details {error.details}") from error
        raise  # the job comes again, after error.retry_after seconds at the earliest

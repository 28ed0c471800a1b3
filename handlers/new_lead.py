"""A new lead is greeted, and somebody is told to call.

The greeting is a note on the lead. To mail it instead, ask for the scope ZohoCRM.send_mail.leads.CREATE and send it with
`zoho.request("crm", "POST", f"/crm/v8/Leads/{lead['id']}/actions/send_mail", json={...})`.
"""

from datetime import timedelta
from typing import Any

from receiver import Event, Skip, Zoho, on

GREETING = "Greeting"
FOLLOW_UP = "Call the new lead"
CALL_WITHIN = timedelta(days=2)


@on("crm.Leads.created", record=True, origins="live", max_age="1d")
def greet_new_lead(event: Event, zoho: Zoho) -> None:
    """Greet a new lead and make a task to call within two days.

    Only live events of the last day: after an outage nobody wakes six hundred leads at night.
    """
    lead = event.record
    if not (lead.get("Email") or lead.get("Phone") or lead.get("Mobile")):
        raise Skip("the lead left neither an address nor a number")
    if all(note["Note_Title"] != GREETING for note in zoho.crm.notes("Leads", lead["id"])):
        zoho.crm.note("Leads", lead["id"], GREETING, greeting(lead))
    tasks = zoho.crm.related("Leads", lead["id"], "Tasks", fields=["Subject"])
    if all(task["Subject"] != FOLLOW_UP for task in tasks):
        zoho.crm.create("Tasks", follow_up(lead, event))


def greeting(lead: dict[str, Any]) -> str:
    """What the lead is told."""
    name = lead.get("First_Name") or lead["Last_Name"]
    return f"Hello {name}, thank you for your interest. We shall call you within two days."


def follow_up(lead: dict[str, Any], event: Event) -> dict[str, Any]:
    """The task, due two days after the lead came in, however late it is made."""
    due = (event.occurred_at or event.received_at) + CALL_WITHIN
    return {
        "Subject": FOLLOW_UP,
        "Due_Date": due.date().isoformat(),
        "Priority": "High",
        "Description": f"{lead['Full_Name']} of {lead.get('Company') or 'no company'}.",
        "Owner": {"id": lead["Owner"]["id"]},
        "What_Id": {"id": lead["id"]},
        "$se_module": "Leads",
    }

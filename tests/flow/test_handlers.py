"""The shipped handlers against the strict Zoho: what they do, that twice is as once, and when they have nothing to do."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from handlers.new_lead import FOLLOW_UP, GREETING, greet_new_lead
from handlers.new_ticket import MARK, add_crm_context
from handlers.paid_invoice import close_paid_deal
from handlers.won_deal import invoice_won_deal
from receiver import on
from receiver.event import now_ms
from receiver.testing import make_event, run_handler

if TYPE_CHECKING:
    from receiver.event import Event
    from receiver.simulator import Simulator
    from receiver.zoho import Zoho

DAY = 86_400_000


def a_deal(simulator: Simulator, **values: Any) -> Event:
    """A deal made in CRM, and the event that its stage changed."""
    account = simulator.crm.create("Accounts", {"Account_Name": "Alder & Sons"})
    about = {"Deal_Name": "Roof", "Stage": "Closed Won", "Amount": 900.5, "Account_Name": account["id"]}
    deal = simulator.crm.create("Deals", {**about, **values})
    return make_event("crm.Deals.updated", record_id=deal["id"], changed="Stage")


def test_a_won_deal_raises_one_invoice_that_the_deal_knows(zoho: Zoho, zoho_simulator: Simulator) -> None:
    """The customer is made, the invoice has the deal's amount and id, the deal its number; a second run changes nothing."""
    event = a_deal(zoho_simulator)
    before = len(zoho_simulator.books.all("invoices"))
    assert run_handler(invoice_won_deal, event, zoho, raises=True).state == "done"
    invoices = zoho_simulator.books.all("invoices")
    assert len(invoices) == before + 1
    assert invoices[-1]["cf_crm_deal"] == event.record_id
    assert (invoices[-1]["customer_name"], invoices[-1]["total"]) == ("Alder & Sons", 900.5)
    assert zoho_simulator.crm.get("Deals", event.record_id)["Invoice_No"] == invoices[-1]["invoice_number"]
    again = run_handler(invoice_won_deal, event, zoho)
    assert (again.state, again.writes) == ("done", [])


def test_a_second_deal_of_an_account_goes_to_the_same_customer(zoho: Zoho, zoho_simulator: Simulator) -> None:
    """The customer of the account's name is found, whoever made it."""
    customer = zoho_simulator.books.create("contacts", {"contact_name": "Alder & Sons"})
    run_handler(invoice_won_deal, a_deal(zoho_simulator), zoho, raises=True)
    assert zoho_simulator.books.all("invoices")[-1]["customer_id"] == customer["contact_id"]


def test_a_number_that_an_earlier_try_could_not_write_is_written(
    zoho: Zoho, zoho_simulator: Simulator
) -> None:
    """The invoice was made and the write to CRM failed: the next try makes no invoice, and writes the number."""
    event = a_deal(zoho_simulator)
    zoho_simulator.faults.add("status", product="crm", method="PUT", status=500, times=9)
    failed = run_handler(invoice_won_deal, event, zoho)
    assert (failed.state, failed.tries) == ("due", 1)
    zoho_simulator.faults.clear()
    again = run_handler(invoice_won_deal, event, zoho, tries=1)
    assert (again.state, len(again.writes)) == ("done", 1)
    assert (
        zoho_simulator.crm.get("Deals", event.record_id)["Invoice_No"]
        == zoho_simulator.books.all("invoices")[-1]["invoice_number"]
    )


def test_a_customer_made_by_another_run_costs_no_try(zoho: Zoho, zoho_simulator: Simulator) -> None:
    """Books takes each name once: the run that comes second is run again in a moment, and finds it."""
    event = a_deal(zoho_simulator)
    taken = {"code": 3062, "message": 'The customer "Alder & Sons" already exists.'}
    zoho_simulator.faults.add(
        "body", product="books", method="POST", path="/contacts", status=400, body=taken
    )
    outcome = run_handler(invoice_won_deal, event, zoho)
    assert (outcome.state, outcome.tries) == ("due", 0)
    assert 0 < outcome.wait <= 5
    assert "is just being made" in outcome.reason
    assert run_handler(invoice_won_deal, event, zoho).state == "done"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"Amount": None}, "the deal has no amount"),
        ({"Account_Name": None}, "the deal has neither an account nor a contact to bill"),
        ({"Stage": "Closed Lost"}, "where: Stage is 'Closed Lost'"),
    ],
)
def test_a_deal_without_what_an_invoice_needs_is_skipped(
    zoho: Zoho, zoho_simulator: Simulator, values: dict[str, Any], reason: str
) -> None:
    """It says why, and Books is not touched."""
    outcome = run_handler(invoice_won_deal, a_deal(zoho_simulator, **values), zoho)
    assert (outcome.state, outcome.reason) == ("skipped", reason)
    assert outcome.writes == []


def test_a_deal_whose_other_fields_change_raises_nothing(zoho: Zoho) -> None:
    """Only a new stage matters; where nobody knows what changed, the record is asked."""
    event = make_event("crm.Deals.updated", record_id="1", changed={"Amount"})
    assert run_handler(invoice_won_deal, event, zoho).state == "filtered"
    event = make_event("Deals.edit", record={"id": "1", "Stage": "Qualification"})
    assert run_handler(invoice_won_deal, event, zoho).state == "skipped"


def an_invoice(simulator: Simulator, deal_id: str = "", *, paid: bool = True) -> Event:
    """An invoice in Books, and the event that it is paid."""
    fields = [{"api_name": "cf_crm_deal", "value": deal_id}] if deal_id else []
    line = {"name": "Roof", "rate": 900.5, "quantity": 1}
    customer = simulator.books.all("contacts")[0]["contact_id"]
    invoice = simulator.books.create(
        "invoices", {"customer_id": customer, "line_items": [line], "custom_fields": fields}
    )
    if paid:
        simulator.books.pay(invoice["invoice_id"])
    return make_event("books.invoice.paid", record_id=invoice["invoice_id"], data={"invoice": invoice})


def test_a_paid_invoice_closes_its_deal_and_notes_it_once(zoho: Zoho, zoho_simulator: Simulator) -> None:
    """The deal comes to its stage with a note of the payment; the second run has nothing to do and says so."""
    deal = a_deal(zoho_simulator, Stage="Negotiation/Review").record_id
    event = an_invoice(zoho_simulator, deal)
    assert run_handler(close_paid_deal, event, zoho, raises=True).state == "done"
    assert zoho_simulator.crm.get("Deals", deal)["Stage"] == "Closed Won"
    notes = zoho.crm.notes("Deals", deal)
    assert [note["Note_Content"] for note in notes] == ["900.5 GBP in Books."]
    again = run_handler(close_paid_deal, event, zoho)
    assert (again.state, again.reason, again.writes) == ("skipped", "the deal knows already", [])


def test_the_stage_of_paid_deals_is_a_setting(zoho: Zoho, zoho_simulator: Simulator) -> None:
    """A resource stands for it, and may be given by a test."""
    deal = a_deal(zoho_simulator).record_id
    run_handler(close_paid_deal, an_invoice(zoho_simulator, deal), zoho, raises=True, paid_stage="Paid")
    assert zoho_simulator.crm.get("Deals", deal)["Stage"] == "Paid"


def test_an_invoice_without_a_deal_or_without_its_money_moves_nothing(
    zoho: Zoho, zoho_simulator: Simulator
) -> None:
    """No deal named, a deal that is gone, an invoice that is not paid any more: each says its reason."""
    gone = a_deal(zoho_simulator).record_id
    zoho_simulator.crm.delete("Deals", gone)
    outcomes = [
        run_handler(close_paid_deal, event, zoho)
        for event in (
            an_invoice(zoho_simulator),
            an_invoice(zoho_simulator, gone),
            an_invoice(zoho_simulator, paid=False),
        )
    ]
    assert {outcome.state for outcome in outcomes} == {"skipped"}
    assert [outcome.reason for outcome in outcomes] == [
        "the invoice belongs to no deal",
        f"the deal {gone} is gone",
        "where: status is 'draft'",
    ]


def a_lead(simulator: Simulator, **values: Any) -> Event:
    """A lead made in CRM, and the event of it."""
    about = {"First_Name": "Ada", "Last_Name": "Alder", "Email": "ada@alder.example", **values}
    return make_event("Leads.create", record_id=simulator.crm.create("Leads", about)["id"])


def test_a_new_lead_is_greeted_and_called_once(zoho: Zoho, zoho_simulator: Simulator) -> None:
    """One note and one task due two days after the lead came, however often and late the handler runs."""
    event = a_lead(zoho_simulator)
    event.occurred = now_ms() - 3_600_000
    for _ in range(2):
        assert run_handler(greet_new_lead, event, zoho, raises=True).state == "done"
    notes = zoho.crm.notes("Leads", event.record_id)
    assert [(note["Note_Title"], note["Note_Content"][:9]) for note in notes] == [(GREETING, "Hello Ada")]
    [task] = zoho_simulator.crm.all("Tasks")
    assert (task["Subject"], task["What_Id"]["id"]) == (FOLLOW_UP, event.record_id)
    assert task["Due_Date"] == (event.occurred_at + timedelta(days=2)).date().isoformat()
    assert task["Owner"]["id"] == zoho_simulator.world.admin.id


def test_a_lead_greeted_by_half_gets_the_other_half(zoho: Zoho, zoho_simulator: Simulator) -> None:
    """A run that died between note and task is made up for, without a second note."""
    event = a_lead(zoho_simulator)
    zoho.crm.note("Leads", event.record_id, GREETING, "Hello")
    assert run_handler(greet_new_lead, event, zoho).writes == ["POST /crm/v8/Tasks"]


def test_old_and_unreachable_leads_are_left_alone(zoho: Zoho, zoho_simulator: Simulator) -> None:
    """A backlog, a lead found by catching up, and one that nobody could reach are not greeted."""
    late = a_lead(zoho_simulator)
    late.occurred = now_ms() - 2 * DAY
    caught = make_event("Leads.create", record_id=late.record_id, origin="catchup")
    mute = a_lead(zoho_simulator, Email=None)
    assert run_handler(greet_new_lead, late, zoho).state == "filtered"
    assert run_handler(greet_new_lead, caught, zoho).state == "filtered"
    outcome = run_handler(greet_new_lead, mute, zoho)
    assert (outcome.state, outcome.reason) == ("skipped", "the lead left neither an address nor a number")
    assert zoho_simulator.crm.all("Tasks") == []


def a_ticket(simulator: Simulator, contact: int = 0, **values: Any) -> Event:
    """A ticket of one of the planted contacts, and the event of it."""
    where = {
        "departmentId": simulator.desk.rows.departments[0]["id"],
        "contactId": simulator.desk.all("contacts")[contact]["id"],
    }
    ticket = simulator.desk.create("tickets", {"subject": "Hinge", **where, **values})
    return make_event("Ticket_Add", record_id=ticket["id"], data=ticket)


def test_a_new_ticket_gets_its_context_once_and_in_private(zoho: Zoho, zoho_simulator: Simulator) -> None:
    """The comment names the sender, the account and its open deals, but no closed ones; a second run adds none."""
    deal = next(d for d in zoho_simulator.crm.all("Deals") if d["Deal_Name"] == "Harbour Lane: bar refit")
    zoho_simulator.crm.update("Deals", deal["id"], {"Stage": "Closed Lost"})
    event = a_ticket(zoho_simulator)
    assert run_handler(add_crm_context, event, zoho, raises=True).state == "done"
    again = run_handler(add_crm_context, event, zoho)
    assert (again.state, again.reason) == ("skipped", "the ticket has its context already")
    [comment] = zoho_simulator.desk.comments(event.record_id)
    assert comment["isPublic"] is False
    assert comment["content"].splitlines() == [
        f"{MARK} Priya Raman, Harbour Lane Hotels",
        "Phone: +44 20 7946 0100",
        "Open deals:",
        "- Harbour Lane: hotel kitchen (Negotiation/Review, 48,200.00)",
    ]


def test_a_sender_without_account_and_deals_has_a_context_too(zoho: Zoho, zoho_simulator: Simulator) -> None:
    """What is not known is said to be unknown."""
    email = "nils@nobody.example"
    zoho_simulator.crm.create("Contacts", {"Last_Name": "Nils", "Email": email})
    zoho_simulator.limits.crm_search_lag = 0
    event = a_ticket(zoho_simulator, email=email)
    assert run_handler(add_crm_context, event, zoho, raises=True).state == "done"
    content = zoho_simulator.desk.comments(event.record_id)[0]["content"]
    assert content.splitlines() == [f"{MARK} Nils, no account", "Phone: unknown", "Open deals:", "- none"]


def test_tickets_of_strangers_and_tickets_that_are_gone_are_skipped(
    zoho: Zoho, zoho_simulator: Simulator
) -> None:
    """Nobody in CRM has the address, there is no address, the ticket is in the bin."""
    stranger = a_ticket(zoho_simulator, email="who@else.example")
    gone = a_ticket(zoho_simulator)
    zoho.desk.trash("tickets", [gone.record_id])
    silent = make_event("Ticket_Add", record={"id": "1", "email": None})
    outcomes = [run_handler(add_crm_context, event, zoho) for event in (stranger, gone, silent)]
    assert [outcome.reason for outcome in outcomes] == [
        "nobody in CRM has the address who@else.example",
        f"the record {gone.record_id} is gone",
        "the ticket came without an e-mail address",
    ]


def test_the_kit_lends_a_ledger_and_an_environment_of_its_own(
    zoho: Zoho, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step is done once over two runs of an event, an event of one's own is accepted, and nothing of a project is seen."""
    done = []

    @on("app.order")
    def bill(event: Event) -> None:
        event.step("mail", done.append, event.data)
        event.emit("app.billed", {"order": event.data})

    event = make_event("app.order", data=7)
    for _ in range(2):
        assert run_handler(bill, event, zoho, raises=True).state == "done"
    assert done == [7]
    assert [name for name in os.environ if name.startswith("ZOHOOK_")] == ["ZOHOOK_SECRET_TEST"]
    assert list(zoho.settings.connections) == ["test"]


def test_a_connection_that_is_revoked_holds_the_job(zoho: Zoho, zoho_simulator: Simulator) -> None:
    """The kit tells what a worker would do: no try is burnt, and the reason is the connection's."""
    for token in list(zoho_simulator.accounts.grants):
        zoho_simulator.accounts.revoke(token)
    outcome = run_handler(add_crm_context, a_ticket(zoho_simulator), zoho)
    assert (outcome.state, outcome.tries) == ("held", 0)

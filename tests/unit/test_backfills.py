"""Which event type a backfill runs a handler with, and how records are asked for; what needs a Redis or a Zoho is in the flow tests."""

from __future__ import annotations

import pytest

from receiver.errors import SettingsError
from receiver.routing.backfill_pages import many_of, module_of
from receiver.routing.backfills import type_for, type_for_query
from receiver.routing.options import Options
from receiver.routing.plugins import Handler


def handler(*patterns):
    """A handler that waits for these."""
    return Handler("deals.bill", print, patterns, Options())


@pytest.mark.parametrize(
    ("patterns", "module", "found"),
    [
        (["crm.Deals.created"], "", "crm.Deals.created"),
        (["crm.deals.Updated", "crm.Deals.created"], "", "crm.Deals.updated"),
        (["crm.Deals.*"], "", "crm.Deals.updated"),
        (["Deals.edit"], "", "crm.Deals.updated"),
        (["Ticket_Add"], "", "desk.Ticket.created"),
        (["books.invoice.paid"], "", "books.invoice.paid"),
        (["crm.Deals.updated", "crm.Leads.created"], "Leads", "crm.Leads.created"),
        (["crm.Deals.updated", "crm.Leads.created"], "crm.leads", "crm.Leads.created"),
        (["crm.*.created"], "Leads", "crm.Leads.updated"),
        (["crm.**"], "crm.Visits", "crm.Visits.updated"),
        (["**"], "crm.Deals", "crm.Deals.updated"),
        (["books.**", "app.remind"], "invoice", "books.invoice.updated"),
        (["crm.Contacts.updated", "bigin.Contacts.updated"], "bigin.Contacts", "bigin.Contacts.updated"),
    ],
)
def test_a_handler_is_run_with_a_type_of_its_own(patterns, module, found):
    """The first that it wants of that module, in the words and the spelling of its product."""
    assert type_for(handler(*patterns), module) == found


@pytest.mark.parametrize(
    ("patterns", "module", "said"),
    [
        (["app.remind"], "", "wants no record"),
        (["crm.Deals.updated", "crm.Leads.updated"], "", "crm.Deals, crm.Leads"),
        (["crm.Deals.updated"], "Leads", "not about Leads"),
        (["crm.Deals.updated"], "books.Deals", "not about books.Deals"),
        (["**"], "Deals", "not about Deals"),
        (["**"], "", "any module"),
        (["crm.Contacts.updated", "bigin.Contacts.updated"], "Contacts", "--module|about"),
    ],
)
def test_what_it_cannot_be_run_with_is_said(patterns, module, said):
    """No module at all, several, or another one: the sentence names those that there are."""
    with pytest.raises(SettingsError, match=said):
        type_for(handler(*patterns), module)


def test_a_query_names_its_module():
    """As it stands in the query, and none but that."""
    query = "SELECT id FROM Deals WHERE Amount > 1"
    assert module_of(query) == "Deals"
    assert type_for_query(query, handler("crm.Deals.created"), "") == "crm.Deals.created"
    for wrong, module in (("select id", ""), (query, "Leads"), ("select id from Leads where id = 1", "")):
        with pytest.raises(SettingsError):
            type_for_query(wrong, handler("crm.Deals.created"), module)


@pytest.mark.parametrize(
    ("one", "many"), [("invoice", "invoices"), ("Ticket", "tickets"), ("company", "companies")]
)
def test_one_and_many(one, many):
    """As the paths of the products have it."""
    assert many_of(one) == many

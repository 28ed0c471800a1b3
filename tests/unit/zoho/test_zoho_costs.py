"""What calls cost at Zoho and which are heavy, by the tables of its limits pages."""

from __future__ import annotations

import pytest

from receiver.settings_tables import CallLimits, ConnectionSettings
from receiver.zoho.ask import Ask
from receiver.zoho.costs import Allowed, allowed, cost, heavy


def records(count):
    return {"data": [{"Last_Name": str(number)} for number in range(count)]}


@pytest.mark.parametrize(
    ("ask", "spent", "is_heavy"),
    [
        (Ask("crm", "GET", "/crm/v8/Leads/1"), 1, False),
        (Ask("crm", "GET", "/crm/v8/Leads", {"fields": "A"}), 1, False),
        (Ask("crm", "GET", "/crm/v8/Leads", {"sort_by": "id"}), 1, True),
        (Ask("crm", "GET", "/crm/v8/Leads", {"cvid": "1"}), 3, True),
        (Ask("crm", "GET", "/crm/v8/Leads/search", {"word": "x"}), 1, True),
        (Ask("crm", "POST", "/crm/v8/Leads", json=records(1)), 1, False),
        (Ask("crm", "POST", "/crm/v8/Leads", json=records(10)), 1, False),
        (Ask("crm", "POST", "/crm/v8/Leads/upsert", json=records(11)), 2, True),
        (Ask("crm", "PUT", "/crm/v8/Leads", json=records(100)), 10, True),
        (Ask("crm", "DELETE", "/crm/v8/Leads", {"ids": ",".join(map(str, range(100)))}), 1, False),
        (Ask("crm", "POST", "/crm/v8/coql", json={"select_query": "select id from Leads"}), 1, True),
        (Ask("crm", "POST", "/crm/v8/coql", json={"select_query": "select id from Leads limit 1000"}), 2, True),
        (Ask("crm", "POST", "/crm/v8/coql", json={"select_query": "select id from Leads LIMIT 0, 2000 "}), 3, True),
        (Ask("crm", "POST", "/crm/v8/Leads/1/actions/convert", json=records(1)), 5, True),
        (Ask("crm", "POST", "/crm/v8/Leads/1/actions/send_mail", json=records(1)), 20, True),
        (Ask("crm", "GET", "/crm/v8/Leads/actions/count"), 50, False),
        (Ask("crm", "POST", "/crm/bulk/v8/read", json={}), 50, False),
        (Ask("crm", "POST", "/crm/bulk/v8/write", json={}), 500, False),
        (Ask("crm", "GET", "/crm/bulk/v8/read/1"), 1, False),
        (Ask("desk", "GET", "/api/v1/tickets/1"), 1, False),
        (Ask("desk", "GET", "/api/v1/tickets", {"limit": "50"}), 3, False),
        (Ask("books", "GET", "/books/v3/invoices"), 1, False),
    ],
)  # fmt: skip
def test_a_call_costs_what_the_table_says(ask, spent, is_heavy):
    """One row for each rule of the pages on limits."""
    assert (cost(ask), heavy(ask)) == (spent, is_heavy)


@pytest.mark.parametrize(
    ("product", "edition", "expected"),
    [
        ("crm", "free", Allowed(3, 3, credits=5_000)),
        ("crm", "standard", Allowed(8, 8, credits=50_000)),
        ("crm", "ultimate", Allowed(23, 8, credits=50_000)),
        ("books", "standard", Allowed(8, per_minute=90)),
        ("projects", "standard", Allowed(4, per_minute=45)),
    ],
)
def test_two_places_are_left_free(product, edition, expected):
    """Zoho's numbers, less what somebody else may need with the same client."""
    assert allowed(product, ConnectionSettings(edition=edition)) == expected


def test_the_settings_win():
    """What is set stands for what every edition has; what is left out stays."""
    settings = ConnectionSettings(
        limits={"books": CallLimits(in_flight=3, credits=2_000), "crm": CallLimits(in_flight=4)}
    )
    assert allowed("books", settings) == Allowed(3, per_minute=90, credits=2_000)
    assert allowed("crm", settings) == Allowed(4, 4, credits=50_000)

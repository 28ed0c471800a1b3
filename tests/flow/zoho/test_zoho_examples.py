"""receiver/zoho/README.md: each client has an example there, and each example does what it says against the simulator."""

from __future__ import annotations

import ast
import inspect
import re
from functools import cached_property
from pathlib import Path

import client_examples
import pytest
from test_zoho_more_clients import CONTRACT, IDS, SCOPES
from zoho_kit import SCOPES as FIRST

from receiver.simulator.workdrive import FOLDER
from receiver.testing import make_event
from receiver.zoho import Zoho
from tests.conftest import MakeSettings  # noqa: F401 - a word of the fixtures

DOC = (Path(__file__).parents[3] / "receiver" / "zoho" / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", DOC, re.DOTALL)
EXAMPLES = [
    name
    for name, found in vars(client_examples).items()
    if inspect.isfunction(found) and found.__module__ == "client_examples" and name != "answer"
]


class Steps:
    """A run's effects, for an event outside of a worker: steps are just done."""

    def step(self, name, act, if_unknown):
        """Do it."""
        return act()


@pytest.fixture
def house(build, simulator):
    """A house whose consent reaches every product, and something in each of them."""
    simulator.limits.crm_search_lag = 0
    made = build(simulator, more=IDS)
    scopes = f"{FIRST},{SCOPES},ZohoCRM.bulk.ALL".split(",")
    made.connect(
        refresh=simulator.accounts.grant(simulator.client, simulator.world.admin, tuple(scopes)).refresh_token
    )
    simulator.mail_api.receive("Offer", "<p>Worktop</p>")
    person = simulator.desk.create("contacts", {"lastName": "Doe", "email": "doe@x.example"})
    department = simulator.desk.rows.departments[0]["id"]
    simulator.desk.create(
        "tickets", {"subject": "Help", "contactId": person["id"], "departmentId": department}
    )
    return made


def test_the_page_shows_each_example_as_it_is_run():
    """Every block is a function of the examples, word for word, and every example is shown."""
    source = inspect.getsource(client_examples)
    shown = {node.name for block in BLOCKS for node in ast.parse(block).body}
    assert all(part.strip() in source for block in BLOCKS for part in block.split("\n\n\n"))
    assert shown == {*EXAMPLES, "answer"}


def test_every_client_is_on_the_page():
    """A client without a section of its own is not documented."""
    clients = {name for name, found in dict(vars(Zoho)).items() if isinstance(found, cached_property)}
    assert clients >= {"crm", "books", "desk", "mail", "sign", "projects", "bigin", "recruit"}
    headings = " ".join(re.findall(r"^#+ .*$", DOC, re.MULTILINE)).lower()
    assert {name for name in clients if name not in headings} == set()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_does_what_it_says(house, name):
    """Run as a handler would be; what it calls succeeds."""
    zoho, simulator = house.zoho, house.simulator
    lead = simulator.crm.create("Leads", {"Last_Name": "Doe", "Company": "Acme", "Email": "a@x.example"})
    if name in {"sign", "workdrive"}:
        made = zoho.sign.create(CONTRACT, b"%PDF-1.4 signed", "contract.pdf")
        zoho.sign.submit(made["request_id"])
        simulator.sign.sign(made["request_id"])
    if name == "projects":
        zoho.projects.create({"name": "Kitchen"})
    event = make_event("crm.Leads.updated", data={"folder": FOLDER}, record_id=lead["id"])
    event.effects = Steps()
    before = len(zoho.calls)
    getattr(client_examples, name)(event, zoho)
    calls = zoho.calls[before:]
    assert calls
    assert all(call["status"] < 400 for call in calls) or name == "errors"

"""Shadow mode: reads are real, writes are recorded on the attempt, and nothing reaches Zoho, as its own journal says."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from receiver import on
from receiver.errors import HandlerError
from receiver.ledger import read, runs
from receiver.routing import plugins
from receiver.routing.process import Process
from tests.flow.conftest import House
from tests.flow.kit import drain


def writes(simulator):
    """The calls that reached Zoho and were no reads: COQL is a POST that reads, and accounts are no product."""
    return [
        (call.method, call.path)
        for call in simulator.journal.calls()
        if call.product != "oauth" and call.method != "GET" and not call.path.endswith("/coql")
    ]


@pytest.fixture
def made(build, simulator, redis):
    """Makes houses with these handlers, whose settings have `more` in them."""
    simulator.limits.crm_search_lag = 0

    def make(*functions, more=""):
        house = build(simulator, more=f"\n[worker]\nlease = 2\ntick = 0.1\nagain = 0.5\n[handlers]\n{more}\n")
        house.connect()
        module = ModuleType("rooms")
        for function in functions:
            function.__module__ = "rooms"
            setattr(module, function.__name__, function)
        process = Process(house.settings, redis, plugins.collect([("rooms", module)]))
        process.catalogue.publish(born=True)
        return House(redis, process)

    yield make
    sys.modules.pop("rooms", None)


def attempt(home, event, handler):
    """The last attempt of an event's job."""
    (row,) = read.jobs(home.redis, [runs.job_id(event.id, f"rooms.{handler}")], attempts=True)
    return row.state, row.attempts[-1]


def test_one_handler_is_in_shadow_and_the_other_writes(made, simulator):
    """By its own option or by the settings: its writes stand on its attempt with what they would send; the other's reach Zoho."""

    def told(name):
        def handler(event, zoho):
            assert zoho.crm.get("Leads", event.record_id)["Last_Name"] == "Doe"
            zoho.crm.update("Leads", event.record_id, {"Phone": name}, trigger=[])

        handler.__name__ = name
        return handler

    shadow = on("crm.Leads.updated", mode="shadow")(told("shadow"))
    outside = on("crm.Leads.updated")(told("outside"))
    live = on("crm.Leads.updated")(told("live"))
    home = made(shadow, outside, live, more='shadow = ["rooms.outside"]')
    lead = simulator.crm.create("Leads", {"Last_Name": "Doe", "Company": "Acme"})
    event = home.accept("crm.Leads.updated", record_id=lead["id"], connection="acme")
    drain(home)
    for name in ("shadow", "outside"):
        state, said = attempt(home, event, name)
        assert state == "done"
        (write,) = [call for call in said["calls"] if call["write"]]
        assert (write["code"], write["status"], write["trigger"]) == ("shadow", 0, "none")
        assert write["json"]["data"] == [{"Phone": name, "id": lead["id"]}]
    assert writes(simulator) == [("PUT", f"/crm/v8/Leads/{lead['id']}")]
    assert simulator.crm.get("Leads", lead["id"])["Phone"] == "live"
    about = {row["id"]: row["options"].get("mode") for row in read.catalogue(home.redis)}
    assert about == {"rooms.shadow": "shadow", "rooms.outside": None, "rooms.live": None}


def test_no_client_sends_a_write_in_shadow(made, simulator, tmp_path):
    """Each way that each client has to change something gets a plausible answer, and Zoho's journal has none of them."""
    lead = simulator.crm.create("Leads", {"Last_Name": "Doe", "Company": "Acme"})["id"]
    file = tmp_path / "offer.txt"
    file.write_text("offer")

    @on("crm.Leads.updated", mode="shadow")
    def everything(event, zoho):
        crm, books, desk = zoho.crm, zoho.books, zoho.desk
        assert crm.create("Leads", {"Last_Name": "X"})["id"]
        assert all(each.ok for each in crm.create("Leads", [{"Last_Name": "X"}] * 150))
        assert crm.upsert("Leads", {"Email": "x@x.example"}, by=["Email"])["id"]
        assert crm.ensure("Leads", {"Email": "x@x.example"}, {"Last_Name": "X"})[1]
        assert crm.update("Leads", lead, {"Phone": "1"})["action"] == "update"
        assert crm.delete("Leads", lead)["id"] == lead
        assert crm.note("Leads", lead, "Title", "Words")["id"]
        assert crm.attachments.upload("Leads", lead, file)["id"]
        assert crm.attachments.link("Leads", lead, "https://acme.example")["id"]
        crm.tags.add("Leads", [lead], "hot")
        crm.convert(lead)
        crm.mass_update("Leads", {"Phone": "1"}, ids=[lead])
        assert books.create("contacts", {"contact_name": "X"})["contact_id"]
        assert books.ensure("invoices", {"cf_none": "1"}, {"customer_id": "5"})[1]
        assert books.update("contacts", "1", {"notes": "x"})["contact_id"] == "1"
        books.delete("contacts", "1")
        books.mark_sent("1")
        assert desk.create("tickets", {"subject": "S"})["id"]
        assert desk.update("tickets", "1", {"subject": "S"})["id"] == "1"
        assert desk.comment("1", "words")["id"]
        desk.trash("tickets", ["1"])
        zoho.request("crm", "POST", "/crm/v8/Leads", json={"data": []})

    home = made(everything)
    event = home.accept("crm.Leads.updated", record_id=lead, connection="acme")
    drain(home)
    state, said = attempt(home, event, "everything")
    assert state == "done", said
    assert writes(simulator) == []
    assert {call["code"] for call in said["calls"] if call["write"]} == {"shadow"}
    assert simulator.crm.get("Leads", lead)


def test_another_mode_is_refused():
    """A word that does not exist is said at start-up."""
    with pytest.raises(HandlerError, match="shadow"):
        on("crm.Leads.updated", mode="dark")

"""CRM's external ids, and the descriptions of its modules, which all processes ask for once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from receiver import keys
from receiver.errors import Conflict, InvalidRequest, NotFound
from receiver.zoho import shelf

KEY = "Shop_Id"


@pytest.fixture
def crm(house):
    """CRM with an external field on leads, and one lead that has a value in it."""
    house.simulator.crm.add_field("Leads", KEY, unique=True, external=True)
    house.simulator.crm.create("Leads", {"Last_Name": "Doe", "Company": "Acme", KEY: "S-1"})
    return house.zoho.crm


def lead(house, value):
    """The lead of that external id as it is in the simulator."""
    (found,) = [each for each in house.simulator.crm.all("Leads") if each.get(KEY) == value]
    return found


def test_a_record_is_read_and_changed_by_an_external_id(house, crm):
    """Get, update of one and of many, only_changed and unmodified_since: by the value of the field, never by CRM's id."""
    assert crm.get("Leads", "S-1", external=KEY)["Last_Name"] == "Doe"
    assert crm.get("Leads", "S-1", ["Company"], external=KEY)["Company"] == "Acme"
    done = crm.update("Leads", "S-1", {"Company": "Beta"}, external=KEY)
    assert (done["id"], lead(house, "S-1")["Company"]) == (lead(house, "S-1")["id"], "Beta")
    assert (
        crm.update("Leads", "S-1", {"Company": "Beta"}, only_changed=True, external=KEY)["action"] == "none"
    )
    with pytest.raises(Conflict):
        crm.update(
            "Leads", "S-1", {"Company": "C"}, unmodified_since="2020-01-01T00:00:00+00:00", external=KEY
        )
    one, missing = crm.update("Leads", [{KEY: "S-1", "Phone": "1"}, {KEY: "S-9", "Phone": "2"}], external=KEY)
    assert (one.ok, missing.ok, type(missing.error)) == (True, False, NotFound)
    assert lead(house, "S-1")["Phone"] == "1"
    for call in (
        lambda: crm.get("Leads", "S-9", external=KEY),
        lambda: crm.update("Leads", "S-9", {"Phone": "1"}, external=KEY),
        lambda: crm.get("Leads", lead(house, "S-1")["id"], external=KEY),
        lambda: crm.delete("Leads", "S-9", external=KEY),
    ):
        with pytest.raises(NotFound):
            call()


def test_upsert_ensure_and_delete_go_by_an_external_id(house, crm):
    """Upsert makes or changes; ensure makes once, needs no COQL and gives what is there; delete takes one or many."""
    assert (
        crm.upsert("Leads", {KEY: "S-1", "Last_Name": "Roe", "Company": "A"}, external=KEY)["action"]
        == "update"
    )
    assert lead(house, "S-1")["Last_Name"] == "Roe"
    values = {"Last_Name": "Poe", "Company": "A"}
    made, new = crm.ensure("Leads", {KEY: "S-2"}, values, external=True)
    again, not_new = crm.ensure("Leads", {KEY: "S-2"}, values, external=True)
    assert (new, not_new, made["id"]) == (True, False, again["id"])
    assert not house.simulator.journal.calls("crm", path="/crm/v8/coql")
    crm.ensure("Leads", {KEY: "S-3"}, values, external=True)
    assert [each.ok for each in crm.delete("Leads", ["S-2", "S-9"], external=KEY)] == [True, False]
    assert crm.delete("Leads", "S-3", external=KEY)["id"]
    assert [each[KEY] for each in house.simulator.crm.all("Leads") if each.get(KEY)] == ["S-1"]


def test_what_is_no_external_id_is_refused(house, crm):
    """A field that is not external or not there is Zoho's error; names that are none, and commas among many, are ours."""
    there = house.simulator.crm.all("Leads")
    for field in ("Email", "Nothing"):
        with pytest.raises(InvalidRequest, match="external field"):
            crm.get("Leads", "S-1", external=field)
    for wrong in (
        lambda: crm.get("Leads", "S-1", external="Shop_Id\r\nX-Other: 1"),
        lambda: crm.delete("Leads", ["S-1", "S,2"], external=KEY),
        lambda: crm.update("Leads", [{"Phone": "1"}], external=KEY),
        lambda: crm.upsert("Leads", {"Last_Name": "Roe"}),
        lambda: house.zoho.bigin.get("Contacts", "S-1", external=KEY),
        lambda: crm.upsert("Leads", {"Last_Name": "Roe"}, by=["Email"], external=KEY),
        lambda: crm.ensure("Leads", {KEY: "S-1", "Email": "a@b.example"}, {}, external=True),
    ):
        with pytest.raises(InvalidRequest):
            wrong()
    assert house.simulator.crm.all("Leads") == there


def asked(house, path="/crm/v8/settings/fields"):
    """How often a description was asked for."""
    return len(house.simulator.journal.calls("crm", path=path))


def test_fields_are_asked_for_once_by_all(house, build, simulator, monkeypatch):
    """Forty threads of two processes: one call. A copy belongs to who has it. Asked anew, the other process hears it."""
    other = build(simulator)
    house.tokens.get("acme")
    simulator.limits.api_delay = 0.05
    ask = [house.zoho.crm, other.zoho.crm] * 20
    with ThreadPoolExecutor(40) as pool:
        found = list(pool.map(lambda crm: crm.fields("Deals"), ask))
    assert asked(house) == 1
    assert all(each == found[0] for each in found)
    found[0].clear()
    assert house.zoho.crm.fields("Deals")
    simulator.crm.add_field("Deals", "Renewal")
    names = lambda crm, **how: {each["api_name"] for each in crm.fields("Deals", **how)}  # noqa: E731
    assert "Renewal" not in names(house.zoho.crm)
    assert "Renewal" in names(house.zoho.crm, fresh=True)
    assert asked(house) == 2
    monkeypatch.setattr(shelf, "RECENT", 0.0)
    other.clients._shelf._mine.clear()
    assert "Renewal" in names(other.zoho.crm)
    assert asked(house) == 2
    assert 500 < house.redis.ttl(keys.described("acme", "crm.Deals.fields")) <= shelf.LIFE
    assert {each["api_name"] for each in house.zoho.crm.modules()} >= {"Leads", "Deals"}


def test_a_description_that_fails_is_asked_for_by_the_next(house, simulator):
    """Nobody waits for one that failed, and a module that is not there is an error each time."""
    for _ in range(2):
        with pytest.raises(InvalidRequest):
            house.zoho.crm.fields("Nothing")
    assert asked(house) == 2
    assert not house.redis.exists(keys.describing("acme", "crm.Nothing.fields"))
    assert [each["email"] for each in house.zoho.crm.users()] == [
        each.email for each in simulator.world.users
    ]

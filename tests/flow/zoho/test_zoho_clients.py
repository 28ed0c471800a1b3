"""The clients of CRM, Books and Desk against the strict simulator: what comes back, and what is raised."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from receiver.errors import (
    DuplicateData,
    InvalidRequest,
    NotFound,
    RateLimited,
    SettingsError,
    Unavailable,
    ZohoError,
)
from receiver.zoho.crm_records import Result


@pytest.fixture
def zoho(house):
    return house.zoho


@pytest.fixture
def crm(zoho):
    return zoho.crm


def lead(number, **more):
    return {"Last_Name": f"L{number}", "Company": "C", "Email": f"l{number}@x.example", **more}


def test_a_record_is_read_whole_or_in_part(crm):
    """get() gives all fields, or those named with the id; what is not there is NotFound."""
    deal = next(crm.list("Deals", fields=["Deal_Name"]))
    assert crm.get("Deals", deal["id"])["Deal_Name"] == deal["Deal_Name"]
    assert "Stage" not in crm.get("Deals", deal["id"], fields=["Deal_Name"])
    with pytest.raises(NotFound):
        crm.get("Deals", "5725767000000999999", fields=["Deal_Name"])
    for missing in ("5725767000000999999", "no id", "../org", "..", ""):
        with pytest.raises((NotFound, InvalidRequest)):
            crm.get("Deals", missing)


def test_pages_go_on_by_token_after_two_thousand(crm, house):
    """Every record comes once: ten pages by number, the rest by page_token."""
    for number in range(2300):
        house.simulator.crm.create("Accounts", {"Account_Name": f"A{number}"})
    before = len(house.zoho.calls)
    found = [row["id"] for row in crm.list("Accounts", fields=["Account_Name"])]
    assert len(found) == len(set(found)) >= 2300
    asked = [call.query for call in house.simulator.journal.calls("crm", path="/Accounts", method="GET")]
    assert [query.get("page") for query in asked[:10]] == [str(page) for page in range(1, 11)]
    assert all("page_token" in query and "page" not in query for query in asked[10:])
    assert len(house.zoho.calls) == before


def test_nothing_found_is_empty(crm):
    """204 is an empty list for search, COQL, notes and an unchanged list."""
    assert crm.search("Leads", word="nobodyhere") == []
    assert crm.coql("select id from Leads where Last_Name = 'nobodyhere'") == []
    deal = next(crm.list("Deals", fields=["Stage"]))
    assert crm.notes("Deals", deal["id"]) == []
    assert (
        list(crm.list("Deals", fields=["Stage"], modified_since=datetime.now(UTC) + timedelta(days=1))) == []
    )


def test_search_wants_one_thing_and_fields_at_most_fifty(crm, house):
    """Calls that Zoho would refuse are refused here, and cost nothing."""
    for bad in (
        lambda: crm.search("Leads"),
        lambda: crm.search("Leads", email="a@b.c", word="x"),
        lambda: next(crm.list("Leads", fields=[])),
        lambda: next(crm.list("Leads", fields=[f"f{n}" for n in range(51)])),
    ):
        with pytest.raises(InvalidRequest):
            bad()
    assert house.simulator.journal.calls("crm") == []


def test_search_finds_by_each_of_its_ways(crm):
    """criteria, email, phone and word each reach the search."""
    person = crm.search("Contacts", email="priya.raman@harbourlanehotels.example")[0]
    assert crm.search("Contacts", "(Last_Name:equals:Raman)")[0]["id"] == person["id"]
    assert crm.search("Contacts", phone="+44 20 7946 0100")[0]["id"] == person["id"]
    assert crm.search("Contacts", word="Priya", limit=1)[0]["id"] == person["id"]


def test_one_record_gives_its_details_or_raises(crm):
    """create, update and delete of one record: details with id and action, or the error itself."""
    made = crm.create("Leads", lead(1))
    assert (made["action"], bool(made["id"])) == ("insert", True)
    assert crm.update("Leads", made["id"], {"Company": "D"})["id"] == made["id"]
    assert crm.get("Leads", made["id"])["Company"] == "D"
    with pytest.raises(InvalidRequest) as told:
        crm.create("Leads", {"Company": "no name"})
    assert told.value.code == "MANDATORY_NOT_FOUND"
    assert told.value.details["api_name"] == "Last_Name"
    assert crm.delete("Leads", made["id"])["id"] == made["id"]
    with pytest.raises((NotFound, InvalidRequest)):
        crm.delete("Leads", made["id"])
    with pytest.raises((NotFound, InvalidRequest)):
        crm.update("Leads", made["id"], {"Company": "E"})


def test_many_records_give_one_result_each(crm):
    """A 207 is told record by record, in the order sent: good ones with ids, bad ones with their own error."""
    told = crm.create("Leads", [lead(1), {"Company": "no name"}, lead(2)])
    assert [result.ok for result in told] == [True, False, True]
    assert isinstance(told[1].error, InvalidRequest)
    assert told[0].id != told[2].id
    changed = crm.update(
        "Leads", [{"id": told[0].id, "Company": "D"}, {"id": "5725767000000999999", "Company": "D"}]
    )
    assert [result.ok for result in changed] == [True, False]
    gone = crm.delete("Leads", [told[0].id, told[2].id])
    assert all(isinstance(result, Result) and result.ok for result in gone)
    with pytest.raises(InvalidRequest, match="needs its id"):
        crm.update("Leads", [{"Company": "D"}])
    assert crm.create("Leads", []) == []


def test_more_than_a_hundred_are_split(crm, house):
    """250 records go in three calls and come back as 250 results; a later call that fails keeps the earlier results."""
    told = crm.create("Leads", [lead(number) for number in range(250)])
    assert len({result.id for result in told}) == 250
    assert len(house.simulator.journal.calls("crm", method="POST")) == 3
    house.simulator.faults.add("slow", product="crm", method="PUT")
    house.simulator.faults.add(
        "body",
        product="crm",
        method="PUT",
        status=429,
        body={"code": "TOO_MANY_REQUESTS", "status": "error"},
        times=20,
    )
    changed = crm.update("Leads", [{"id": result.id, "Company": "D"} for result in told])
    assert [result.ok for result in changed] == [True] * 100 + [False] * 150
    assert isinstance(changed[-1].error, RateLimited)


def test_upsert_says_what_it_did(crm):
    """The first upsert inserts, the second updates the same record."""
    first = crm.upsert("Leads", lead(1), by=["Email"])
    second = crm.upsert("Leads", [lead(1, Company="D"), {"Company": "no name"}], by=["Email"])
    assert (first["action"], second[0].action, second[0].id) == ("insert", "update", first["id"])
    assert not second[1].ok


def test_a_duplicate_names_the_other_record(crm, house):
    """DUPLICATE_DATA carries the id of the record that is there already."""
    body = {
        "data": [
            {
                "code": "DUPLICATE_DATA",
                "details": {"api_name": "Email", "duplicate_record": {"id": "77"}},
                "message": "duplicate data",
                "status": "error",
            }
        ]
    }
    for status in (200, 400, 202):
        house.simulator.faults.add("body", product="crm", method="POST", status=status, body=body)
        with pytest.raises(DuplicateData) as told:
            crm.create("Leads", lead(1))
        assert told.value.existing_id == "77"


def test_an_answer_that_does_not_fit_is_no_result(crm, house):
    """Two entries for one record, or none, raise Unavailable instead of a wrong id."""
    entry = {"code": "SUCCESS", "status": "success", "details": {"id": "1"}}
    for body in ({"data": [entry, entry]}, {"data": []}, {"info": {}}, []):
        house.simulator.faults.add("body", product="crm", method="POST", status=200, body=body)
        with pytest.raises(Unavailable):
            crm.create("Leads", lead(1))


def test_only_changed_makes_no_call_for_nothing(crm, house):
    """A value that is there already is not written again; of several only what differs is sent."""
    deal = next(crm.list("Deals", fields=["Stage", "Amount"]))
    assert crm.update("Deals", deal["id"], {"Stage": deal["Stage"]}, only_changed=True) == {
        "id": deal["id"],
        "action": "none",
    }
    assert house.simulator.journal.calls("crm", method="PUT") == []
    crm.update("Deals", deal["id"], {"Stage": deal["Stage"], "Amount": 7.5}, only_changed=True)
    (call,) = house.simulator.journal.calls("crm", method="PUT")
    assert "Amount" in call.body
    assert "Stage" not in call.body


@pytest.mark.parametrize(
    ("setting", "given", "sent"),
    [
        ("", None, None),
        ("", [], "[]"),
        ("trigger = []", None, "[]"),
        ("trigger = []", ["workflow"], '["workflow"]'),
    ],
)
def test_trigger_goes_by_call_then_connection_then_zoho(house, setting, given, sent):
    """What the call says wins over the connection's setting; without both, nothing is sent and Zoho runs all."""
    acme = house.settings.connections["acme"].model_copy(update={"trigger": ()} if setting else {})
    house.tokens.accounts._settings = house.settings.model_copy(update={"connections": {"acme": acme}})
    zoho = house.zoho
    zoho.crm.create("Leads", lead(1), trigger=given)
    assert zoho.calls[-1]["trigger"] == {"[]": "none", None: "all"}.get(sent, "workflow")
    zoho.crm.user()
    assert "trigger" not in zoho.calls[-1]
    (call,) = house.simulator.journal.calls("crm", method="POST")
    assert ('"trigger":' in call.body) == (sent is not None)
    if sent:
        assert f'"trigger":{sent}' in call.body


def test_ensure_makes_one_and_leaves_it_alone(crm):
    """The first ensure makes the lead, the second gives it back unchanged; a quote in the value is only a value."""
    first, made = crm.ensure(
        "Leads", by={"Email": "o'neil@x.example"}, values={"Last_Name": "A", "Company": "C"}
    )
    again, twice = crm.ensure(
        "Leads", by={"Email": "o'neil@x.example"}, values={"Last_Name": "B", "Company": "C"}
    )
    assert (made, twice) == (True, False)
    assert (again["id"], again["Last_Name"]) == (first["id"], "A")


def test_ensure_at_once_makes_one_record(house):
    """Eight threads that ensure the same lead end with one record, one of them having made it."""
    barrier = threading.Barrier(8)

    def run(_):
        zoho = house.zoho
        barrier.wait()
        return zoho.crm.ensure(
            "Leads", by={"Email": "one@x.example"}, values={"Last_Name": "A", "Company": "C"}
        )

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(run, range(8)))
    assert len({record["id"] for record, _ in got}) == 1
    assert [made for _, made in got].count(True) == 1


def test_notes_related_people_and_fields(crm):
    """A note is read back; user, org and fields answer; a related list is paged like any other."""
    deal = next(crm.list("Deals", fields=["Deal_Name"]))
    crm.note("Deals", deal["id"], "Title", "Body")
    (note,) = crm.notes("Deals", deal["id"])
    assert (note["Note_Title"], note["Note_Content"]) == ("Title", "Body")
    assert [row["id"] for row in crm.related("Deals", deal["id"], "Notes", fields=["Note_Title"])] == [
        note["id"]
    ]
    assert crm.user()["email"] == "mara@brightwater.example"
    assert crm.org()["zgid"]
    assert "Stage" in {field["api_name"] for field in crm.fields("Deals")}


def channel(number, **more):
    end = datetime.now(UTC) + timedelta(days=6)
    return {
        "channel_id": str(number),
        "events": ["Deals.all"],
        "notify_url": "http://127.0.0.1:1/in/crm",
        "channel_expiry": end,
        "token": "t",
        **more,
    }


def test_channels_are_made_renewed_listed_and_ended(crm):
    """The end that Zoho gave is read back; one that lapsed says NOT_SUBSCRIBED on renewal; a bad one does not hide a good one."""
    far = datetime.now(UTC) + timedelta(days=30)
    good, short, bad = crm.channels.watch(
        [channel(1), channel(2, channel_expiry=far), channel(3, events=["Nothing.all"])]
    )
    now = datetime.now(UTC).timestamp() * 1000
    assert good.ok
    assert 5 < (good.expires - now) / 86_400_000 < 6.01
    assert short.ok
    assert (short.expires - now) / 3_600_000 < 1.01
    assert not bad.ok
    assert bad.error
    assert crm.channels.renew([channel(1)])[0].ok
    (gone,) = crm.channels.renew([channel(99)])
    assert gone.error.code == "NOT_SUBSCRIBED"
    assert {row["channel_id"] for row in crm.channels.details()} == {"1", "2"}
    assert [done.ok for done in crm.channels.disable(["1", "2"])] == [True, True]
    assert crm.channels.details() == []


@pytest.fixture
def invoice(zoho, house):
    house.simulator.books.ledgers.add_custom_field("invoices", "cf_crm_deal", unique=True)
    contact, item = next(zoho.books.list("contacts")), next(zoho.books.list("items"))
    return {"customer_id": contact["contact_id"], "line_items": [{"item_id": item["item_id"], "quantity": 1}]}


def test_books_reads_writes_and_deletes(zoho, invoice):
    """create, get, update, mark_sent and delete of an invoice; a missing one is NotFound."""
    made = zoho.books.create("invoices", {**invoice, "reference_number": "R1"})
    assert (
        zoho.books.update("invoices", made["invoice_id"], {"reference_number": "R2"})["reference_number"]
        == "R2"
    )
    zoho.books.mark_sent(made["invoice_id"])
    zoho.books.mark_sent(made["invoice_id"])
    assert zoho.books.get("invoices", made["invoice_id"])["status"] == "sent"
    assert [row["invoice_id"] for row in zoho.books.list("invoices", reference_number="R2")] == [
        made["invoice_id"]
    ]
    zoho.books.delete("invoices", made["invoice_id"])
    with pytest.raises(NotFound):
        zoho.books.get("invoices", made["invoice_id"])
    assert zoho.books.organizations()[0]["organization_id"] == "20061234567"


def test_books_errors_are_read_from_the_code(zoho, invoice):
    """A value that Books refuses, and an organisation that is not ours, are permanent."""
    with pytest.raises(InvalidRequest) as told:
        zoho.books.create("invoices", {**invoice, "customer_id": "1"})
    assert told.value.code == "2"
    with pytest.raises(ZohoError) as told:
        next(zoho.books("de").list("invoices"))
    assert told.value.code == "6041"
    with pytest.raises(SettingsError, match="books"):
        next(zoho.books("fr").list("invoices"))


def test_books_ensure_by_a_unique_field_makes_one_under_eight_threads(house, invoice):
    """Eight threads that ensure the invoice of one deal end with one invoice."""
    barrier = threading.Barrier(8)

    def run(_):
        zoho = house.zoho
        barrier.wait()
        return zoho.books.ensure("invoices", by={"cf_crm_deal": "D1"}, values=invoice)

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(run, range(8)))
    assert len({record["invoice_id"] for record, _ in got}) == 1
    assert [made for _, made in got].count(True) == 1


def test_books_ensure_survives_a_lost_answer(zoho, house, invoice):
    """The answer of the upsert is lost after Books made the invoice: the repeat finds it, and there is one."""
    house.simulator.faults.add("lost", product="books", method="PUT")
    record, _ = zoho.books.ensure("invoices", by={"cf_crm_deal": "D2"}, values=invoice)
    assert record["cf_crm_deal"] == "D2"
    again, made = zoho.books.ensure("invoices", by={"cf_crm_deal": "D2"}, values={**invoice, "notes": "x"})
    assert (again["invoice_id"], made) == (record["invoice_id"], False)
    assert len([row for row in zoho.books.list("invoices") if row.get("cf_crm_deal") == "D2"]) == 1


def test_books_ensure_by_a_plain_field(zoho, invoice):
    """A field of Books' own is looked up and created; a second ensure finds it."""
    first, made = zoho.books.ensure("invoices", by={"reference_number": "P1"}, values=invoice)
    again, twice = zoho.books.ensure("invoices", by={"reference_number": "P1"}, values=invoice)
    assert (made, twice, again["invoice_id"]) == (True, False, first["invoice_id"])
    with pytest.raises(InvalidRequest, match="one field"):
        zoho.books.ensure("invoices", by={}, values=invoice)


def test_books_says_when_a_field_is_not_unique(zoho, house, invoice):
    """A custom field that may repeat is refused by Books' upsert; unique=False makes the invoice by a plain create."""
    house.simulator.books.ledgers.add_custom_field("invoices", "cf_plain")
    with pytest.raises(InvalidRequest):
        zoho.books.ensure("invoices", by={"cf_plain": "1"}, values=invoice)
    record, made = zoho.books.ensure("invoices", by={"cf_plain": "1"}, values=invoice, unique=False)
    assert made
    assert (
        zoho.books.ensure("invoices", by={"cf_plain": "1"}, values=invoice, unique=False)[0]["invoice_id"]
        == record["invoice_id"]
    )


def test_books_pages_to_the_end(zoho, house):
    """More than one page of contacts comes whole."""
    for number in range(230):
        house.simulator.books.ledgers.create("contacts", {"contact_name": f"C{number}"})
    names = [row["contact_name"] for row in zoho.books.list("contacts")]
    assert len(names) == len(set(names)) >= 230


def test_desk_reads_updates_and_comments(zoho):
    """get, update (PATCH), comment and comments of a ticket; contacts; what is missing is NotFound."""
    ticket = next(zoho.desk.list("tickets"))
    assert zoho.desk.get("tickets", ticket["id"])["id"] == ticket["id"]
    assert zoho.desk.update("tickets", ticket["id"], {"priority": "High"})["priority"] == "High"
    said = zoho.desk.comment(ticket["id"], "seen")
    assert said["isPublic"] is False
    assert [comment["content"] for comment in zoho.desk.comments(ticket["id"])] == ["seen"]
    contact = zoho.desk.contact(ticket["contactId"])
    assert contact["id"] in {row["id"] for row in zoho.desk.contacts()}
    with pytest.raises(NotFound):
        zoho.desk.get("tickets", "999")
    assert zoho.desk.organizations()


def test_desk_creates_searches_and_trashes(zoho):
    """A new ticket is found by search and goes to the bin; a refused one says which field."""
    contact = next(zoho.desk.contacts())
    values = {
        "subject": "Tap drips",
        "contactId": contact["id"],
        "departmentId": next(zoho.desk.list("tickets"))["departmentId"],
    }
    made = zoho.desk.create("tickets", values)
    assert made["id"] in {row["id"] for row in zoho.desk.list("tickets")}
    assert list(zoho.desk.search("tickets", subject="nobodyhere")) == []
    with pytest.raises(InvalidRequest) as told:
        zoho.desk.create("tickets", {"subject": "no contact"})
    assert told.value.code
    zoho.desk.trash("tickets", [made["id"]])
    assert made["id"] not in {row["id"] for row in zoho.desk.list("tickets")}


def test_desk_pages_to_the_end(zoho):
    """More than one page of comments comes whole and in order of asking."""
    ticket = next(zoho.desk.list("tickets"))
    for number in range(60):
        zoho.desk.comment(ticket["id"], f"c{number}")
    assert len({comment["id"] for comment in zoho.desk.comments(ticket["id"])}) == 60


def test_desk_webhooks_are_made_where_the_url_answers(zoho, odd):
    """Desk probes the URL: one that answers 200 is made, listed and deleted; one that does not is refused."""
    from zoho_kit import whole

    listening = odd(lambda _, sock: sock.sendall(whole(b"")))
    values = {"name": "zohook", "url": f"{listening.base}/in/desk", "subscriptions": {"Ticket_Add": None}}
    made = zoho.desk.create_webhook(values)
    assert [hook["id"] for hook in zoho.desk.webhooks()] == [made["id"]]
    zoho.desk.delete_webhook(made["id"])
    assert list(zoho.desk.webhooks()) == []
    deaf = odd(lambda _, sock: sock.sendall(whole(b"", "500 No")))
    with pytest.raises(InvalidRequest, match="200"):
        zoho.desk.create_webhook({**values, "url": f"{deaf.base}/in/desk"})


def test_an_organisation_of_the_event_stands_for_the_configured_one(house):
    """for_job(organisation=, product=) sends that product's calls there, and leaves the others."""
    zoho = house.clients.for_job("acme", organisation="1", product="books")
    assert zoho.organisation("books") == "1"
    assert zoho.organisation("desk") == "54983163"
    assert zoho.organisation("books", "de") == "1"
    assert house.clients.for_job().connection == "acme"

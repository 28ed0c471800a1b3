"""The kit for the authors of handlers, as far as it needs no Zoho; with one it is used in flow/test_handlers.py."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import BaseModel

from receiver import RetryLater, Skip, on, resource
from receiver.errors import ConnectionRevoked, HandlerError, InvalidRequest, RateLimited
from receiver.testing import make_event, run_handler

MADE: list[str] = []


@resource
def price(settings):
    """A resource beside the handlers of this module, that is cleaned up."""
    MADE.append("opened")
    yield settings
    MADE.append("closed")


@on("app.*")
def priced(event, price):
    """Asks for the resource."""
    MADE.append(price)


def test_an_event_is_made_as_a_source_makes_it():
    """Zoho's words become types, the id of the record is found, a name alone is a set of names."""
    event = make_event("Deals.edit", record={"id": 7}, changed="Stage")
    assert (event.type, event.source, event.record_id) == ("crm.Deals.updated", "crm", "7")
    assert event.changed == {"Stage"}
    assert event.origin == "live"
    books = make_event("books.invoice.paid", record={"invoice_id": "9"}, origin="poll", source="b2")
    assert (books.record_id, books.origin, books.source) == ("9", "poll", "b2")
    assert make_event("app.hello").changed is None
    assert make_event("Ticket_Add").data == {}
    assert make_event("app.hello", record_id="3", record={"id": "4"}).record_id == "3"


@pytest.mark.parametrize(
    ("error", "state", "tries", "words"),
    [
        (None, "done", 2, ""),
        (Skip("no address"), "skipped", 2, "no address"),
        (RetryLater(60, reason="not yet"), "due", 2, "not yet"),
        (ValueError("odd"), "due", 3, "ValueError: odd"),
        (RateLimited("slow down", retry_after=900), "due", 2, "slow down"),
        (InvalidRequest("bad field"), "dead", 3, "Zoho will not take this"),
        (ConnectionRevoked("consent again", connection="acme"), "held", 2, "consent again"),
    ],
)
def test_an_outcome_is_what_policy_makes_of_the_end(error, state, tries, words):
    """A run that failed twice before ends as a worker would end it; nothing is raised."""

    @on("app.*")
    def handler(event):
        if error:
            raise error

    outcome = run_handler(handler, make_event("app.hello"), tries=2)
    assert (outcome.state, outcome.tries) == (state, tries)
    assert words in outcome.reason
    assert outcome.error is error
    waits = {"not yet": 60, "ValueError: odd": 40, "slow down": 1350}
    assert outcome.wait == pytest.approx(waits.get(words, 0), abs=1)


def test_an_error_comes_through_when_it_is_asked_for():
    """With `raises=True` a failure has its traceback; skipping and waiting are no failures."""

    @on("app.*")
    def handler(event):
        raise event.data

    with pytest.raises(ZeroDivisionError):
        run_handler(handler, make_event("app.x", data=ZeroDivisionError()), raises=True)
    assert run_handler(handler, make_event("app.x", data=Skip("no")), raises=True).state == "skipped"
    assert run_handler(handler, make_event("app.x", data=RetryLater(1)), raises=True).state == "due"


def test_what_would_not_come_to_the_handler_is_filtered():
    """Types and filters are asked as the router asks them; a filter that raises kills the job."""
    seen = []

    @on("crm.Deals.updated", changed="Stage", when={"n": lambda n: 1 / n > 0})
    def handler(event):
        seen.append(event.id)

    stage = {"changed": "Stage"}
    assert "no type of" in run_handler(handler, make_event("Leads.edit")).reason
    for event in (
        make_event("Deals.edit", changed="Amount", data={"n": 1}),
        make_event("Deals.edit", **stage),
    ):
        assert run_handler(handler, event).state == "filtered"
    broken = make_event("Deals.edit", data={"n": 0}, **stage)
    outcome = run_handler(handler, broken)
    assert (outcome.state, type(outcome.error)) == ("dead", ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        run_handler(handler, broken, raises=True)
    assert seen == []
    assert run_handler(handler, make_event("Deals.edit", data={"n": 1}, **stage)).state == "done"
    assert len(seen) == 1


def test_a_record_that_is_given_is_not_read_and_must_suit():
    """`where=` looks at it; the event of the test stays as it was, so that it can be used again."""

    @on("crm.Deals.*", record=True, where={"Stage": "Closed Won"})
    def handler(event):
        event.record["seen"] = event.idempotency_key
        event.record = None

    won = make_event("Deals.edit", record={"id": "7", "Stage": "Closed Won"})
    lost = make_event("Deals.edit", record={"id": "7", "Stage": "Closed Lost"})
    assert run_handler(handler, won).state == "done"
    assert won.record["seen"] == won.job_key("test_kit.handler")
    outcome = run_handler(handler, lost)
    assert (outcome.state, outcome.reason) == ("skipped", "where: Stage is 'Closed Lost'")


def test_resources_are_those_beside_the_handler_or_those_given():
    """One that is made is closed at the end of the run, whatever came of it; one that is given stands in its place."""
    MADE.clear()
    event = make_event("app.hello")
    assert run_handler(priced, event, settings="all of them").state == "done"
    assert MADE == ["opened", "all of them", "closed"]
    assert run_handler(priced, event, price="a gift").state == "done"
    assert MADE[3:] == ["a gift"]


def test_data_goes_through_the_handlers_model():
    """What does not fit the model fails the run, as it would in a worker."""

    class Order(BaseModel):
        total: float

    seen = []

    @on("app.order", model=Order)
    def handler(event):
        seen.append(event.data.total)

    assert run_handler(handler, make_event("app.order", data={"total": "3"})).state == "done"
    assert seen == [3.0]
    assert "ValidationError" in run_handler(handler, make_event("app.order", data={})).reason


def test_a_test_that_is_wrong_in_itself_is_told():
    """A function without @on, a Zoho, settings, resources or a ledger that are missing: each says what to give."""
    event = make_event("crm.Deals.updated", record_id="7")

    def plain(event):
        """No handler."""

    @on("crm.**")
    def calling(event, zoho):
        """Calls Zoho."""

    @on("crm.**", record=True)
    def reading(event):
        """Has its record read."""

    @on("crm.**")
    def lacking(event, pirce):
        """Asks for what there is not."""

    @on("crm.**")
    def stepping(event):
        event.step("mail", list)

    with pytest.raises(TypeError, match="declare it with @on"):
        run_handler(plain, event)
    for handler in (calling, reading):
        with pytest.raises(TypeError, match="give run_handler the fixture zoho"):
            run_handler(handler, event)
    with pytest.raises(TypeError, match=r"price takes settings: give run_handler price="):
        run_handler(priced, make_event("app.hello"))
    with pytest.raises(HandlerError, match="did you mean 'price'"):
        run_handler(lacking, event)
    with pytest.raises(TypeError, match="need a ledger"):
        run_handler(stepping, event, raises=True)


def test_the_plugin_costs_nothing_until_it_is_used():
    """Pytest loads the module in every run of the environment: it brings nothing with it but itself."""
    code = (
        "import pytest, sys\nbefore = set(sys.modules)\nimport receiver.testing\n"
        "print(sorted(set(sys.modules) - before))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "['receiver', 'receiver.testing']"

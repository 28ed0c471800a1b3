"""Reads of many jobs that share calls, against the simulator."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from receiver.errors import NotFound, Unavailable
from receiver.event import now_ms
from receiver.zoho.gather import Gather, Reader


def made(house, count):
    """The ids of so many leads."""
    values = [
        {"Last_Name": f"L{number}", "Company": "C", "Email": f"l{number}@x.example"}
        for number in range(count)
    ]
    return [str(house.simulator.crm.create("Leads", each)["id"]) for each in values]


def reads(house):
    """The calls that read leads."""
    return [call for call in house.simulator.journal.calls("crm", method="GET") if "/Leads" in call.path]


def test_five_hundred_reads_cost_at_most_ten_calls(house):
    """A hundred and fifty threads that read five hundred records: each gets its own, in at most ten calls."""
    house.simulator.limits.api_delay = 0.15
    ids = made(house, 500)
    house.zoho.crm.fields("Leads")
    with ThreadPoolExecutor(150) as pool:
        records = list(pool.map(lambda ident: house.zoho.crm.get("Leads", ident), ids))
    assert [record["id"] for record in records] == ids
    assert [record["Last_Name"] for record in records] == [f"L{number}" for number in range(500)]
    assert len(reads(house)) <= 10


def test_a_record_is_the_same_whichever_way_it_came(house):
    """Read alone and read together, a record has the same fields and values."""
    ids = made(house, 3)
    alone = house.zoho.crm.get("Leads", ids[1])
    together = house.zoho.crm._get_many("Leads", ids, None)[ids[1]]
    assert {name: value for name, value in alone.items() if not name.startswith("$")} == {
        name: value for name, value in together.items() if not name.startswith("$")
    }


def test_a_read_that_comes_alone_is_the_plain_call(house):
    """One job's read is one GET of one record, and no look at fields."""
    (ident,) = made(house, 1)
    house.zoho.crm.get("Leads", ident)
    (call,) = house.simulator.journal.calls("crm")
    assert call.path == f"/crm/v8/Leads/{ident}"


def test_a_missing_record_is_told_to_its_own_job_only(house):
    """Among records that are read together one is not there: NotFound for that one, records for the others."""
    house.simulator.limits.api_delay = 0.1
    ids = [*made(house, 10), "5725767000000999999"]

    def read(ident):
        try:
            return house.zoho.crm.get("Leads", ident)["id"]
        except NotFound:
            return "none"

    with ThreadPoolExecutor(11) as pool:
        assert list(pool.map(read, ids)) == [*ids[:-1], "none"]


def test_a_record_of_a_moment_ago_will_do_where_that_is_said(house):
    """With max_age the second handler of an event reads nothing; it may change what it got, and a later read is fresh."""
    (ident,) = made(house, 1)
    house.zoho.crm.get("Leads", ident, max_age=5)["Company"] = "changed by the handler"
    assert house.zoho.crm.get("Leads", ident, max_age=5)["Company"] == "C"
    assert len(reads(house)) == 1
    house.zoho.crm.get("Leads", ident)
    assert len(reads(house)) == 2


def test_what_was_read_before_an_event_or_a_write_is_too_old(house):
    """The cache is the event's: a job whose event came later reads anew, and so does one that has written since."""
    (ident,) = made(house, 1)
    house.zoho.crm.get("Leads", ident, max_age=60)
    before = house.clients.for_job("acme", since=now_ms() - 50_000)
    assert before.crm.get("Leads", ident, max_age=60)["Company"] == "C"
    assert len(reads(house)) == 1
    time.sleep(0.002)
    later = house.clients.for_job("acme", since=now_ms())
    later.crm.get("Leads", ident, max_age=60)
    assert len(reads(house)) == 2
    later.crm.update("Leads", ident, {"Company": "New"})
    assert later.crm.get("Leads", ident, max_age=60)["Company"] == "New"


def test_each_job_has_a_line_in_its_record_of_calls(house):
    """What was brought along by another job's call is listed as shared."""
    house.simulator.limits.api_delay = 0.1
    ids = made(house, 6)
    jobs = [house.clients.for_job("acme", calls=[]) for _ in ids]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda job, ident: job.crm.get("Leads", ident), jobs, ids))
    codes = Counter(job.calls[-1]["code"] for job in jobs)
    assert codes["shared"] >= 3
    assert all(job.calls for job in jobs)


def _outcome(gather, read, ident):
    try:
        return gather.get("k", ident, read)[0]["id"]
    except (Unavailable, NotFound) as error:
        return type(error).__name__


@pytest.mark.parametrize(("error", "expected"), [(Unavailable("x"), "Unavailable"), (NotFound("x"), "alone")])
def test_an_error_of_a_shared_call(error, expected):
    """An outage is everybody's; after an error that may be one record's fault each asks by itself."""
    gather, first, calls = Gather(), threading.Event(), []

    def one(ident):
        calls.append(ident)
        if ident == "0":
            first.wait(5)
        return {"id": "alone"}

    def many(_):
        raise error

    def late():
        while len(gather._lines["k"].waiting) < 4:
            first.wait(0.01)
        first.set()

    threading.Timer(0.2, late).start()
    ids = ["0", "1", "2", "3", "4"]
    with ThreadPoolExecutor(5) as pool:
        leading = pool.submit(_outcome, gather, Reader(one, many), "0")
        while not calls:
            first.wait(0.01)
        others = [pool.submit(_outcome, gather, Reader(one, many), ident) for ident in ids[1:]]
        assert leading.result() == "alone"
        assert [each.result() for each in others] == [expected] * 4
    assert not gather._lines["k"].asking

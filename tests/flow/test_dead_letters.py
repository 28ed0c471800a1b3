"""Dead letters: what is kept of them, how a filter finds them, and what running them anew would repeat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from receiver import on
from receiver.errors import InvalidRequest
from receiver.ledger import read, runs
from receiver.routing import dead_letters, route, run
from receiver.routing.attempt import Attempt
from receiver.routing.dead_letters import Filter

if TYPE_CHECKING:
    from tests.flow.conftest import House, MakeHouse


@pytest.fixture
def home(house: MakeHouse) -> House:
    """A house with dead letters of two handlers."""

    @on("crm.Deals.*")
    def deals(event):
        raise InvalidRequest("the field Amount is wrong", code="INVALID_DATA")

    @on("crm.Leads.*")
    def leads(event):
        raise InvalidRequest("no such owner", code="NO_OWNER")

    made = house(deals, leads)
    for number in range(6):
        made.accept("crm.Deals.updated", record_id=str(number))
    made.accept("crm.Leads.created", record_id="99")
    made.work()
    return made


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (Filter(), 7),
        (Filter(handler="rooms.deals"), 6),
        (Filter(type="crm.leads.*"), 1),
        (Filter(type="Deals.edit"), 6),
        (Filter(source="crm"), 7),
        (Filter(source="books"), 0),
        (Filter(record="3"), 1),
        (Filter(record="crm.Deals:3"), 1),
        (Filter(error="no_owner"), 1),
        (Filter(error="amount"), 6),
        (Filter(until=1), 0),
        (Filter(since=2**53), 0),
        (Filter(state="skipped"), 0),
    ],
)
def test_a_filter_finds_what_it_says(home, wanted, count) -> None:
    """By handler, type, source, record, error and time."""
    assert len(list(dead_letters.select(home.redis, wanted))) == count


def test_a_filter_asks_for_all_that_it_says(home) -> None:
    """Each part narrows it, and a filter over what is open is refused with the reason."""
    assert (
        len(list(dead_letters.select(home.redis, Filter(handler="rooms.deals", record="3", error="amount"))))
        == 1
    )
    assert not list(dead_letters.select(home.redis, Filter(handler="rooms.deals", record="99")))
    [row] = dead_letters.select(home.redis, Filter(record="99"))
    assert list(dead_letters.select(home.redis, Filter(job=row.id))) == [row]
    assert not list(dead_letters.select(home.redis, Filter(job="nobody:here")))
    with pytest.raises(ValueError, match="dead or skipped"):
        list(dead_letters.select(home.redis, Filter(state="due")))


def test_all_are_found_however_many_pages_they_are(home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of two, and many that died in one millisecond; what is run again meanwhile hides none of the others."""
    all_of_them = [row.id for row in dead_letters.select(home.redis, Filter())]
    monkeypatch.setattr(dead_letters, "AT_ONCE", 2)
    for job in all_of_them[1:5]:
        home.redis.zadd("zh:js:x:dead", {job: 1_000})
    found = [job for job, _ in dead_letters._newest(home.redis, "zh:js:x:dead", Filter())]
    assert len(found) == 7
    assert {job.decode() for job in found} == {*all_of_them}
    walk = dead_letters._newest(home.redis, "zh:js:x:dead", Filter())
    first = [next(walk)[0].decode(), next(walk)[0].decode()]
    assert runs.replay(home.redis, "j", first[0]) == "ok"
    assert {*first, *(job.decode() for job, _ in walk)} == {*all_of_them}
    assert len(list(dead_letters.select(home.redis, Filter(), 3))) == 3


def test_reason_and_traceback_are_kept(home) -> None:
    """A dead letter says what it died of, and where in the handler."""
    [row] = read.jobs(
        home.redis, [dead.id for dead in dead_letters.select(home.redis, Filter(record="99"))], attempts=True
    )
    assert row.reason == "Zoho will not take this: no such owner"
    error = row.attempts[-1]["error"]
    assert (error["type"], error["code"]) == ("InvalidRequest", "NO_OWNER")
    assert 'raise InvalidRequest("no such owner"' in error["traceback"]


def test_an_error_that_came_before_a_death_is_found_too(home) -> None:
    """The last attempt may have none, for its process died; the last error is what counts."""
    [row] = dead_letters.select(home.redis, Filter(record="99"))
    home.redis.rpush(f"zh:a:{row.id}", orjson.dumps({"run": 2, "outcome": "lost"}))
    assert len(list(dead_letters.select(home.redis, Filter(error="no_owner")))) == 1


def test_every_write_is_listed_whatever_was_read_after_it(
    house: MakeHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what a run read the last fifty calls are kept, and all that it wrote before."""

    @on("**", retries=0)
    def handler(event, zoho):
        raise AssertionError("not called")

    def called(self: Attempt) -> None:
        self.calls.append({"method": "POST", "path": "/crm/v8/Invoices", "write": True, "status": 201})
        self.calls.extend(
            {"method": "GET", "path": f"/crm/v8/Deals/{each}", "status": 200} for each in range(60)
        )
        raise ValueError("after the calls")

    monkeypatch.setattr(Attempt, "call", called)
    home = house(handler)
    home.accept()
    home.work()
    [row] = dead_letters.select(home.redis, Filter())
    assert dead_letters.all_repeats(home.redis, [row.id]) == {"POST /crm/v8/Invoices": 1}
    [attempt] = read.jobs(home.redis, [row.id], attempts=True)[0].attempts
    assert len(attempt["calls"]) == 51


def test_of_a_run_whose_process_was_lost_nobody_knows_what_it_did(house: MakeHouse) -> None:
    """And that is said before it is run again."""

    @on("**", retries=0)
    def handler(event):
        raise ValueError("no")

    home = house(handler)
    job = f"{home.accept().id}:rooms.handler"
    [slip] = home.slips(1)
    route.route(home.process, [runs.claim(home.redis, *slip.ids(), "dies", 5)])
    home.redis.zadd("zh:due", {f"j:{job}": 1})
    home.sweeper.once()
    run.work(home.process, "j", job, 2, alone=True)
    assert dead_letters.all_repeats(home.redis, [job]) == {
        "whatever run 1 did before its process was lost": 1
    }


def test_what_a_rerun_repeats_is_listed(house: MakeHouse) -> None:
    """Writes that Zoho took, events and steps, each once; not what it refused, and not what an earlier rerun began anew."""

    @on("crm.**", retries=0)
    def handler(event):
        event.step("mail", lambda: None)
        event.emit("app.told")
        raise ValueError

    home = house(handler)
    event = home.accept()
    home.work()
    job = f"{event.id}:rooms.handler"
    post = {"write": True, "status": 201, "method": "POST", "path": "/crm/v8/Leads"}
    for calls in ([post, {**post, "write": False}], [post, {**post, "status": 500, "path": "/refused"}]):
        home.redis.rpush(f"zh:a:{job}", orjson.dumps({"run": 2, "calls": calls}))
    home.redis.hset(f"zh:s:{job}", "0:began", '{"state": "begun"}')
    [row] = read.jobs(home.redis, [job], attempts=True)
    assert dead_letters.repeats(home.redis, row) == ["emit app.told", "POST /crm/v8/Leads", "step mail"]
    assert dead_letters.all_repeats(home.redis, [job])["step mail"] == 1
    runs.replay(home.redis, "j", job, "rerun")
    [row] = read.jobs(home.redis, [job], attempts=True)
    assert "step mail" not in dead_letters.repeats(home.redis, row)

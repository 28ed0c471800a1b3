"""Accept, route, run, sweep: the way of an event through the real ledger."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from receiver import RetryLater, Skip, keys, on, resource
from receiver.errors import ConnectionRevoked, InvalidRequest
from receiver.event import now_ms
from receiver.ledger import read, runs

if TYPE_CHECKING:
    from tests.flow.conftest import MakeHouse


def test_an_event_is_handled_once_by_each_handler_that_wants_it(house: MakeHouse) -> None:
    """Two handlers want it, a third does not; each that does runs once, with the event as it was accepted."""
    seen = []

    @on("crm.Deals.*")
    def first(event):
        seen.append(("first", event.id, event.data["x"]))

    @on("Deals.edit")
    def second(event):
        seen.append(("second", event.id, event.data["x"]))

    @on("crm.Leads.created")
    def third(event):
        seen.append("third")

    home = house(first, second, third)
    event = home.accept(data={"x": 1})
    home.work()
    assert sorted(seen) == [("first", event.id, 1), ("second", event.id, 1)]
    row = read.event(home.redis, event.id)
    assert row.state == "routed"
    assert row.open == 0
    assert [(job.handler, job.state, len(job.attempts)) for job in row.jobs] == [
        ("rooms.first", "done", 1),
        ("rooms.second", "done", 1),
    ]
    assert read.totals(home.redis)["done"] == 2
    assert read.states(home.redis)["open"] == 0


def test_a_redelivery_of_the_same_facts_runs_nothing_twice(house: MakeHouse) -> None:
    """The mark of the first event turns the second into a duplicate that says what it is the same as."""
    seen = []

    @on("**")
    def handler(event):
        seen.append(event.id)

    home = house(handler)
    first, _ = home.deliver(identity="deal 1 at noon")
    _, answer = home.deliver(identity="deal 1 at noon")
    home.work()
    assert seen == [first.id]
    assert answer.new == ()
    assert answer.duplicates[0][1] == first.id
    row = read.deliveries(home.redis, "duplicate")[0]
    assert row.same == (first.id,)


def test_the_mark_ends_with_its_window(house: MakeHouse) -> None:
    """The same bytes after the window are a new fact, since a rule may truly fire twice."""
    home = house()
    home.deliver(identity="same", window=0.05)
    time.sleep(0.1)
    _, answer = home.deliver(identity="same", window=0.05)
    assert len(answer.new) == 1


def test_an_event_that_nobody_wants_is_unmatched(house: MakeHouse) -> None:
    """It is kept and found by its state."""
    home = house()
    event = home.accept()
    home.work()
    assert read.page(home.redis, by="state", value="unmatched").rows[0].event.id == event.id


def test_what_a_filter_drops_is_counted_and_opens_nothing(house: MakeHouse) -> None:
    """By handler, and silently: the event has no job of it, and is unmatched where nobody else wants it."""

    @on("crm.Deals.updated", changed="Stage")
    def stage(event):
        pass

    @on("crm.Deals.updated", when={"n": lambda n: n > 1})
    def large(event):
        pass

    home = house(stage, large)
    none = home.accept(data={"n": 1}, changed=frozenset({"Amount"}))
    both = home.accept(data={"n": 2}, changed=frozenset({"Stage"}))
    home.accept(data={"n": 2}, changed=frozenset({"Amount"}))
    home.work()
    counted = read.counted(home.redis)
    assert {name: count for name, count in counted.items() if name.startswith("filtered")} == {
        "filtered": 3,
        "filtered:rooms.stage": 2,
        "filtered:rooms.large": 1,
    }
    assert read.event(home.redis, none.id).state == "unmatched"
    assert read.event(home.redis, none.id).jobs == ()
    assert len(read.event(home.redis, both.id).jobs) == 2
    assert read.totals(home.redis)["done"] == 3


def test_a_failure_comes_due_again_and_counts_a_try(house: MakeHouse) -> None:
    """The job waits for its due time, with the traceback in its attempt; then it runs and is done."""
    runs_seen = []

    @on("**")
    def handler(event):
        runs_seen.append(event.tries)
        if len(runs_seen) == 1:
            raise ValueError("not today")

    home = house(handler)
    event = home.accept()
    home.work()
    job = read.event(home.redis, event.id).jobs[0]
    assert (job.state, job.tries) == ("due", 1)
    assert 8_000 < job.due - now_ms() < 12_000
    assert "not today" in job.attempts[0]["error"]["traceback"]
    home.redis.hset(f"zh:j:{job.id}", "due", now_ms())
    home.redis.zadd("zh:due", {f"j:{job.id}": now_ms()})
    time.sleep(0.01)
    home.sweeper.once()
    home.work()
    job = read.event(home.redis, event.id).jobs[0]
    assert (job.state, runs_seen) == ("done", [0, 1])
    assert len(job.attempts) == 2


def test_retry_later_costs_no_try(house: MakeHouse) -> None:
    """A handler that says not yet comes due when it said, with its tries as they were."""

    @on("**")
    def handler(event):
        raise RetryLater(60, reason="the invoice is not there yet")

    home = house(handler)
    event = home.accept()
    home.work()
    job = read.event(home.redis, event.id).jobs[0]
    assert (job.state, job.tries, job.reason) == ("due", 0, "the invoice is not there yet")


def test_skip_ends_the_job_with_its_reason(house: MakeHouse) -> None:
    """A skipped job is finished and says why."""

    @on("**")
    def handler(event):
        raise Skip("no mail address")

    home = house(handler)
    event = home.accept()
    home.work()
    job = read.event(home.redis, event.id).jobs[0]
    assert (job.state, job.reason) == ("skipped", "no mail address")


def test_what_zoho_will_never_take_is_dead_at_once_and_can_be_retried_or_rerun(house: MakeHouse) -> None:
    """A dead job keeps its reason; a retry has the same idempotency key, a rerun a new one."""
    keys_seen = []

    @on("**")
    def handler(event):
        keys_seen.append(event.idempotency_key)
        if len(keys_seen) == 1:
            raise InvalidRequest("bad field", code="INVALID_DATA", status=400)

    home = house(handler)
    event = home.accept()
    home.work()
    job = read.jobs_in(home.redis, "dead")[0]
    assert "Zoho will not take this" in job.reason
    assert runs.replay(home.redis, "j", job.id) == "ok"
    assert runs.replay(home.redis, "j", job.id) == "open"
    home.work()
    assert runs.replay(home.redis, "j", job.id, "rerun") == "ok"
    home.work()
    assert keys_seen[0] == keys_seen[1] != keys_seen[2]
    assert read.event(home.redis, event.id).jobs[0].state == "done"
    assert runs.replay(home.redis, "j", "nobody:knows") == "gone"


def test_a_revoked_connection_holds_the_job_without_burning_a_try(house: MakeHouse) -> None:
    """It waits for what its reason names, and goes on when that ends."""
    usable = []

    @on("**")
    def handler(event):
        if not usable:
            raise ConnectionRevoked("consent again", connection="acme")

    home = house(handler)
    event = home.accept()
    home.work()
    job = read.event(home.redis, event.id).jobs[0]
    assert (job.state, job.tries) == ("held", 0)
    assert read.parked_work(home.redis) == {"connection:acme": 1}
    usable.append(True)
    assert runs.release(home.redis, "connection:acme") == 1
    time.sleep(0.01)
    home.sweeper.once()
    home.work()
    assert read.event(home.redis, event.id).jobs[0].state == "done"
    assert read.parked_work(home.redis) == {}


def test_a_lost_slip_is_made_up_for(house: MakeHouse) -> None:
    """With every RQ key gone the sweep gives a new slip, and the event is handled once."""
    seen = []

    @on("**")
    def handler(event):
        seen.append(event.id)

    home = house(handler)
    event = home.accept()
    for key in home.redis.keys("rq:*"):
        home.redis.delete(key)
    assert home.work() == []
    time.sleep(0.15)
    home.sweeper.once()
    home.work()
    assert seen == [event.id]


def test_a_slip_that_waits_its_turn_is_not_given_twice(house: MakeHouse) -> None:
    """While something as old is still in the queue, the slip is only late, not lost."""

    @on("**")
    def handler(event):
        pass

    home = house(handler)
    for _ in range(5):
        home.accept()
    time.sleep(0.15)
    assert home.sweeper.once()[1] == 0
    assert len(home.slips()) == 5


def test_a_dead_workers_run_is_taken_up_and_fenced(house: MakeHouse) -> None:
    """After its lease the job is due again as a suspect; what the dead run would still say is refused."""

    @on("**")
    def handler(event):
        pass

    home = house(handler, lease=0.1)
    event = home.accept()
    slip = home.slips(1)[0]
    kind, found, number = slip.ids()
    held = runs.claim(home.redis, kind, found, number, "dead-worker", 0.1)
    assert not isinstance(held, str)
    assert runs.claim(home.redis, kind, found, number, "other", 0.1) == "running"
    time.sleep(0.15)
    assert home.sweeper.once()[2] == 1
    assert runs.finish(home.redis, held, runs.Ending("done")) is False
    assert runs.claim(home.redis, kind, found, number + 1, "shared", 0.1) == "suspect"
    again = runs.claim(home.redis, kind, found, number + 1, "alone", 5, alone=True)
    assert not isinstance(again, str)
    assert again.event.id == event.id


def test_three_deaths_alone_quarantine_the_job(house: MakeHouse) -> None:
    """A job that kills its isolated process three times is dead, with the evidence in its attempts."""

    @on("**")
    def handler(event):
        pass

    home = house(handler, lease=0.05)
    event = home.accept()
    kind, found, number = home.slips(1)[0].ids()
    held = runs.claim(home.redis, kind, found, number, "w", 60)
    job = runs.route(
        home.redis, held, [runs.Opening("rooms.handler")], lease=0.01, again=0.1, claim_first=True
    )
    for attempt in range(4):
        time.sleep(0.06)
        home.sweeper.once()
        for slip in home.slips():
            ids = slip.ids()
            runs.claim(home.redis, ids[0], ids[1], ids[2], f"alone{attempt}", 5, alone=True)
            runs.lapse(home.redis, *ids, f"alone{attempt}", "killed by SIGKILL")
    row = read.event(home.redis, event.id).jobs[0]
    assert row.id == job.id
    assert row.state == "dead"
    assert "died 3 times" in row.reason
    assert [each["outcome"] for each in row.attempts] == ["lost"] * 4


@pytest.mark.parametrize("how", ["", "killed by SIGTERM"])
def test_ends_from_outside_quarantine_only_after_many(house: MakeHouse, how: str) -> None:
    """Nobody saw its process end, or it was told to: that is no evidence, but a job that takes its host down each time ends, too."""

    @on("**", isolated=True)
    def handler(event):
        pass

    home = house(handler, lease=0.05)
    event = home.accept()
    kind, found, number = home.slips(1)[0].ids()
    held = runs.claim(home.redis, kind, found, number, "w", 60)
    opening = runs.Opening("rooms.handler", policy='{"isolated":true}')
    runs.route(home.redis, held, [opening], lease=0.01, again=0.1, claim_first=True)
    ended = 0
    while (row := read.event(home.redis, event.id).jobs[0]).state != "dead":
        assert (row.state, row.deaths) == ("due", 0)
        for slip in home.slips():
            ids = slip.ids()
            lease = 5 if how else 0.01
            assert not isinstance(runs.claim(home.redis, *ids, "alone", lease, alone=True), str)
            ended += 1
            if how:
                runs.lapse(home.redis, *ids, "alone", how, blamed=False)
        time.sleep(0.02)
        home.sweeper.once()
        assert ended <= runs.ENDS
    assert ended == len(row.attempts) == runs.ENDS
    assert row.reason == "quarantined: its process died 10 times while running it alone"
    assert row.deaths == 0
    assert runs.replay(home.redis, "j", row.id, "retry") == "ok"
    assert home.redis.hget(keys.job(row.id), "spared") is None


def test_a_time_limit_ends_the_run_and_frees_its_thread(house: MakeHouse) -> None:
    """Past its time limit the run has failed with a try counted, although the handler swallows exceptions."""

    @on("**", timeout=0.2, retries=0)
    def handler(event):
        while True:
            with contextlib.suppress(Exception):
                time.sleep(0.02)

    home = house(handler)
    event = home.accept()
    started = time.monotonic()
    home.work()
    assert time.monotonic() - started < 5
    job = read.event(home.redis, event.id).jobs[0]
    assert job.state == "dead"
    assert "TimeoutError" in job.reason
    assert home.process.leases.stuck == {}


def test_a_filter_that_raises_kills_its_own_job_only(house: MakeHouse) -> None:
    """The handler with the broken filter gets a dead job, the other one runs."""
    seen = []

    @on("**", when={"x": lambda value: 1 / value})
    def broken(event):
        seen.append("broken")

    @on("**")
    def sound(event):
        seen.append("sound")

    home = house(broken, sound)
    event = home.accept(data={"x": 0})
    home.work()
    assert seen == ["sound"]
    states = {job.handler: job.state for job in read.event(home.redis, event.id).jobs}
    assert states == {"rooms.broken": "dead", "rooms.sound": "done"}


def test_a_job_without_its_handler_waits_until_it_is_back(house: MakeHouse) -> None:
    """Parked as no handler while no living catalogue has it; released when one does."""

    @on("**")
    def gone(event):
        pass

    home = house(gone)
    event = home.accept()
    kind, found, number = home.slips(1)[0].ids()
    held = runs.claim(home.redis, kind, found, number, home.process.name, 5)
    runs.route(home.redis, held, [runs.Opening("rooms.removed")], lease=5, again=0.1, claim_first=False)
    home.work()
    job = read.event(home.redis, event.id).jobs[0]
    assert (job.state, job.tries) == ("held", 0)
    assert read.parked_work(home.redis) == {"no_handler:rooms.removed": 1}
    assert home.sweeper.recheck() == 0

    @on("**")
    def removed(event):
        pass

    new = house(gone, removed)
    assert new.sweeper.recheck() == 1
    time.sleep(0.01)
    new.sweeper.once()
    new.work()
    assert read.event(home.redis, event.id).jobs[0].state == "done"


def test_only_the_newest_catalogue_routes(house: MakeHouse) -> None:
    """A worker of yesterday's code puts the event back instead of saying that nobody wants it."""

    @on("**")
    def handler(event):
        pass

    old = house()
    new = house(handler)
    event = old.accept()
    old.work()
    assert read.event(old.redis, event.id).state == "due"
    time.sleep(0.06)
    new.sweeper.once()
    new.work()
    assert read.event(old.redis, event.id).jobs[0].state == "done"


def test_resources_are_made_once_and_closed(house: MakeHouse) -> None:
    """A resource is made when first asked for, shared by all handlers, and closed with the process."""
    made = []

    @resource
    def pool(settings):
        made.append("open")
        yield {"folder": settings.folder}
        made.append("closed")

    @on("**")
    def handler(event, pool):
        made.append(pool["folder"].exists())

    home = house(pool, handler)
    home.accept()
    home.accept()
    home.work()
    home.process.close()
    assert made == ["open", True, True, "closed"]


@pytest.mark.parametrize("cut", range(3))
def test_accept_again_changes_nothing(house: MakeHouse, cut: int) -> None:
    """The same batch twice, as after a lost answer, gives the same answers and one event each."""
    from receiver.event import Delivery, Event, new_id
    from receiver.ledger.accept import Record, accept

    home = house()
    records = []
    for index in range(cut + 1):
        delivery = Delivery.arrive("crm", b"body")
        event = Event(
            id=new_id(),
            type="crm.Deals.created",
            source="crm",
            data=index,
            received=now_ms(),
            identity=f"{index}",
        )
        records.append(Record(delivery, "accepted", events=[event], window=60))
    first = accept(home.redis, records)
    again = accept(home.redis, records)
    assert first == again
    assert read.totals(home.redis)["accepted"] == cut + 1
    assert len(home.slips()) == cut + 1

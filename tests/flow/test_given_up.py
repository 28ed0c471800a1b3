"""Turns, places, starts and slots that nobody uses go to somebody else, and what is newest stays so whatever was late."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from receiver import keys, on
from receiver.errors import RetryLater
from receiver.ledger import read, runs
from receiver.routing import policy, route, run
from tests.flow.kit import drain

if TYPE_CHECKING:
    from receiver.event import Event
    from receiver.ledger.runs import Claim
    from tests.flow.conftest import House, MakeHouse


def worked_until(home: House, count: int, seen: list[object], seconds: float = 10) -> None:
    """Work until so many were seen, and a little longer, for none may follow that must not. The minute's safety net does not help."""
    limit = time.monotonic() + seconds
    while len(seen) < count and time.monotonic() < limit:
        worked(home)
    worked(home)


def worked(home: House) -> None:
    """Work once, and sweep."""
    home.sweeper._rechecked = time.monotonic()
    home.work()
    home.sweeper.once()
    time.sleep(0.01)


def paused(home: House, what: str) -> None:
    """Pause it, and let the process hear of it."""
    runs.pause(home.redis, what)
    home.process.forget_pauses()


def resumed(home: House, what: str) -> None:
    """End the pause."""
    runs.resume(home.redis, what)
    home.process.forget_pauses()


def begun(home: House, event: Event) -> Claim:
    """Route an event and begin its job."""
    held = runs.claim(home.redis, "e", event.id, 1, "w", 30)
    assert not isinstance(held, str)
    [lead] = route.route(home.process, [held])
    return lead


def test_a_paused_source_does_not_stop_the_orders_of_others(house: MakeHouse) -> None:
    """What it holds may not come for days; its own events keep their order when it goes on, however many pages they are."""
    seen = []

    @on("**", order=lambda event: event.data["k"])
    def handler(event):
        seen.append((event.source, event.data["n"]))

    home = house(handler)
    paused(home, "source:crm")
    for number in range(510):
        home.accept(data={"k": 1, "n": number}, source="crm")
    home.work()
    assert read.states(home.redis)["held"] == 0, "they are not routed yet"
    home.accept("desk.Ticket.updated", {"k": 1, "n": 0}, source="desk")
    worked_until(home, 1, seen)
    assert seen == [("desk", 0)]
    resumed(home, "source:crm")
    drain(home)
    assert seen[1:] == [("crm", number) for number in range(510)]


def test_what_a_pause_holds_waits_while_it_comes_back(house: MakeHouse) -> None:
    """A pause that has ended gives back its events page by page: a later one of the source does not overtake those of the next page."""
    seen = []

    @on("**", order=lambda event: event.data["k"])
    def handler(event):
        seen.append(event.data["n"])

    home = house(handler)
    paused(home, "source:crm")
    for number in range(3):
        home.accept(data={"k": 1, "n": number})
    home.work()
    home.redis.srem(keys.paused(), "source:crm")  # as if who resumes it had died before it released anything
    home.process.forget_pauses()
    home.accept(data={"k": 1, "n": 3})
    for _ in range(5):
        home.work()
    assert seen == []
    runs.release(home.redis, "paused:source:crm")
    drain(home)
    assert seen == [0, 1, 2, 3]


def test_what_is_superseded_gives_its_time_under_a_rate_to_the_newer_one(house: MakeHouse) -> None:
    """Of twelve in a moment the last runs when the second would have, and not eleven seconds later."""
    seen = []

    @on("**", latest="record", rate="1/1s")
    def handler(event):
        seen.append(event.data["n"])

    home = house(handler)
    for number in range(12):
        last = home.accept(data={"n": number}, record_id="1")
        home.work()
    due = int(home.redis.hget(keys.job(f"{last.id}:rooms.handler"), "due"))
    assert due - last.received < 2_000
    worked_until(home, 2, seen)
    assert seen == [0, 11]


def test_a_run_that_never_began_used_no_start_of_a_rate(house: MakeHouse) -> None:
    """It was taken while its handler was paused, and need not wait for an hour after that."""
    seen = []

    @on("**", rate="1/1h")
    def handler(event):
        seen.append(event.data["n"])

    home = house(handler)
    paused(home, "handler:rooms.handler")
    home.accept(data={"n": 1})
    home.work()
    assert read.states(home.redis)["held"] == 1
    resumed(home, "handler:rooms.handler")
    worked_until(home, 1, seen)
    assert seen == [1]
    home.accept(data={"n": 2})
    home.work()
    assert seen == [1], "the start that it used counts"


@pytest.mark.parametrize("more", [{"rate_per_key": "1/1h"}, {"order": "record", "on_failure": "yield"}])
def test_a_free_place_goes_to_who_can_take_it(house: MakeHouse, more: dict[str, str]) -> None:
    """The one that was to have it must wait for something else."""
    seen = []

    @on("**", concurrency=1, key="record", **more)
    def handler(event):
        seen.append(event.record_id)
        if event.record_id == "A" and "order" in more and seen.count("A") == 1:
            raise RetryLater(3600)

    home = house(handler)
    lead = begun(home, home.accept(record_id="L"))
    for record in "AAB":
        home.accept(record_id=record)
    home.work()
    run.run_job(home.process, lead)
    worked_until(home, 3, seen)
    assert seen[:3] == ["L", "A", "B"] if "rate_per_key" in more else seen == ["L", "A", "A", "B"]


def test_a_place_that_was_meant_for_what_is_superseded_goes_to_the_next(house: MakeHouse) -> None:
    """It had its slip, and a newer event of its key came before it could begin."""
    seen = []

    @on("**", concurrency=1, debounce=30, debounce_for=31, key="record")
    def handler(event):
        seen.append(event.record_id)

    home = house(handler)
    jobs = {record: f"{home.accept(record_id=record).id}:rooms.handler" for record in "LAB"}
    home.work()
    for job in jobs.values():  # as if the thirty seconds had passed
        home.redis.hset(keys.job(job), "due", 1)
    lead = runs.claim(home.redis, "j", jobs["L"], 1, "w", 30)
    assert [runs.claim(home.redis, "j", jobs[record], 1, "w", 30) for record in "AB"] == ["limit", "limit"]
    home.accept(record_id="A")  # it is routed before the slip that A is given now
    run.run_job(home.process, lead)
    worked_until(home, 2, seen)
    assert seen == ["L", "B"]


def test_a_batch_takes_nothing_along_that_was_overtaken(house: MakeHouse) -> None:
    """A retry that waits in the batch of another record is superseded there, as it would be alone."""
    calls = []

    @on("**", latest="record", batch=10, batch_for=0)
    def handler(events):
        calls.append(sorted((event.record_id, event.data["n"]) for event in events))
        if len(calls) == 1:
            home.accept(data={"n": 2}, record_id="1")
            home.work()
            raise RetryLater(0.3)

    home = house(handler)
    home.accept(data={"n": 1}, record_id="1")
    home.work()
    time.sleep(0.4)
    home.accept(data={"n": 3}, record_id="2")
    drain(home)
    assert calls == [[("1", 1)], [("1", 2)], [("2", 3)]]


def test_an_event_that_is_routed_late_does_not_come_after_a_newer_one(house: MakeHouse) -> None:
    """Who was to route it died; meanwhile the newer one was routed, and is done."""
    seen = []

    @on("**", latest="record")
    def handler(event):
        seen.append(event.data["n"])

    home = house(handler)
    home.accept(data={"n": 1}, record_id="1")
    [slip] = home.slips(1)
    kind, found, _ = slip.ids()
    runs.claim(home.redis, *slip.ids(), "dies", 0.05)
    home.accept(data={"n": 2}, record_id="1")
    home.work()
    assert seen == [2]
    time.sleep(0.1)
    home.sweeper.once()
    run.work(home.process, kind, found, 2, alone=True)
    drain(home)
    assert seen == [2]
    assert read.event(home.redis, found).jobs[0].state == "skipped"


def test_after_a_pause_the_newest_event_of_a_record_is_the_last_that_runs(house: MakeHouse) -> None:
    """Whatever order a pause gives them back in; and nothing is left of the key for long."""
    seen = []

    @on("**", latest="record")
    def handler(event):
        seen.append(event.data["n"])

    home = house(handler)
    paused(home, "source:crm")
    for number in range(510):
        home.accept(data={"n": number}, record_id="1")
    home.work()
    resumed(home, "source:crm")
    drain(home)
    assert seen == sorted(seen)
    assert seen[-1] == 509
    home.accept(data={"n": 510}, record_id="1")
    drain(home)
    assert seen[-1] == 510
    assert list(home.redis.scan_iter("zh:l:*:opened")) == []


def test_a_dead_job_holds_its_key_also_where_it_had_yielded(
    house: MakeHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it was tried again others went before it; now a person must look first."""
    monkeypatch.setattr(policy, "FIRST", 0.02)
    seen = []

    @on("**", order="record", on_failure="yield", on_dead="hold", retries=1)
    def handler(event):
        seen.append(event.data["n"])
        if event.data["n"] == 1 and len(seen) < 3:
            raise ValueError("no")

    home = house(handler)
    first = home.accept(data={"n": 1}, record_id="1")
    worked_until(home, 2, seen)
    assert read.states(home.redis)["dead"] == 1
    home.accept(data={"n": 2}, record_id="1")
    for _ in range(5):
        worked(home)
    assert seen == [1, 1]
    assert runs.replay(home.redis, "j", f"{first.id}:rooms.handler") == "ok"
    drain(home)
    assert seen == [1, 1, 1, 2]


def test_a_flood_on_another_source_does_not_hold_up_an_order_of_named_sources(house: MakeHouse) -> None:
    """Any event that the handler wants may bear a key of one's own: with `source=` these are few."""
    seen = []

    @on("**", source="books", order=lambda event: event.data["k"])
    def handler(event):
        seen.append(event.data["n"])

    home = house(handler)
    home.accept(data={"k": 1, "n": 0}, source="crm")
    first, second = (
        home.accept("books.invoice.paid", {"k": 1, "n": number}, source="books") for number in (1, 2)
    )
    held = runs.claim(home.redis, "e", second.id, 1, "w", 30)
    assert route.route(home.process, [held]) == [], "one of its own source is before it"
    run.run_job(home.process, begun(home, first))
    assert seen == [1]
    limit = time.monotonic() + 10
    while len(seen) < 2 and time.monotonic() < limit:
        home.sweeper.once()
        for slip in home.slips():
            if slip.ids()[0] == "j":
                run.work(home.process, *slip.ids())
    assert seen == [1, 2]
    assert read.states(home.redis)["due"] == 0
    assert home.redis.zcard(keys.unrouted_of("crm")) == 1
    drain(home)
    assert list(home.redis.scan_iter("zh:unrouted*")) == []

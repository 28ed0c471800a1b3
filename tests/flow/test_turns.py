"""Turns of a worker: many runs in one round trip, and what becomes of them when an answer is lost or one of them is bad."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from redis.exceptions import RedisError
from rq.suspension import resume, suspend

from receiver import on
from receiver.ledger import read, runs, turns
from receiver.ledger.turns import Turn
from receiver.routing.hands import Hands
from receiver.routing.taker import Taker
from tests.flow.conftest import QUEUES

if TYPE_CHECKING:
    from tests.flow.conftest import House, MakeHouse


@on("**")
def handler(event) -> None:
    """Does nothing."""


def taker(home: House) -> Taker:
    """A worker's taker on that house, with its threads begun."""
    made = Taker(home.process, home.redis, QUEUES, threading.Event())
    made.hands.start()
    return made


def work_off(one: Taker) -> None:
    """Turns until nothing is under way."""
    limit = time.monotonic() + 30
    while one.turn(one.hands.idle()) or one.under_way:
        assert time.monotonic() < limit, one.under_way
    one.hands.close()


def take(home: House, want: int = 100) -> list[runs.Claim]:
    """The claims of one turn."""
    said = Turn(want=want)
    words = turns.ask(home.redis, "w", QUEUES, said, lease=5, again=1, claim_first=True)()
    told = turns.understood(said, words)
    return [each.claim for each in told.taken]


def test_many_events_are_worked_off_in_a_few_turns(house: MakeHouse) -> None:
    """All are done, each once, and neither RQ nor the ledger has anything left under way."""
    home = house(handler, threads=8)
    for _ in range(50):
        home.accept()
    one = taker(home)
    work_off(one)
    assert read.totals(home.redis)["done"] == 50
    assert read.totals(home.redis)["lost"] == 0
    assert read.states(home.redis) == dict.fromkeys(
        ("due", "running", "held", "skipped", "dead", "open", "dead_events"), 0
    ) | {"events": 50}
    assert [key for key in home.redis.keys("rq:*") if key != b"rq:queues"] == []


def test_what_a_lost_turn_took_is_adopted_by_the_next(house: MakeHouse) -> None:
    """The connection broke before the answer came: the slips and claims are the worker's all the same, and nobody counts a death."""
    home = house(handler, threads=8, lease=60)
    home.accept()
    home.accept()
    said = Turn(want=1)
    words = turns.ask(home.redis, home.process.name, QUEUES, said, lease=60, again=1, claim_first=True)()
    assert len(turns.understood(said, words).taken) == 1
    one = taker(home)
    work_off(one)
    assert read.totals(home.redis)["done"] == 2
    assert read.totals(home.redis)["lost"] == 0


def test_endings_and_routes_say_the_same_when_they_are_asked_again(house: MakeHouse) -> None:
    """A batch whose answer was lost is sent again, and gives the same jobs and the same word."""
    home = house(handler)
    home.accept()
    home.accept()
    routes = [(claim, [runs.Opening("rooms.handler")]) for claim in take(home)]
    first = runs.route_many(home.redis, routes, lease=5, again=1, claim_first=True)
    again = runs.route_many(home.redis, routes, lease=5, again=1, claim_first=True)
    assert [job.id for job in first] == [job.id for job in again]
    endings = [(job, runs.Ending("done")) for job in first]
    assert runs.finish_many(home.redis, endings) == [True, True]
    assert runs.finish_many(home.redis, endings) == [True, True]
    assert runs.finish(home.redis, first[0], runs.Ending("dead")) is False
    assert read.totals(home.redis)["done"] == 2


def test_one_bad_run_does_not_take_the_others_with_it(house: MakeHouse) -> None:
    """What cannot be ended says so alone; its batch is ended."""
    home = house(handler)
    for _ in range(3):
        home.accept()
    routes = [(claim, [runs.Opening("rooms.handler")]) for claim in take(home)]
    jobs = runs.route_many(home.redis, routes, lease=5, again=1, claim_first=True)
    home.redis.set(f"zh:j:{jobs[1].id}", "no hash")
    assert runs.finish_many(home.redis, [(job, runs.Ending("done")) for job in jobs]) == [True, False, True]
    assert read.totals(home.redis)["done"] == 2
    assert read.states(home.redis)["running"] == 1


def test_a_claim_in_a_turn_answers_for_itself(house: MakeHouse) -> None:
    """Of two slips for one run the first gets it, and the second hears that it runs."""
    home = house(handler)
    event = home.accept()
    (slip,) = home.slips(1)
    home.redis.hset("rq:job:twin", mapping={"data": slip.data})
    home.redis.rpush("rq:queue:zohook", slip.id, "twin")
    first, second = take(home)
    assert first.event.id == event.id
    assert second == "running"


def test_rq_suspend_is_obeyed_by_the_very_next_turn(house: MakeHouse) -> None:
    """Nothing is taken while `rq suspend` is in force; what ended is written all the same."""
    home = house(handler)
    home.accept()
    one = taker(home)
    suspend(home.redis)
    assert one.turn(4) is False
    assert one.suspended
    assert read.queues(home.redis)["zohook"] == 1
    resume(home.redis)
    work_off(one)
    assert read.totals(home.redis)["done"] == 1


def test_a_job_that_waits_keeps_none_behind_it_waiting() -> None:
    """As many begin at once as there are threads, though one thread is woken for the batch."""
    together = threading.Barrier(4, timeout=30)
    hands: Hands[int] = Hands(4, lambda _: together.wait())
    hands.start()
    hands.give(range(4))
    limit = time.monotonic() + 20
    while hands.busy() and time.monotonic() < limit:
        time.sleep(0.01)
    assert hands.idle() == 4
    assert not together.broken
    hands.close()


def test_threads_end_when_they_are_closed_after_all_is_done() -> None:
    """What was given is done first."""
    done: list[int] = []
    hands = Hands(3, done.append)
    hands.start()
    hands.give(range(100))
    hands.close()
    limit = time.monotonic() + 20
    while any(thread.is_alive() for thread in hands._threads) and time.monotonic() < limit:
        time.sleep(0.01)
    assert sorted(done) == list(range(100))
    assert not any(thread.is_alive() for thread in hands._threads)


def test_what_was_taken_ahead_of_a_job_that_sticks_is_soon_due_for_others(house: MakeHouse) -> None:
    """Short jobs let a worker take more than it has threads; when these stick, another one does what has not begun, in no new try."""
    free, seen = threading.Event(), []

    @on("crm.**")
    def sticks(event) -> None:
        if event.data.get("sticks"):
            free.wait(20)
        else:
            seen.append(event.tries)

    home = house(sticks, threads=2, lease=3, tick=0.1)
    one = taker(home)
    for _ in range(150):
        home.accept()
    limit = time.monotonic() + 20
    while len(seen) < 150:
        one.turn(one.hands.room())
        assert time.monotonic() < limit
    for number in range(8):
        home.accept(data={"sticks": number < 2})
    while read.totals(home.redis)["done"] < 156:
        one.turn(one.hands.room())
        assert time.monotonic() < limit
        home.sweeper.once()
        home.work() if not one.hands.room() else None
    assert len(seen) == 156
    assert set(seen) == {0}
    free.set()
    work_off(one)
    assert read.totals(home.redis)["done"] == 158
    assert read.totals(home.redis)["lost"] == 0


def test_connections_that_are_cut_all_the_time_cost_no_run_and_run_nothing_twice(house: MakeHouse) -> None:
    """Turns under way and answers not heard yet are lost again and again: what was said is said again, what was taken is found."""
    seen: list[str] = []

    @on("crm.**")
    def notes(event) -> None:
        seen.append(event.id)

    home = house(notes, threads=8, lease=60)
    wanted = [home.accept().id for _ in range(600)]
    over, cuts = threading.Event(), []

    def cut() -> None:
        while not over.wait(0.004):
            with suppress(RedisError):
                cuts.append(home.redis.client_kill_filter(_type="normal", skipme=True))

    cutting = threading.Thread(target=cut)
    one = taker(home)
    limit = time.monotonic() + 30
    cutting.start()
    while len(seen) < 600:
        assert time.monotonic() < limit
        with suppress(RedisError):
            more = one.turn(one.hands.room())
            if not more:
                home.sweeper.once()
    over.set()
    cutting.join()
    work_off(one)
    assert sum(cuts)
    assert sorted(seen) == sorted(wanted)
    assert read.totals(home.redis)["lost"] == 0
    assert [key for key in home.redis.keys("rq:*") if key != b"rq:queues"] == []

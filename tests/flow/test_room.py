"""A flood on one source: so many of its slips wait in a queue and no more, and nobody else waits behind it."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rq import SimpleWorker

from receiver import keys, on
from receiver.event import Delivery, Event, new_id, now_ms
from receiver.ledger import read, runs
from receiver.ledger.accept import QUEUE, REPLAY, Record, accept
from receiver.routing import process as processes
from receiver.routing import replays, run, slips
from receiver.routing.dead_letters import Filter
from receiver.routing.taker import Taker
from tests.flow.conftest import QUEUES
from tests.flow.kit import drain

if TYPE_CHECKING:
    from redis import Redis

    from tests.flow.conftest import House, MakeHouse

MOST = 20


@on("**")
def handler(event):
    """Does nothing."""


def flood(redis: Redis, count: int, source: str = "crm", *, most: int = MOST, again: float = 30) -> list[str]:
    """Events of one source, in one batch; their ids."""
    delivery = Delivery.arrive(source, b"{}")
    events = [
        Event(
            id=new_id(),
            type="crm.Deals.updated",
            source=source,
            data={},
            received=now_ms(),
            delivery=delivery.id,
        )
        for _ in range(count)
    ]
    accept(redis, [Record(delivery, "accepted", events=events)], slips=most, again=again)
    return [event.id for event in events]


def counted(redis: Redis, queue: str = QUEUE) -> dict[str, int]:
    """How many slips the ledger thinks there are, by source."""
    found = redis.hgetall(keys.slips(queue))
    return {name.decode(): int(count) for name, count in found.items() if int(count)}


def taker(home: House) -> Taker:
    """A worker's taker on that house, with its threads begun."""
    made = Taker(home.process, home.redis, QUEUES, threading.Event())
    made.hands.start()
    return made


def work_off(home: House, one: Taker, seconds: float = 30) -> None:
    """Turns, without a sweep, until nothing is to be had."""
    limit = time.monotonic() + seconds
    while one.turn(one.hands.idle()) or one.under_way:
        assert time.monotonic() < limit, read.states(home.redis)


def test_past_the_bound_events_wait_in_the_ledger_without_a_slip(house: MakeHouse) -> None:
    """They are due and open all the same, others of another source have room, and a batch that comes again changes nothing."""
    home = house(handler)
    flood(home.redis, MOST + 30)
    flood(home.redis, 5, "books")
    assert home.redis.llen(keys.rq_queue(QUEUE)) == MOST + 5
    assert counted(home.redis) == {"crm": MOST, "books": 5}
    assert read.waiting(home.redis) == {("crm", QUEUE): 30}
    assert read.states(home.redis)["open"] == MOST + 30 + 5
    assert home.redis.zcard(keys.unrouted()) == MOST + 30 + 5


def test_an_event_of_another_source_is_handled_before_a_flood_is_over(house: MakeHouse) -> None:
    """5,000 on one source, then one on another: hardly more than the bound is handled before it, and in the end everything is."""
    order = []

    @on("**")
    def noted(event):
        order.append(event.source)

    home = house(noted, threads=8, slips=MOST, lease=60, again=30)
    for _ in range(10):
        flood(home.redis, 500)
    flood(home.redis, 1, "books")
    one = taker(home)
    limit = time.monotonic() + 30
    while "books" not in order:
        one.turn(one.hands.idle())
        assert time.monotonic() < limit
    assert order.index("books") <= MOST + 2 * 8
    work_off(home, one, 60)
    one.hands.close()
    assert read.totals(home.redis)["done"] == 5_001
    assert read.states(home.redis)["open"] == 0
    assert counted(home.redis) == {}
    assert not home.redis.exists(keys.waits())


def test_whoever_takes_slips_makes_room(house: MakeHouse) -> None:
    """A worker needs no sweep to go on through a backlog: its own turns give the next slips, and never more than fit."""
    home = house(handler, threads=4, slips=MOST, lease=60, again=30)
    flood(home.redis, 200)
    one = taker(home)
    longest = 0
    while one.turn(one.hands.idle()) or one.under_way:
        longest = max(longest, home.redis.llen(keys.rq_queue(QUEUE)))
    one.hands.close()
    assert longest == MOST
    assert read.totals(home.redis)["done"] == 200


def test_second_jobs_and_their_queue_are_bounded_too(house: MakeHouse) -> None:
    """A queue that nobody serves fills up to the bound, and holds up no event of its source in the other."""

    @on("**", queue="slow")
    def slow(event):
        """Does nothing."""

    home = house(handler, slow, threads=4, slips=MOST, lease=60, again=30)
    flood(home.redis, 100)
    one = Taker(home.process, home.redis, [QUEUE], threading.Event())
    one.hands.start()
    work_off(home, one)
    assert home.redis.zcard(keys.unrouted()) == 0
    assert home.redis.llen(keys.rq_queue("zohook_slow")) <= MOST
    waiting = home.redis.llen(keys.rq_queue("zohook_slow")) + sum(read.waiting(home.redis).values())
    assert waiting == read.states(home.redis)["due"]
    one.queues = ["zohook_slow"]
    work_off(home, one)
    one.hands.close()
    assert read.totals(home.redis)["done"] == 200


@pytest.mark.parametrize("gone", ["list", "everything", "hashes", "counts", "drifted"])
def test_the_count_heals_whatever_becomes_of_rqs_keys(house: MakeHouse, gone: str) -> None:
    """The next sweep sees that list and count differ, counts anew and goes on; what was lost gets new slips."""
    home = house(handler, slips=MOST, again=0.2)
    flood(home.redis, 100, again=0.2)
    home.work()
    flood(home.redis, 60, again=0.2)
    if gone == "list":
        home.redis.delete(keys.rq_queue(QUEUE))
    elif gone == "everything":
        home.redis.delete(*home.redis.keys("rq:*"))
    elif gone == "hashes":
        home.redis.delete(*home.redis.keys("rq:job:*"))
    elif gone == "counts":
        home.redis.delete(keys.slips(QUEUE))
    else:
        home.redis.hset(keys.slips(QUEUE), "crm", 10**6)
    home.sweeper.once()
    assert sum(counted(home.redis).values()) == home.redis.llen(keys.rq_queue(QUEUE)) >= MOST
    drain(home)
    assert read.totals(home.redis)["done"] == 160
    home.sweeper.once()
    assert counted(home.redis) == {}


def test_jobs_that_come_due_together_are_bounded_by_the_sweep(house: MakeHouse) -> None:
    """A hundred that were on hold and are released at once: as many slips as fit, the others as those are taken."""
    home = house(handler, slips=MOST)
    flood(home.redis, 100)
    runs.pause(home.redis, "handler:rooms.handler")
    drain(home)
    assert read.states(home.redis)["held"] == 100
    runs.resume(home.redis, "handler:rooms.handler")
    home.sweeper.once()
    assert home.redis.llen(keys.rq_queue(QUEUE)) == MOST
    assert read.states(home.redis)["open"] == 100
    home.process.forget_pauses()
    drain(home)
    assert read.totals(home.redis)["done"] == 100


def test_what_is_cancelled_while_it_waits_never_gets_a_slip(house: MakeHouse) -> None:
    """An event of the user's own, taken back before there was room for it."""
    home = house(handler, slips=1)
    flood(home.redis, 1, "app", most=1)
    delivery = Delivery.arrive("app", b"{}")
    fields = {"source": "app", "data": {}, "received": now_ms(), "delivery": delivery.id}
    event = Event(id=new_id(), type="app.remind", **fields)
    accept(home.redis, [Record(delivery, "emitted", events=[event], key="k")], slips=1)
    assert read.waiting(home.redis) == {("app", QUEUE): 1}
    newer = replace(event, id=new_id())
    record = Record(replace(delivery, id=new_id()), "emitted", events=[newer], key="k", replace=True)
    accept(home.redis, [record], slips=1)
    assert read.waiting(home.redis) == {("app", QUEUE): 1}
    assert read.event(home.redis, event.id).state == "cancelled"
    assert runs.cancel(home.redis, "k")
    drain(home)
    assert read.totals(home.redis)["done"] == 1
    assert read.event(home.redis, newer.id).state == "cancelled"
    assert not home.redis.exists(keys.waits())


def test_a_stock_rq_worker_makes_room_too(house: MakeHouse, redis: Redis) -> None:
    """It takes slips behind the ledger's back and nobody sweeps: what it runs gives the next ones."""
    home = house(handler, slips=MOST)
    flood(redis, 3 * MOST)
    processes.become(home.process)
    worker = SimpleWorker([QUEUE], connection=redis, job_class=slips.Slip, serializer="json")
    worker.work(burst=True, logging_level="ERROR")
    assert read.totals(redis)["done"] == 3 * MOST


def test_a_replay_without_a_rate_gives_no_more_than_there_is_room_for(house: MakeHouse) -> None:
    """As fast as they go is as fast as they are taken."""

    @on("**")
    def fails(event):
        raise ValueError("no")

    home = house(fails, slips=5)
    flood(home.redis, 30)
    drain_to_due(home)
    jobs = [each.decode() for each in home.redis.zrange(keys.jobs_in_state("due"), 0, -1)]
    for job in jobs:
        home.redis.hset(keys.job(job), "state", "dead")
        home.redis.zrem(keys.due(), f"j:{job}")
    replays.start(home.redis, "retry", Filter(), jobs, rate=0)
    given = []
    for _ in range(3):
        home.sweeper.once()
        given.append(home.redis.llen(keys.rq_queue(REPLAY)))
    assert given == [5, 5, 5]
    assert home.work().count("due") == 5
    home.sweeper.once()
    assert home.redis.llen(keys.rq_queue(REPLAY)) == 5


def drain_to_due(home: House) -> None:
    """Work and sweep until every job has failed once."""
    while read.states(home.redis)["due"] < 30:
        home.work()
        home.sweeper.once()


def test_an_order_by_record_does_not_wait_for_a_flood_of_others(house: MakeHouse) -> None:
    """Nothing in the flood is about its record, so its turn has come; an earlier event of the very record is waited for."""
    order = []

    @on("crm.Leads.updated", order="record")
    def ordered(event):
        order.append(event.data["n"])

    home = house(ordered, slips=MOST)
    flood(home.redis, 200)
    home.accept("crm.Leads.updated", {"n": 1}, record_id="7", source="books")
    took = home.slips(MOST + 1)
    run.work(home.process, *took[-1].ids())
    assert order == [1]
    assert home.redis.zcard(keys.unrouted()) == 200
    home.accept("crm.Leads.updated", {"n": 2}, record_id="7", source="forms")
    home.accept("crm.Leads.updated", {"n": 3}, record_id="7", source="books")
    earlier, later = home.slips(2)
    run.work(home.process, *later.ids())
    assert order == [1]
    run.work(home.process, *earlier.ids())
    limit = time.monotonic() + 10
    while order != [1, 2, 3]:
        assert time.monotonic() < limit, order
        home.sweeper.once()
        home.work()


def test_a_worker_runs_no_job_of_a_queue_that_it_does_not_serve(house: MakeHouse) -> None:
    """It routes the event, and leaves the job to the workers of that queue."""
    ran = []

    @on("**", queue="slow")
    def slow(event):
        ran.append(event.id)

    home = house(slow, threads=2)
    home.accept()
    one = Taker(home.process, home.redis, [QUEUE], threading.Event())
    one.hands.start()
    work_off(home, one)
    assert (ran, home.redis.llen(keys.rq_queue("zohook_slow"))) == ([], 1)
    one.queues = ["zohook_slow"]
    work_off(home, one)
    one.hands.close()
    assert len(ran) == 1

"""What a worker outlives: whatever a handler or a filter raises, signals at any moment, stops that come early, and a Redis that is away
for a moment. None of its threads ends of it, and nothing is taken for dead that is not.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import TimeoutError as TookTooLong

from receiver import keys, on
from receiver.bell import Bell
from receiver.ledger import read, runs, turns
from receiver.ledger.connect import connect
from receiver.routing import route, run
from receiver.routing.taker import Taker
from receiver.worker import Worker
from tests.flow.conftest import QUEUES
from tests.flow.kit import seen, send, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.flow.conftest import House, MakeHouse

THREADS = 4
ROOM = r"""
import asyncio, threading
from pathlib import Path
from receiver import on, Skip

LOG = Path(__file__).parent.parent / "seen.txt"

def note(text):
    with LOG.open("a") as file:
        file.write(text + "\n")

@on("crm.Quick.updated")
def quick(event):
    note("quick")

@on("crm.Cancelled.updated", share=1)
def cancelled(event):
    async def main():
        raise asyncio.CancelledError
    note("cancelled")
    asyncio.run(main())

NEVER = threading.Lock()
NEVER.acquire()

@on("crm.Hung.updated", share=0.25, timeout=0.5, retries=0)
def hung(event):
    note(f"hung {event.data['hangs']}")
    if event.data["hangs"]:
        NEVER.acquire()  # as a call without a time limit of its own

@on("crm.Half.updated")
def half(event):
    note("half")
    raise ValueError("no file caf\udce9.txt")

@on("crm.HalfSkip.updated")
def half_skip(event):
    note("half")
    raise Skip("no file caf\udce9.txt")
"""
RINGS = """
    import signal, sys
    from receiver.bell import Bell
    bell = Bell()
    signal.signal(signal.SIGUSR1, lambda *_: bell.set())
    print("ready", flush=True)
    while True:
        bell.clear()
        bell.wait(0.00001)
        bell.wait(0.00001)
        print(".", end="", flush=True)
"""


@pytest.fixture
def taker_of() -> Iterator[Callable[[House], Taker]]:
    """Makes a worker's taker, with its threads."""
    made: list[Taker] = []

    def make(home: House) -> Taker:
        made.append(Taker(home.process, home.redis, QUEUES, Bell()))
        made[-1].hands.start()
        return made[-1]

    yield make
    for each in made:
        each.hands.close()


def turned(taker: Taker, true: Callable[[], Any], seconds: float = 10) -> None:
    """Have turns until something is so."""
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit
        taker.turn(taker.hands.room())
        time.sleep(0.01)


def job_of(home: House, event_id: str) -> Any:
    """The one job of an event."""
    found = read.event(home.redis, event_id)
    assert found is not None
    [job] = found.jobs
    return job


def test_what_ends_no_thread_but_the_job(project, redis, start) -> None:
    """CancelledError of asyncio is no Exception: the run has failed, and its thread and its handler's share are free again."""
    send(redis, "crm.Cancelled.updated", count=THREADS + 1)
    start("receiver.worker")
    until(lambda: seen(project).count("cancelled") == THREADS + 1)
    send(redis, "crm.Quick.updated")
    until(lambda: "quick" in seen(project))
    until(lambda: read.states(redis)["running"] == 0)
    assert read.totals(redis)["lost"] == 0


@pytest.mark.parametrize(
    ("kind", "state"), [("crm.Half.updated", "due"), ("crm.HalfSkip.updated", "skipped")]
)
def test_half_a_character_in_what_is_raised_is_spelled_out(
    project, redis, start, kind: str, state: str
) -> None:
    """As in the name of a file on a disk with other letters: the run has its outcome, and the worker goes on."""
    [event] = send(redis, kind)
    start("receiver.worker")
    until(lambda: read.states(redis)[state] == 1)
    assert r"caf\udce9.txt" in read.event(redis, event).jobs[0].reason
    assert read.totals(redis)["lost"] == 0


def test_half_a_character_in_what_a_filter_raises_keeps_no_other_event(house: MakeHouse, taker_of) -> None:
    """All that was planned beside it is routed."""
    ran = []

    def odd(stage):
        raise ValueError("caf\udce9")

    @on("crm.Deals.updated", when={"Stage": odd})
    def deals(event):
        raise AssertionError("not wanted")

    @on("crm.Leads.updated")
    def leads(event):
        ran.append(event.id)

    home = house(deals, leads, threads=4)
    home.accept(data={"Stage": "x"})
    for _ in range(3):
        home.accept("crm.Leads.updated")
    turned(taker_of(home), lambda: len(ran) == 3)
    assert read.states(home.redis)["dead"] == 1


def test_a_bell_may_be_rung_by_a_signal_at_any_moment() -> None:
    """`threading.Event` stands still for ever where its waiter holds its lock just then."""
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(RINGS)], stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        heard = [time.monotonic()]

        def listen() -> None:
            while os.read(child.stdout.fileno(), 65_536):  # type: ignore[union-attr]
                heard[0] = time.monotonic()

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        until_then = time.monotonic() + 1.5
        try:
            while time.monotonic() < until_then:
                child.send_signal(signal.SIGUSR1)
                time.sleep(random.random() * 0.001)
                assert time.monotonic() - heard[0] < 2
        finally:
            child.kill()
            listener.join(5)


def test_a_bell_is_heard_once_it_was_rung() -> None:
    """Before the wait, during it, twice; and not after it was cleared."""
    bell = Bell()
    assert not bell.wait(0.01)
    bell.set()
    bell.set()
    assert bell.is_set()
    assert bell.wait(10)
    assert bell.wait(10)
    bell.clear()
    assert not bell.wait(0.01)
    threading.Timer(0.05, bell.set).start()
    assert bell.wait(10)


def test_the_keeper_of_leases_outlives_a_redis_that_is_away(
    house: MakeHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run of a replay is over its time just then: its ending is decided without the rate, and all other leases are kept."""
    slow = [False]

    @on("crm.Deals.updated", timeout=0.3)
    def handler(event):
        while slow[0]:
            time.sleep(0.01)

    def away(*_args: Any, **_more: Any) -> None:
        raise ConnectionLost("away")

    home = house(handler, lease=1)
    event = home.accept()
    home.work()
    slow[0] = True
    assert runs.replay(home.redis, "j", f"{event.id}:rooms.handler") == "ok"
    monkeypatch.setattr(runs, "pace", away)
    home.work()
    assert job_of(home, event.id).state == "due"
    assert "time limit" in job_of(home, event.id).reason
    assert home.process.leases._thread.is_alive()


def test_a_stop_that_comes_before_the_lease_is_held_is_obeyed(house: MakeHouse, taker_of) -> None:
    """The run has been begun, and its thread has not come to the handler yet."""
    inside, go_on = threading.Event(), threading.Event()

    @on("crm.Deals.updated")
    def handler(event):
        time.sleep(20)

    home = house(handler, threads=1, lease=5)
    taker, paused = taker_of(home), home.process.paused

    def slowly():
        if threading.current_thread().name.startswith("hand"):
            inside.set()
            go_on.wait(5)
        return paused()

    home.process.paused = slowly
    event = home.accept()
    turned(taker, inside.is_set)
    [slip] = taker.under_way.values()
    assert taker.stops.obey({"command": "stop-job", "job_id": slip.id}, taker.under_way)
    go_on.set()
    turned(taker, lambda: job_of(home, event.id).state == "dead")
    assert job_of(home, event.id).reason == "stopped by an operator"


def test_what_a_frozen_worker_had_not_begun_it_begins_no_more(house: MakeHouse) -> None:
    """Its lease is over by the time it wakes, and another one has the run: the handler is not called."""
    acted = []

    @on("crm.Deals.updated")
    def handler(event):
        acted.append(event.id)

    home = house(handler, lease=1)
    event = home.accept()
    [slip] = home.slips(1)
    [frozen] = route.route(home.process, [runs.claim(home.redis, *slip.ids(), "frozen", 1)])
    time.sleep(1.2)
    home.sweeper.once()
    again = runs.claim(home.redis, "j", frozen.id, 2, "other", 30, alone=True)
    assert not isinstance(again, str)
    assert run.run_job(home.process, frozen) == "fenced"
    assert acted == []
    assert job_of(home, event.id).state == "running"


@pytest.mark.parametrize("count", [1, 40])
def test_filters_past_their_time_end_their_batch_and_nothing_else(
    house: MakeHouse, taker_of, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """However many events were in it: the thread is told once, and counts as lost to nobody."""
    monkeypatch.setattr(route, "LIMIT", 0.3)

    def slow(stage):
        until_then = time.monotonic() + 5
        while time.monotonic() < until_then:
            time.sleep(0.001)
        return True

    @on("crm.Deals.updated", when={"Stage": slow})
    def handler(event):
        pass

    home = house(handler, threads=count, lease=10)
    for _ in range(count):
        home.accept(data={"Stage": "x"})
    began = time.monotonic()
    taker_of(home).turn(count)
    assert time.monotonic() - began < 4.5, "the filters were ended"
    time.sleep(0.5)
    assert home.process.leases.stuck == {}
    assert home.process.leases._held == {}


def test_what_has_ended_is_not_lost_while_filters_take_long(house: MakeHouse, taker_of) -> None:
    """Its ending waits for the thread that is in a filter, and its lease is kept for as long."""
    ran = []

    def slow(stage):
        time.sleep(2.5)  # in C, where nothing ends it
        return True

    @on("crm.Deals.updated")
    def quick(event):
        time.sleep(0.3)
        ran.append(event.id)

    @on("crm.Leads.updated", when={"Stage": slow})
    def leads(event):
        pass

    home = house(quick, leads, threads=4, lease=1)
    taker = taker_of(home)
    home.sweeper.start()
    event = home.accept()
    turned(taker, lambda: home.process.leases._held)
    home.accept("crm.Leads.updated", {"Stage": "x"})
    turned(taker, lambda: ran and job_of(home, event.id).state == "done")
    home.sweeper.stop()
    assert ran == [event.id]
    [job] = read.jobs(home.redis, [f"{event.id}:rooms.quick"], attempts=True)
    assert [each["outcome"] for each in job.attempts] == ["done"]


def test_what_could_not_begin_for_want_of_redis_is_given_back(house: MakeHouse, taker_of) -> None:
    """It is no suspect: it has not begun."""
    ran = []

    @on("crm.Deals.updated")
    def handler(event):
        ran.append(event.id)

    home = house(handler, threads=1, lease=5)
    paused, away = home.process.paused, [True]

    def asked():
        if threading.current_thread().name.startswith("hand") and away:
            away.clear()
            raise ConnectionLost("away")
        return paused()

    home.process.paused = asked
    home.accept()
    taker = taker_of(home)

    def done() -> bool:
        home.sweeper.once()
        return bool(ran)

    turned(taker, done)
    assert read.totals(home.redis)["lost"] == 0


def test_commands_are_heard_after_a_redis_that_did_not_answer_in_time(
    house: MakeHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RQ's thread ends at a time-out, and a worker that hears no commands looks like any other."""
    home = house()
    connection = connect(home.process.settings)
    worker = Worker(home.process, list(QUEUES), connection)
    pause = time.sleep
    monkeypatch.setattr("rq.worker.base.time.sleep", lambda _: pause(0.01))
    worker.subscribe()
    try:
        until(lambda: worker.pubsub.connection is not None)
        worker._pubsub_exception_handler(
            TookTooLong("Timeout connecting to server"), worker.pubsub, worker.pubsub_thread
        )
        assert worker.pubsub_thread.is_alive()
    finally:
        worker.unsubscribe()
        connection.close()


def test_a_turn_whose_answer_was_lost_counts_once(house: MakeHouse) -> None:
    """RQ's counters are of what was struck off, and the second time nothing is."""
    home = house()
    home.redis.hset(keys.rq_worker("test"), "successful_job_count", 0)
    home.accept()
    slips = home.slips(1)
    for _ in range(2):
        turns.turn(home.redis, "test", QUEUES, 0, slips)
    assert int(home.redis.hget(keys.rq_worker("test"), "successful_job_count")) == 1


def test_a_worker_whose_threads_keep_the_share_of_a_handler_is_replaced(project, redis, start) -> None:
    """One thread of four is all that the handler may have, and nothing frees it: the worker ends, for its supervisor to begin another."""
    send(redis, "crm.Hung.updated", {"hangs": True})
    worker = start("receiver.worker")
    until(lambda: read.states(redis)["dead"] == 1)
    send(redis, "crm.Hung.updated", {"hangs": False})
    until(lambda: worker.poll() == 1, 60)
    start("receiver.worker")
    until(lambda: "hung False" in seen(project))

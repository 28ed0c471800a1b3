"""No handler fills a worker: one that keeps its threads for long has its share of them, and the others start at once."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from receiver import keys, on
from receiver.bell import Bell
from receiver.errors import HandlerError
from receiver.ledger import read
from receiver.routing.catalogue import Catalogue
from receiver.routing.options import read as options
from receiver.routing.taker import Taker
from tests.flow.conftest import QUEUES, plugged
from tests.flow.kit import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.flow.conftest import House, MakeHouse

WORKER = {"threads": 8, "lease": 30, "again": 1, "tick": 0.05}


class Running:
    """A worker's taker that turns in a thread of its own, with a sweep beside it, until the test is over."""

    def __init__(self, home: House) -> None:
        self.bell = Bell()
        self.taker = Taker(home.process, home.redis, QUEUES, self.bell)
        self._home, self._over = home, False
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self.taker.hands.start()
        self._thread.start()

    def _loop(self) -> None:
        swept = 0.0
        while not self._over:
            self.bell.clear()
            if time.monotonic() - swept > 0.05:
                self._home.sweeper.once()
                swept = time.monotonic()
            if not self.taker.turn(self.taker.hands.idle()):
                self.bell.wait(0.02)

    def end(self) -> None:
        """Stop taking; the threads end by themselves."""
        self._over = True
        self._thread.join(10)
        self.taker.stopping = True
        self.taker.hands.close()


@pytest.fixture
def run() -> Iterator[Callable[[House], Running]]:
    """Starts takers."""
    begun: list[Running] = []

    def start(home: House) -> Running:
        begun.append(Running(home))
        return begun[-1]

    yield start
    for each in begun:
        each.end()


class Sleeper:
    """A handler that sleeps until it is told to wake, and knows how many sleep at once."""

    def __init__(self, **given: Any) -> None:
        self.wake = threading.Event()
        self.now = self.most = self.ended = 0
        self._lock = threading.Lock()

        @on("crm.Deals.*", **given)
        def sleeps(event: Any) -> None:
            with self._lock:
                self.now += 1
                self.most = max(self.most, self.now)
            self.wake.wait(20)
            with self._lock:
                self.now -= 1
                self.ended += 1

        self.handler = sleeps


def quick() -> tuple[Callable[..., None], list[str]]:
    """A handler that is done at once, and the events that it has had."""
    seen: list[str] = []

    @on("crm.Leads.*")
    def quick(event: Any) -> None:
        seen.append(event.id)

    return quick, seen


def test_a_handler_that_sleeps_leaves_half_of_the_threads_to_others(
    house: MakeHouse, run: Callable[[House], Running]
) -> None:
    """A hundred due jobs of it, and a job of another handler starts at once; then all of the hundred are done, once each."""
    sleeper, (other, seen) = Sleeper(), quick()
    home = house(sleeper.handler, other, **WORKER)
    for _ in range(100):
        home.accept()
    run(home)
    until(lambda: sleeper.now == 4)
    time.sleep(0.3)
    began = time.monotonic()
    home.accept("crm.Leads.created")
    until(lambda: seen)
    assert time.monotonic() - began < 5  # all others sleep until they are woken
    assert sleeper.most == 4
    aside = keys.rq_queue("zohook/rooms.sleeps")
    until(lambda: home.redis.llen(aside) + home.redis.zcard(keys.jobs_in_state("running")) >= 96)
    sleeper.wake.set()
    until(lambda: read.totals(home.redis)["done"] == 101)
    assert sleeper.most == 4
    assert sleeper.ended == 100
    until(lambda: not home.redis.exists(keys.asides()))
    assert not home.redis.exists(aside)
    assert read.totals(home.redis)["lost"] == 0


def test_a_share_of_all_is_given_where_a_handler_asks_for_it(
    house: MakeHouse, run: Callable[[House], Running]
) -> None:
    """`share=1` fills the worker; a setting says it for all handlers."""
    sleeper, (other, _) = Sleeper(share=1), quick()
    home = house(sleeper.handler, other, **WORKER)
    for _ in range(20):
        home.accept()
    first = run(home)
    until(lambda: sleeper.now == 8)
    sleeper.wake.set()
    until(lambda: read.totals(home.redis)["done"] == 20)
    first.end()
    lesser = Sleeper()
    home = house(lesser.handler, other, **WORKER, share=0.25)
    for _ in range(20):
        home.accept()
    run(home)
    until(lambda: lesser.now == 2)
    time.sleep(0.2)
    assert lesser.most == 2
    lesser.wake.set()


def test_where_there_is_one_handler_it_has_all_threads(
    house: MakeHouse, run: Callable[[House], Running]
) -> None:
    """Nobody else could want one."""
    sleeper = Sleeper()
    home = house(sleeper.handler, **WORKER)
    for _ in range(20):
        home.accept()
    run(home)
    until(lambda: sleeper.now == 8)
    sleeper.wake.set()


def test_what_was_set_aside_of_a_handler_that_is_gone_is_not_forgotten(
    house: MakeHouse, run: Callable[[House], Running]
) -> None:
    """A worker without it takes its slips all the same, and finds that no living worker has the handler."""
    sleeper, (other, _) = Sleeper(), quick()
    home = house(sleeper.handler, other, **WORKER)
    for _ in range(30):
        home.accept()
    first = run(home)
    until(lambda: home.redis.llen(keys.rq_queue("zohook/rooms.sleeps")) >= 20)
    first.end()
    sleeper.wake.set()
    until(lambda: first.taker.hands.busy() == 0)
    first.taker.turn(0)
    home.redis.delete(*home.redis.keys("zh:cat*"))
    home.process.plugins = plugged(other)
    home.process.catalogue = Catalogue(home.redis, home.process.plugins.handlers.values())
    home.process.catalogue.publish(born=True)
    run(home)
    until(lambda: read.states(home.redis)["held"] >= 20 and not read.states(home.redis)["due"])
    assert set(read.parked_work(home.redis)) == {"no_handler:rooms.sleeps"}


def test_a_flood_of_slow_jobs_is_bounded_aside_too(house: MakeHouse, run: Callable[[House], Running]) -> None:
    """What is set aside is bounded per source as any queue is; another handler of the very same source is not behind it."""
    sleeper, (other, seen) = Sleeper(), quick()
    home = house(sleeper.handler, other, **WORKER, slips=10)
    for _ in range(80):
        home.accept()
    run(home)
    until(lambda: home.redis.zcard(keys.unrouted()) == 0)
    home.accept("crm.Leads.created")
    until(lambda: seen)
    assert home.redis.llen(keys.rq_queue("zohook/rooms.sleeps")) <= 10
    sleeper.wake.set()
    until(lambda: read.totals(home.redis)["done"] == 81)
    assert read.waiting(home.redis) == {}


@pytest.mark.parametrize("share", [0, -1, 1.5, "half"])
def test_a_share_is_a_part(share: Any) -> None:
    """Anything else is refused where it is written."""
    with pytest.raises(HandlerError, match="share="):
        options({"share": share})

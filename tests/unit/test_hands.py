"""How much a worker's threads take: what begins at once, a little more where jobs are short, and nothing where they are stuck."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from receiver.routing.hands import AHEAD, Hands

if TYPE_CHECKING:
    from collections.abc import Callable


def until(true: Callable[[], bool]) -> None:
    """Wait until something is so."""
    limit = time.monotonic() + 30
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.002)


def started(count: int, act: Callable[[int], object]) -> Hands[int]:
    """Threads that do this."""
    hands: Hands[int] = Hands(count, lambda number: void(act(number)))
    hands.start()
    return hands


def void(_: object) -> None:
    """Nothing."""


def test_before_anything_is_known_no_more_is_taken_than_begins_at_once() -> None:
    """A first job may take a minute."""
    hands = started(4, void)
    assert hands.room() == 4
    hands.close()


def test_where_jobs_are_short_more_is_taken_but_not_without_bound() -> None:
    """So the threads have work while the ledger is told of the last."""
    hands = started(4, void)
    hands.give(range(400))
    until(lambda: hands.busy() == 0)
    assert hands.room() == 4 * AHEAD
    hands.close()


def test_one_long_job_is_reason_enough_to_take_no_more_than_begins_at_once() -> None:
    """Who was short may be long now: what waits behind him could run elsewhere."""
    hands = started(4, lambda number: time.sleep(0.3) if number == 400 else None)
    hands.give(range(401))
    until(lambda: hands.busy() == 0)
    assert hands.room() == 4
    hands.close()


def test_threads_that_are_busy_for_long_leave_room_for_the_others_alone() -> None:
    """With every thread stuck nothing is taken, and what was taken ahead is given back, newest first."""
    stuck, free = threading.Semaphore(0), threading.Event()

    def act(number: int) -> None:
        if number >= 400:
            stuck.release()
            free.wait(10)

    hands = started(4, act)
    hands.give(range(400))
    until(lambda: hands.busy() == 0)
    hands.give(range(400, 403))
    for _ in range(3):
        stuck.acquire(timeout=10)
    time.sleep(0.02)
    assert 1 <= hands.room() < 4 * AHEAD
    hands.give(range(403, 410))
    stuck.acquire(timeout=10)
    assert hands.left_waiting(60) == []
    time.sleep(0.02)
    assert hands.room() == 0
    assert hands.left_waiting(0.01) == [409, 408, 407, 406, 405, 404]
    free.set()
    until(lambda: hands.busy() == 0)
    hands.close()

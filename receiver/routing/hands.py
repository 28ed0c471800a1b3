"""The threads of a worker. Whoever is woken wakes the next before it begins, so a job that waits keeps none behind it waiting,
and a batch of jobs that take microseconds wakes one thread instead of all.

Where jobs are that short a few more are taken than there are idle threads, so that the threads have work while the ledger is told
of the last: as many as will have begun within `SOON`, as far as those before them tell.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from receiver.routing.shares import Shares

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

Work = TypeVar("Work")

SOON = 0.01
"""Seconds within which what is taken should begin."""
AHEAD = 32
"""How many per thread may be there at most, begun and not begun."""
UNKNOWN = 1.0
"""How long jobs take until some have ended, in seconds: too long to take any ahead."""
LATEST = 0.1
"""How much the job that ended last counts in what jobs are thought to take."""


class Put(NamedTuple, Generic[Work]):
    """Work that waits here until its handler may have another thread, and since when."""

    work: Work
    whose: str
    since: float


class Hands(Generic[Work]):
    """`count` threads that do `act` with what is given to them, oldest first. `act` must not raise.

    Whose work a piece is, is what `whose` says: past his share of the threads it waits, and others pass it.
    """

    def __init__(
        self,
        count: int,
        act: Callable[[Work], None],
        whose: Callable[[Work], str] = lambda _: "",
        shares: Shares | None = None,
    ) -> None:
        self._act, self._whose, self._shares = act, whose, shares or Shares.of_nobody()
        self._inbox: deque[Work] = deque()
        self._put: deque[Put[Work]] = deque()
        self._picking = threading.Lock()
        self._working = [False] * count
        self._began = [0.0] * count
        self._moved = 0.0
        self._takes = UNKNOWN
        self.spent = 0.0
        """Seconds that the threads have worked, about."""
        self._bell = threading.Lock()
        self._bell.acquire()
        self._rung = self._closed = False
        self._threads = [
            threading.Thread(target=self._loop, args=(number,), name=f"hand-{number}", daemon=True)
            for number in range(count)
        ]

    def start(self) -> None:
        """Begin to wait for work."""
        for thread in self._threads:
            thread.start()

    def give(self, work: Iterable[Work]) -> None:
        """Have this done."""
        if not self._inbox:
            self._moved = time.monotonic()
        self._inbox.extend(work)
        if self._inbox:
            self._ring()

    def idle(self) -> int:
        """How many threads have nothing to do, and nothing coming; below 0 where more is there than they can begin at once."""
        return len(self._working) - self.busy()

    @property
    def at_a_time(self) -> int:
        """How many to take in one turn. With a part of what may be there the ledger and the threads are at work at the same time:
        some are taken while others are routed, run and ended.
        """
        return len(self._working) * max(1, AHEAD // 4)

    def room(self) -> int:
        """How many more would begin at once, or soon."""
        busy, now = self.busy(), time.monotonic()
        at_once = len(self._working) - busy
        quick = sum(not began or now - began < SOON for began in self._began)
        soon = min(int(quick * SOON / self._takes), AHEAD * len(self._working))
        return max(at_once, soon - busy, 0)

    def busy(self) -> int:
        """How many have something to do or coming."""
        return sum(self._working) + len(self._inbox) + len(self._put)

    def waits(self) -> bool:
        """Whether something was given that no thread may do yet."""
        return bool(self._put)

    def rooms(self) -> dict[str, int]:
        """How many threads more those may have whose work takes long."""
        with self._picking:
            return self._shares.rooms()

    def cramped(self, stuck: Collection[int]) -> list[str]:
        """The handlers of whose share nothing is left but threads that are stuck; these by their identifiers."""
        if not stuck:
            return []
        with self._picking:
            return self._shares.gone(
                {number for number, each in enumerate(self._threads) if each.ident in stuck}
            )

    def take_back(self, after: float) -> list[Work]:
        """What has waited so many seconds for the share of one whose work takes long, and is done by nobody now."""
        until = time.monotonic() - after
        with self._picking:
            rooms = self._shares.rooms()
            late = [each for each in self._put if each.since <= until and each.whose in rooms]
            for each in late:
                self._put.remove(each)
        return [each.work for each in late]

    def left_waiting(self, seconds: float) -> list[Work]:
        """What was given and is taken back, because no thread has begun anything for so long: others may have time for it."""
        found: list[Work] = []
        while self._inbox and time.monotonic() - self._moved > seconds:
            try:
                found.append(self._inbox.pop())
            except IndexError:  # it was begun just now
                break
        return found

    def close(self) -> None:
        """Let the threads end once everything is done."""
        self._closed = True
        self._ring()

    def _ring(self) -> None:
        if self._rung:  # whoever hears that looks into the inbox after it
            return
        self._rung = True
        try:
            self._bell.release()
        except RuntimeError:  # two rang at once
            return

    def _pick(self, number: int) -> tuple[Work, str] | None:
        """What this thread does next: first what has waited and may begin now, then what came in."""
        if not self._shares.most:
            return (self._inbox.popleft(), "") if self._inbox else None
        with self._picking:
            for each in self._put:
                if self._shares.begin(each.whose, number):
                    self._put.remove(each)
                    return each.work, each.whose
            while self._inbox:
                work = self._inbox.popleft()
                whose = self._whose(work)
                if self._shares.begin(whose, number):
                    return work, whose
                self._put.append(Put(work, whose, time.monotonic()))
        return None

    def _loop(self, number: int) -> None:
        while True:
            self._working[number] = True
            try:
                picked = self._pick(number)
            except IndexError:  # another thread was quicker
                picked = None
            if picked is None:
                self._working[number] = False
                if self._closed and not self._inbox:
                    return self._ring()
                self._bell.acquire()
                self._rung = False
                continue
            work, whose = picked
            if self._inbox:
                self._ring()
            self._began[number] = self._moved = began = time.monotonic()
            self._act(work)
            self._began[number] = 0.0
            took = time.monotonic() - began
            self.spent += took
            self._takes += (took - self._takes) * LATEST
            if whose:
                with self._picking:
                    self._shares.end(whose, number)

"""The threads of a worker. Whoever is woken wakes the next before it begins, so a job that waits keeps none behind it waiting,
and a batch of jobs that take microseconds wakes one thread instead of all.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Work = TypeVar("Work")


class Hands(Generic[Work]):
    """`count` threads that do `act` with what is given to them, oldest first. `act` must not raise."""

    def __init__(self, count: int, act: Callable[[Work], None]) -> None:
        self._act = act
        self._inbox: deque[Work] = deque()
        self._working = [False] * count
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
        self._inbox.extend(work)
        if self._inbox:
            self._ring()

    def idle(self) -> int:
        """How many threads have nothing to do, and nothing coming."""
        return len(self._working) - self.busy()

    def busy(self) -> int:
        """How many have something to do or coming."""
        return sum(self._working) + len(self._inbox)

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

    def _loop(self, number: int) -> None:
        while True:
            self._working[number] = True
            try:
                work = self._inbox.popleft()
            except IndexError:
                self._working[number] = False
                if self._closed:
                    return self._ring()
                self._bell.acquire()
                self._rung = False
                continue
            if self._inbox:
                self._ring()
            self._act(work)

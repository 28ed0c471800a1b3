"""Retention: finished work is forgotten by age and by bytes; what is open or dead stays, however old it is.

Of deliveries that became no events, those that wait to be verified go by age only; the others go before any work, where bytes are short.

What RQ keeps of slips, jobs and workers that are gone is swept here too: no slip needs it, and RQ keeps failed jobs for a year.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from receiver import logs
from receiver.event import now_ms
from receiver.ledger.accept import QUEUE
from receiver.ledger.condition import FILLING, memory
from receiver.ledger.script import call

if TYPE_CHECKING:
    from redis import Redis

    from receiver.ledger.condition import Memory
    from receiver.settings import RetentionSettings

log = logs.get("retention")
PAGE = 100
LOOK_EVERY = 10
"""Pages after which it is looked how much Redis holds by now."""
BUDGET = 4.0
"""Seconds that one walk takes of a round of the clock. The next round goes on where it was."""
MUCH = 10_000
"""Events and deliveries: a round that forgot so many and had no time for more leaves as much to the next, which had better come soon."""
DAY = 86_400_000
YOUNGEST = 600_000
"""Milliseconds: over its size the last ten minutes stay all the same, for somebody is looking at them."""
YOUNGEST_FULL = 60_000
"""But where Redis is so full that deliveries are spooled, only the last one."""


class Walk:
    """A way through the events, oldest first, over as many rounds as it takes. At its end it begins anew, for what was open or dead
    when it passed may be finished by now.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._kept: tuple[str | bytes, str | bytes] = ("", "0")
        self.begins = True
        """Whether the next page is the first of a walk."""

    def page(self, cutoff: int) -> int:
        """Look at the next events that came before `cutoff` (ms); how many of them were forgotten."""
        seen, forgotten, *kept = call(self._redis, "retain", cutoff, PAGE, *self._kept)
        self.begins = seen < PAGE
        self._kept = ("", "0") if self.begins else (kept[0], kept[1])
        return int(forgotten)


class Retention:
    """The clock's part in it. It knows how far its walks came, lest what is kept bars the way to what can go."""

    def __init__(self, redis: Redis, settings: RetentionSettings) -> None:
        self._redis, self._settings = redis, settings
        self._by_age, self._by_size = Walk(redis), Walk(redis)
        self._given_up = 0
        self.behind = False
        """Whether there is more to forget than the last round had time for."""

    def trim(self) -> int:
        """Forget what is over age, and while Redis holds more than its size also what is younger, oldest first; how many events and
        deliveries without any.
        """
        began, self._given_up = time.monotonic(), 0
        forgotten = self._trim_by_age() + self._trim_by_size()
        self.behind = forgotten >= MUCH and time.monotonic() - began >= BUDGET
        if forgotten:
            log.info("retention", forgotten=forgotten)
        if self._given_up:
            hint = "the keys to verify them could not be had all that time; see keys.missing in the log of the web processes"
            log.error("retention.unverified_given_up", deliveries=self._given_up, hint=hint)
        return forgotten

    def _trim_by_age(self) -> int:
        cutoff, until = now_ms() - int(self._settings.days * DAY), time.monotonic() + BUDGET
        forgotten, more = self._shed(cutoff, give_up=True)
        while more and time.monotonic() < until:
            gone, more = self._shed(cutoff, give_up=True)
            forgotten += gone
        forgotten += self._by_age.page(cutoff)
        while not self._by_age.begins and time.monotonic() < until:
            forgotten += self._by_age.page(cutoff)
        return forgotten

    def _trim_by_size(self) -> int:
        forgotten, more, until = 0, True, time.monotonic() + BUDGET
        while more and (room := self._over_size()):  # a page of them may hold hundreds of megabytes
            gone, more = self._shed(_youngest(room))
            forgotten += gone
            if time.monotonic() > until:
                break
        return forgotten if more else forgotten + self._trim_events_by_size(until)

    def _trim_events_by_size(self, until: float) -> int:
        forgotten, walk = 0, self._by_size
        whole = walk.begins
        while room := self._over_size():
            for _ in range(LOOK_EVERY):
                forgotten += walk.page(_youngest(room))
                if walk.begins:
                    break
            if walk.begins and whole:
                hint = "all that is left is young, open, unverified or dead; see /dead, and give Redis more maxmemory"
                size = _size(room, self._settings)
                log.warning("retention.over_size", used=room.used, size=size, hint=hint)
                break
            whole = whole or walk.begins  # what the rounds before had passed by comes once more
            if time.monotonic() > until:
                break
        return forgotten

    def _shed(self, cutoff: int, *, give_up: bool = False) -> tuple[int, bool]:
        """Forget the oldest deliveries without events that came before `cutoff` (ms); how many, and whether there may be more.

        `give_up`: also those that wait to be verified.
        """
        most, gone, given_up = call(self._redis, "shed", cutoff, PAGE, int(give_up))
        self._given_up += given_up
        return gone, most >= PAGE

    def _over_size(self) -> Memory | None:
        """How full Redis is, where it holds more than its size."""
        room = memory(self._redis)
        return room if room.used > _size(room, self._settings) else None


def _youngest(room: Memory) -> int:
    """The time (ms) from which on nothing is forgotten for want of room."""
    return now_ms() - (YOUNGEST_FULL if room.word == "full" else YOUNGEST)


def _size(room: Memory, settings: RetentionSettings) -> float:
    """The bytes that are aimed at: the setting, but never so many that Redis is short of room."""
    return min(settings.size, room.limit * FILLING) if room.limit else settings.size


def tidy(redis: Redis) -> int:
    """Sweep what RQ keeps and nobody needs: ended jobs, executions of the dead, workers that are gone. How much it was."""
    swept = int(call(redis, "tidy", QUEUE, 1_000))
    if swept:
        log.info("rq.tidied", swept=swept)
    return swept

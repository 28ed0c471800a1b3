"""Retention: finished work is forgotten by age and by bytes; what is open or dead stays, however old it is.

What RQ keeps of slips, jobs and workers that are gone is swept here too: no slip needs it, and RQ keeps failed jobs for a year.
"""

from __future__ import annotations

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
DAY = 86_400_000
YOUNGEST = 600_000
"""Milliseconds: over its size the last ten minutes stay all the same, for somebody is looking at them."""
YOUNGEST_FULL = 60_000
"""But where Redis is so full that deliveries are spooled, only the last one."""


def trim(redis: Redis, settings: RetentionSettings) -> int:
    """Forget what is over age, and while Redis holds more than its size also what is younger, oldest first; how many events."""
    forgotten = _before(redis, now_ms() - int(settings.days * DAY))
    while (room := memory(redis)).used > (size := _size(room, settings)):
        youngest = YOUNGEST_FULL if room.word == "full" else YOUNGEST
        more = _before(redis, now_ms() - youngest, pages=10)
        forgotten += more
        if not more:
            hint = "all that is left is young, open or dead; see /dead, and give Redis more maxmemory"
            log.warning("retention.over_size", used=room.used, size=size, hint=hint)
            break
    if forgotten:
        log.info("retention", forgotten=forgotten)
    return forgotten


def _size(room: Memory, settings: RetentionSettings) -> float:
    """The bytes that are aimed at: the setting, but never so many that Redis is short of room."""
    return min(settings.size, room.limit * FILLING) if room.limit else settings.size


def tidy(redis: Redis) -> int:
    """Sweep what RQ keeps and nobody needs: ended jobs, executions of the dead, workers that are gone. How much it was."""
    swept = int(call(redis, "tidy", QUEUE, 1_000))
    if swept:
        log.info("rq.tidied", swept=swept)
    return swept


def _before(redis: Redis, cutoff: int, pages: int = 1_000) -> int:
    total = kept = 0
    for _ in range(pages):
        seen, forgotten = call(redis, "retain", cutoff, kept, PAGE)
        total += forgotten
        kept += seen - forgotten
        if seen < PAGE:
            break
    return total

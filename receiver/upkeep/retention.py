"""Retention: finished work is forgotten by age and by bytes; what is open or dead stays, however old it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver import logs
from receiver.event import now_ms
from receiver.ledger.script import call

if TYPE_CHECKING:
    from redis import Redis

    from receiver.settings import RetentionSettings

log = logs.get("retention")
PAGE = 100
DAY = 86_400_000
YOUNGEST = 600_000
"""However full Redis is, the last ten minutes stay: somebody is looking at them."""


def trim(redis: Redis, settings: RetentionSettings) -> int:
    """Forget what is over age, and while Redis holds more than its size also what is younger, oldest first; how many events."""
    forgotten = _before(redis, now_ms() - int(settings.days * DAY))
    while int(redis.info("memory")["used_memory"]) > settings.size:
        more = _before(redis, now_ms() - YOUNGEST, pages=10)
        forgotten += more
        if not more:
            log.warning(
                "retention.over_size",
                size=settings.size,
                hint="open and dead jobs are all that is left; see /dead",
            )
            break
    if forgotten:
        log.info("retention", forgotten=forgotten)
    return forgotten


def _before(redis: Redis, cutoff: int, pages: int = 1_000) -> int:
    total = kept = 0
    for _ in range(pages):
        seen, forgotten = call(redis, "retain", cutoff, kept, PAGE)
        total += forgotten
        kept += seen - forgotten
        if seen < PAGE:
            break
    return total

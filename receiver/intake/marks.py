"""How long the marks of spooled events live: a window counts from when a delivery came, not from when it was drained."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from receiver import keys
from receiver.event import now_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

    from receiver.ledger.accept import Record

LONG = 3600.0
"""A mark that lives so long after the drain needs no help of ours."""
MOST = 50_000
SOON = 5_000
MEANWHILE = 10_000
"""Milliseconds for a mark that is put back, so that the next script finds it."""


class Marks:
    """What was drained lately, so that the repetition of a fact is known even where its window passed while both waited.

    Such facts get a mark of their own, named after the time of the first as well: the plain mark would make duplicates of what
    came later than the window. A redelivery of what was accepted before Redis went away is known while that mark lives, no longer.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[str, tuple[str, int]] = OrderedDict()

    def prepare(self, redis: Redis, records: Sequence[Record]) -> None:
        """Shorten the windows by what has passed of them, and name the marks so that they say what receipt would have said."""
        now = now_ms()
        for record in records:
            lives = [event.mark_life(record.window) for event in record.events]
            record.window = max(lives, default=record.window)
            window, received = record.window * 1000, record.delivery.received
            left = window - (now - received)
            if not window:
                continue
            record.window = max(left, 1) / 1000 if left > 0 else LONG
            if record.window > LONG:
                continue
            for event in record.events:
                mark = event.dedupe_key()
                if not mark:
                    continue
                first, at = self._seen.get(mark, ("", 0))
                repeated = first not in {"", event.id} and received - at < window
                if not repeated:
                    at = received
                    self._remember(mark, event.id, at)
                if left > 0 and (not repeated or at + window > now + SOON):
                    continue
                event.identity = f"{event.identity}\0{at}"
                if repeated:
                    redis.set(keys.mark(event.dedupe_key()), first, px=MEANWHILE, nx=True)

    def _remember(self, mark: str, first: str, at: int) -> None:
        """Note a fact as the newest; beyond `MOST` the one that was noted first goes."""
        self._seen[mark] = (first, at)
        self._seen.move_to_end(mark)
        if len(self._seen) > MOST:
            self._seen.popitem(last=False)

    def forget(self) -> None:
        """The spool is empty: whoever comes now is met by the marks in Redis."""
        self._seen.clear()

"""What came while the keys to verify it could not be had is verified as soon as they can be."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from receiver import logs
from receiver.intake.reverify import Reverifier, Wanted, choose, waiting

if TYPE_CHECKING:
    from redis import Redis

    from receiver.settings import Settings

log = logs.get("unverified")
AGAIN = 60.0
"""Seconds until the next try where none got further."""


class Unverified:
    """The clock's part in it; a round without unverified deliveries costs one question to Redis."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis, self._settings = redis, settings
        self._reverifier: Reverifier | None = None
        self._not_before = 0.0

    def verify(self) -> int:
        """Try all that wait, oldest first; how many are settled. Raises SettingsError where a source is set up wrong."""
        if time.monotonic() < self._not_before or not waiting(self._redis):
            return 0
        self._reverifier = self._reverifier or Reverifier.of(self._redis, self._settings)
        ids = choose(self._redis, Wanted(verdicts=("unverified",)))
        words: Counter[str] = Counter(outcome.word for outcome in self._reverifier.run(ids))
        settled = words.total() - words["unverified"]
        if settled:
            log.info("unverified", counts=dict(words))
        else:
            self._not_before = time.monotonic() + AGAIN
        return settled

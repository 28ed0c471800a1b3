"""Ending runs: at once, or many together as a worker does it. An ending that cannot be written is tried until its lease is over."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from receiver import logs
from receiver.ledger import runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from receiver.ledger.runs import Claim, Ending

log = logs.get("finish")
MOST = 256
PAUSES = (0.1, 0.3, 1.0)


def finish_now(redis: Redis, lease: float, batch: list[tuple[Claim, Ending]]) -> list[bool]:
    """Finish, through a restart of Redis if need be; False for a run that was no longer ours, or could not be ended."""
    until = time.monotonic() + lease
    tried = 0
    while True:
        try:
            return runs.finish_many(redis, batch)
        except RedisError as error:
            pause = PAUSES[tried] if tried < len(PAUSES) else 2.0
            tried += 1
            if time.monotonic() + pause > until:
                log.error("runs.not_finished", jobs=[claim.id for claim, _ in batch], error=str(error))  # noqa: TRY400
                return [False] * len(batch)
            time.sleep(pause)


class Finisher:
    """A thread that writes endings: those that come while a write is under way share the next one."""

    def __init__(self, redis: Redis, lease: float) -> None:
        self._redis, self._lease = redis, lease
        self._waiting: queue.SimpleQueue[tuple[Claim, Ending, Callable[[bool], None]] | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._loop, name="finisher", daemon=True)
        self._thread.start()

    def put(self, claim: Claim, ending: Ending, said: Callable[[bool], None]) -> None:
        """Write an ending soon, and say then whether the run was still ours."""
        self._waiting.put((claim, ending, said))

    def close(self) -> None:
        """Write what waits, and end."""
        self._waiting.put(None)
        self._thread.join(self._lease + 5)

    def _loop(self) -> None:
        more = True
        while more:
            batch, more = self._batch()
            if not batch:
                continue
            answers = finish_now(self._redis, self._lease, [(claim, ending) for claim, ending, _ in batch])
            for (_, _, said), own in zip(batch, answers, strict=True):
                said(own)

    def _batch(self) -> tuple[list[tuple[Claim, Ending, Callable[[bool], None]]], bool]:
        batch = []
        found = self._waiting.get()
        while found is not None:
            batch.append(found)
            if len(batch) >= MOST:
                return batch, True
            try:
                found = self._waiting.get_nowait()
            except queue.Empty:
                return batch, True
        return batch, False

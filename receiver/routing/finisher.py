"""Ending runs: at once, or with a worker's next turn. An ending that cannot be written is tried until its lease is over."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from redis.exceptions import RedisError

from receiver import logs
from receiver.ledger import runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from receiver.ledger.runs import Claim, Ending

log = logs.get("finish")
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
                _given_up([claim for claim, _ in batch], error)
                return [False] * len(batch)
            time.sleep(pause)


class Waiting(NamedTuple):
    """An ending that waits to be written, who wants to hear whether the run was still ours, and until when it is worth trying."""

    claim: Claim
    ending: Ending
    said: Callable[[bool], None]
    until: float


class Endings:
    """The endings that go with a worker's next turn. Threads put them; the worker takes them."""

    def __init__(self, lease: float, ring: Callable[[], None]) -> None:
        self._lease, self._ring = lease, ring
        self._waiting: deque[Waiting] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def claims(self) -> list[Claim]:
        """Of the runs whose endings wait. Asked by another thread."""
        return [each.claim for each in self._waiting.copy()]

    def put(self, claim: Claim, ending: Ending, said: Callable[[bool], None]) -> None:
        """Have it written soon, and hear then whether the run was still ours."""
        self._waiting.append(Waiting(claim, ending, said, time.monotonic() + self._lease))
        self._ring()

    def take(self) -> list[Waiting]:
        """All that wait."""
        return [self._waiting.popleft() for _ in range(len(self._waiting))]

    def put_back(self, endings: list[Waiting], error: RedisError) -> None:
        """They could not be written; those whose lease is over by now are given up."""
        now = time.monotonic()
        self._waiting.extendleft(reversed([each for each in endings if each.until > now]))
        late = [each for each in endings if each.until <= now]
        if late:
            _given_up([each.claim for each in late], error)
        for each in late:
            each.said(False)


def _given_up(claims: list[Claim], error: RedisError) -> None:
    log.error("runs.not_finished", jobs=[claim.id for claim in claims], error=str(error))

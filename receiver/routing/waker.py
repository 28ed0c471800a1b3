"""A thread that waits in Redis for a call that there is work, so that the worker itself never blocks there."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from receiver import keys

if TYPE_CHECKING:
    from redis import Redis

    from receiver.bell import Bell


class Waker:
    """Rings a bell when it is called, or in a second."""

    def __init__(self, redis: Redis, bell: Bell) -> None:
        self._redis, self._bell = redis, bell
        self._asked = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._loop, name="waker", daemon=True)

    def ask(self) -> None:
        """Ring the bell when there is work, or in a second."""
        if not self._thread.is_alive():
            self._thread.start()
        self._asked.set()

    def close(self) -> None:
        """End, in a second at most."""
        self._ended = True
        self._asked.set()

    def _loop(self) -> None:
        while self._asked.wait() and not self._ended:
            try:
                self._redis.blpop([keys.wake()], timeout=1)
            except RedisError:
                time.sleep(0.2)
            self._asked.clear()
            self._bell.set()

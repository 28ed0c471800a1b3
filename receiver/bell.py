"""A bell that a signal handler may ring."""

from __future__ import annotations

import threading
from contextlib import suppress


class Bell:
    """As `threading.Event` for one who waits, without its lock: that one may hold it when a signal comes, whose handler runs in the
    same thread and would wait for it for ever.
    """

    def __init__(self) -> None:
        self._rung = False
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Ring it."""
        self._rung = True
        with suppress(RuntimeError):  # it was rung before
            self._lock.release()

    def clear(self) -> None:
        """Wait for the next ring from now on."""
        self._rung = False
        self._lock.acquire(blocking=False)

    def is_set(self) -> bool:
        """Whether it was rung."""
        return self._rung

    def wait(self, seconds: float) -> bool:
        """Wait until it is rung, or for so long; whether it was."""
        if not self._rung:
            self._lock.acquire(timeout=max(0.0, seconds))
        return self._rung

"""Where the lines of the log go: written at once or, by a process that must not wait for them, by a thread a moment later."""

from __future__ import annotations

import atexit
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOMENT = 0.05
"""How long the thread lets lines come together before it writes them, in seconds."""
MOST = 20_000
PIECE = 32_768
"""Half of what a pipe of Linux holds. Smaller pieces would cost the other threads more than they are worth."""
PATIENCE = 2.0
"""How long anybody waits for a reader that takes nothing, in seconds."""


class Lines:
    """A stream of whole lines. `lost` makes the line that tells how many found no room, because the reader has stopped."""

    def __init__(self, lost: Callable[[int], str]) -> None:
        self._out: TextIO = sys.stderr
        self._say_lost, self._lost, self._told = lost, 0, 0
        self._waiting: deque[str] = deque()
        self._users = 0
        self._writing, self._counting = threading.Lock(), threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        atexit.register(self._write_waiting)

    def write(self, text: str) -> None:
        """Take a line."""
        if len(self._waiting) >= MOST:
            with self._counting:
                self._lost += 1
            return
        self._waiting.append(text)
        if self._thread is None:
            self._write_waiting()
        elif not self._wake.is_set():
            self._wake.set()

    def flush(self) -> None:
        """Nothing: whoever logs through the standard library calls this after each line."""

    def turn_to(self, out: TextIO) -> None:
        """Write to another stream from now on."""
        self._write_waiting()
        self._out = out

    def begin(self) -> None:
        """Write by a thread, until `end` was called as often."""
        self._users += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Write what waits, and from now on at once; but where nobody reads, go on as it is rather than wait for ever."""
        self._users -= 1
        if self._users or self._thread is None:
            return
        self._wake.set()
        self._thread.join(PATIENCE)
        if not self._thread.is_alive():
            self._thread = None
            self._write_waiting()

    def _run(self) -> None:
        while self._users:
            self._wake.wait()
            self._wake.clear()
            if self._users:
                time.sleep(MOMENT)
            self._write_waiting()

    def _write_waiting(self) -> None:
        # Under the lock, so that lines stay whole and in their order; a deque, so that taking a line needs none.
        if not self._writing.acquire(timeout=PATIENCE):
            return  # somebody waits for the reader already
        try:
            lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
            lost = self._lost
            if lost > self._told:
                lines.append(self._say_lost(lost - self._told))
                self._told = lost
            # A log that cannot be written, for its disk is full or its reader is gone, stops no work.
            with suppress(OSError, ValueError):
                for piece in _pieces(lines):
                    self._out.write(piece)
                    self._out.flush()
        finally:
            self._writing.release()


def _pieces(lines: list[str]) -> Iterator[str]:
    """The lines in pieces that a pipe takes whole, so that those of several processes do not get into each other."""
    piece: list[str] = []
    size = 0
    for line in lines:
        if size + len(line) > PIECE and piece:
            yield "".join(piece)
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    if piece:
        yield "".join(piece)

"""The spool: where deliveries wait, on disk, while Redis is away or full. The drain brings them into the ledger.

One file for all web processes of a host. A thread writes it, so that the event loop never waits for the disk; deliveries that come
while a write is under way share the next one.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from receiver import logs, metrics
from receiver.errors import LedgerUnavailable
from receiver.event import now_ms
from receiver.intake.packing import pack_record
from receiver.intake.spoolfile import Depth, Flag, Row, SpoolFile
from receiver.reserve import reserve

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from receiver.ledger.accept import Record
    from receiver.settings import Settings

log = logs.get("spool")
MOST = 256
WAITING = 10_000
LARGEST_WAITING = 64 * 2**20
"""How much may wait for the disk: beyond it the door says 503 rather than grow without bound."""
SLACK = 2**16
"""What a delivery takes of the disk beyond its own size."""
SAY_AGAIN = 60.0
CURE = "mend its disk or rights, or move the file away and look into it; until then what Redis does not take is answered 503"
NOT_OPENED = "it was not opened"
Waiting = tuple[Row, "asyncio.Future[None]"]


class Spool:
    """The writing side, and what the door asks of it.

    `divert` is set by the drain while Redis is too full or not fit to be written to; `broken` holds the reason while the file cannot
    be used.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size = path, size
        self.divert = False
        self.broken = NOT_OPENED
        self._refused = False
        self._lacking = self._full_at = 0
        self._complaint = ("", 0.0)
        self._flag: Flag | None = None
        self._file: SpoolFile | None = None
        self._depth = Depth()
        self._waiting: deque[Waiting] = deque()
        self._bytes = 0
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False

    @classmethod
    def of(cls, settings: Settings) -> Spool:
        """The spool of a project, opened if it can be."""
        spool = cls(settings.folder / settings.spool.path, settings.spool.size)
        spool.open()
        return spool

    @property
    def first(self) -> bool:
        """Whether new deliveries go here: Redis is not to be written to, or older ones wait and keep their place."""
        return (self._flag is not None and self._flag.byte[0] != 0 and not self.broken) or self.divert

    @property
    def waits(self) -> bool:
        """Whether any process of this host has put something in that is not yet in the ledger."""
        return self._flag is not None and self._flag.byte[0] != 0

    @property
    def keeps(self) -> bool:
        """Whether it takes deliveries, as far as is known: the last one was not refused, or there is more room than there was then."""
        still = self._refused and self._depth.bytes >= self._full_at
        return not self.broken and not still

    def depth(self) -> Depth:
        """How much waits, as of the last look, at most a tick ago. No I/O."""
        return self._depth

    def open(self) -> bool:
        """Whether the file can be used; where not, the log says why and the door goes on without it."""
        try:
            with self.file() as file:
                file.settle()
                file.oldest(1, 1)
                self.seen(file.depth())
        except (sqlite3.Error, OSError) as error:
            self.fail(error)
            return False
        if self.broken not in {"", NOT_OPENED}:
            log.info("spool.usable", path=str(self.path))
        self.broken = ""
        metrics.SPOOL_BROKEN.set(0)
        return True

    def file(self) -> SpoolFile:
        """A connection of the caller's own. Raises sqlite3.Error or OSError."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._flag is None:
            self._flag = Flag(self.path.with_suffix(".flag"))
        return SpoolFile(self.path, self._flag)

    def fail(self, error: Exception) -> None:
        """The file cannot be used: new deliveries go to Redis until it can."""
        reason = f"{type(error).__name__}: {error}"
        last, at = self._complaint
        if last != reason or time.monotonic() - at > SAY_AGAIN:
            self._complaint = (reason, time.monotonic())
            log.error("spool.unusable", path=str(self.path), error=reason, cure=CURE)
        self.broken = reason
        metrics.SPOOL_BROKEN.set(1)

    def seen(self, depth: Depth) -> None:
        """Note what a look into the file found."""
        self._depth = depth
        metrics.SPOOL_DEPTH.set(depth.depth)
        metrics.SPOOL_BYTES.set(depth.bytes)
        metrics.SPOOL_OLDEST.set(max(0, now_ms() - depth.oldest) / 1000 if depth.oldest else 0)
        metrics.SPOOL_QUARANTINED.set(depth.quarantined)

    def look_for_room(self) -> None:
        """Where it was the disk that refused the last delivery: see whether it has room for as much by now."""
        if self._refused and not self._full_at:
            with suppress(OSError), tempfile.TemporaryFile(dir=self.path.parent) as file:
                reserve(file.fileno(), self._lacking)
                self._refused = False

    def _refuse(self, size: int, full_at: int = 0) -> None:
        """Note that so many bytes were refused, and how many there were where it was for the size of the spool."""
        self._refused, self._lacking, self._full_at = True, size + SLACK, full_at

    async def put(self, record: Record) -> None:
        """Keep a record on disk, behind those that are there. Raises LedgerUnavailable where that cannot be done."""
        if self.broken:
            raise LedgerUnavailable(f"the spool cannot be used: {self.broken}")
        head, body = pack_record(record)
        row = Row(record.delivery.received, head, body)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._wake:
            if self._closing or len(self._waiting) >= WAITING or self._bytes > LARGEST_WAITING:
                self._refuse(row.size)
                raise LedgerUnavailable("too many deliveries wait for the disk")
            self._waiting.append((row, future))
            self._bytes += row.size
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="spool", daemon=True)
                self._thread.start()
            self._wake.notify()
        await future

    def _write(self) -> None:
        """The writing thread."""
        while True:
            with self._wake:
                while not self._waiting and not self._closing:
                    self._wake.wait()
                batch = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
                self._bytes -= sum(row.size for row, _ in batch)
            if not batch:
                return
            try:
                taken, why = self._insert([row for row, _ in batch]), f"the spool is full ({self.size} bytes)"
            except (sqlite3.Error, OSError) as error:
                taken, why = 0, f"the spool does not take it: {error}"
                self._refuse(sum(row.size for row, _ in batch))
                self._drop_file()
                log.error("spool.not_written", deliveries=len(batch), error=str(error))  # noqa: TRY400
            for at, (_, future) in enumerate(batch):
                with suppress(RuntimeError):  # its loop is gone, and with it whoever waited
                    future.get_loop().call_soon_threadsafe(_settle, future, "" if at < taken else why)

    def _insert(self, rows: Sequence[Row]) -> int:
        if self._file is not None and self._file.moved():
            self._drop_file()
        if self._file is None:
            self._file = self.file()
        begins = not self.waits
        taken = self._file.insert(rows, self.size)
        depth = self._file.depth()
        self.seen(depth)
        if taken < len(rows):
            self._refuse(rows[taken].size, depth.bytes)
            log.error("spool.full", refused=len(rows) - taken, size=self.size, path=str(self.path))
        else:
            self._refused = False
        if taken and begins:
            log.warning("spool.begins", path=str(self.path))
        return taken

    def _drop_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    async def close(self) -> None:
        """Write what waits, then let go of the file."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 5)
            self._thread = None
        self._drop_file()


def _settle(future: asyncio.Future[None], why: str) -> None:
    if future.done():
        return
    if why:
        future.set_exception(LedgerUnavailable(why))
    else:
        future.set_result(None)

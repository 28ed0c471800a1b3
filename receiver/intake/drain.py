"""The drain: brings what the spool holds into the ledger, oldest first, through the same script as the door; and watches Redis.

A thread of every web process. A file lock lets one of a host drain at a time, and the kernel lets go of it when that one dies.
"""

from __future__ import annotations

import fcntl
import os
import socket
import sqlite3
import threading
import time
import zlib
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from redis.exceptions import RedisError, ResponseError

from receiver import keys, logs, metrics
from receiver.errors import LedgerUnavailable, SettingsError
from receiver.intake.faults import is_everyones
from receiver.intake.marks import Marks
from receiver.intake.packing import unpack_record
from receiver.ledger import spools
from receiver.ledger.accept import KEPT, accept
from receiver.ledger.condition import FULL, memory
from receiver.ledger.connect import check
from receiver.zoho import probe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from redis import Redis

    from receiver.intake.spool import Spool
    from receiver.intake.spoolfile import Row, SpoolFile
    from receiver.ledger.accept import Answer, Record
    from receiver.ledger.condition import Memory
    from receiver.ledger.witness import Witness
    from receiver.settings import Settings
    from receiver.zoho.vault import Vault

log = logs.get("spool")
MOST, LARGEST = 128, 4 * 2**20
TRIES = 3
LOOK_EVERY = 1.0
TOLD_AGAIN = 30.0
"""Seconds after which it is said again that nothing waits: who was to say it may have died before."""
TOO_MANY = "too many deliveries wait to be verified; it is tried again by itself once there are fewer"
ROOM_AGAIN = 10.0
"""Seconds until it is looked again whether there is room for what was set aside as TOO_MANY."""
UNREADABLE = (ValueError, KeyError, TypeError, zlib.error)


class Drain:
    """The draining side of one process, and its eye on Redis. `fit`: whether Redis has passed `check` already."""

    def __init__(
        self, spool: Spool, redis: Redis, settings: Settings, witness: Witness, vault: Vault, *, fit: bool
    ) -> None:
        self._spool, self._redis, self._witness, self._vault = spool, redis, witness, vault
        self._tick = settings.spool.tick
        self._again, self._cap = settings.worker.again, settings.web.rejects_per_minute
        self._slips = settings.worker.slips
        self._fit, self._answers = fit, fit
        self._key_wrong = False
        self._complaint = ""
        self._looked = self._told = self._looked_for_room = 0.0
        self._told_of_rows = False
        self._host = socket.gethostname()
        self._named = spool.path.with_suffix(".host")
        self._former: str | None = None
        self._marks = Marks()
        self._file: SpoolFile | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drain", daemon=True)
        spool.divert = not fit and not spool.broken

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """End after the batch under way; another process of the host goes on, or the next one that starts."""
        self._stop.set()
        self._thread.join(10)
        self._redis.close()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._once()
                self._stop.wait(self._tick)
        finally:
            self._drop_file()

    def _once(self) -> None:
        try:
            self._watch()
            if self._spool.broken and not self._spool.open():
                return
            file = self._opened()
            self._spool.seen(depth := file.depth())
            self._spool.look_for_room()
            if depth.depth or self._spool.waits:
                with self._alone() as mine:
                    if mine:
                        self._empty(file)
            else:
                file.shrink()
                if depth.quarantined and self._answers and not self._spool.divert:
                    self._let_back(file)
                self._tell(file)
        except (sqlite3.Error, OSError) as error:
            self._drop_file()
            if not _is_passing(error):
                self._spool.fail(error)
        except Exception:  # a thread that ends here would leave the spool full for ever
            log.exception("spool.drain_failed")
            self._drop_file()

    def _opened(self) -> SpoolFile:
        if self._file is not None and self._file.moved():
            self._drop_file()
        if self._file is None:
            self._file = self._spool.file()
        return self._file

    def _drop_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether this process is the one of its host that drains."""
        lock = os.open(self._spool.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            os.close(lock)

    # Redis -------------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Look at most once a second whether Redis answers, is fit, has room, and is still the ledger that it was."""
        if time.monotonic() - self._looked < LOOK_EVERY and self._answers:
            return
        self._looked = time.monotonic()
        try:
            room = memory(self._redis)
            if not self._answers or not self._fit:
                check(self._redis)
            if not self._answers or not self._fit or self._key_wrong:
                self._hold_key()
        except (RedisError, OSError, LedgerUnavailable):
            self._answers = False
            return
        except SettingsError as error:
            self._unfit(str(error))
            return
        self._answers = self._fit = True
        metrics.REDIS_MEMORY_SHARE.set(round(room.share, 4))
        self._spool.divert = room.word == "full" and not self._spool.broken
        self._tell_room(room)
        with suppress(RedisError):  # refused while Redis is full; the next look comes
            self._witness.look(self._redis)

    def _hold_key(self) -> None:
        """Say loudly that this process has another key than the ledger, where Redis was away when it started, or was exchanged.

        It goes on: what is signed with a secret of the settings is good all the same.
        """
        try:
            probe.hold(self._redis, self._vault)
        except SettingsError as error:
            if not self._key_wrong:
                effect = "deliveries with secrets derived from it are refused with 401"
                log.error("key.wrong", reason=str(error), effect=effect)  # noqa: TRY400 - where in our code says nothing
            self._key_wrong = True
        else:
            if self._key_wrong:
                log.info("key.right")
            self._key_wrong = False
        metrics.KEY_WRONG.set(self._key_wrong)

    def _tell_room(self, room: Memory) -> None:
        word = "" if room.word == "ok" else f"redis.{room.word}"
        cure = "give Redis more maxmemory, or keep less: [retention] days and size"
        self._complain(word, used=room.used, limit=room.limit, share=round(room.share, 3), cure=cure)

    def _unfit(self, why: str) -> None:
        """A Redis that came back, and would lose what it is given."""
        self._fit = self._answers = False
        self._spool.divert = (
            True  # even with a broken spool: 503 is better than a promise that will not be kept
        )
        self._complain("redis.unfit", reason=why)

    def _complain(self, event: str, **about: object) -> None:
        if event == self._complaint:
            return
        self._complaint = event
        if event == "redis.filling":
            log.warning(event, effect=f"above {FULL:.0%} deliveries go to the spool", **about)
        elif event:
            log.error(event, effect="deliveries go to the spool until that is mended", **about)
        else:
            log.info("redis.well")

    def _takes_writes(self) -> bool:
        """Whether Redis takes a write now: one that fails over, or whose disk is slow, answers, and lets every write wait."""
        try:
            self._redis.set(keys.spool_trial(), "", px=1000)
        except (RedisError, OSError):
            return False
        return True

    # Draining ----------------------------------------------------------------------------------------------------

    def _empty(self, file: SpoolFile) -> None:
        """Drain until nothing is left or something is in the way."""
        drained, started = 0, time.monotonic()
        while not self._stop.is_set():
            self._watch()
            self._spool.seen(file.depth())
            if not self._answers or self._spool.divert:
                break
            rows = file.oldest(MOST, LARGEST)
            if not rows:
                file.settle()
                self._marks.forget()
                break
            self._tell(file)
            if not self._batch(file, rows):
                break
            drained += len(rows)
        self._spool.seen(file.depth())
        if drained:
            log.info("spool.drained", rows=drained, left=self._spool.depth().depth, seconds=round(time.monotonic() - started, 2))  # fmt: skip
        self._tell(file)

    def _batch(self, file: SpoolFile, rows: Sequence[Row]) -> bool:
        """Whether the ledger has heard of these rows; where one of them is at fault, they are tried singly."""
        try:
            answers = self._accept([unpack_record(row.head, row.body) for row in rows])
        except UNREADABLE:
            return self._singly(file, rows)
        except ResponseError as error:
            return not is_everyones(error) and self._singly(file, rows)
        except (RedisError, OSError):
            self._answers = self._takes_writes()
            return self._answers and self._singly(file, rows)
        self._heard(file, rows, answers)
        return True

    def _singly(self, file: SpoolFile, rows: Sequence[Row]) -> bool:
        """The same one by one. The first that fails stops it and keeps its place, until the third time."""
        for row in rows:
            try:
                answers = self._accept([unpack_record(row.head, row.body)])
            except UNREADABLE as error:
                reason = f"it cannot be read: {type(error).__name__}: {error}"
            except (RedisError, OSError) as error:
                everyones = isinstance(error, ResponseError) and is_everyones(error)
                if everyones or not self._takes_writes():
                    return False
                reason = f"{type(error).__name__}: {error}"
            else:
                self._heard(file, [row], answers)
                continue
            if not file.failed(row, reason, TRIES):
                return False
            log.error("spool.quarantined", row=row.id, reason=reason, path=str(self._spool.path))
        return True

    def _heard(self, file: SpoolFile, rows: Sequence[Row], answers: Sequence[Answer]) -> None:
        """Let go of what the ledger has. What it has no room for, unverified as it is, is set aside: it bars no other row's way."""
        told = list(zip(rows, answers, strict=True))
        file.done([row for row, answer in told if not answer.full])
        full = [row for row, answer in told if answer.full]
        for row in full:
            file.failed(row, TOO_MANY, 1)
        if full:
            log.error("spool.quarantined", rows=len(full), reason=TOO_MANY, path=str(self._spool.path))

    def _let_back(self, file: SpoolFile) -> None:
        """Let wait again what was set aside as TOO_MANY, as far as the ledger has room by now."""
        if time.monotonic() - self._looked_for_room < ROOM_AGAIN:
            return
        self._looked_for_room = time.monotonic()
        with self._alone() as mine:
            ids = file.quarantined_for(TOO_MANY, MOST) if mine else []
            if ids and (room := self._room()) > 0:
                log.info("spool.let_back", rows=file.release(ids[:room]))

    def _room(self) -> int:
        """How many more deliveries may wait to be verified."""
        try:
            return KEPT - int(self._redis.zcard(keys.deliveries("unverified")))
        except (RedisError, OSError):
            return 0

    def _accept(self, records: Sequence[Record]) -> list[Answer]:
        self._marks.prepare(self._redis, records)
        take = partial(accept, self._redis, again=self._again, cap=self._cap, slips=self._slips)
        return take(records, witness=self._witness)

    def _tell(self, file: SpoolFile) -> None:
        """Leave in the ledger how much waits on this host, for the dashboard, for `zohook check`, and for the time when it is gone."""
        depth = file.depth()
        some = bool(depth.depth or depth.quarantined)
        often = LOOK_EVERY if some else TOLD_AGAIN
        if not (some != self._told_of_rows or time.monotonic() - self._told > often) or not self._answers:
            return
        with suppress(RedisError, OSError):
            if self._former is None:
                self._former = self._named.read_text() if self._named.exists() else ""
            spools.tell(
                self._redis,
                self._host,
                self._former,
                depth=depth.depth,
                size=depth.bytes,
                oldest=depth.oldest,
                quarantined=depth.quarantined,
            )
            self._told, self._told_of_rows = time.monotonic(), some
            if self._former != self._host:
                self._named.write_text(self._host)
                self._former = self._host


def _is_passing(error: Exception) -> bool:
    """Whether the file itself is sound: somebody else writes just now."""
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)

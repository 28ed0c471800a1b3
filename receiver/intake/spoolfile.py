"""The SQLite file of the spool: rows in the order they came, a quarantine, and their totals, kept in the same transactions.

A byte in a mapped file beside it tells all processes of the host whether it holds rows: reading that costs the door nothing.
It is written within the transactions only, which SQLite lets happen one at a time, so that it is never 0 while rows wait.
"""

from __future__ import annotations

import mmap
import os
import sqlite3
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from receiver.reserve import reserve

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

VERSION = 1
BUSY = 2.0
"""Seconds to wait while another process of the host writes; that takes milliseconds."""
PAGES_A_TIME = 2_000
_making = threading.Lock()
SCHEMA = """
CREATE TABLE IF NOT EXISTS waiting (
  id INTEGER PRIMARY KEY AUTOINCREMENT, received INTEGER NOT NULL, size INTEGER NOT NULL, tries INTEGER NOT NULL DEFAULT 0,
  head BLOB NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS quarantine (
  id INTEGER PRIMARY KEY, received INTEGER NOT NULL, size INTEGER NOT NULL, reason TEXT NOT NULL,
  head BLOB NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS total (
  one INTEGER PRIMARY KEY CHECK (one = 1), depth INTEGER NOT NULL, bytes INTEGER NOT NULL, quarantined INTEGER NOT NULL);
INSERT OR IGNORE INTO total VALUES (1, 0, 0, 0);
"""


@dataclass(frozen=True, slots=True)
class Depth:
    """How much waits: deliveries, bytes (the quarantine's too), when the oldest was received (ms, 0 for none), quarantined."""

    depth: int = 0
    bytes: int = 0
    oldest: int = 0
    quarantined: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One delivery in the file. `id` is its place, 0 until it has one."""

    received: int
    head: bytes
    body: bytes
    id: int = 0
    tries: int = 0

    @property
    def size(self) -> int:
        """What it counts against the spool's size."""
        return len(self.head) + len(self.body) + 64


class Flag:
    """A byte that all processes of the host share. Raises OSError where the disk has no room for it."""

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            reserve(descriptor, 1)
            self.byte = mmap.mmap(descriptor, 1)
        finally:
            os.close(descriptor)


class SpoolFile:
    """One connection to the file, of one thread. Every method may raise sqlite3.Error or OSError."""

    def __init__(self, path: Path, flag: Flag) -> None:
        self._path, self._flag = path, flag
        self._connection, self._inode = _connect(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def moved(self) -> bool:
        """Whether somebody took the file away: what is written into a removed file is lost."""
        try:
            return self._path.stat().st_ino != self._inode
        except FileNotFoundError:
            return True

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction at whose end the flag tells whether rows wait."""
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            self._flag.byte[0] = int(connection.execute("SELECT depth > 0 FROM total").fetchone()[0])
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def insert(self, rows: Sequence[Row], limit: int) -> int:
        """Append rows durably while there is room below `limit` bytes; how many of them, from the first, it were."""
        with self._transaction() as connection:
            held = connection.execute("SELECT bytes FROM total").fetchone()[0]
            taken, size = 0, 0
            for row in rows:
                if held + size + row.size > limit:
                    break
                size += row.size
                taken += 1
            if taken:
                connection.executemany(
                    "INSERT INTO waiting (received, size, head, body) VALUES (?, ?, ?, ?)",
                    [(row.received, row.size, row.head, row.body) for row in rows[:taken]],
                )
                connection.execute("UPDATE total SET depth = depth + ?, bytes = bytes + ?", (taken, size))
        return taken

    def oldest(self, most: int, largest: int) -> list[Row]:
        """The first rows: at most so many, and, but for the first, so many bytes."""
        found: list[Row] = []
        size = 0
        query = "SELECT received, head, body, id, tries, size FROM waiting ORDER BY id LIMIT ?"
        for received, head, body, place, tries, its_size in self._connection.execute(query, (most,)):
            size += its_size
            if found and size > largest:
                break
            found.append(Row(received, head, body, place, tries))
        return found

    def done(self, rows: Sequence[Row]) -> None:
        """Forget rows that the ledger has. Killed before this, they are accepted once more, which changes nothing."""
        with self._transaction() as connection:
            gone = [row for row in rows if self._remove(connection, row)]
            size = sum(row.size for row in gone)
            connection.execute("UPDATE total SET depth = depth - ?, bytes = bytes - ?", (len(gone), size))

    def failed(self, row: Row, reason: str, most: int) -> bool:
        """Count a failure of this row alone; at the `most`th it goes to the quarantine. Whether it went."""
        with self._transaction() as connection:
            if row.tries + 1 < most:
                connection.execute("UPDATE waiting SET tries = tries + 1 WHERE id = ?", (row.id,))
                return False
            if self._remove(connection, row):
                kept = (row.id, row.received, row.size, reason, row.head, row.body)
                connection.execute("INSERT INTO quarantine VALUES (?, ?, ?, ?, ?, ?)", kept)
                connection.execute("UPDATE total SET depth = depth - 1, quarantined = quarantined + 1")
        return True

    @staticmethod
    def _remove(connection: sqlite3.Connection, row: Row) -> bool:
        return connection.execute("DELETE FROM waiting WHERE id = ?", (row.id,)).rowcount == 1

    def settle(self) -> None:
        """Set the flag right."""
        with self._transaction():
            pass

    def depth(self) -> Depth:
        """How much waits."""
        query = "SELECT depth, bytes, coalesce((SELECT received FROM waiting ORDER BY id LIMIT 1), 0), quarantined"
        return Depth(*self._connection.execute(f"{query} FROM total").fetchone())

    def quarantined(self) -> list[tuple[Row, str]]:
        """What the ledger refused, with the reasons."""
        query = "SELECT received, head, body, id, reason FROM quarantine ORDER BY id"
        return [(Row(*found[:4]), found[4]) for found in self._connection.execute(query)]

    def quarantined_for(self, reason: str, most: int) -> list[int]:
        """The first ids of those with that reason."""
        query = "SELECT id FROM quarantine WHERE reason = ? ORDER BY id LIMIT ?"
        return [found[0] for found in self._connection.execute(query, (reason, most))]

    def release(self, ids: Sequence[int] = ()) -> int:
        """Let quarantined rows (all, or those of the ids) wait again, behind the others; how many there were."""
        released = 0
        with self._transaction() as connection:
            for place in ids or [row.id for row, _ in self.quarantined()]:
                taken = connection.execute(
                    "INSERT INTO waiting (received, size, head, body) "
                    "SELECT received, size, head, body FROM quarantine WHERE id = ?",
                    (place,),
                ).rowcount
                connection.execute("DELETE FROM quarantine WHERE id = ?", (place,))
                released += taken
            connection.execute(
                "UPDATE total SET depth = depth + ?, quarantined = quarantined - ?", (released, released)
            )
        return released

    def shrink(self) -> None:
        """Give a piece of what is free back to the disk; nothing where nothing is."""
        if self._connection.execute("PRAGMA freelist_count").fetchone()[0]:
            self._connection.execute(f"PRAGMA incremental_vacuum({PAGES_A_TIME})").fetchall()


def _make(path: Path) -> None:
    """Make the file where there is none, so that SQLite gives its companions the same rights: the bodies are nobody else's business.

    One that is there is never opened but by SQLite: to close it would drop the locks that the whole process has on it, and the next
    process that comes and goes would take itself for the last one, and remove the log that this one goes on writing.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _connect(path: Path) -> tuple[sqlite3.Connection, int]:
    with _making:
        _make(path)
    connection = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_size_limit = 16777216").fetchall()
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise sqlite3.DatabaseError(f"a newer Zohook made it (version {version})")  # noqa: TRY301
        if version < VERSION:
            connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
            _sync(path.parent)
        connection.execute("SELECT 1 FROM total, (SELECT count(id) FROM quarantine)").fetchone()
        return connection, path.stat().st_ino
    except BaseException:
        connection.close()
        raise


def _sync(folder: Path) -> None:
    """Make the names in a folder durable, too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Reads of single records by many jobs, gathered: whoever asks while a call for the same module is under way shares the next one.

One call has up to 100 ids. A read that comes alone waits for nobody and is the plain call. Subforms are not in a list of records, so a
module that has some is always read one by one.
"""

from __future__ import annotations

import copy
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from receiver.errors import (
    ConnectionUnusable,
    NotFound,
    PermissionDenied,
    RateLimited,
    ScopeMissing,
    Unavailable,
    ZohoError,
)
from receiver.event import now_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

Record = dict[str, Any]
MOST = 100
"""Ids in one call: https://www.zoho.com/crm/developer/docs/api/v8/get-records.html."""
KEPT = 2_000
FIELDS_FOR = 15.0
"""Seconds that the names of a module's fields are used: asking again costs nothing, for the description is kept for all."""
CLOSED_FOR = 600.0
"""The same where a module's records cannot be read together."""
EVERYONES = (Unavailable, RateLimited, ConnectionUnusable)
"""The errors that each of the others would meet too; after any other one they ask by themselves."""


@dataclass(slots=True)
class _Read:
    """One read that waits for a shared call, which one of them is handed to make."""

    record_id: str
    told: threading.Event = field(default_factory=threading.Event)
    leads: bool = False
    record: Record | None = None
    error: ZohoError | None = None


@dataclass(slots=True)
class _Line:
    """The reads of one module under one connection: those that wait, and whether a call is under way."""

    waiting: list[_Read] = field(default_factory=list)
    asking: bool = False


@dataclass(frozen=True, slots=True)
class Reader:
    """How a record is read alone, and how many are together: those that are there, by id."""

    one: Callable[[str], Record]
    many: Callable[[Sequence[str]], dict[str, Record]]


class Gather:
    """What a process has one of; safe from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: dict[Hashable, _Line] = {}
        self._fields: dict[Hashable, tuple[float, tuple[str, ...]]] = {}
        self._records: OrderedDict[Hashable, tuple[int, Record]] = OrderedDict()

    def get(
        self, key: Hashable, record_id: str, read: Reader, max_age: float = 0.0, since: int = 0
    ) -> tuple[Record, bool]:
        """(the record, whether somebody else's call brought it), from a call or from one at most `max_age` seconds ago, which began
        at `since` (ms) or later.

        Raises what the call raised.
        """
        began = now_ms()
        if max_age and (found := self._recent((key, record_id), max(since, began - round(max_age * 1000)))):
            return found, True
        with self._lock:
            line = self._lines.setdefault(key, _Line())
            mine = _Read(record_id) if line.asking else None
            if mine is None:
                line.asking = True
            else:
                line.waiting.append(mine)
        if mine is None:
            try:
                found = read.one(record_id)
            finally:
                self._hand_on(line)
        else:
            found = self._shared(line, mine, read)
        if max_age:
            self._keep((key, record_id), began, found)
        return found, mine is not None and not mine.leads

    def fields(self, key: Hashable, read: Callable[[], Sequence[Record]]) -> tuple[str, ...]:
        """The names of a module's fields where its records can be read together; none where they cannot."""
        known = self._fields.get(key)
        if known and time.monotonic() < known[0]:
            return known[1]
        try:
            rows = read()
        except (ScopeMissing, PermissionDenied):  # it goes without: one by one
            rows = []
        whole = not any(str(row.get("data_type")) == "subform" for row in rows)
        names = tuple(str(row["api_name"]) for row in rows if row.get("api_name")) if whole else ()
        self._fields[key] = (time.monotonic() + (FIELDS_FOR if names else CLOSED_FOR), names)
        return names

    def _shared(self, line: _Line, mine: _Read, read: Reader) -> Record:
        mine.told.wait()
        if mine.leads:
            with self._lock:
                batch, line.waiting = line.waiting[:MOST], line.waiting[MOST:]
            try:
                _ask(batch, read)
            finally:
                for each in batch[1:]:
                    each.told.set()
                self._hand_on(line)
        if mine.error is not None:
            raise mine.error
        return mine.record if mine.record is not None else read.one(mine.record_id)

    def _hand_on(self, line: _Line) -> None:
        """Whoever has waited longest makes the next call; nobody does where nobody waits."""
        with self._lock:
            if not line.waiting:
                line.asking = False
                return
            line.waiting[0].leads = True
            line.waiting[0].told.set()

    def _recent(self, key: Hashable, since: int) -> Record | None:
        with self._lock:
            began, record = self._records.get(key, (-1, {}))
        return copy.deepcopy(record) if began >= since else None

    def _keep(self, key: Hashable, began: int, record: Record) -> None:
        with self._lock:
            self._records[key] = (began, copy.deepcopy(record))
            self._records.move_to_end(key)
            if len(self._records) > KEPT:
                self._records.popitem(last=False)


def _ask(batch: Sequence[_Read], read: Reader) -> None:
    """One call for all of them. One that gets neither record nor error asks by itself."""
    ids = list(dict.fromkeys(each.record_id for each in batch))
    if len(ids) < 2:
        return
    try:
        found = read.many(ids)
    except EVERYONES as error:
        for each in batch:
            each.error = copy.copy(error)
        return
    except ZohoError:
        return
    for each in batch:
        record = found.get(each.record_id)
        if record is None:
            each.error = NotFound(f"crm: there is no record {each.record_id}", code="NO_CONTENT", status=204)
        else:
            each.record = copy.deepcopy(record)

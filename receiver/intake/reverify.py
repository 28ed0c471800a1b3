"""Verify kept deliveries again: what was refused for a mistake of ours is accepted once the mistake is mended.

It is judged as at the door, but for its time: what a product allows between stamp and receipt is held against when it came. Its
events bear ids made of the delivery's, so that whoever does this twice, or dies half-way, accepts nothing twice.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Literal, cast

from receiver import keys, logs
from receiver.errors import DeliveryError, SettingsError
from receiver.event import id_within
from receiver.intake.judge import judge, lacks_key
from receiver.intake.keyring import Keyring
from receiver.intake.marks import Marks
from receiver.intake.seals import Seals
from receiver.ledger import read
from receiver.ledger.accept import Record, accept
from receiver.ledger.connect import connect_door
from receiver.zoho.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from redis import Redis

    from receiver.event import Delivery
    from receiver.intake.keyring import Lock
    from receiver.ledger.rows import DeliveryRow
    from receiver.settings import Settings

log = logs.get("reverify")
VERDICTS = ("rejected", "quarantined", "unverified")
PAGE = 200
BATCH, LARGEST = 100, 4 * 2**20
EVERY_ONE = 10**9
"""What was kept stays kept: the limit on rejected ones is for what comes in anew."""

Word = Literal["accepted", "duplicate", "quarantined", "rejected", "unverified"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of the kept deliveries: all of them, but for what a field narrows. Times in ms; `reason` is a part of it."""

    ids: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = VERDICTS
    source: str = ""
    reason: str = ""
    since: int = 0
    until: int = 0

    def fits(self, row: DeliveryRow) -> bool:
        """Whether this is one of them."""
        received = row.meta["received"]
        return (
            row.verdict in self.verdicts
            and (not self.source or row.meta["source"] == self.source)
            and self.reason.lower() in row.meta["reason"].lower()
            and received >= self.since
            and (not self.until or received < self.until)
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a delivery is now, and why; `record` is what is to be written, None where nothing changes."""

    id: str
    source: str
    was: str
    word: Word
    reason: str = ""
    record: Record | None = field(default=None, repr=False)


def choose(redis: Redis, wanted: Wanted) -> list[str]:
    """The ids of the kept deliveries that are wanted, oldest first, as they came."""
    if wanted.ids:
        rows = (read.delivery(redis, each, body=False) for each in wanted.ids)
        return sorted(row.id for row in rows if row is not None and wanted.fits(row))
    found = (row.id for verdict in wanted.verdicts for row in _kept(redis, verdict) if wanted.fits(row))
    return sorted(found)


def _kept(redis: Redis, verdict: str) -> Iterator[DeliveryRow]:
    start = 0
    while rows := read.deliveries(redis, verdict, start=start, count=PAGE):
        yield from rows
        start += PAGE


class Reverifier:
    """Judges kept deliveries by the locks as they are now. `fetch` looks for newer public keys of a lock; whether they were had."""

    def __init__(
        self, redis: Redis, settings: Settings, keyring: Keyring, vault: Vault, fetch: Callable[[Lock], bool]
    ) -> None:
        self._redis, self._locks, self._fetch = redis, keyring.locks, fetch
        self._seals = Seals(vault, settings.all_secrets())
        self._again, self._slips = settings.worker.again, settings.worker.slips

    @classmethod
    def of(cls, redis: Redis, settings: Settings) -> Reverifier:
        """One for a process without an event loop. Raises SettingsError where the settings are wrong."""
        vault, looking = Vault.open_or_make(settings), connect_door(settings)
        keyring = Keyring(settings, vault, looking)

        async def look(lock: Lock) -> bool:
            try:
                return await keyring.refresh(lock)
            finally:
                await looking.aclose()  # its connections belong to the loop that ends here

        return cls(redis, settings, keyring, vault, lambda lock: asyncio.run(look(lock)))

    def look(self, ids: Iterable[str]) -> Iterator[Outcome]:
        """What each of them would be now; nothing is written. One that is gone meanwhile is left out."""
        for each in ids:
            row = read.delivery(self._redis, each)
            if row is not None and row.verdict in VERDICTS:
                yield self._judge(row)

    def run(self, ids: Iterable[str]) -> Iterator[Outcome]:
        """Write what each of them is now, in batches; what became of each."""
        marks, outcomes = Marks(), self.look(ids)
        while batch := list(_batch(outcomes)):
            yield from self._write(batch, marks)

    def _judge(self, row: DeliveryRow) -> Outcome:
        source = row.meta["source"]

        def outcome(word: Word, reason: str, record: Record | None = None) -> Outcome:
            return Outcome(row.id, source, row.verdict, word, logs.mask(reason), record)

        lock = self._locks.get(source)
        if lock is None:
            return outcome(cast("Word", row.verdict), "its source is not in zohook.toml")
        try:
            delivery = self._seals.whole(row)
        except SettingsError as error:
            return outcome(cast("Word", row.verdict), str(error))
        if not _is_whole(delivery):
            return outcome(cast("Word", row.verdict), "it was refused before its body was read")
        if lock.source.handshake(delivery, lock.way):
            return outcome(cast("Word", row.verdict), "it is a probe, which has no effect")
        if lacks_key(delivery, lock) and not self._fetch(lock):
            return outcome("unverified", "the public keys could not be fetched")
        try:
            record = judge(delivery, lock).record
        except DeliveryError as error:
            record = Record(delivery, "rejected", str(error))
        for index, event in enumerate(record.events):
            event.id = id_within(delivery.id, index)
        word = cast("Word", record.verdict)
        changes = record.verdict != row.verdict
        # What was refused before and is refused again stays as it is, with the reason of then.
        keeps = not changes or (record.verdict == "rejected" and row.verdict == "quarantined")
        return outcome(word, record.reason, None if keeps else self._seals.close(record, lock))

    def _write(self, batch: Sequence[Outcome], marks: Marks) -> Iterator[Outcome]:
        records = [each.record for each in batch if each.record is not None]
        marks.prepare(self._redis, records)
        take = partial(accept, self._redis, again=self._again, cap=EVERY_ONE, slips=self._slips)
        answers = iter(take(records) if records else ())
        for each in batch:
            answer = next(answers) if each.record is not None else None
            if answer is not None and answer.duplicates and not answer.new:
                each = replace(each, word="duplicate")  # noqa: PLW2901 - known only now
            log.info("reverified", source=each.source, delivery=each.id, was=each.was, verdict=each.word)
            yield each


def _batch(outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
    size = 0
    for outcome in islice(outcomes, BATCH):
        yield outcome
        size += len(outcome.record.delivery.body) if outcome.record else 0
        if size > LARGEST:
            return


def _is_whole(delivery: Delivery) -> bool:
    """Whether the body is what came: of a request that was refused early it was never read."""
    told = dict(delivery.headers)
    if "transfer-encoding" in told:
        return bool(delivery.body)
    return told.get("content-length", str(len(delivery.body))) == str(len(delivery.body))


def waiting(redis: Redis) -> int:
    """How many deliveries wait to be verified."""
    return int(redis.zcard(keys.deliveries("unverified")))

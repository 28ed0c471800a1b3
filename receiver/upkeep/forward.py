"""Forwarding: each verified delivery is relayed to an old receiver while a migration lasts, apart from our own work.

What is due is in the ledger, so that nothing is forgotten; a lease lets what a dead process held come again. It may arrive twice.
Each source has a lane of its own: an old receiver that hangs holds up nobody else's.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from receiver import logs
from receiver.errors import SettingsError
from receiver.event import now_ms
from receiver.intake.seals import Seals
from receiver.ledger import forwards
from receiver.upkeep.relay import Answer, Relay, came_round
from receiver.zoho.vault import Vault

if TYPE_CHECKING:
    from redis import Redis

    from receiver.ledger.forwards import Outcome, Taken
    from receiver.settings import Settings
    from receiver.settings_tables import SourceSettings

log = logs.get("forward")
AT_ONCE = 8
TICK = 0.5
LEASE = 60.0
"""Longer than the deadline of a request and the time that a name may take to be resolved."""
FIRST, LONGEST = 10.0, 3_600.0
"""Seconds until the first try again, which double up to an hour."""
REST = 60.0
"""The longest that a lane rests whose receiver takes nothing at all."""


class Forwarder:
    """The lanes of all sources that forward. Several processes may have one: each delivery is leased to one at a time."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        seals = Seals(Vault.open_or_make(settings), settings.all_secrets())
        self._stopping = threading.Event()
        self._lanes = [
            Lane(redis, name, source, seals, self._stopping)
            for name, source in settings.sources.items()
            if source.forward
        ]

    def start(self) -> None:
        """Begin, in threads of its own."""
        for lane in self._lanes:
            lane.start()

    def stop(self) -> None:
        """Take nothing more, and wait a little for what is under way; what does not end comes again."""
        self._stopping.set()
        for lane in self._lanes:
            lane.join()


class Lane:
    """One source's way to its old receiver."""

    def __init__(
        self, redis: Redis, source: str, given: SourceSettings, seals: Seals, stopping: threading.Event
    ) -> None:
        self._redis, self._source, self._seals, self._stopping = redis, source, seals, stopping
        self._longest = given.forward_for * 1000
        self._relay = Relay(given.forward, given.forward_allow, connections=AT_ONCE)
        self._work: queue.SimpleQueue[Taken | None] = queue.SimpleQueue()
        self._free = threading.Semaphore(AT_ONCE)
        self._misses = 0
        self._threads = [threading.Thread(target=self._take, name=f"forward-{source}", daemon=True)]
        self._threads += [
            threading.Thread(target=self._send, name=f"forward-{source}-{number}", daemon=True)
            for number in range(AT_ONCE)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait until it has ended, but no longer than a second."""
        limit = time.monotonic() + 1.0
        for thread in self._threads:
            thread.join(max(0.0, limit - time.monotonic()))
        self._relay.close()

    def _take(self) -> None:
        """Keep the senders busy."""
        while not self._stopping.is_set():
            if not self._free.acquire(timeout=TICK):
                continue
            free = 1
            while free < AT_ONCE and self._free.acquire(blocking=False):
                free += 1
            taken = self._due(free)
            for each in taken:
                self._work.put(each)
            for _ in range(free - len(taken)):
                self._free.release()
            if not taken or self._misses >= AT_ONCE:
                self._stopping.wait(_about(min(REST, TICK * 2 ** min(self._misses // AT_ONCE, 8))))
        for _ in range(AT_ONCE):
            self._work.put(None)

    def _due(self, most: int) -> list[Taken]:
        """What is to be sent now. A receiver that takes nothing at all is asked with one delivery at a time until it does."""
        try:
            return forwards.take(self._redis, self._source, 1 if self._misses >= AT_ONCE else most, LEASE)
        except RedisError as error:
            log.warning("forward.redis", source=self._source, error=str(error))
            return []

    def _send(self) -> None:
        while (taken := self._work.get()) is not None:
            try:
                self._relay_one(taken)
            except RedisError as error:  # its lease ends, and it comes again
                log.warning("forward.redis", source=self._source, error=str(error))
            except Exception:
                log.exception("forward.failed", source=self._source, delivery=taken.row.id)
            finally:
                self._free.release()

    def _relay_one(self, taken: Taken) -> None:
        try:
            delivery = self._seals.whole(taken.row)
        except SettingsError as error:
            self._end(taken, Answer(error=str(error)), "failed")
            return
        if came_round(delivery):
            self._end(
                taken, Answer(error="a Zohook relayed it to here, so it would go round for ever"), "off"
            )
            return
        answer = self._relay.send(delivery)
        self._misses = 0 if answer.ok else self._misses + 1
        self._end(taken, answer, "done" if answer.ok else "again")

    def _end(self, taken: Taken, answer: Answer, outcome: Outcome) -> None:
        """Write it down; one that was tried for too long is given up."""
        now, tries = now_ms(), int(taken.known.get("tries", 0)) + 1
        first = int(taken.known.get("first") or now)
        due = now + int(_about(min(LONGEST, FIRST * 2 ** min(tries - 1, 20))) * 1000)
        if outcome == "again" and due - first > self._longest:
            outcome = "failed"
        known: dict[str, Any] = {
            "tries": tries,
            "first": first,
            "last": now,
            "status": answer.status,
            "error": answer.error,
        }
        if outcome == "again":
            known["due"] = due
        forwards.end(self._redis, taken, outcome, known, due)
        log.info("forward", source=self._source, delivery=taken.row.id, outcome=outcome, tries=tries, status=answer.status, error=answer.error)  # fmt: skip


def _about(seconds: float) -> float:
    """So many seconds, more or less, that not all come at once."""
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311 - no secret

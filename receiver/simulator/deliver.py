"""Sends webhooks over real HTTP from a few threads, once each as Zoho does, and counts what came of it."""

from __future__ import annotations

import queue
import random
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from receiver.simulator.journal import Sent

if TYPE_CHECKING:
    from collections.abc import Callable

    from receiver.simulator.journal import Journal
    from receiver.simulator.limits import Limits
    from receiver.simulator.world import World


@dataclass(slots=True)
class Parcel:
    """One request to send; `facts` name what happened, the same fact in two parcels by the same name."""

    product: str
    event: str
    url: str
    body: bytes
    headers: dict[str, str]
    facts: tuple[str, ...]
    method: str = "POST"
    on_answer: Callable[[int], None] | None = None


@dataclass(slots=True)
class Tally:
    """Counts since the simulator began."""

    queued: int = 0
    sent: int = 0
    answered_200: int = 0
    failed: int = 0
    duplicates: int = 0
    dropped: int = 0
    facts: set[str] = field(default_factory=set)
    facts_200: set[str] = field(default_factory=set)
    statuses: dict[int, int] = field(default_factory=dict)


class Sender:
    """A bounded queue and a few threads; `start` and `stop` may be called again and again."""

    def __init__(self, world: World, limits: Limits, journal: Journal, *, duplicates: float = 0.0) -> None:
        self.world = world
        self.limits = limits
        self.journal = journal
        self.duplicates = duplicates
        self.tally = Tally()
        self._chance = random.Random(7)  # noqa: S311 - which delivery is doubled is no secret
        self._queue: queue.Queue[tuple[Parcel, bool] | None] = queue.Queue(limits.delivery_queue)
        self._threads: list[threading.Thread] = []
        self._client: httpx.Client | None = None
        self._idle = threading.Condition()
        self._open = 0

    def start(self) -> None:
        with self._idle:
            if self._threads:
                return
            self._client = httpx.Client(
                timeout=self.limits.delivery_deadline,
                follow_redirects=False,
                trust_env=False,
                limits=httpx.Limits(max_keepalive_connections=self.limits.delivery_threads),
            )
            self._threads = [
                threading.Thread(target=self._work, name=f"sender-{n}", daemon=True)
                for n in range(self.limits.delivery_threads)
            ]
            for thread in self._threads:
                thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Lets the threads finish what they hold; what is still queued then is never sent."""
        threads, self._threads = self._threads, []
        for _ in threads:
            self._queue.put(None)
        until = time.monotonic() + timeout
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        if self._client is not None:
            self._client.close()
            self._client = None

    def put(self, parcel: Parcel) -> None:
        """Queues a delivery; drops it where the queue is full, for a caller holds the world's lock."""
        self.start()
        twice = self.duplicates > 0 and self._chance.random() < self.duplicates
        for again in (False, True) if twice else (False,):
            try:
                with self._idle:
                    self._queue.put_nowait((parcel, again))
                    self._open += 1
                    self.tally.queued += 1
            except queue.Full:
                with self._idle:
                    self.tally.dropped += 1
                self.journal.sent(self._entry(parcel, dropped=True))

    @property
    def pending(self) -> int:
        return self._open

    def drain(self, timeout: float = 10.0) -> bool:
        """Waits until everything queued has its answer; False when that took too long."""
        with self._idle:
            return self._idle.wait_for(lambda: self._open == 0, timeout)

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            try:
                self._send(*item)
            finally:
                with self._idle:
                    self._open -= 1
                    self._idle.notify_all()

    def _send(self, parcel: Parcel, again: bool) -> None:
        entry = self._entry(parcel, duplicate=again)
        client = self._client
        began = time.monotonic()
        try:
            if client is None:
                raise httpx.TransportError("the simulator has stopped")
            answer = client.request(
                parcel.method, parcel.url, content=parcel.body or None, headers=parcel.headers
            )
            entry.status = answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            entry.error = f"{type(error).__name__}: {error}"
        entry.seconds = time.monotonic() - began
        self._count(entry)
        self.journal.sent(entry)
        if parcel.on_answer is not None:
            parcel.on_answer(entry.status)

    def _count(self, entry: Sent) -> None:
        with self._idle:
            tally = self.tally
            tally.sent += 1
            tally.duplicates += entry.duplicate
            tally.statuses[entry.status] = tally.statuses.get(entry.status, 0) + 1
            tally.facts.update(entry.facts)
            if entry.status == 200:
                tally.answered_200 += 1
                tally.facts_200.update(entry.facts)
            else:
                tally.failed += 1

    def _entry(self, parcel: Parcel, *, duplicate: bool = False, dropped: bool = False) -> Sent:
        return Sent(
            at=self.world.now(),
            product=parcel.product,
            event=parcel.event,
            method=parcel.method,
            url=parcel.url,
            headers=dict(parcel.headers),
            body=parcel.body.decode(errors="replace"),
            facts=parcel.facts,
            duplicate=duplicate,
            dropped=dropped,
        )

"""The leases of a process: renewed while their runs run, and fenced when they are lost or past their time limit."""

from __future__ import annotations

import ctypes
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from receiver import logs
from receiver.errors import Fenced
from receiver.ledger import runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis import Redis

    from receiver.ledger.runs import Claim

log = logs.get("leases")


class TimedOut(BaseException):
    """Raised in a handler's thread past its time limit; no `except Exception` of the handler's swallows it."""


class Held:
    """One run under lease. `fence()` raises once the run is no longer ours to act for."""

    def __init__(
        self,
        claim: Claim,
        deadline: float,
        on_cut: Callable[[Held, Exception | None], None] | None = None,
    ) -> None:
        self.claim = claim
        self.deadline = deadline
        self.on_cut = on_cut
        self.lost = ""
        self.thread = threading.get_ident()
        self.renewed = claim.heard
        self.keeper: Leases | None = None

    def fence(self) -> None:
        """Raises Fenced when the run was lost or timed out: nothing may be done in its name any more."""
        # A process that was frozen wakes up with a lease that ran out long ago, and its keeper has not looked yet.
        if self.keeper is not None and time.monotonic() - self.renewed > self.keeper.lease:
            self.keeper.renew()
        if self.lost:
            raise Fenced(
                f"run {self.claim.run} of {self.claim.id} {self.lost}; what it does from now on is refused"
            )


class Leases:
    """Keeps the leases of one process. One thread for all, so a hundred handlers cost one round trip a renewal."""

    def __init__(self, redis: Redis, lease: float) -> None:
        self._redis = redis
        self.lease = lease
        self._held: dict[str, Held] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._asked: dict[str, Exception] = {}
        self.ended: Callable[[], list[Claim]] = list
        """The claims of runs that have ended, and whose ending is not written yet."""
        self.stuck: dict[int, float] = {}
        """The threads whose runs are over while they still do something, and since when."""

    def hold(self, *held_runs: Held) -> None:
        """Keep the leases of these runs until `drop`. One that was told to stop a moment ago is stopped."""
        asked: list[tuple[Held, Exception]] = []
        with self._lock:
            for held in held_runs:
                self._held[held.claim.member] = held
                held.keeper = self
                if (error := self._asked.pop(held.claim.worker, None)) is not None:
                    asked.append((held, error))
            if self._thread is None:
                self._thread = threading.Thread(target=self._keep, name="leases", daemon=True)
                self._thread.start()
        for held, error in asked:
            self._cut(held, "was stopped", error)

    @contextmanager
    def holding(self, *held_runs: Held) -> Iterator[None]:
        """Keep these leases within, and let go of them also where the time limit comes just then."""
        try:
            self.hold(*held_runs)
            yield
        finally:
            try:
                self.drop(*held_runs)
            except TimedOut:  # it comes once
                self.drop(*held_runs)
                raise

    def drop(self, *held_runs: Held) -> None:
        """The runs have ended; a thread that was given up for lost is back."""
        with self._lock:
            for held in held_runs:
                if self._held.get(held.claim.member) is held:
                    del self._held[held.claim.member]
                self.stuck.pop(held.thread, None)

    def forget(self, token: str) -> None:
        """The run of that claim is over, whether it was told to stop or not."""
        if self._asked:
            with self._lock:
                self._asked.pop(token, None)

    def close(self) -> None:
        """Stop renewing."""
        self._stop.set()

    def _keep(self) -> None:
        pause = min(0.25, self.lease / 6)
        renewed = 0.0
        while not self._stop.wait(pause):
            for held in self._late():
                log.warning("run.timed_out", job=held.claim.id, run=held.claim.run)
                self._cut(held, "passed its time limit")
            if time.monotonic() - renewed >= self.lease / 3:
                renewed = time.monotonic()
                self.renew()

    def _late(self) -> list[Held]:
        now = time.monotonic()
        with self._lock:
            return [held for held in self._held.values() if not held.lost and now > held.deadline]

    def stop(self, error: Exception, token: str = "") -> int:
        """End the run of that claim, or all of them, before its time, the way a time limit does; how many there were.

        One that is begun and not held yet is stopped as soon as it is.
        """
        with self._lock:
            found = [held for held in self._held.values() if held.on_cut and not held.lost]
            if token and token not in {held.claim.worker for held in self._held.values()}:
                self._asked[token] = error
        # Of a batch the lead ends all; the others have its thread and no time limit of their own.
        leads: dict[int, Held] = {}
        for held in found:
            if token in ("", held.claim.worker):
                leads[held.thread] = min(leads.get(held.thread, held), held, key=lambda one: one.deadline)
        stopped = list(leads.values())
        for held in stopped:
            log.warning("run.stopped", job=held.claim.id, run=held.claim.run, why=str(error))
            self._cut(held, "was stopped", error)
        return len(stopped)

    def _cut(self, held: Held, how: str, error: Exception | None = None) -> None:
        """The run is over, whatever its thread still does; where no error says why, it is too late."""
        with self._lock:
            if held.lost or self._held.get(held.claim.member) is not held:
                return
            held.lost = how
            first = held.thread not in self.stuck
            self.stuck.setdefault(held.thread, time.monotonic())
        if on_cut := held.on_cut:
            try:
                on_cut(held, error)
            except Exception:  # the leases of all others must be kept
                log.exception("run.not_ended", job=held.claim.id, run=held.claim.run)
        if not first:  # a thread that holds many is told once
            return
        # A handler that waits in Python is freed by this; one that waits in C keeps its thread, which then counts as lost.
        # Under the lock, and only while it is held: the thread must not meet it in its next job.
        with self._lock:
            if self._held.get(held.claim.member) is held:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(held.thread), ctypes.py_object(TimedOut)
                )

    def renew(self) -> None:
        """Renew the leases of all runs, also of those whose ending waits to be written; those that are no longer ours are lost."""
        with self._lock:
            held = [each for each in self._held.values() if not each.lost]
        claims = [each.claim for each in held] + self.ended()
        if not claims:
            return
        asked = time.monotonic()
        try:
            answers = runs.renew(
                self._redis, self.lease, [(each.member, each.run, each.worker) for each in claims]
            )
        except RedisError as error:
            log.warning("leases.not_renewed", count=len(claims), error=str(error))
            return
        for each, own in zip(held, answers, strict=False):
            if own:
                each.renewed = asked
            else:
                with self._lock:
                    gone = self._held.get(each.claim.member) is not each
                if not gone:
                    each.lost = "was taken up by another worker"
                    log.warning("run.lost", job=each.claim.id, run=each.claim.run)

"""The sweep: what is due gets a slip, whatever became of the last one. One process at a time does it, under a lease."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import RedisError

from receiver import keys, logs
from receiver.ledger import read, runs
from receiver.ledger.condition import unless_full
from receiver.ledger.script import Argument  # noqa: TC001
from receiver.routing import replays

if TYPE_CHECKING:
    from receiver.routing.process import Process

log = logs.get("sweep")
RECHECK = 60.0
HOLD = """
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1]) -- needs no memory, so that a full Redis lets the next go on: see finish.lua
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""


def hold_lease(redis: Any, key: str, owner: str, seconds: float) -> bool:
    """Take or renew a lease that one process has at a time."""
    args: list[Argument] = [owner, max(1000, int(seconds * 1000))]
    return bool(redis.eval(HOLD, 1, key, *args))


class Sweeper:
    """A thread of the worker that sweeps while its process has the lease."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._redis = process.redis
        self._stop = threading.Event()
        self._redis_run = ""
        self._not_before = 0.0
        self._rechecked = 0.0
        self._thread = threading.Thread(target=self._loop, name="sweep", daemon=True)

    def start(self) -> None:
        """Begin to sweep, once a tick."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Have it end soon."""
        self._stop.set()

    def stop(self) -> None:
        """End, and leave the lease to others at once."""
        self.ask_to_stop()
        if self._thread.is_alive():
            self._thread.join(5)

    def _loop(self) -> None:
        settings = self._process.settings.worker
        while not self._stop.wait(settings.tick):
            try:
                if hold_lease(self._redis, keys.sweep(), self._process.name, settings.tick * 5):
                    self.once()
            except RedisError as error:
                log.warning("sweep.failed", error=str(error))
            except Exception:  # without a sweep nothing that was lost is found again
                log.exception("sweep.broken")
        try:
            if self._redis.get(keys.sweep()) == self._process.name.encode():
                self._redis.delete(keys.sweep())
        except RedisError:
            log.debug("sweep.lease_left")

    def once(self) -> tuple[int, int, int]:
        """Sweep page by page until nothing is due: (seen, slips given, deaths found)."""
        settings = self._process.settings.worker
        if not self._fit():
            return (0, 0, 0)
        replays.advance(self._redis, settings.again, settings.slips)
        total = [0, 0, 0]
        while True:
            page = runs.sweep(self._redis, again=settings.again, deaths=settings.deaths, slips=settings.slips)
            total = [sum(pair) for pair in zip(total, page, strict=True)]
            if page[0] < 500 or self._stop.is_set():
                break
        while runs.refill(self._redis, again=settings.again, slips=settings.slips):
            if self._stop.is_set():
                break
        if total[1]:
            log.info("sweep", seen=total[0], slips=total[1], deaths=total[2])
        if time.monotonic() - self._rechecked > RECHECK:
            self._rechecked = time.monotonic()
            self.recheck()
        return total[0], total[1], total[2]

    def recheck(self) -> int:
        """Release what was parked for a reason that has ended; how much."""
        released = runs.recheck(self._redis)
        for reason in read.parked_work(self._redis):
            kind, _, name = reason.partition(":")
            if self._over(kind, name):
                released += runs.release(self._redis, reason)
                log.info("released", reason=reason, jobs=released)
        return released

    def _over(self, kind: str, name: str) -> bool:
        if kind == "no_handler":
            return self._process.catalogue.elsewhere(name)
        if kind == "paused":
            return not self._redis.sismember(keys.paused(), name)
        if kind == "limit":
            return not self._redis.exists(keys.calls_blocked(name))
        return self._usable(name)

    def _usable(self, connection: str) -> bool:
        tokens = self._process.clients.tokens
        return connection in tokens.accounts.connections and tokens.status(connection).state == "ok"

    def _fit(self) -> bool:
        """Whether to sweep now. After Redis was lost or replaced every lease looks expired, though their runs go on: wait one."""
        found = str(self._redis.info("server")["run_id"])
        if self._redis_run and found != self._redis_run:
            self._not_before = time.monotonic() + self._process.settings.worker.lease
            log.warning("redis.changed", wait=self._process.settings.worker.lease)
        elif not self._redis_run:
            seen = cast("bytes | None", self._redis.get(keys.redis_run()))
            if seen and seen.decode() != found:
                self._not_before = time.monotonic() + self._process.settings.worker.lease
        if self._redis_run != found:
            self._redis_run = found
            with unless_full():
                self._redis.set(keys.redis_run(), found)
        return time.monotonic() >= self._not_before

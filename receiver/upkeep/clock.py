"""The clock: one process at a time, under a lease, does what is due by time alone."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from receiver import keys, logs
from receiver.bell import Bell
from receiver.errors import ZohookError
from receiver.event import new_id
from receiver.ledger.connect import check, connect
from receiver.ledger.witness import Witness
from receiver.routing.sweep import hold_lease
from receiver.upkeep import channels, retention
from receiver.upkeep.forward import Forwarder
from receiver.upkeep.unverified import Unverified
from receiver.zoho import Clients, probe
from receiver.zoho.scopes import drift

if TYPE_CHECKING:
    from redis import Redis

    from receiver.settings import Settings

log = logs.get("clock")
ROUND = 5.0
"""Seconds between two rounds while something is still to be made; a round costs one read a channel."""
TRIM = 60.0
LOOK = 60.0


class Clock:
    """Rounds of upkeep while this process holds the lease."""

    def __init__(self, settings: Settings, redis: Redis, clients: Clients) -> None:
        self._settings, self._redis, self._clients = settings, redis, clients
        self._name = f"{os.uname().nodename}-{os.getpid()}-{new_id()[-6:]}"
        self._unverified = Unverified(redis, settings)
        self._forwarder = Forwarder(redis, settings)
        self._retention = retention.Retention(redis, settings.retention)
        self._trimmed = -TRIM
        self._looked = -LOOK
        self._lacking: dict[str, tuple[str, ...]] = {}
        self._witness = Witness.of(settings)
        self.stopping = Bell()

    def run(self) -> None:
        """Rounds until told to stop; an error of one round is said and the next one comes."""
        self._forwarder.start()
        while not self.stopping.is_set():
            try:
                self._witness.look(self._redis)
                if hold_lease(self._redis, keys.clock(), self._name, ROUND * 3):
                    self._verify()  # before anything of it could be forgotten
                    self._trim()  # before what needs room in Redis: this is what makes it
                    channels.ensure(self._settings, self._redis, self._clients)
                    self._look_at_consents()
            except (RedisError, ZohookError) as error:
                log.warning("clock.failed", error=str(error))
            self.stopping.wait(ROUND)
        self._forwarder.stop()
        try:
            if self._redis.get(keys.clock()) == self._name.encode():
                self._redis.delete(keys.clock())
        except RedisError as error:
            log.warning("clock.lease_left", error=str(error))

    def _look_at_consents(self) -> None:
        """Say once what a consent lacks, before a handler fails on it."""
        if time.monotonic() - self._looked < LOOK:
            return
        self._looked = time.monotonic()
        tokens = self._clients.tokens
        for name in tokens.accounts.connections:
            lacks = drift(
                self._redis, self._settings, tokens.accounts.of(name)[0], tokens.status(name).scopes
            )
            if lacks and self._lacking.get(name) != lacks:
                log.warning("consent.lacks", connection=name, scopes=lacks, cure=f"zohook connect {name}")
            self._lacking[name] = lacks

    def _verify(self) -> None:
        """Verify what waits for it. Where that fails, as in a Redis that is full, the round goes on: it makes room."""
        try:
            self._unverified.verify()
        except (RedisError, ZohookError) as error:
            log.warning("clock.failed", error=str(error))

    def _trim(self) -> None:
        if self._retention.behind or time.monotonic() - self._trimmed > TRIM:
            self._trimmed = time.monotonic()
            self._retention.trim()
            retention.tidy(self._redis)


def main(settings: Settings) -> int:
    """Run the clock until SIGTERM or Ctrl-C; the exit status."""
    logs.setup(settings)
    redis = connect(settings)
    check(redis)
    clock = Clock(settings, redis, Clients(redis, settings, probe.vault(settings, redis)))

    def stop(_signum: int, _frame: Any) -> None:
        clock.stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    log.info("clock.started")
    clock.run()
    log.info("clock.stopped")
    return 0

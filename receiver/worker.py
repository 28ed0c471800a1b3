"""The worker: an RQ worker with threads, that takes as many slips as it has idle threads and does RQ's bookkeeping in batches."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError
from rq.command import parse_payload
from rq.worker import BaseWorker, WorkerStatus

from receiver import keys, logs
from receiver.bell import Bell
from receiver.collector import spare_what_is_there
from receiver.ledger import read, turns
from receiver.ledger.accept import QUEUE, RECOVERED, REPLAY
from receiver.ledger.condition import time_of, unless_full
from receiver.ledger.connect import check, connect
from receiver.routing import process as processes
from receiver.routing import run, stops
from receiver.routing.process import Process
from receiver.routing.route import queue_of
from receiver.routing.router import unknown_connections, unknown_patterns, unknown_sources
from receiver.routing.shares import LONG
from receiver.routing.slips import Slip as SlipJob
from receiver.routing.sweep import Sweeper
from receiver.routing.taker import Taker
from receiver.routing.waker import Waker
from receiver.settings import Settings
from receiver.sources import expected_types
from receiver.zoho import probe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

    from receiver.ledger.runs import Kind
    from receiver.routing.leases import Leases

log = logs.get("worker")
BEAT = 5.0
SELDOM = 3_000
"""New objects until the collector looks for rings. Ours leave none, but handlers may, and an event that hangs on one may be large."""
LOST_THREADS = 0.5
LOST_AFTER = 1.0
"""Seconds that a thread has to come back after its run was ended, before it counts as lost."""
GRACE = 3.0
"""Seconds that a handler in a process of its own has to come back after its time limit, before that process ends."""
PARTING = 5.0
"""Seconds without an answer of Redis after which a worker that stops leaves: shorter than a supervisor's patience. What could not be
told is run again when its lease is over."""


class Worker(BaseWorker):
    """RQ sees a worker like any other; the ledger decides what is true."""

    job_class = SlipJob
    log_job_description = False

    def __init__(self, process: Process, queues: Sequence[str], connection: Redis) -> None:
        super().__init__(
            list(queues),
            name=process.name,
            connection=connection,
            serializer="json",
            worker_ttl=60,
            log_job_description=False,
        )
        self.process = process
        self.stopping, self.bell = Bell(), Bell()
        self.waker = Waker(process.redis, self.bell)
        self.taker = Taker(process, connection, queues, self.bell)
        self._beaten = 0.0

    def request_stop(self, signum: int, frame: Any) -> None:  # noqa: ARG002 - RQ's signature
        """A flag and no more: an exception raised here could come between taking a slip and noting it."""
        if self.stopping.is_set() and signum == signal.SIGINT:
            raise SystemExit(1)
        self.stopping.set()
        self._stop_requested = self.taker.stopping = True
        self.bell.set()

    def handle_payload(self, message: Any) -> None:
        """RQ's commands, as it hands them to this thread. One that cannot be read must not make the worker deaf."""
        try:
            told = parse_payload(message)
            if told["command"] == "shutdown":
                self.request_stop(signal.SIGTERM, None)
            elif not self.taker.stops.obey(told, self.taker.under_way):
                log.warning("command.unknown", command=str(told["command"])[:100])
        except Exception:
            log.exception("command.failed")

    def _pubsub_exception_handler(self, exc: Exception, pubsub: Any, pubsub_thread: Any) -> None:
        """RQ's goes on after a lost connection and ends the thread at anything else: a time-out of Redis would make the worker deaf."""
        if isinstance(exc, RedisError):
            exc = ConnectionLost(str(exc))
        super()._pubsub_exception_handler(exc, pubsub, pubsub_thread)

    def run(self, *, burst: bool = False) -> int:
        """Work until told to stop, or until nothing is left in a burst. 0, or 1 if too many threads are stuck."""
        with unless_full():  # else it registers with a later heartbeat
            self.register_birth()
            self.set_state(WorkerStatus.STARTED)
        self.subscribe()
        self._install_signal_handlers()
        self.taker.hands.start()
        sweeper = Sweeper(self.process)
        sweeper.start()
        log.info(
            "worker.started",
            name=self.name,
            threads=self.process.settings.worker.threads,
            queues=self.taker.queues,
            handlers=len(self.process.plugins.handlers),
        )
        try:
            return self._loop(burst=burst)
        finally:
            self._end(sweeper)

    def _loop(self, *, burst: bool) -> int:
        while not self.stopping.is_set():
            try:
                self._beat()
                if self._crippled():
                    return 1
                self.bell.clear()
                if self.taker.turn(self.taker.hands.room()):
                    continue
                if burst and (self.taker.suspended or self._nothing_left()):
                    return 0
                self._rest(0.05 if burst else 1)
            except RedisError as error:
                log.warning("worker.redis", error=str(error))
                self.stopping.wait(1)
        return 0

    def _rest(self, seconds: float) -> None:
        if self.taker.hands.room() and not self.taker.suspended:
            self.waker.ask()
        self.bell.wait(LONG if self.taker.waits() else seconds)

    def _beat(self) -> None:
        """RQ's heartbeat and the catalogue's, every few seconds."""
        if time.monotonic() - self._beaten < BEAT:
            return
        self._beaten = time.monotonic()
        under_way = list(self.taker.under_way.values())
        state = WorkerStatus.BUSY if under_way else WorkerStatus.IDLE
        with unless_full():
            if not self.connection.exists(self.key):
                self.register_birth()
            self.heartbeat()
            self.set_state(WorkerStatus.SUSPENDED if self.taker.suspended else state)
        self.taker.asides.look()
        turns.beat(self.connection, self.name, self.taker.queues, under_way)
        self.process.catalogue.publish()
        self.process.witness.look(self.connection)

    def _crippled(self) -> bool:
        """Whether so many threads are stuck past their time limits, or all that a handler may have, that the process must be replaced."""
        since, threads = list(self.process.leases.stuck.items()), self.process.settings.worker.threads
        stuck = {thread for thread, each in since if time.monotonic() - each > LOST_AFTER}
        cramped = self.taker.hands.cramped(stuck)
        if len(stuck) < max(1, int(threads * LOST_THREADS)) and not cramped:
            return False
        log.error("worker.crippled", stuck=len(stuck), threads=threads, cramped=cramped)
        return True

    def _nothing_left(self) -> bool:
        """Whether nothing is under way, queued, or due within two seconds."""
        if self.taker.under_way:
            return False
        if any(self.connection.llen(keys.rq_queue(name)) for name in self.taker.served()):
            return False
        if any(queue.partition("/")[0] in self.taker.queues for _, queue in read.waiting(self.connection)):
            return False
        return not self.connection.zcount(keys.due(), "-inf", time_of(self.connection) + 2000)

    def _end(self, sweeper: Sweeper) -> None:
        """Finish what runs, give back what was not begun, and sign off."""
        self.stopping.set()
        self.process.draining = self.taker.stopping = True
        sweeper.ask_to_stop()
        self.waker.close()
        self.taker.hands.close()
        reached = self._let_finish()
        self.process.close()
        if reached:
            sweeper.stop()
            self._quietly(self.teardown)
        log.info("worker.stopped", name=self.name, worked=self.taker.worked)

    def _let_finish(self) -> bool:
        """Wait for the threads and tell the ledger what they did; False where Redis is away and nobody can be told."""
        longest = max((each.options.timeout for each in self.process.plugins.handlers.values()), default=60)
        heard = time.monotonic()
        limit = heard + longest + 5
        while (self._at_work() or self.taker.unsaid()) and time.monotonic() < limit:
            self.bell.clear()
            try:
                self._beat()
                more = self.taker.turn(0)
                heard = time.monotonic()
            except RedisError as error:
                log.warning("worker.redis", error=str(error))
                more = False
                if time.monotonic() > heard + PARTING:
                    log.warning(
                        "worker.unsaid", hint="Redis is away; what ran here and could not be told runs again"
                    )
                    return False
            if not more:
                self.bell.wait(0.05)
        return True

    def _at_work(self) -> bool:
        """Whether threads still work; those that are lost are not waited for."""
        return self.taker.hands.busy() > len(self.process.leases.stuck)

    def _quietly(self, act: Any) -> Any:
        try:
            return act()
        except RedisError as error:
            log.warning("worker.redis", error=str(error))
            return None


def queues_for(process: Process, wanted: Sequence[str] = ()) -> list[str]:
    """The RQ queues to serve, in order: recovered work first, replays last, the handlers' own between.

    Where queues are named, what died and what a person runs again are served all the same, for they belong to no queue: with workers
    for named queues only they would be nobody's. Who names one of those lanes gets just what he named.
    """
    named = [name if name.startswith(QUEUE) else f"{QUEUE}_{name}" for name in wanted]
    if not {RECOVERED, REPLAY}.isdisjoint(named):
        return named
    own = {queue_of(each.options) for each in process.plugins.handlers.values()} - {QUEUE}
    return [RECOVERED, *(named or [QUEUE, *sorted(own)]), REPLAY]


def main(settings: Settings, *, burst: bool = False, queues: Sequence[str] = ()) -> int:
    """Run a worker until it is told to stop; the exit status."""
    logs.setup(settings)
    redis = connect(settings)
    check(redis)
    probe.vault(settings, redis)
    process = Process(settings, redis)
    processes.become(process)
    listed = expected_types(settings.sources)
    for sentence in unknown_patterns(process.plugins.handlers.values(), listed):
        log.warning("handler.unknown_type", hint=sentence)
    for sentence in unknown_sources(process.plugins.handlers.values(), settings.sources):
        log.warning("handler.unknown_source", hint=sentence)
    for sentence in unknown_connections(process.plugins.handlers.values(), settings.connections):
        log.warning("handler.unknown_connection", hint=sentence)
    process.catalogue.publish(born=True)
    spare_what_is_there(SELDOM)
    # RQ gives its connection the name and the time-outs of a worker; the threads have one of their own.
    with logs.in_background():
        return Worker(process, queues_for(process, queues), connect(settings)).run(burst=burst)


def alone(kind: str, found_id: str, run_number: str, name: str) -> int:
    """Run one suspect and end: the body of the isolated process."""
    stops.deafen()
    settings = Settings.load()
    logs.setup(settings)
    process = Process(settings, name=name)
    # Its worker ends it then, but that may be dead, and a handler that does not let go of the interpreter hears nobody.
    signal.setitimer(signal.ITIMER_REAL, process.time_alone(cast("Kind", kind), found_id))
    stops.listen(process.leases)
    threading.Thread(target=_end_if_stuck, args=(process.leases,), name="end", daemon=True).start()
    try:
        run.work(process, cast("Kind", kind), found_id, int(run_number), alone=True)
    finally:
        process.close()
    return 0


def _end_if_stuck(leases: Leases) -> None:
    """End this process once its handler is past its time limit and does not come back: the run was ended before."""
    while not leases.stuck:
        time.sleep(0.2)
    time.sleep(GRACE)
    if leases.stuck:
        log.error("suspect.stuck", after=GRACE)
        os._exit(0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--alone"] and len(sys.argv) == 6:
        sys.exit(alone(*sys.argv[2:]))
    sys.exit(main(Settings.load()))

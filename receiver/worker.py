"""The worker: an RQ worker with threads, that takes as many slips as it has idle threads and does RQ's bookkeeping in batches."""

from __future__ import annotations

import queue
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import RedisError
from rq.worker import BaseWorker, WorkerStatus

from receiver import keys, logs
from receiver.ledger import turns
from receiver.ledger.accept import QUEUE, RECOVERED, REPLAY
from receiver.ledger.connect import check, connect
from receiver.routing import process as processes
from receiver.routing import run
from receiver.routing.leases import TimedOut
from receiver.routing.process import Process
from receiver.routing.router import unknown_patterns
from receiver.routing.slips import Slip as SlipJob
from receiver.routing.sweep import Sweeper
from receiver.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

    from receiver.ledger.runs import Kind
    from receiver.ledger.turns import Slip

log = logs.get("worker")
BEAT = 15.0
LOST_THREADS = 0.5


class Worker(BaseWorker):
    """RQ sees a worker like any other; the ledger decides what is true."""

    job_class = SlipJob
    log_job_description = False

    def __init__(self, process: Process, queues: Sequence[str], connection: Redis) -> None:
        super().__init__(
            list(queues), connection=connection, serializer="json", worker_ttl=60, log_job_description=False
        )
        self.process = process
        self.names = list(queues)
        self.threads = process.settings.worker.threads
        self.stopping = threading.Event()
        self.freed = threading.Event()
        self.inbox: queue.SimpleQueue[Slip | None] = queue.SimpleQueue()
        self.lock = threading.Lock()
        self.under_way: dict[str, Slip] = {}
        self.done: list[Slip] = []
        self.worked = 0
        self._beaten = 0.0

    def request_stop(self, signum: int, frame: Any) -> None:  # noqa: ARG002 - RQ's signature
        """A flag and no more: an exception raised here could come between taking a slip and noting it."""
        if self.stopping.is_set() and signum == signal.SIGINT:
            raise SystemExit(1)
        self.stopping.set()
        self._stop_requested = True
        self.freed.set()

    def run(self, *, burst: bool = False) -> int:
        """Work until told to stop, or until nothing is left in a burst. 0, or 1 if too many threads are stuck."""
        self.register_birth()
        self.subscribe()
        self._install_signal_handlers()
        self.set_state(WorkerStatus.STARTED)
        hands = [
            threading.Thread(target=self._hand, name=f"hand-{index}", daemon=True)
            for index in range(self.threads)
        ]
        for hand in hands:
            hand.start()
        sweeper = Sweeper(self.process)
        sweeper.start()
        log.info(
            "worker.started",
            name=self.name,
            threads=self.threads,
            queues=self.names,
            handlers=len(self.process.plugins.handlers),
        )
        try:
            return self._loop(burst=burst)
        finally:
            self._end(hands, sweeper)

    def _loop(self, *, burst: bool) -> int:
        while not self.stopping.is_set():
            try:
                self._beat()
                if self._crippled():
                    return 1
                taken = self._turn()
                if burst and not taken and not self.under_way and not self._due_soon():
                    return 0
                if not taken:
                    self._wait(burst=burst)
            except RedisError as error:
                log.warning("worker.redis", error=str(error))
                self.stopping.wait(1)
        return 0

    def _turn(self) -> int:
        """Strike off and take, in one script; hand what was taken to the threads."""
        with self.lock:
            done, self.done = self.done, []
            idle = self.threads - len(self.under_way)
        if not done and not idle:
            return 0
        try:
            slips = turns.turn(self.connection, self.name, self.names, idle, done)
        except RedisError:
            with self.lock:
                self.done = done + self.done
            raise
        with self.lock:
            self.under_way.update((slip.id, slip) for slip in slips)
        for slip in slips:
            self.inbox.put(slip)
        return len(slips)

    def _wait(self, *, burst: bool) -> None:
        """Wait for something to do: a free thread where all are busy, else a wake-up, which carries nothing."""
        with self.lock:
            busy, done = len(self.under_way) >= self.threads, bool(self.done)
        if busy:
            self.freed.wait(1)
            self.freed.clear()
        elif not done:
            self.connection.blpop([keys.wake()], timeout=0.05 if burst else 1)

    def _hand(self) -> None:
        while (slip := self.inbox.get()) is not None:
            if self.stopping.is_set():
                self._give_back(slip)
                continue
            try:
                self._do(slip)
            except (Exception, TimedOut):
                log.exception("slip.failed", slip=slip.id)
            finally:
                with self.lock:
                    self.under_way.pop(slip.id, None)
                    self.done.append(slip)
                    self.worked += 1
                self.freed.set()

    def _do(self, slip: Slip) -> None:
        ids = slip.ids()
        if ids is None:
            log.error("slip.forged", id=slip.id, queue=slip.queue)
            return
        kind, found, number = ids
        word = run.work(self.process, cast("Kind", kind), found, number)
        log.debug("slip.done", slip=slip.id, id=found, run=number, word=word)

    def _give_back(self, slip: Slip) -> None:
        try:
            turns.give_back(self.connection, self.name, [slip])
        except RedisError as error:
            log.warning("slip.not_given_back", slip=slip.id, error=str(error))
        with self.lock:
            self.under_way.pop(slip.id, None)

    def _beat(self) -> None:
        """RQ's heartbeat, the catalogue's, and RQ's suspension, every few seconds."""
        if time.monotonic() - self._beaten < min(BEAT, 5.0):
            return
        self._beaten = time.monotonic()
        if not self.connection.exists(self.key):
            self.register_birth()
        self.heartbeat()
        with self.lock:
            under_way = list(self.under_way.values())
        self.set_state(WorkerStatus.BUSY if under_way else WorkerStatus.IDLE)
        turns.beat(self.connection, self.name, self.names, under_way)
        self.process.catalogue.publish()
        self.check_for_suspension(burst=False)

    def _crippled(self) -> bool:
        """Whether so many threads are stuck past their time limits that the process must be replaced."""
        stuck = len(self.process.leases.stuck)
        if stuck < max(1, int(self.threads * LOST_THREADS)):
            return False
        log.error("worker.crippled", stuck=stuck, threads=self.threads)
        self.stopping.set()
        return True

    def _due_soon(self) -> bool:
        horizon = (time.time() + 2) * 1000
        return bool(self.connection.zcount(keys.due(), "-inf", horizon))

    def _end(self, hands: list[threading.Thread], sweeper: Sweeper) -> None:
        """Finish what runs, give back what was not begun, and sign off."""
        self.stopping.set()
        self.process.draining = True
        sweeper.stop()
        for _ in hands:
            self.inbox.put(None)
        limit = (
            time.monotonic()
            + max((each.options.timeout for each in self.process.plugins.handlers.values()), default=60)
            + 5
        )
        while any(hand.is_alive() for hand in hands) and time.monotonic() < limit:
            with self.lock:
                left = len(self.under_way) - len(self.process.leases.stuck)
            if left <= 0:
                break
            self._quietly(self._beat)
            time.sleep(0.02)
        self._quietly(lambda: turns.turn(self.connection, self.name, self.names, 0, self.done))
        self._quietly(self.teardown)
        self.process.close()
        log.info("worker.stopped", name=self.name, worked=self.worked)

    def _quietly(self, act: Any) -> None:
        try:
            act()
        except RedisError as error:
            log.warning("worker.redis", error=str(error))


def queues_for(process: Process, wanted: Sequence[str] = ()) -> list[str]:
    """The RQ queues to serve, in order: recovered work first, replays last, the handlers' own between."""
    if wanted:
        return [name if name.startswith(QUEUE) else f"{QUEUE}_{name}" for name in wanted]
    own = sorted(
        {f"{QUEUE}_{each.options.queue}" for each in process.plugins.handlers.values() if each.options.queue}
    )
    return [RECOVERED, QUEUE, *own, REPLAY]


def main(settings: Settings, *, burst: bool = False, queues: Sequence[str] = ()) -> int:
    """Run a worker until it is told to stop; the exit status."""
    logs.setup(settings)
    redis = connect(settings)
    check(redis)
    process = Process(settings, redis)
    processes.become(process)
    listed = [f"{source.product}.{event}" for source in settings.sources.values() for event in source.events]
    for sentence in unknown_patterns(process.plugins.handlers.values(), listed):
        log.warning("handler.unknown_type", hint=sentence)
    process.catalogue.publish(born=True)
    # RQ gives its connection the name and the time-outs of a worker; the threads have one of their own.
    return Worker(process, queues_for(process, queues), connect(settings)).run(burst=burst)


def alone(kind: str, found_id: str, run_number: str, name: str) -> int:
    """Run one suspect and end: the body of the isolated process."""
    settings = Settings.load()
    logs.setup(settings)
    process = Process(settings, name=name)
    try:
        run.work(process, cast("Kind", kind), found_id, int(run_number), alone=True)
    finally:
        process.close()
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--alone"] and len(sys.argv) == 6:
        sys.exit(alone(*sys.argv[2:]))
    sys.exit(main(Settings.load()))

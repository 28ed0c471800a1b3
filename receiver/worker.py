"""The worker: an RQ worker with threads, that takes as many slips as it has idle threads and does RQ's bookkeeping in batches."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import RedisError
from rq.worker import BaseWorker, WorkerStatus

from receiver import keys, logs
from receiver.event import now_ms
from receiver.ledger import runs, turns
from receiver.ledger.accept import QUEUE, RECOVERED, REPLAY
from receiver.ledger.connect import check, connect
from receiver.ledger.runs import Ending
from receiver.routing import process as processes
from receiver.routing import route, run
from receiver.routing.finisher import Finisher
from receiver.routing.leases import Leases, TimedOut
from receiver.routing.process import Process
from receiver.routing.router import unknown_patterns
from receiver.routing.slips import Slip as SlipJob
from receiver.routing.sweep import Sweeper
from receiver.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

    from receiver.ledger.runs import Claim, Kind
    from receiver.ledger.turns import Slip

log = logs.get("worker")
BEAT = 15.0
LOST_THREADS = 0.5
GRACE = 3.0
"""Seconds that a handler in a process of its own has to come back after its time limit, before that process ends."""


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
        self.inbox: queue.SimpleQueue[tuple[Slip, Claim | None] | None] = queue.SimpleQueue()
        self.busy = 0
        self.lock = threading.Lock()
        self.under_way: dict[str, Slip] = {}
        self.done: list[Slip] = []
        self.worked = 0
        self._beaten = 0.0
        process.finisher = Finisher(process.redis, process.settings.worker.lease)

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
                if taken is None:
                    self.freed.wait(1)
                    self.freed.clear()
                    continue
                if burst and not taken and self._idle() and not self._due_soon():
                    return 0
                if not taken:
                    self.connection.blpop([keys.wake()], timeout=0.05 if burst else 1)
            except RedisError as error:
                log.warning("worker.redis", error=str(error))
                self.stopping.wait(1)
        return 0

    def _turn(self) -> int | None:
        """Strike off and take, in one script; claim and route what was taken, in one round trip each; hand it to the threads.

        How many were taken; None where all threads are busy and nothing was asked for.
        """
        with self.lock:
            idle = self.threads - self.busy
            if idle <= 0:
                return None
            done, self.done = self.done, []
        try:
            slips = turns.turn(self.connection, self.name, self.names, idle, done)
        except RedisError:
            with self.lock:
                self.done = done + self.done
            raise
        with self.lock:
            self.under_way.update((slip.id, slip) for slip in slips)
            self.busy += len(slips)
        try:
            self._hand_out(slips)
        except Exception:  # what was claimed comes again when its lease is over
            log.exception("turn.failed", slips=len(slips))
            for slip in slips:
                self._ended(slip, began=False)
        return len(slips)

    def _hand_out(self, slips: list[Slip]) -> None:
        process = self.process
        known = [(slip, ids) for slip in slips if (ids := slip.ids()) is not None]
        for slip in slips:
            if slip.ids() is None:
                log.error("slip.forged", id=slip.id, queue=slip.queue)
                self._ended(slip, began=False)
        if not known:
            return
        asks = [cast("tuple[Kind, str, int]", ids) for _, ids in known]
        claims = runs.claim_many(process.redis, asks, process.name, process.settings.worker.lease)
        events: list[tuple[Slip, Claim]] = []
        for (slip, _), claim in zip(known, claims, strict=True):
            if isinstance(claim, str):
                if claim == "suspect":
                    self.inbox.put((slip, None))
                else:
                    self._ended(slip, began=False)
            elif claim.kind == "e":
                events.append((slip, claim))
            else:
                self.inbox.put((slip, claim))
        if events:
            jobs = {claim.event.id: claim for claim in route.route(process, [claim for _, claim in events])}
            for slip, claim in events:
                if job := jobs.get(claim.event.id):
                    self.inbox.put((slip, job))
                else:
                    self._ended(slip, began=False)

    def _ended(self, slip: Slip, *, began: bool = True) -> None:
        """The ending of a slip's work is written: RQ may forget the slip."""
        with self.lock:
            self.under_way.pop(slip.id, None)
            self.done.append(slip)
            self.worked += began
            if not began:
                self.busy -= 1
        self.freed.set()

    def _hand(self) -> None:
        while (taken := self.inbox.get()) is not None:
            slip, claim = taken
            if self.stopping.is_set() and claim is None:
                self._give_back(slip)
                continue
            try:
                self._do(slip, claim)
            except (Exception, TimedOut):
                log.exception("slip.failed", slip=slip.id)
                self._ended(slip)
            finally:
                with self.lock:
                    self.busy -= 1
                self.freed.set()

    def _do(self, slip: Slip, claim: Claim | None) -> None:
        if claim is None:
            kind, found, number = cast("tuple[Kind, str, int]", slip.ids())
            self.process.run_alone(kind, found, number)
            self._ended(slip)
        elif self.stopping.is_set():
            # Claimed but not begun: due again at once, and no try is counted.
            back = Ending("due", claim.tries, now_ms(), "given back by a worker that stops", quiet=True)
            self.process.finish(claim, back, lambda _own: self._ended(slip))
        else:
            run.run_job(self.process, claim, lambda: self._ended(slip))

    def _give_back(self, slip: Slip) -> None:
        try:
            turns.give_back(self.connection, self.name, [slip])
        except RedisError as error:
            log.warning("slip.not_given_back", slip=slip.id, error=str(error))
        with self.lock:
            self.under_way.pop(slip.id, None)
            self.busy -= 1

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
        self.process.witness.look(self.connection)
        self.check_for_suspension(burst=False)

    def _crippled(self) -> bool:
        """Whether so many threads are stuck past their time limits that the process must be replaced."""
        stuck = len(self.process.leases.stuck)
        if stuck < max(1, int(self.threads * LOST_THREADS)):
            return False
        log.error("worker.crippled", stuck=stuck, threads=self.threads)
        self.stopping.set()
        return True

    def _idle(self) -> bool:
        """Whether nothing is under way and nothing is queued."""
        with self.lock:
            if self.busy or self.under_way:
                return False
        return not any(self.connection.llen(keys.rq_queue(name)) for name in self.names)

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
                left = self.busy - len(self.process.leases.stuck)
            if left <= 0:
                break
            self._quietly(self._beat)
            time.sleep(0.02)
        self.process.close()
        self._quietly(lambda: turns.turn(self.connection, self.name, self.names, 0, self.done))
        self._quietly(self.teardown)
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

"""What a worker's main thread does: in one round trip it tells the ledger what ended and what is routed, and takes new work.

While the answer is under way the threads do what was taken before.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

from redis.exceptions import RedisError

from receiver import logs
from receiver.event import now_ms
from receiver.ledger import runs, turns
from receiver.ledger.accept import REPLAY
from receiver.ledger.runs import Ending
from receiver.ledger.turns import Turn
from receiver.routing import route, run
from receiver.routing.finisher import Endings
from receiver.routing.hands import Hands
from receiver.routing.leases import TimedOut
from receiver.routing.shares import LONG, Shares
from receiver.routing.stops import STOPPED, Stops

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from redis import Redis

    from receiver.ledger.runs import Claim, Kind, Route
    from receiver.ledger.turns import Slip, Taken
    from receiver.routing.process import Process

log = logs.get("worker")


class Work(NamedTuple):
    """What is put before a thread: a claimed job, or without a claim a suspect to be run in a process of its own."""

    slip: Slip
    claim: Claim | None


def _whose(work: Work) -> str:
    """The handler that a piece of work is for; "" where that is not known."""
    if work.claim is not None:
        return runs.split_job(work.claim.id)[1]
    kind, found, _ = work.slip.ids() or ("e", "", 0)
    return runs.split_job(found)[1] if kind == "j" else ""


class Taker:
    """The slips that a worker has, from being taken to being struck off. Only `bell` is rung by other threads."""

    def __init__(self, process: Process, redis: Redis, queues: Sequence[str], bell: threading.Event) -> None:
        self._process, self._redis, self._bell = process, redis, bell
        self.queues = list(queues)
        settings = process.settings.worker
        shares = Shares(list(process.plugins.handlers.values()), settings.threads, settings.share)
        self.hands: Hands[Work] = Hands(settings.threads, self._do, _whose, shares)
        self.stops = Stops(process.leases)
        self._asides: tuple[str, ...] = ()
        self._strange: frozenset[str] = frozenset()
        self._endings = Endings(settings.lease, bell.set)
        process.endings = self._endings
        self._done: deque[Slip] = deque()
        self._routes: list[tuple[Slip, Route]] = []
        self.under_way: dict[str, Slip] = {}
        self.suspended = self.stopping = self._writes = False
        self.worked = 0
        self._patience = min(1.0, process.settings.worker.lease / 3)

    def turn(self, room: int) -> bool:
        """One turn that takes work for so much room; whether there is more to do at once. Raises RedisError."""
        for work in self.hands.left_waiting(self._patience):
            self._give_back(work, "given back by a worker whose threads were all busy")
        if self.hands.waits():
            for work in self.hands.take_back(LONG):
                self._give_back(work, "its handler has its share of the threads")
        endings, done = self._endings.take(), [self._done.popleft() for _ in range(len(self._done))]
        routes, self._routes = self._routes, []
        want = max(0, room - len(routes))
        if not (want or endings or routes or done):
            return False
        ended = [(each.claim, each.ending) for each in endings]
        rooms = self.hands.rooms()
        opened = [each for _, each in routes]
        said = Turn(ended, opened, done, want, self._room_for_replays(), rooms)
        try:
            told = self._tell(said)
        except RedisError as error:
            self._endings.put_back(endings, error)
            self._routes = routes
            self._done.extendleft(reversed(done))
            raise
        self.suspended, self._writes, self._asides = told.suspended, told.writes, told.asides
        for slip in done:
            self.under_way.pop(slip.id, None)
        taken = self._noted(told)
        self.hands.give(self._begun(routes, told.jobs) + self._sorted(taken))
        for ending, own in zip(endings, told.own, strict=True):
            ending.said(own)
        return bool(taken or endings or self._done or self._routes)

    def _room_for_replays(self) -> int:
        """Half of the threads at most, for what comes in live must find one; all where replays are the only work that we serve."""
        threads = self._process.settings.worker.threads
        if self.queues == [REPLAY]:
            return threads
        return max(1, threads // 2) - sum(slip.queue == REPLAY for slip in self.under_way.values())

    def unsaid(self) -> bool:
        """Whether there is something to tell the ledger yet."""
        return bool(self._endings or self._done or self._routes)

    def waits(self) -> bool:
        """Whether work was taken that its handler has no thread for."""
        return self.hands.waits()

    def look_aside(self) -> None:
        """Find out of whose jobs, among those that were set aside, somebody else has the handler."""
        names = {aside.partition("/")[2] for aside in self._asides}
        mine = {name for name in names if self._process.plugins.find(name)}
        self._strange = frozenset(name for name in names - mine if self._process.catalogue.elsewhere(name))

    def served(self) -> list[str]:
        """The queues to take from, in order: what was set aside of one is older than what is in it."""
        if not self._asides:
            return self.queues
        found = [aside for aside in self._asides if aside.partition("/")[2] not in self._strange]
        return [
            each
            for queue in self.queues
            for each in (*(aside for aside in found if aside.partition("/")[0] == queue), queue)
        ]

    def _tell(self, said: Turn) -> turns.Answer:
        settings, name = self._process.settings.worker, self._process.name
        return turns.take_turn(
            self._redis,
            name,
            self.served(),
            said,
            lease=settings.lease,
            again=settings.again,
            claim_first=not self._process.draining,
            slips=settings.slips,
        )

    def _noted(self, told: turns.Answer) -> list[Taken]:
        """What was taken, with what RQ has under way here without our knowing: the answer of a turn before was lost."""
        taken = told.taken
        self.under_way.update((each.slip.id, each.slip) for each in taken)
        if told.under_way > len(self.under_way):
            known, lease = list(self.under_way.values()), self._process.settings.worker.lease
            found = turns.taken_before(self._redis, self._process.name, known, lease)
            self.under_way.update((each.slip.id, each.slip) for each in found)
            taken += found
        return taken

    def _begun(self, routes: Sequence[tuple[Slip, Route]], jobs: Sequence[Claim | None]) -> list[Work]:
        begun = []
        for (slip, _), job in zip(routes, jobs, strict=True):
            if job is None:
                self._done.append(slip)
            else:
                begun.append(Work(slip, job))
        return begun

    def _sorted(self, taken: Sequence[Taken]) -> list[Work]:
        """The work among what was taken. What events lead to is planned, and opened with the next turn."""
        begun, events = [], {}
        for slip, claim in map(self._read, taken):
            if isinstance(claim, str):
                if claim == "suspect":
                    begun.append(Work(slip, None))
                else:
                    self._done.append(slip)
            elif claim.kind == "e":
                events[claim.id] = (slip, claim)
            else:
                begun.append(Work(slip, claim))
        if events:
            self._plan(events)
        return begun

    def _read(self, taken: Taken) -> tuple[Slip, Claim | str]:
        """The claim of a slip, also where the ledger left its spelling to us."""
        slip, claim = taken
        if claim is not None:
            return slip, claim
        ids = slip.ids()
        if ids is None:
            turns.forged(self._redis, slip.id, slip.queue)
            return slip, "forged"
        process = self._process
        return slip, runs.claim(process.redis, *ids, process.name, process.settings.worker.lease)

    def _plan(self, events: dict[str, tuple[Slip, Claim]]) -> None:
        routes: list[Route] = []
        try:
            claims = [claim for _, claim in events.values()]
            routes = route.plan(self._process, claims, writes=self._writes)
        except (Exception, TimedOut):  # they come again when their leases are over
            log.exception("plan.failed", events=len(events))
        for each in routes:
            slip, _ = events.pop(each[0].id)
            self._routes.append((slip, each))
        self._done.extend(slip for slip, _ in events.values())

    def _do(self, work: Work) -> None:
        """What a thread does. The slip is struck off once the ending is written."""
        slip, claim = work
        ended = partial(self._ended, slip)
        try:
            if self.stopping:
                self._give_back(work, "given back by a worker that stops")
            elif claim is None:
                ids = cast("tuple[Kind, str, int]", slip.ids())
                self._process.run_alone(*ids, partial(self.stops.begin_apart, slip))
                ended()
            elif not self.stops.begin(slip, claim.worker):
                dead = Ending("dead", claim.tries, reason=STOPPED)
                self._process.finish(claim, dead, lambda _own: ended())
            else:
                self.worked += 1
                run.run_job(self._process, claim, ended)
        except (Exception, TimedOut):
            log.exception("slip.failed", slip=slip.id)
            ended()

    def _give_back(self, work: Work, reason: str) -> None:
        """Let others have what was not begun: what is claimed is due again at once, and no try is counted."""
        slip, claim = work
        if claim is not None:
            back = Ending("due", claim.tries, now_ms(), reason, quiet=True)
            self._process.finish(claim, back, lambda _own: self._ended(slip))
            return
        self.under_way.pop(slip.id, None)
        try:
            turns.give_back(self._process.redis, self._process.name, [slip])
        except RedisError as error:
            log.warning("slip.not_given_back", slip=slip.id, error=str(error))

    def _ended(self, slip: Slip) -> None:
        self.stops.end(slip)
        self._done.append(slip)
        self._bell.set()

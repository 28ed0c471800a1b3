"""What a worker's main thread does: in one round trip it tells the ledger what ended and what is routed, and takes new work.

While the answer is under way the threads do what was taken before.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, cast

from redis.exceptions import RedisError

from receiver import logs
from receiver.ledger import runs, turns
from receiver.ledger.accept import REPLAY
from receiver.ledger.runs import Ending
from receiver.ledger.turns import Turn
from receiver.routing import route, run
from receiver.routing.asides import Asides
from receiver.routing.asked import Asked, Work, whose
from receiver.routing.finisher import Endings
from receiver.routing.hands import Hands
from receiver.routing.leases import TimedOut
from receiver.routing.route import queue_of
from receiver.routing.shares import LONG, Shares
from receiver.routing.stops import STOPPED, Stops

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis import Redis

    from receiver.bell import Bell
    from receiver.ledger.runs import Claim, Kind, Route
    from receiver.ledger.turns import Slip, Taken
    from receiver.routing.process import Process

log = logs.get("worker")
WORTH_IT = 8
"""From so many things to say on, a turn is left under way while what was heard of the last is looked into."""


class Taker:
    """The slips that a worker has, from being taken to being struck off. Only `bell` is rung by other threads."""

    def __init__(self, process: Process, redis: Redis, queues: Sequence[str], bell: Bell) -> None:
        self._process, self._redis, self._bell = process, redis, bell
        self.queues = list(queues)
        self._own = {queue_of(each.options) for each in process.plugins.handlers.values()}
        settings = process.settings.worker
        shares = Shares(list(process.plugins.handlers.values()), settings.threads, settings.share)
        self.hands: Hands[Work] = Hands(settings.threads, self._do, whose, shares)
        self.stops = Stops(process.leases)
        self.asides = Asides(process)
        self._endings = Endings(settings.lease, bell.set)
        process.endings = self._endings
        process.leases.ended = self._endings.claims
        self._done: deque[Slip] = deque()
        self._routes: list[tuple[Slip, Route]] = []
        self.under_way: dict[str, Slip] = {}
        self.suspended = self.stopping = self._writes = self._lost = False
        self._asked: Asked | None = None
        self.worked = 0
        self._spent = 0.0
        self._patience = min(1.0, process.settings.worker.lease / 3)

    def turn(self, room: int) -> bool:
        """One turn that takes work for so much room; whether there is more to do at once. Raises RedisError.

        Where there is much to say the turn is only asked for. Its answer is heard by the next call, which asks for another one before
        it looks into what it heard: Redis and this process work at the same time.
        """
        for work in self.hands.left_waiting(self._patience):
            self._give_back(work, "given back by a worker whose threads were all busy")
        if self.hands.waits():
            for work in self.hands.take_back(LONG):
                self._give_back(work, "its handler has its share of the threads")
        if self._asked is None:
            self._asked = self._ask(room)
            if self._asked is None:
                return False
            if self._asked.weight >= WORTH_IT:
                return True
        asked, self._asked = self._asked, None
        words = self._hear(asked)
        try:
            if asked.weight >= WORTH_IT and not self._lost:
                self._asked = self._ask(room - asked.said.want, WORTH_IT)
        finally:  # what was heard counts, whatever became of the next
            more = self._noted(asked, turns.understood(asked.said, words))
        return more or self._asked is not None

    def _ask(self, room: int, least: int = 0) -> Asked | None:
        """A turn that is under way; None where there is nothing to ask for, or not `least` things to say."""
        if len(self._endings) + len(self._routes) + len(self._done) < least:
            return None
        want = max(0, min(room - len(self._routes), self.hands.at_a_time))
        if not (want or self.unsaid()):
            return None
        endings, done = self._endings.take(), [self._done.popleft() for _ in range(len(self._done))]
        routes, self._routes = self._routes, []
        ended = [(each.claim, each.ending) for each in endings]
        opened = [each for _, each in routes]
        rooms, replays = self.hands.rooms(), self._room_for_replays()
        if least:  # what was asked for before may take the room that there is
            rooms, replays = dict.fromkeys(rooms, 0), replays if self.queues == [REPLAY] else 0
        spent = self.hands.spent - self._spent
        self._spent += spent
        said = Turn(ended, opened, done, want, replays, rooms, spent)
        asked = Asked(endings, routes, done, said)
        try:
            asked.answer = self._tell(said)
        except RedisError as error:
            self._put_back(asked, error)
            raise
        return asked

    def _hear(self, asked: Asked) -> turns.Words:
        try:
            return asked.answer()
        except RedisError as error:
            self._put_back(asked, error)
            raise

    def _put_back(self, asked: Asked, error: RedisError) -> None:
        self._spent -= asked.said.spent
        self._endings.put_back(asked.endings, error)
        self._routes = asked.routes + self._routes
        self._done.extendleft(reversed(asked.done))

    def _noted(self, asked: Asked, told: turns.Answer) -> bool:
        """Act on the answer; whether there is more to do at once."""
        self.suspended, self._writes, self.asides.told = told.suspended, told.writes, told.asides
        for slip in asked.done:
            self.under_way.pop(slip.id, None)
        taken = self._all_taken(told)
        self.hands.give(self._begun(asked.routes, told.jobs) + self._sorted(taken))
        for ending, own in zip(asked.endings, told.own, strict=True):
            ending.said(own)
        return bool(taken or asked.endings or self._done or self._routes or self._lost)

    def _room_for_replays(self) -> int:
        """Half of the threads at most, for what comes in live must find one; all where replays are the only work that we serve."""
        threads = self._process.settings.worker.threads
        if self.queues == [REPLAY]:
            return threads
        return max(1, threads // 2) - sum(slip.queue == REPLAY for slip in self.under_way.values())

    def unsaid(self) -> bool:
        """Whether there is something to tell the ledger yet."""
        return bool(self._endings or self._done or self._routes or self._asked)

    def waits(self) -> bool:
        """Whether work was taken that its handler has no thread for."""
        return self.hands.waits()

    def served(self) -> list[str]:
        """The queues to take from, in order."""
        return self.asides.before(self.queues)

    def _tell(self, said: Turn) -> Callable[[], turns.Words]:
        settings, name = self._process.settings.worker, self._process.name
        return turns.ask(
            self._redis,
            name,
            self.served(),
            said,
            lease=settings.lease,
            again=settings.again,
            claim_first=not self._process.draining,
            left="\n".join(self._own.difference(self.queues)),
            slips=settings.slips,
        )

    def _all_taken(self, told: turns.Answer) -> list[Taken]:
        """What was taken, with what RQ has under way here without our knowing: the answer of a turn before was lost."""
        taken = told.taken
        self.under_way.update((each.slip.id, each.slip) for each in taken)
        self._lost = told.under_way > len(self.under_way)
        if self._lost and self._asked is None:  # else a turn under way may have it
            taken += self._found_again()
        return taken

    def _found_again(self) -> list[Taken]:
        known, lease = list(self.under_way.values()), self._process.settings.worker.lease
        try:
            found = turns.taken_before(self._redis, self._process.name, known, lease)
        except RedisError as error:  # the next turn looks again; what this one heard must be done
            log.warning("worker.redis", error=str(error))
            return []
        self.under_way.update((each.slip.id, each.slip) for each in found)
        self._lost = False
        return found

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
        process = self._process
        try:
            if ids is None:
                turns.forged(self._redis, slip.id, slip.queue)
                return slip, "forged"
            return slip, runs.claim(process.redis, *ids, process.name, process.settings.worker.lease)
        except RedisError as error:  # what is due gets another slip
            log.warning("worker.redis", error=str(error))
            return slip, "not claimed"

    def _plan(self, events: dict[str, tuple[Slip, Claim]]) -> None:
        routes: list[Route] = []
        try:
            claims = [claim for _, claim in events.values()]
            routes = route.plan(self._process, claims, writes=self._writes)
        except RedisError as error:
            log.warning("worker.redis", error=str(error))
            for slip, claim in events.values():
                self._give_back(Work(slip, claim), "given back by a worker that could not reach Redis")
            return
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
                self._run(work, claim, ended)
        except BaseException:  # a thread that ends here would be missed for ever
            log.exception("slip.failed", slip=slip.id)
            ended()

    def _run(self, work: Work, claim: Claim, ended: Callable[[], None]) -> None:
        try:
            run.run_job(self._process, claim, ended)
        except RedisError as error:  # nothing has begun: whatever a handler raises is its outcome
            log.warning("worker.redis", error=str(error))
            self._give_back(work, "given back by a worker that could not reach Redis")

    def _give_back(self, work: Work, reason: str) -> None:
        """Let others have what was not begun: what is claimed is due again at once, and no try is counted."""
        slip, claim = work
        if claim is not None:
            back = Ending("due", claim.tries, reason=reason, quiet=True)
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

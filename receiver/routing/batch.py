"""One call of a handler for several jobs (`batch=`): each keeps its own attempt, lease and outcome.

The job that was claimed leads: it took the place under a limit, has the time limit, and its attempt keeps the calls to Zoho. Those
that are taken along fail or are skipped singly, or come to what the call comes to. A suspect leads nobody: what killed a process
once is looked for alone.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from receiver import logs
from receiver.errors import Fenced, RetryLater
from receiver.ledger import runs
from receiver.routing.attempt import Attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from receiver.ledger.runs import Claim
    from receiver.routing.leases import Held
    from receiver.routing.plugins import Handler
    from receiver.routing.process import Process
    from receiver.zoho import Zoho

log = logs.get("run")
TOGETHER = 100
"""Records that one call to CRM brings, and so as many threads that wait for it."""


def gathered(process: Process, claim: Claim, handler: Handler, ended: Callable[[], None]) -> Batch:
    """The batch that a claimed job leads, with what waits beside it."""
    most = (handler.options.batch or 1) - 1
    others: list[Claim] = []
    if most and not claim.suspect:
        others = runs.gather(process.redis, claim, process.settings.worker.lease, most)
    return Batch(process, claim, handler, ended, others)


class Batch(Attempt):
    """The attempt of the job that leads, and with it those of the jobs that it takes along."""

    def __init__(
        self,
        process: Process,
        claim: Claim,
        handler: Handler,
        ended: Callable[[], None] = lambda: None,
        others: Sequence[Claim] = (),
    ) -> None:
        super().__init__(process, claim, handler, ended)
        self.others = [Attempt(process, each, handler, time_limit=math.inf) for each in others]
        for one in self.others:
            one.leads = False
        self.alone: dict[str, Exception] = {}
        """What became of single jobs before the handler was called, by job."""
        if self.others:
            for one in (self, *self.others):
                one.company = {"lead": claim.id, "run": claim.run, "jobs": 1 + len(self.others)}

    def go(self) -> str:
        """Run the handler and end all of the runs; the state that the lead came to."""
        held = [each.held for each in self.others]
        self.process.leases.hold(*held)
        try:
            return super().go()
        finally:
            self.process.leases.drop(*held)
            for each in self.others:
                each.let_go()

    def call(self) -> None:
        """Call the handler with the events that are to be had, in the order in which they were accepted."""
        attempts = sorted((self, *self.others), key=lambda one: one.claim.event.seq)
        given: dict[str, Any] = {}
        if self.handler.options.record or self.handler.takes_zoho:
            claims = [one.claim for one in attempts]
            given["zoho"] = self.process.zoho(
                self.claim, self.handler.options.connection, self.fence, self.calls, claims
            )
        self._prepare(attempts, given.get("zoho"))
        given["events"] = [one.claim.event for one in attempts if one.claim.id not in self.alone]
        if given["events"]:
            self.hand(given)

    def _prepare(self, attempts: Sequence[Attempt], zoho: Zoho | None) -> None:
        """Make the events what the handler gets. What goes wrong with one, a record that is gone say, concerns that one.

        CRM's records are asked for at the same moment, for then they share calls.
        """

        def prepare(one: Attempt) -> None:
            try:
                one.prepare(zoho)
            except Exception as error:  # noqa: BLE001 - it is the outcome of its own job
                self.alone[one.claim.id] = error

        if self.handler.options.record and all(one.claim.event.product == "crm" for one in attempts):
            with ThreadPoolExecutor(TOGETHER) as pool:
                list(pool.map(prepare, attempts))
        else:
            for one in attempts:
                prepare(one)

    def fence(self) -> None:
        """Raises Fenced when one of the runs is no longer ours: nobody can say for which of them a call would be."""
        for one in (self, *self.others):
            one.held.fence()

    def end(self, error: BaseException | None, held: Held | None = None) -> str:
        """Decide and finish, each job for itself; the lead last, for then the slip is done."""
        for each in self.others:
            if held is not None:
                each.held.lost = held.lost
            each.end(self.outcome(each, error), held and each.held)
        return super().end(self.outcome(self, error), held)

    def outcome(self, one: Attempt, error: BaseException | None) -> BaseException | None:
        """What became of one job: what was said of it alone, else what became of all."""
        found = self.alone.get(one.claim.id) or one.effects.failed or error
        if isinstance(found, Fenced) and not one.held.lost:
            return RetryLater(0, reason=f"another job of its batch was lost: {found}")
        return found

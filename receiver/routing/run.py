"""Work: what a worker does with a slip, from the claim to the run that it leads to, or to the reason why there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver import logs
from receiver.ledger import runs
from receiver.ledger.accept import QUEUE
from receiver.ledger.runs import Ending
from receiver.routing import batch, route
from receiver.routing.attempt import Attempt

if TYPE_CHECKING:
    from collections.abc import Callable

    from receiver.ledger.runs import Claim, Kind
    from receiver.routing.process import Process

log = logs.get("run")


def work(process: Process, kind: Kind, found_id: str, run: int, *, alone: bool = False) -> str:
    """Do what a slip says, and what follows from it at once; a word for the log. Never raises what a handler raises."""
    lease = process.settings.worker.lease
    claim = runs.claim(process.redis, kind, found_id, run, process.name, lease, alone=alone)
    if isinstance(claim, str):
        return process.run_alone(kind, found_id, run) if claim == "suspect" else claim
    if claim.kind == "e":
        taken = route.route(process, [claim], claim_first=not alone)
        return run_job(process, taken[0]) if taken else "routed"
    return run_job(process, claim)


def run_job(process: Process, claim: Claim, ended: Callable[[], None] = lambda: None) -> str:
    """Run a handler on an event under the lease of `claim`, and end the run; the state that the job came to.

    `ended` is called once the ending is written, which for a worker is after this has returned.
    """
    name = runs.split_job(claim.id)[1]
    handler = process.plugins.find(name)
    if handler is None:
        return _put_off(process, claim, _elsewhere(process, claim, name), ended)
    if process.paused():
        ways = [f"handler:{each}" for each in handler.names]
        ways += [f"queue:{handler.options.queue or QUEUE}", f"source:{claim.event.source}"]
        if what := process.holding(*ways):
            return _put_off(process, claim, route.held_by(claim, what), ended)
    if handler.options.batch:
        return batch.gathered(process, claim, handler, ended).go()
    return Attempt(process, claim, handler, ended).go()


def _put_off(process: Process, claim: Claim, ending: Ending, ended: Callable[[], None]) -> str:
    process.finish(claim, ending, lambda _own: ended())
    return ending.state


def _elsewhere(process: Process, claim: Claim, name: str) -> Ending:
    if process.catalogue.elsewhere(name):
        tick = int(process.settings.worker.tick * 1000)
        return Ending("due", claim.tries, tick, "the handler is on another worker", quiet=True)
    log.warning("job.no_handler", job=claim.id, handler=name)
    reason = f"no living worker has the handler {name}"
    return Ending("held", claim.tries, reason=reason, parked=f"no_handler:{name}", quiet=True)

"""One run of one job: the handler is called with its surroundings, policy decides, and the ending is written."""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import orjson
from redis.exceptions import RedisError
from structlog.contextvars import bind_contextvars

from receiver import logs
from receiver.errors import Fenced, HandlerError, NotFound, RetryLater, Skip
from receiver.ledger import runs
from receiver.ledger.runs import Ending
from receiver.routing import policy, replays
from receiver.routing.effects import RunEffects
from receiver.routing.leases import Held, TimedOut
from receiver.routing.router import mismatch, too_old

if TYPE_CHECKING:
    from collections.abc import Callable

    from receiver.event import Event
    from receiver.ledger.runs import Claim
    from receiver.routing.plugins import Handler
    from receiver.routing.process import Process
    from receiver.zoho import Zoho

log = logs.get("run")
CALLS, WRITES = 50, 1_000
"""How many of a run's last calls are kept, and how many writes before those: a rerun repeats them, and says so."""


class Attempt:
    """One run of one job: the handler's surroundings, its ending, and its record."""

    def __init__(
        self,
        process: Process,
        claim: Claim,
        handler: Handler,
        ended: Callable[[], None] = lambda: None,
        time_limit: float | None = None,
    ) -> None:
        self.process = process
        self.finished = ended
        self.claim = claim
        self.handler = handler
        self.started = claim.now()
        self.ended = threading.Lock()
        self.calls: list[dict[str, Any]] = []
        limit = handler.options.timeout if time_limit is None else time_limit
        self.held = Held(claim, time.monotonic() + limit, self.cut)
        self.effects = RunEffects(process, self.held, in_batch=bool(handler.options.batch))
        self.leads = True
        """Whether its worker has a slip for it; a batch has one, for its lead."""
        self.company: dict[str, Any] = {}
        """The batch that the run is part of, as its record tells it."""

    def go(self) -> str:
        """Run the handler and end the run; the state that the job came to."""
        error: BaseException | None = None
        try:
            self.process.leases.hold(self.held)
            self.held.fence()
            copy_context().run(self.call_named)
        except Exception as raised:  # noqa: BLE001 - whatever a handler raises is its outcome
            error = raised
        except TimedOut:
            self.finished()
            return "fenced"
        except BaseException as raised:  # noqa: BLE001 - SystemExit or asyncio's CancelledError would end our thread
            error = HandlerError(f"the handler raised {type(raised).__name__}; a handler ends by returning")
            error.__cause__ = raised
        finally:
            self.process.leases.drop(self.held)
            self.let_go()
        try:
            return self.end(error)
        finally:
            del error  # its traceback knows this frame, and so would keep it

    def let_go(self) -> None:
        """The handler is over, so its event can do nothing more. They know each other: without this the event and its data would stay
        until Python looks for such rings.
        """
        self.claim.event.effects = self.held.on_cut = None

    def call_named(self) -> None:
        """Call the handler; what it logs says whose it is."""
        claim = self.claim
        bind_contextvars(job=claim.id, run=claim.run, event_id=claim.event.id, handler=self.handler.id)
        self.call()

    def call(self) -> None:
        """Call the handler with what it asks for."""
        options = self.handler.options
        given: dict[str, Any] = {"event": self.claim.event}
        if options.record or self.handler.takes_zoho:
            given["zoho"] = self.process.zoho(self.claim, options.connection, self.held.fence, self.calls)
        self.prepare(given.get("zoho"))
        self.hand(given)

    def prepare(self, zoho: Zoho | None) -> None:
        """Make the event what its handler gets. Raises Skip where the record as it is now is not wanted."""
        event, options = self.claim.event, self.handler.options
        if not self.claim.lane and too_old(event, options, self.claim.now()):
            raise Skip("older than max_age")
        event.tries = self.claim.tries
        event.idempotency_key = event.job_key(runs.split_job(self.claim.id)[1], self.claim.generation)
        event.effects = self.effects
        if options.model is not None:
            event.data = options.model.model_validate(event.data)
        if options.record:
            if event.record is None and zoho is not None:
                event.record = self.read_record(event, zoho)
            if reason := mismatch(event.record, options.where):
                raise Skip(f"where: {reason}")

    def hand(self, given: dict[str, Any]) -> None:
        """Call the handler with that, and with the resources that it names."""
        if not self.handler.takes_zoho:
            given.pop("zoho", None)
        for need in self.handler.needs:
            given[need] = self.process.resources.get(need)
        self.handler.function(**given)

    def read_record(self, event: Event, zoho: Zoho) -> Any:
        """The record as it is now. A record that is gone skips the job: there is nothing to do to it."""
        if not event.record_id:
            raise HandlerError(f"record=True, and the event {event.type} is about no record")
        try:
            match event.product:
                case "crm":
                    return zoho.crm.get(event.resource, event.record_id)
                case "books":
                    return zoho.books.get(f"{event.resource.lower()}s", event.record_id)
                case "desk":
                    return zoho.desk.get(f"{event.resource.lower()}s", event.record_id)
        except NotFound:
            raise Skip(f"the record {event.record_id} is gone") from None
        raise HandlerError(f"record=True works for crm, books and desk, not for {event.product}")

    def cut(self, held: Held, error: Exception | None) -> None:
        """Called by the keeper of leases: the run has failed, whatever its thread still does. Without an error it was too long."""
        limit = f"over its time limit of {self.handler.options.timeout:g} s"
        self.end(TimeoutError(limit) if error is None else error, held)

    def end(self, error: BaseException | None, held: Held | None = None) -> str:
        """Decide and finish, once: the keeper and the thread may both come here."""
        if not self.ended.acquire(blocking=False):
            self.finished()
            return "fenced"
        if isinstance(error, Fenced) or (self.held.lost and held is None):
            log.warning("run.fenced", job=self.claim.id, run=self.claim.run, reason=self.held.lost)
            self.finished()
            return "fenced"
        decision = policy.decide(
            error,
            tries=self.claim.tries,
            options=self.handler.options,
            now=self.claim.now(),
            made=self.claim.made,
            chance=random.random(),  # noqa: S311 - spreads retries, guards nothing
        )
        if self.claim.lane and decision.state == "due":
            with suppress(RedisError):  # a rate that is not kept for once is the lesser evil
                decision = replays.paced(self.process.redis, self.claim.id, decision)
        record = orjson.dumps(kept).decode() if (kept := self.record(error, decision)) else ""
        ending = Ending(
            decision.state,
            decision.tries,
            decision.wait,
            decision.reason,
            record,
            len(self.calls),
            decision.parked,
            at=decision.at,
            leads=self.leads,
        )
        ended = self.claim.now()

        def said(own: bool) -> None:
            self.say(decision, error, ended, own=own)
            self.finished()

        self.process.finish(self.claim, ending, said)
        return decision.state

    def record(self, error: BaseException | None, decision: policy.Decision) -> dict[str, Any]:
        """What is kept of this attempt; nothing of one that was just done, which is most of them: the job's own fields tell it."""
        more: dict[str, Any] = {}
        if decision.reason:
            more["reason"] = decision.reason
        now = self.claim.now()
        if decision.state == "due":
            more["due"] = decision.due(now)
        if error is not None and not isinstance(error, Skip | RetryLater):
            more["error"] = policy.shown(error)
        if self.calls:
            others = [call for call in self.calls[:-CALLS] if call.get("write")]
            more["calls"] = [*others[-WRITES:], *self.calls[-CALLS:]]
        if self.effects.emitted:
            more["emitted"] = self.effects.emitted[-CALLS:]
        if self.company:
            more["batch"] = self.company
        if decision.state == "done" and not more:
            return {}
        return {
            "run": self.claim.run,
            "tries": decision.tries,
            "started": self.started,
            "ended": now,
            "outcome": decision.state,
            "worker": self.claim.worker.partition("#")[0],
            **more,
        }

    def say(self, decision: policy.Decision, error: BaseException | None, ended: int, *, own: bool) -> None:
        """One wide line per attempt."""
        told = {
            "event_id": self.claim.event.id,
            "type": self.claim.event.type,
            "handler": self.handler.id,
            "run": self.claim.run,
            "tries": decision.tries,
            "outcome": decision.state if own else "fenced",
            "ms": ended - self.started,
            "since_received_ms": ended - self.claim.event.received,
            "calls": len(self.calls),
        }
        if own and decision.state == "done":  # nothing in it is anybody's but ours
            logs.say_own("run", "attempt", told)
            return
        (log.info if decision.state in {"done", "skipped"} else log.warning)(
            "attempt", **told, reason=decision.reason, error=policy.name(error) if error else None
        )

"""What a run does beside calling Zoho: events of its own, and steps that happen once over all tries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import orjson

from receiver import keys
from receiver.errors import HandlerError, StepNotRemembered, StepUnknown, Unavailable
from receiver.event import Delivery, Event, id_within, now_ms
from receiver.ledger import runs
from receiver.ledger.accept import Record, accept

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from redis.client import Pipeline

    from receiver.routing.leases import Held
    from receiver.routing.process import Process

WINDOW = 7 * 86_400.0
NOT_SENT = (
    "ConnectError",
    "ConnectTimeout",
    "PoolTimeout",
    "UnsupportedProtocol",
    "ConnectionRefusedError",
    "gaierror",
)
"""Errors, of whatever library, that come before anything was sent."""
NO_CALL = frozenset({"connect", "no_token", "token_renewed", "not_sent"})
"""What our own clients say where Zoho heard nothing of the call, or would not hear it."""
CUT = (
    "Timeout",
    "NetworkError",
    "ProtocolError",
    "ReadError",
    "WriteError",
    "ConnectionError",
    "Disconnected",
    "IncompleteRead",
)
"""What the names of those end with, or of their kin, after which nobody knows."""


class RunEffects:
    """`event.emit`, `event.cancel`, `event.step` and `event.fail` of one run. Nothing is done for a run that is fenced."""

    def __init__(self, process: Process, held: Held, *, in_batch: bool = False) -> None:
        self._process = process
        self._redis = process.redis
        self._held = held
        self._in_batch = in_batch
        self.emitted: list[str] = []
        self.failed: Exception | None = None
        """What the handler says that became of this event of a batch; None where it is as with the whole batch."""

    def emit(
        self, event_type: str, data: Any, *, at: datetime | None, key: str, replace: bool, record_id: str
    ) -> str:
        """Accept an event of the user's own; its id, or that of the one that is there already."""
        self._held.fence()
        if not event_type.startswith("app.") or event_type.count(".") < 1 or not all(event_type.split(".")):
            raise HandlerError(f"an event of your own has a type app.something, not {event_type!r}")
        if at is not None and at.tzinfo is None:
            raise HandlerError(
                "emit(at=...) takes a time with its zone, for example datetime.now(UTC) + timedelta(days=1)"
            )
        claim, due = self._held.claim, int(at.timestamp() * 1000) if at else 0
        self.emitted.append(event_type)
        identity = f"{claim.id}:{claim.generation}:{len(self.emitted)}:{event_type}:{key}"
        made = Event(
            id=id_within(claim.event.id, identity),
            type=event_type,
            source=claim.event.source,
            data=data,
            received=now_ms(),
            organisation=claim.event.organisation,
            record_id=record_id,
            occurred=due or None,
            origin="handler",
            cause=claim.id,
            connection=claim.event.connection,
            identity=identity,
            depth=claim.event.depth + 1,
        )
        delivery = Delivery.arrive(claim.event.source, method="EMIT")
        record = Record(delivery, "emitted", events=[made], window=WINDOW, due=due, key=key, replace=replace)
        answer = accept(
            self._redis,
            [record],
            again=self._process.settings.worker.again,
            slips=self._process.settings.worker.slips,
            witness=self._process.witness,
        )[0]
        return answer.new[0] if answer.new else answer.duplicates[0][1]

    def cancel(self, key: str) -> bool:
        """Cancel what waits under a key."""
        self._held.fence()
        return runs.cancel(self._redis, key)

    def fail(self, error: Exception) -> None:
        """Note what became of one event of a batch."""
        if not self._in_batch:
            raise HandlerError(
                "event.fail and event.skip are for handlers with batch=; raise the error, or Skip(why), instead"
            )
        self.failed = error

    def step(self, name: str, act: Callable[[], Any], if_unknown: str) -> Any:
        """Do it unless it was done for this job; what it returned, then or now."""
        self._held.fence()
        claim = self._held.claim
        place, field = keys.steps(claim.id), f"{claim.generation}:{name}"
        known = self._redis.hget(place, field)
        if known is not None:
            told = orjson.loads(known)
            if told["state"] == "done":
                return told.get("result")
            if if_unknown == "stop":
                raise StepUnknown(
                    f"the step {name!r} was begun in run {told['run']}, and nobody knows whether it happened; look, then rerun"
                )
        self._redis.hset(place, field, orjson.dumps({"state": "begun", "run": claim.run, "at": now_ms()}))
        try:
            result = act()
        except Exception as error:
            if not _may_have_happened(error):
                self._forget(place, field)
            raise
        done = {"state": "done", "at": now_ms(), "result": result}
        try:
            self._redis.hset(place, field, orjson.dumps(done))
        except TypeError as error:  # orjson's, which is one
            self._redis.hset(place, field, orjson.dumps({**done, "result": None}))
            raise StepNotRemembered(
                f"the step {name!r} was done and returned a {type(result).__name__}, which cannot be remembered; let it return JSON "
                "or None, then retry: it is not done again"
            ) from error
        return result

    def _forget(self, place: str, field: str) -> None:
        """Forget a step that did not happen, unless it is of a later run: ours may be lost meanwhile."""

        def forget(pipe: Pipeline) -> None:
            known = cast("bytes | None", pipe.hget(place, field))
            pipe.multi()
            if known is not None and orjson.loads(known).get("run") == self._held.claim.run:
                pipe.hdel(place, field)

        self._redis.transaction(forget, place)


def _may_have_happened(error: BaseException) -> bool:
    """Whether an act that failed so may have had its effect: the answer was lost, or was that of a server in trouble."""
    kin = [each.__name__ for each in type(error).__mro__]
    if not set(kin).isdisjoint(NOT_SENT):
        return False
    if isinstance(error, Unavailable):
        return error.code not in NO_CALL and (not error.status or error.status >= 500)
    status = getattr(getattr(error, "response", None), "status_code", 0)
    if isinstance(status, int) and status >= 500:
        return True
    return isinstance(error, TimeoutError | ConnectionError) or any(name.endswith(CUT) for name in kin)

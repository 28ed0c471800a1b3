"""What becomes of a job after a run.

A bug ships. The handler raises, and the job comes due again in ten seconds, then twenty, forty, ... up to six hours apart,
for three days. A fix ships; the next run succeeds, and nobody had to do anything. Or nobody fixes it, and the job is dead: it
lies among the dead letters with its tracebacks, and a person retries it. What cannot succeed by waiting (Zoho calls the data
wrong) dies at once. What waits for a person anyway (a revoked consent) is held and burns no tries.

Pure: an error, a number of tries and a time go in, a decision comes out.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

from receiver import logs
from receiver.errors import (
    ConnectionUnusable,
    InvalidRequest,
    PermissionDenied,
    RateLimited,
    RetryLater,
    ScopeMissing,
    Skip,
    StepNotRemembered,
    StepUnknown,
    StoppedByOperator,
    TokenThrottled,
    ZohoError,
)

if TYPE_CHECKING:
    from receiver.ledger.runs import State
    from receiver.routing.options import Options

FIRST, LONGEST = 10.0, 6 * 3600.0
TRACEBACK = 8_000


@dataclass(frozen=True, slots=True)
class Decision:
    """The state that the job comes to; for a job that is due again the `wait` (ms) until then, or the time `at` (ms) that somebody
    has named; `tries` what has been counted so far.

    A wait, because the ledger knows when that is: the clock of this host may be wrong.
    """

    state: State
    tries: int
    wait: int = 0
    reason: str = ""
    parked: str = ""
    at: int = 0

    def due(self, now: int) -> int:
        """When a job that is due again is due, where it is `now` (ms)."""
        return self.at or now + self.wait


def decide(
    error: BaseException | None, *, tries: int, options: Options, now: int, made: int, chance: float
) -> Decision:
    """What comes of a run that ended at `now` (ms) with `error`; `made` is when the job began to be tried, both by the ledger's clock;
    `chance` in 0..1.
    """
    if error is None:
        return Decision("done", tries)
    if isinstance(error, Skip):
        return Decision("skipped", tries, reason=logs.mask(error.reason))
    if isinstance(error, RetryLater):
        at = int(error.at.timestamp() * 1000) if error.at else 0
        later = Decision("due", tries, int((error.seconds or 0) * 1000), _said(error), at=at)
        return _unless_over(later, options, now, made, error)
    if isinstance(error, TokenThrottled):
        wait = error.retry_after or 600
        return Decision("due", tries, int((wait + 30 * chance) * 1000), f"no token for now: {_said(error)}")
    if isinstance(error, ConnectionUnusable):
        return Decision("held", tries, reason=_said(error), parked=f"connection:{error.connection}")
    if isinstance(error, RateLimited):
        return _full(error, tries, options, now, made, chance)
    tries += 1
    if isinstance(error, StepUnknown | StepNotRemembered | StoppedByOperator):
        return Decision("dead", tries, reason=_said(error))
    if isinstance(error, InvalidRequest | PermissionDenied | ScopeMissing):
        return Decision("dead", tries, reason=f"Zoho will not take this: {_said(error)}")
    if options.retries is not None and tries > options.retries:
        return Decision("dead", tries, reason=f"failed {tries} times, the last with {name(error)}")
    wait = backoff(tries, chance)
    if isinstance(error, ZohoError) and error.retry_after:
        wait = max(wait, error.retry_after)
    return _unless_over(Decision("due", tries, int(wait * 1000), name(error)), options, now, made, error)


def _full(error: RateLimited, tries: int, options: Options, now: int, made: int, chance: float) -> Decision:
    """A limit is nobody's fault: it costs no try. What is blocked for all waits on hold, what is only full comes again soon."""
    if error.hold:
        return Decision("held", tries, reason=_said(error), parked=f"limit:{error.hold}")
    wait = (error.retry_after or FIRST) * (1 + chance)
    return _unless_over(Decision("due", tries, int(wait * 1000), _said(error)), options, now, made, error)


def backoff(tries: int, chance: float) -> float:
    """Seconds until the next try: 10, 20, 40, ... up to six hours, spread by a fifth so that failures do not march in step."""
    wait = min(LONGEST, FIRST * 2.0 ** min(tries - 1, 20))
    return wait * (0.9 + 0.2 * chance)


def name(error: BaseException) -> str:
    """An error in one line, without secrets."""
    said = _said(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0][:300]}" if said else type(error).__name__


def shown(error: BaseException) -> dict[str, str]:
    """An error as an attempt keeps it: type, message, the end of its traceback and Zoho's code, without secrets."""
    text = logs.mask("".join(traceback.format_exception(error)))
    kept = {
        "type": type(error).__name__,
        "message": _said(error)[:1000],
        "traceback": text[-TRACEBACK:],
    }
    return {**kept, "code": str(error.code)} if isinstance(error, ZohoError) and error.code else kept


def _said(error: BaseException) -> str:
    """Reasons are kept, and a handler's error may hold what it called with."""
    return logs.mask(str(error))


def _unless_over(decision: Decision, options: Options, now: int, made: int, error: BaseException) -> Decision:
    if decision.due(now) <= made + options.retry_for * 1000:
        return decision
    return Decision(
        "dead",
        decision.tries,
        reason=f"given up after {_days(options.retry_for)}, the last with {name(error)}",
    )


def _days(seconds: float) -> str:
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            count = seconds / size
            return f"{count:g} {unit}{'' if count == 1 else 's'}"
    return f"{seconds:g} seconds"

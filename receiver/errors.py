"""The whole error tree.

ZohookError
├── SettingsError                 zohook.toml, the environment or a secret is wrong; says file, key and cure
├── DeliveryError                 one HTTP request at the door; carries the status it is answered with
│   ├── UnknownSource             404  no such source
│   ├── TooLarge                  413  body or headers over the limit
│   ├── BadFraming                400  doubled signature headers, unreadable request
│   ├── UnsupportedEncoding       415  Content-Encoding other than identity
│   ├── Unauthenticated           401  the secret, signature or token does not fit
│   └── Malformed                 200  authenticated, but unreadable: quarantined
├── HandlerError                  a handler is declared or imported wrongly; stops the worker at its start
│   ├── DuplicateHandler
│   ├── HandlerImportFailed
│   └── UnknownOption
├── StoppedByOperator             somebody told the worker to stop this run: the job is dead, until a person retries it
├── KilledByOperator              somebody told the worker to end all that it runs: a failed try like any other
├── StepUnknown                   nobody knows whether a step happened, and a person must decide
├── StepNotRemembered             a step happened, and what it returned cannot be kept
├── LedgerError
│   ├── LedgerUnavailable         Redis refuses, times out or is not fit to hold the ledger
│   │   └── TooManyUnverified     as many deliveries as may wait to be verified do
│   └── Fenced                    this run is no longer the job's own; whatever it does is refused
└── ZohoError                     a call back into Zoho failed; retryable, retry_after, code, request
    ├── NotFound                  the record or page is not there
    ├── InvalidRequest            permanent for this payload
    │   └── DuplicateData         a record with that key exists; `existing_id` names it where Zoho does
    ├── Conflict                  changed since it was read (412), or locked
    ├── PermissionDenied          the user's profile or the edition does not allow it
    ├── ScopeMissing              the consent lacks a scope: connect again
    ├── RateLimited               too many calls or credits spent; retry_after in seconds
    ├── Unavailable               5xx, time-out, cut answer, HTML instead of JSON
    └── ConnectionUnusable        no token can be had; the jobs of the connection wait on hold
        ├── ConnectionRevoked     the refresh token is dead: a new consent is needed
        ├── ConnectionMisconfigured  client id, secret or data centre is wrong
        ├── NotConnected          nobody consented yet
        └── TokenThrottled        Zoho makes no more tokens for now

Skip and RetryLater are not errors: a handler raises them to end an attempt on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


class ZohookError(Exception):
    """Any error of ours."""


class SettingsError(ZohookError):
    """A setting is wrong; the message names the file, the key and the cure."""


class DeliveryError(ZohookError):
    """A request at the door that does not become an event; `status` is its HTTP answer."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "bad_delivery"


class UnknownSource(DeliveryError):
    """The URL names no configured source."""

    status = 404
    code = "unknown_source"


class TooLarge(DeliveryError):
    """The body or the headers exceed the limit."""

    status = 413
    code = "too_large"


class BadFraming(DeliveryError):
    """The request itself is ambiguous, whoever sent it."""

    status = 400
    code = "bad_framing"


class UnsupportedEncoding(DeliveryError):
    """A compressed body: Zoho sends none, and a bomb may hide in it."""

    status = 415
    code = "unsupported_encoding"


class Unauthenticated(DeliveryError):
    """The secret, signature or token does not fit the configured source."""

    status = 401
    code = "unauthenticated"


class Malformed(DeliveryError):
    """Authenticated but unreadable: kept in quarantine and answered 200, since Zoho gains nothing by repeating it."""

    status = 200
    code = "quarantined"


class HandlerError(ZohookError):
    """A handler is declared wrongly."""


class DuplicateHandler(HandlerError):
    """Two handlers have one id."""


class HandlerImportFailed(HandlerError):
    """A module of handlers does not import; the message carries its traceback."""


class UnknownOption(HandlerError):
    """An option of `@on` that does not exist or does not combine."""


class StoppedByOperator(ZohookError):
    """Somebody told the worker, by RQ's `stop-job`, to stop this run."""


class KilledByOperator(ZohookError):
    """Somebody told the worker, by RQ's `kill-horse`, to end all that it runs."""


class StepUnknown(ZohookError):
    """A step was begun and its end is unknown, with `if_unknown="stop"`: the job dies for a person to decide."""


class StepNotRemembered(ZohookError):
    """A step happened and returned what is no JSON: the job dies, for the code must change; a retry does not do the step again."""


class LedgerError(ZohookError):
    """The ledger cannot do what was asked."""


class LedgerUnavailable(LedgerError):
    """Redis refuses, times out, or is not fit to hold the ledger."""


class TooManyUnverified(LedgerUnavailable):
    """As many deliveries as may wait to be verified do; one more is not kept."""


class Fenced(LedgerError):
    """The run lost its lease or passed its time limit."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked of Zoho, without secrets."""

    method: str
    url: str
    product: str = ""
    params: Mapping[str, str] = field(default_factory=dict)


class ZohoError(ZohookError):
    """A call to Zoho failed.

    `retryable` says whether the same call may succeed later, `retry_after` in how many seconds at the earliest,
    `code` is Zoho's own word or number, `status` the HTTP status (0 where there was no answer).
    """

    retryable: bool = False

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        status: int = 0,
        request: Request | None = None,
        retry_after: float | None = None,
        details: object = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.request = request
        self.retry_after = retry_after
        self.details = details


class NotFound(ZohoError):
    """No such record or page."""


class InvalidRequest(ZohoError):
    """Permanent for this payload."""


class DuplicateData(InvalidRequest):
    """Zoho has a record with that key already; `existing_id` is its id where Zoho tells."""

    existing_id: str | None = None


class Conflict(ZohoError):
    """The record changed since it was read (412), or is locked."""


class PermissionDenied(ZohoError):
    """The user's profile or the edition does not allow it."""


class ScopeMissing(ZohoError):
    """The consent lacks a scope; a refresh cannot help, a new consent can."""


class RateLimited(ZohoError):
    """Too many calls, or the credits are spent. `hold` names the place where nobody can call just now; its jobs wait for it."""

    retryable = True
    hold: str = ""


class Unavailable(ZohoError):
    """No usable answer: 5xx, time-out, cut body, HTML instead of JSON."""

    retryable = True


class ConnectionUnusable(ZohoError):
    """No token can be had, so jobs that need one wait on hold and burn no tries."""

    retryable = True

    def __init__(self, message: str, *, connection: str = "", **context: object) -> None:
        super().__init__(message, **context)  # type: ignore[arg-type]
        self.connection = connection


class ConnectionRevoked(ConnectionUnusable):
    """The refresh token is dead: somebody must consent again."""


class ConnectionMisconfigured(ConnectionUnusable):
    """Client id, secret or data centre is wrong."""


class NotConnected(ConnectionUnusable):
    """Nobody has consented for this connection yet."""


class TokenThrottled(ConnectionUnusable):
    """Zoho makes no more tokens for now; `retry_after` says for how long."""


class Skip(Exception):
    """Raised by a handler: there is nothing to do here, and this is why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RetryLater(Exception):
    """Raised by a handler: not yet. Costs no try. Give seconds, or `at=` a time with its zone."""

    def __init__(self, seconds: float | None = None, *, at: datetime | None = None, reason: str = "") -> None:
        if (seconds is None) == (at is None):
            raise TypeError("RetryLater takes either seconds or at=, and just one of them")
        if seconds is not None and not 0 <= seconds <= 366 * 86_400:
            raise ValueError(f"RetryLater takes seconds from 0 to a year, not {seconds}")
        if at is not None and at.tzinfo is None:
            raise TypeError(
                "RetryLater(at=...) takes a time with its zone, for example datetime.now(UTC) + ..."
            )
        super().__init__(reason or "asked to be run later")
        self.seconds = seconds
        self.at = at
        self.reason = reason

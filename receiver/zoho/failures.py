"""What follows from an answer that is none: the error to raise, or the pause before the same call is made again. Pure."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from receiver.errors import DuplicateData, RateLimited, ScopeMissing, Unavailable, ZohoError
from receiver.zoho.ask import Ask, request_of
from receiver.zoho.wire import NoReply, Reply

if TYPE_CHECKING:
    from receiver.zoho.outcomes import Verdict


def error_of(ask: Ask, verdict: Verdict, url: str, status: int) -> ZohoError:
    """The error to raise for a verdict."""
    kind = verdict.error or Unavailable
    message = f"{ask.product} {ask.method} {ask.path}: {verdict.message}"
    if kind is ScopeMissing:
        message += "; the consent lacks a scope: connect again with it"
    wait = verdict.retry_after
    if kind is RateLimited and wait is None:
        wait = 10.0
    error = kind(
        message,
        code=verdict.code,
        status=status,
        request=request_of(ask, url),
        retry_after=wait,
        details=verdict.details,
    )
    if verdict.code == "too_large":
        error.retryable = False
    if isinstance(error, DuplicateData):
        error.existing_id = existing(verdict.details)
    return error


def existing(details: object) -> str | None:
    """The id of the record that a DUPLICATE_DATA names: `details.id` in v2, `details.duplicate_record.id` in
    v8.
    """
    if not isinstance(details, dict):
        return None
    inner = details.get("duplicate_record")
    found = inner.get("id") if isinstance(inner, dict) else None
    return str(found or details.get("id") or "") or None


def pause(ask: Ask, reply: Reply | NoReply, verdict: Verdict, number: int) -> float | None:
    """Seconds to the next try, or None where there is to be none."""
    backoff: float = min(0.25 * 2**number, 2.0) * random.uniform(0.5, 1.5)  # noqa: S311 - spreads load
    if ask.file is not None:
        return None
    if verdict.error is RateLimited:  # refused before anything was done, so any call may be repeated
        return backoff if verdict.retry_after is None else verdict.retry_after
    if verdict.error is not Unavailable or verdict.code == "too_large":
        return None
    if isinstance(reply, NoReply) and not reply.sent:
        return backoff
    return max(backoff, verdict.retry_after or 0.0) if ask.repeatable else None

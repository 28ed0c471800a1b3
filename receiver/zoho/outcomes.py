"""What an answer of a Zoho API means: one table per product. Pure: status, headers and bytes in, a verdict
out.

Statuses alone tell little: token errors, throttles and failed records come with HTTP 200, throttles with 400,
"none" with an empty 204. Sources: the error pages of each product, and the fact sheet's sections 2.6 and 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import TYPE_CHECKING, Any

import orjson

from receiver.errors import (
    Conflict,
    ConnectionMisconfigured,
    DuplicateData,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    RateLimited,
    ScopeMissing,
    Unavailable,
    ZohoError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means. `error` is the class to raise, or None; `retry_after` is in seconds, None where
    nobody said.
    """

    error: type[ZohoError] | None = None
    code: str = ""
    message: str = ""
    data: Any = None
    retry_after: float | None = None
    details: object = None
    dead: bool = False
    """Whether the code says that the access token is refused, so that a new one may help."""
    ambiguous: bool = False
    """Whether the code means a missing permission as well as a dead token (Books 57)."""


TOKEN_CODES = frozenset(
    {"INVALID_TOKEN", "AUTHENTICATION_FAILURE", "14", "57", "INVALID_OAUTH", "INVALID_OAUTHTOKEN", "F7003"}
)
"""The codes that a new access token may cure. Where it does not, the client or the data centre is wrong."""

# https://www.zoho.com/crm/developer/docs/api/v8/status-codes.html; Bigin and Recruit speak the same words.
CRM: dict[str, type[ZohoError]] = {
    "INVALID_TOKEN": ConnectionMisconfigured,
    "AUTHENTICATION_FAILURE": ConnectionMisconfigured,
    "OAUTH_SCOPE_MISMATCH": ScopeMissing,
    "NO_PERMISSION": PermissionDenied,
    "AUTHORIZATION_FAILED": PermissionDenied,
    "PERMISSION_DENIED": PermissionDenied,
    "FEATURE_NOT_SUPPORTED": PermissionDenied,
    "FEATURE_NOT_ENABLED": PermissionDenied,
    "TERRITORY_NOT_ENABLED": PermissionDenied,
    "LICENSE_LIMIT_EXCEEDED": PermissionDenied,
    "DUPLICATE_DATA": DuplicateData,
    "ALREADY_MODIFIED": Conflict,
    "RECORD_LOCKED": Conflict,
    "RECORD_IN_BLUEPRINT": Conflict,
    "TOO_MANY_REQUESTS": RateLimited,
    "RATE_LIMIT_EXCEEDED": RateLimited,
    "INTERNAL_ERROR": Unavailable,
    "INTERNAL_SERVER_ERROR": Unavailable,
    "SERVICE_UNAVAILABLE": Unavailable,
    "INVALID_DATA": InvalidRequest,
}

# https://www.zoho.com/books/api/v3/errors/; Inventory, Invoice, Billing and Expense share the numbers.
BOOKS: dict[str, type[ZohoError]] = {
    "14": ConnectionMisconfigured,
    "57": ConnectionMisconfigured,
    "43": RateLimited,
    "44": RateLimited,
    "45": RateLimited,
    "1070": RateLimited,
    "1000": Unavailable,
    "1002": NotFound,
    "6024": PermissionDenied,
    "6041": PermissionDenied,
}
BOOKS_WAITS = {"44": 60.0, "45": 3600.0}
"""Seconds: 44 blocks the organisation for a while, 45 till the next day, whose beginning Zoho does not
tell.
"""

# https://desk.zoho.com/DeskAPIDocument#Errors
DESK: dict[str, type[ZohoError]] = {
    "INVALID_OAUTH": ConnectionMisconfigured,
    "SCOPE_MISMATCH": ScopeMissing,
    "OAUTH_ORG_MISMATCH": PermissionDenied,
    "UNAUTHORIZED": PermissionDenied,
    "FORBIDDEN": PermissionDenied,
    "LICENSE_ACCESS_LIMITED": PermissionDenied,
    "URL_NOT_FOUND": NotFound,
    "THRESHOLD_EXCEEDED": RateLimited,
    "TOO_MANY_REQUESTS": RateLimited,
    "INTERNAL_SERVER_ERROR": Unavailable,
}
DESK_WAITS = {"THRESHOLD_EXCEEDED": 3600.0}

# Projects, Cliq and Mail throttle with 400 (and Projects at times in a 200).
OTHERS: dict[str, type[ZohoError]] = {
    "INVALID_OAUTHTOKEN": ConnectionMisconfigured,
    "INVALID_TOKEN": ConnectionMisconfigured,
    "INVALID_OAUTHSCOPE": ScopeMissing,
    "F7003": ConnectionMisconfigured,  # WorkDrive's; inferred, as is the next one
    "F7007": ScopeMissing,
    "OAUTH_SCOPE_MISMATCH": ScopeMissing,
    "URL_ROLLING_THROTTLES_LIMIT_EXCEEDED": RateLimited,
    "request_limit_exceeded": RateLimited,
}
OTHER_WAITS = {"URL_ROLLING_THROTTLES_LIMIT_EXCEEDED": 120.0}

FINANCE = frozenset({"books", "inventory", "invoice", "billing", "expense"})
_CRM_KIN = frozenset({"crm", "bigin", "recruit"})

STATUSES: dict[int, type[ZohoError]] = {
    400: InvalidRequest,
    401: PermissionDenied,
    403: PermissionDenied,
    404: NotFound,
    408: Unavailable,
    409: Conflict,
    412: Conflict,
    429: RateLimited,
}


def judge(product: str, status: int, headers: Mapping[str, str], body: bytes) -> Verdict:
    """What the answer means; never raises."""
    if status in {204, 205, 304}:
        return Verdict()
    if not body.strip():
        return _empty(product, status, headers)
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _unreadable(status, headers)
    table, waits = _tables(product)
    code, message, details = _word(product, status, data)
    if code is None:
        return Verdict(data=data)
    if product not in FINANCE | _CRM_KIN | {"desk"}:
        code = next((word for word in OTHERS if word.encode() in body), code)
    error = table.get(code) or _by_status(status)
    if product in _CRM_KIN and code == "INVALID_DATA" and _names_the_id(message, details):
        error = NotFound
    if product == "desk" and isinstance(details, list) and _any_duplicate(details):
        error = DuplicateData
    wait = _retry_after(headers)
    return Verdict(
        error,
        code,
        message or f"HTTP {status}",
        retry_after=waits.get(code) if wait is None and error is RateLimited else wait,
        details=details,
        dead=error is ConnectionMisconfigured and code in TOKEN_CODES,
        ambiguous=product in FINANCE and code == "57",
    )


def record_error(entry: Mapping[str, Any]) -> type[ZohoError]:
    """The error class of one entry of a CRM answer that failed."""
    code = str(entry.get("code", ""))
    if code == "INVALID_DATA" and _names_the_id(str(entry.get("message", "")), entry.get("details")):
        return NotFound
    return CRM.get(code, InvalidRequest)


def entries(data: object) -> list[dict[str, Any]] | None:
    """The per-record entries of a CRM answer (under `data`, `watch`, ...), or None where it has none."""
    if not isinstance(data, dict):
        return None
    for value in data.values():
        if (
            isinstance(value, list)
            and value
            and all(isinstance(one, dict) and "code" in one and "status" in one for one in value)
        ):
            return value
    return None


def _tables(product: str) -> tuple[dict[str, type[ZohoError]], dict[str, float]]:
    if product in FINANCE:
        return BOOKS, BOOKS_WAITS
    if product == "desk":
        return DESK, DESK_WAITS
    return (CRM, {}) if product in _CRM_KIN else (OTHERS, OTHER_WAITS)


def _word(product: str, status: int, data: object) -> tuple[str | None, str, object]:
    """(Zoho's word for what went wrong, its message, details); the word is None where nothing did."""
    if product in FINANCE:
        return _finance_word(status, data)
    if not isinstance(data, dict):
        return (None if status < 300 else ""), "", None
    if product in _CRM_KIN:
        # Entries per record are read one by one by the client, whatever the status of the whole.
        if status < 500 and status not in {401, 429} and entries(data) is not None:
            return None, "", None
        failed = status >= 300 or data.get("status") == "error"
        found = data.get("code") or next((one.get("code") for one in entries(data) or ()), "")
        return (str(found) if failed else None), str(data.get("message", "")), data.get("details")
    if product == "desk":
        failed = status >= 300 or "errorCode" in data
        return (
            (str(data.get("errorCode", "")) if failed else None),
            str(data.get("message", "")),
            data.get("errors"),
        )
    return _other_word(status, data)


def _finance_word(status: int, data: object) -> tuple[str | None, str, object]:
    if not isinstance(data, dict) or "code" not in data:
        return "no_code", "the answer carries no code", None
    code = str(data["code"])
    return (
        (None if code == "0" and status < 300 else code),
        str(data.get("message", "")),
        data.get("error_info"),
    )


def _other_word(status: int, data: dict[str, Any]) -> tuple[str | None, str, object]:
    inner = data.get("data")
    error = data.get("error")
    if isinstance(listed := data.get("errors"), list) and listed and isinstance(listed[0], dict):
        return (
            str(listed[0].get("id", "")),
            str(listed[0].get("title", "")),
            listed,
        )  # WorkDrive speaks JSON:API
    found = inner.get("errorCode") if isinstance(inner, dict) else None
    if isinstance(error, dict):
        found = found or error.get("code") or error.get("title") or "error"
    elif error:
        found = found or error
    throttled = "URL_ROLLING_THROTTLES_LIMIT_EXCEEDED" in str(data)[:2000]
    if status < 300 and not found and not throttled and data.get("status") != "failure":
        return None, "", None
    return str(found or data.get("code") or ""), str(data.get("message", "")), inner or error


def _empty(product: str, status: int, headers: Mapping[str, str]) -> Verdict:
    if status < 300:
        # Books always says a code, CRM says "none" with 204: an empty 200 of theirs is an answer that got
        # lost.
        if product in FINANCE | _CRM_KIN:
            return Verdict(Unavailable, "empty", "the answer is empty")
        return Verdict()
    return Verdict(_by_status(status), "", f"HTTP {status} without a word", retry_after=_retry_after(headers))


def _unreadable(status: int, headers: Mapping[str, str]) -> Verdict:
    error = RateLimited if status == 429 else Unavailable
    what = "HTML" if "html" in headers.get("content-type", "") else "something"
    message = f"HTTP {status} with {what} instead of JSON"
    return Verdict(error, "not_json", message, retry_after=_retry_after(headers))


def _by_status(status: int) -> type[ZohoError]:
    if status in STATUSES:
        return STATUSES[status]
    # A 2xx that says an error nobody knows is permanent for this payload; a redirect or a 5xx may pass.
    return InvalidRequest if status < 300 or 400 <= status < 500 else Unavailable


def _names_the_id(message: str, details: object) -> bool:
    named = isinstance(details, dict) and details.get("api_name") == "id"
    return named or "the id given seems to be invalid" in message


def _any_duplicate(details: list[Any]) -> bool:
    return any(isinstance(one, dict) and one.get("errorType") == "duplicate" for one in details)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header, a number or a date, at most a day; None where there is none to be
    understood.
    """
    text = headers.get("retry-after", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time()
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
    return min(max(seconds, 0.0), 86_400.0) if math.isfinite(seconds) else None

"""What goes wrong, as pages: each says what happened and what to do, in the design of all the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.exceptions import (
    BusyLoadingError,
    RedisError,
)
from redis.exceptions import (
    ConnectionError as NotReached,
)
from redis.exceptions import (
    TimeoutError as TooSlow,
)
from starlette.exceptions import HTTPException

from receiver import logs
from receiver.dashboard.house import page
from receiver.errors import LedgerUnavailable

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

log = logs.get("dashboard")

CLOSED = (
    "No password is set, so nobody can sign in. Set ZOHOOK_WEB__PASSWORD in the environment or in the .env file of the "
    "project, and start the web process again."
)
WORDS = {
    "closed": ("The dashboard is closed", CLOSED),
    "origin": ("Not from here", "The form was sent from another site. Nothing was changed."),
    "csrf": (
        "The form is too old",
        "It belongs to a session that is over. Go back, load the page again and repeat it.",
    ),
    "viewer": (
        "Viewers cannot do that",
        "You are signed in to look only. Sign in with the operator's password to change things.",
    ),
    "session": ("Sign in first", "There is no session, or it is over."),
    "form": ("Not a form", "This address takes plain HTML forms only."),
    "large": ("Too large", "The form is larger than this address takes."),
    "redis": (
        "Redis does not answer",
        "The ledger cannot be read now. Deliveries are still taken as far as they can be kept.",
    ),
    "full": ("Too many live pages", "This process serves no more of them; the page itself works without."),
    "missing": ("Not here", "There is nothing at this address, or retention has removed it."),
    "method": ("Not this way", "This address does not take that method."),
    "broken": ("Something broke", "The page could not be drawn. The log of the web process says why."),
}
_STATUS = {404: "missing", 405: "method", 413: "large"}


def refusal(request: Request, status: int, why: str) -> Response:
    """An error page."""
    title, words = WORDS[why]
    return page(request, "error.html", status, title=title, words=words, code=status)


async def on_http(request: Request, error: Exception) -> Response:
    """An address that is not there, a method that it does not take."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    answer = refusal(request, status, _STATUS.get(status, "broken"))
    if isinstance(error, HTTPException) and error.headers:
        answer.headers.update(error.headers)
    return answer


async def on_redis(request: Request, error: Exception) -> Response:
    """Redis is away, or what it holds is not what it should be."""
    away = isinstance(error, NotReached | TooSlow | BusyLoadingError | LedgerUnavailable)
    log.warning("dashboard.redis", path=request.scope["path"], error=str(error))
    return refusal(request, 503, "redis") if away else refusal(request, 500, "broken")


async def on_crash(request: Request, error: Exception) -> Response:
    """A mistake of ours; it is logged by the server as well."""
    log.error("dashboard.broken", path=request.scope["path"], error=f"{type(error).__name__}: {error}")
    return refusal(request, 500, "broken")


HANDLERS = {HTTPException: on_http, RedisError: on_redis, LedgerUnavailable: on_redis, Exception: on_crash}

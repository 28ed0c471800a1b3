"""The guard of the whole dashboard: nothing behind it is reached without its leave, and nothing leaves without its headers.

Default deny: a path that is not listed as open needs a session, and whatever is no GET needs an operator, our own Origin and the
session's CSRF token. A view cannot forget any of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlsplit

from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.websockets import WebSocketClose

from receiver import logs
from receiver.dashboard import access
from receiver.dashboard.errors import refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from receiver.dashboard.house import House

log = logs.get("dashboard")

OPEN = frozenset(
    {"/sign-in", "/healthz", "/metrics", "/connect/callback", "/static/zohook.css", "/static/icon.svg"}
)
"""What needs no session: the stylesheet and icon are the sign-in page's; the rest checks who asks in its own way."""
WITHOUT_PASSWORD = OPEN - {"/sign-in"}
TO_CUSTOMERS = "/consent/"
"""Behind it is the token of a consent link, which is proof enough, and with which nothing else can be done."""
TO_PROGRAMS = "/api/"
"""Behind it is no browser: what is there takes a bearer token, and neither session nor form."""
BY_VIEWERS = frozenset({"/sign-out"})
LARGEST_FORM = 128 * 2**10
MOST_FIELDS = 1_000
READING = frozenset({"GET", "HEAD"})

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # "no-referrer" would make browsers send `Origin: null` with our own forms
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cache-control": "no-store",
}


class Guard:
    """Wraps the dashboard's application."""

    def __init__(self, app: ASGIApp, house: House) -> None:
        self.app = app
        self.house = house
        self.headers = dict(HEADERS)
        if house.settings.public_url.startswith("https://"):
            self.headers["strict-transport-security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve what may be served, refuse the rest."""
        if scope["type"] != "http":
            return await WebSocketClose()(scope, receive, send)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers.setdefault(name, value)
            await send(message)

        scope["state"] = {**scope.get("state", {}), "house": self.house}
        request = Request(scope, receive)
        answer = await self.refuse(request)
        await (answer or self.app)(scope, receive, send_with_headers)
        return None

    async def refuse(self, request: Request) -> Response | None:
        """Why a request goes no further, or None."""
        path, reading = (
            request.scope["path"],
            request.method in READING,
        )  # never request.url, which the Host header makes
        if path.startswith(TO_PROGRAMS):
            return None
        to_customers = path.startswith(TO_CUSTOMERS)
        if not access.passwords(self.house.settings) and path not in WITHOUT_PASSWORD and not to_customers:
            return refusal(request, 403, "closed")
        if not reading and not self._own_origin(request):
            return self._no(request, 403, "origin")
        try:
            found = await run_in_threadpool(self._session, request)
        except RedisError as error:
            if path in OPEN or to_customers:
                return None
            log.warning("dashboard.redis", error=str(error))
            return refusal(request, 503, "redis")
        request.scope["state"]["session"] = found
        if not reading and (answer := await self._read_form(request)):
            return answer
        if path in OPEN or to_customers:
            return None
        if found is None:
            return self._sign_in_first(request)
        if not reading:
            return self._may_change(request, found)
        return None

    def _session(self, request: Request) -> access.Session | None:
        token = request.cookies.get(access.cookie(self.house.settings), "")
        return access.load(self.house.redis, self.house.settings, token) if token else None

    def _own_origin(self, request: Request) -> bool:
        """Whether a form was sent by a page of this host. Browsers name the origin of every POST; other clients name none."""
        origin = request.headers.get("origin")
        if origin is None:
            return request.headers.get("sec-fetch-site", "same-origin") in {"same-origin", "none"}
        given, ours = urlsplit(origin), urlsplit(self.house.settings.public_url)
        if (given.scheme, given.netloc) == (ours.scheme, ours.netloc):
            return True
        return given.scheme in {"http", "https"} and given.netloc == request.headers.get("host", "")

    async def _read_form(self, request: Request) -> Response | None:
        kind = (
            request.headers.get("content-type", "application/x-www-form-urlencoded")
            .partition(";")[0]
            .strip()
            .lower()
        )
        if kind != "application/x-www-form-urlencoded":
            return self._no(request, 415, "form")
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_FORM:
                return self._no(request, 413, "large")
        try:
            pairs = parse_qsl(
                body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS
            )
        except ValueError:
            return self._no(request, 413, "large")
        fields: dict[str, list[str]] = {}
        for name, value in pairs:
            fields.setdefault(name, []).append(value)
        request.scope["state"]["form"] = fields
        return None

    def _sign_in_first(self, request: Request) -> Response:
        path, query = request.scope["path"], request.scope["query_string"].decode("latin-1")
        if request.method not in READING or path.startswith(("/live/", "/static/")):
            return refusal(request, 401, "session")
        target = quote(path) + (f"?{query}" if query else "")
        return RedirectResponse("/sign-in" + (f"?to={quote(target, safe='/')}" if target != "/" else ""), 303)

    def _may_change(self, request: Request, session: access.Session) -> Response | None:
        if not access.is_csrf(session, request.scope["state"]["form"].get("csrf", [""])[0]):
            return self._no(request, 403, "csrf")
        if not session.operator and request.scope["path"] not in BY_VIEWERS:
            return self._no(request, 403, "viewer")
        return None

    def _no(self, request: Request, status: int, why: str) -> Response:
        log.warning(
            "dashboard.refused",
            path=request.scope["path"],
            why=why,
            remote=request.client.host if request.client else "",
        )
        return refusal(request, status, why)

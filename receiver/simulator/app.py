"""The simulator's one Starlette app: reads a call, orders faults and limits around it, and journals it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

import httpx
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import Route

from receiver.simulator.books import KIN
from receiver.simulator.crm_kin import CRM_KIN
from receiver.simulator.journal import ApiCall
from receiver.simulator.oauth_token import unknown_path
from receiver.simulator.wire import Answer, Call, NeedsProbe, Refused

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from receiver.simulator.faults import Fault
    from receiver.simulator.server import Simulator

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
MAINTENANCE = "<html><head><title>Zoho</title></head><body><h1>We'll be back soon</h1></body></html>"


class Product(Protocol):
    """What the app asks of a product."""

    def enter(self, call: Call) -> bool: ...
    def leave(self, *, heavy: bool) -> None: ...
    def headers(self) -> dict[str, str]: ...
    def handle(self, call: Call) -> Answer: ...


class Cut(Response):
    """Promises its whole body, sends half of it and hangs up."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})


class Front:
    """Every request comes through here."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.products: dict[str, Product] = {
            "crm": simulator.crm,
            "books": simulator.books,
            **simulator.finance,
            "desk": simulator.desk,
            **simulator.thin,
        }

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{path:path}", self.answer, methods=METHODS)])

    async def answer(self, request: Request) -> Response:
        call = await read(request)
        if call.path.startswith("/_console"):
            return _response(await run_in_threadpool(self.simulator.console.handle, call), call)
        began = time.monotonic()
        product = _product(call.path)
        fault = self.simulator.faults.take(product, call)
        if fault is not None and fault.seconds:
            await asyncio.sleep(fault.seconds)
        if fault is not None and fault.kind not in ("slow", "lost", "cut"):
            answer = _broken(fault)
        else:
            answer = await self._work(product, call)
        self._journal(product, call, answer, fault, time.monotonic() - began)
        if fault is not None and fault.kind in ("lost", "cut"):
            whole = _response(answer if answer.body else Answer(answer.status, {}), call)
            return Cut(whole.body, whole.status_code, media_type=whole.media_type)
        return _response(answer, call)

    async def _work(self, product: str, call: Call) -> Answer:
        try:
            if product in self.products:
                return await self._api(self.products[product], call)
            if call.path == "/oauth/v2/token" and self.simulator.limits.token_delay:
                await asyncio.sleep(self.simulator.limits.token_delay)
            with self.simulator.world.lock:
                return self._accounts(call)
        except Refused as refused:
            return refused.answer

    async def _api(self, product: Product, call: Call) -> Answer:
        with self.simulator.world.lock:
            heavy = product.enter(call)
        try:
            if self.simulator.limits.api_delay:
                await asyncio.sleep(self.simulator.limits.api_delay)
            while True:
                try:
                    with self.simulator.world.lock:
                        answer = product.handle(call)
                        answer.headers |= product.headers()
                        return answer
                except NeedsProbe as needs:
                    call.probed[needs.url] = await run_in_threadpool(probe, needs.url, self._deadline)
        finally:
            with self.simulator.world.lock:
                product.leave(heavy=heavy)

    @property
    def _deadline(self) -> float:
        return self.simulator.limits.delivery_deadline

    def _accounts(self, call: Call) -> Answer:
        tokens, consent = self.simulator.tokens, self.simulator.consent
        paths = {
            "/oauth/v2/auth": consent.auth,
            "/oauth/v2/token": tokens.token,
            "/oauth/v2/token/revoke": tokens.revoke,
            "/oauth/v2/revoke/token": tokens.revoke,
            "/oauth/v3/device": consent.device,
            "/oauth/v3/device/code": tokens.device_code,
            "/oauth/v3/device/token": tokens.device_token,
        }
        if call.path == "/.well-known/jwks.json":
            return Answer(200, self.simulator.desk.hooks.keys.jwks())
        if call.path == "/oauth/serverinfo":
            return Answer(200, {"result": "success", "locations": {"us": self.simulator.world.base}})
        act = paths.get(call.path)
        if act is None:
            raise unknown_path()
        return act(call)

    def _journal(self, product: str, call: Call, answer: Answer, fault: Fault | None, seconds: float) -> None:
        # Bodies sent to accounts hold secrets; the grant type is all that a test needs of them.
        shown = (
            call.fields().get("grant_type", "") if product == "oauth" else call.body.decode(errors="replace")
        )
        self.simulator.journal.call(
            ApiCall(
                at=self.simulator.world.now(),
                product=product,
                method=call.method,
                path=call.path,
                query=dict(call.query) if product != "oauth" else {},
                status=answer.status,
                code=answer.code,
                seconds=seconds,
                fault=fault.kind if fault else "",
                body=shown,
                token=call.token.token[-8:] if call.token else "",
                headers={name: value for name, value in call.headers.items() if name != "authorization"},
            )
        )


async def read(request: Request) -> Call:
    """The request to its end; a form is read as such and its bytes are kept too."""
    body = await request.body()
    form: list[tuple[str, str]] = []
    files: dict[str, tuple[str, bytes]] = {}
    if request.headers.get("content-type", "").startswith(FORMS):
        async with request.form() as fields:
            form = [(name, value) for name, value in fields.multi_items() if isinstance(value, str)]
            for name, value in fields.multi_items():
                if not isinstance(value, str):
                    files[name] = (value.filename or "", await value.read())
    return Call(
        method=request.method,
        path=request.url.path,
        query=request.query_params.multi_items(),
        headers={name.lower(): value for name, value in request.headers.items()},
        body=body,
        form=form,
        files=files,
    )


def probe(url: str, deadline: float) -> bool:
    """Desk's unsigned look at an endpoint: GET, and POST where that was not 200."""
    with httpx.Client(timeout=deadline, trust_env=False) as client:
        for method in ("GET", "POST"):
            try:
                if client.request(method, url).status_code == 200:
                    return True
            except (httpx.HTTPError, httpx.InvalidURL):
                continue
    return False


def _product(path: str) -> str:
    """All products are on one address here, so the path alone tells them apart."""
    first, second, third = (*path.split("/")[1:4], "", "", "")[:3]
    if first == "api":
        if (second, third) == ("v1", "requests"):
            return "sign"
        return {"accounts": "mail", "v3": "projects"}.get(second, "desk")
    return first if first in {"crm", "oauth", "workdrive", *KIN, *CRM_KIN} else "other"


def _broken(fault: Fault) -> Answer:
    if fault.kind == "html":
        return Answer(fault.status, MAINTENANCE)
    if fault.kind == "body":
        return Answer(fault.status, fault.body)
    codes = {429: "TOO_MANY_REQUESTS", 500: "INTERNAL_ERROR", 503: "SERVICE_UNAVAILABLE"}
    code = codes.get(fault.status, "INTERNAL_ERROR")
    return Answer(
        fault.status, fault.body or {"code": code, "details": {}, "message": code, "status": "error"}
    )


def _response(answer: Answer, call: Call) -> Response:
    body, kind = answer.encode()
    headers = dict(answer.headers)
    if kind:
        headers["content-type"] = kind
    return Response(b"" if call.method == "HEAD" else body, answer.status, headers)

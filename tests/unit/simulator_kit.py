"""What the simulator's tests share: a clock that they move, calls in process, and a place that deliveries go to."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx

from receiver.simulator import Limits, Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.at = 1_790_000_000.0

    def __call__(self) -> float:
        return self.at

    def forward(self, seconds: float) -> None:
        self.at += seconds


class Zoho:
    """A simulator in process, with a token that may do everything."""

    def __init__(self, **limits: Any) -> None:
        self.clock = Clock()
        self.simulator = Simulator(limits=Limits(**limits), clock=self.clock)
        self.token = self.simulator.access_token()

    def call(self, method: str, path: str, *, token: str | None = "", **more: Any) -> httpx.Response:
        """`token` None sends none."""
        headers = dict(more.pop("headers", {}))
        if token is not None and path.split("/")[1] in ("crm", "books", "api"):
            headers.setdefault("Authorization", f"Zoho-oauthtoken {token or self.token}")
        if path.startswith("/books/") and "bare" not in more:
            more["params"] = {"organization_id": self.simulator.org_ids["books"], **more.get("params", {})}
        if path.startswith("/api/") and "bare" not in more:
            headers.setdefault("orgId", self.simulator.org_ids["desk"])
        more.pop("bare", None)
        return asyncio.run(self._call(method, path, headers=headers, **more))

    async def _call(self, method: str, path: str, **more: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.simulator.app)
        async with httpx.AsyncClient(transport=transport, base_url=self.simulator.base) as client:
            return await client.request(method, path, **more)

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.call("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.call("POST", path, **more)

    def ask_token(self, **given: Any) -> httpx.Response:
        sim = self.simulator
        known = {"client_id": sim.client_id, "client_secret": sim.client_secret}
        data = {name: value for name, value in {**known, **given}.items() if value is not None}
        return self.post("/oauth/v2/token", data=data)

    def refresh(self) -> httpx.Response:
        return self.ask_token(grant_type="refresh_token", refresh_token=self.simulator.refresh_token)

    def watch(self, **more: Any) -> dict[str, Any]:
        """A channel that nobody answers at, unless it is told where."""
        return {
            "channel_id": "1001",
            "events": ["Deals.all"],
            "notify_url": "http://127.0.0.1:9/in",
            **more,
        }


class Sink:
    """Keeps what it is sent and answers with `status`."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, dict[str, str], bytes]] = []
        self.status = 200
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                sink.got.append((self.command, self.path, headers, body))
                self.send_response(sink.status)
                self.send_header("content-length", "0")
                self.end_headers()

            do_GET = do_HEAD = do_PUT = do_DELETE = do_POST  # noqa: N815 - the names are the library's

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            # The default of five makes bursts wait a second for a second SYN.
            request_queue_size = 128

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


@contextmanager
def sinking() -> Iterator[tuple[Zoho, Sink]]:
    """A simulator in process whose deliveries go to a sink over real HTTP."""
    zoho, sink = Zoho(), Sink()
    try:
        yield zoho, sink
    finally:
        zoho.simulator.stop()
        sink.close()

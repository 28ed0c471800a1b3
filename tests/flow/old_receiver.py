"""An old receiver, as somebody's Flask route was: a real server that keeps what it is sent and answers as it is told."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator


@dataclass
class Got:
    """One request as it came."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of a header."""
        return next((value for key, value in self.headers if key.lower() == name), None)


@dataclass
class Old:
    """The server. `answer` is given each request and its number, from nought, and says the status, or does what it likes."""

    answer: Callable[[Any, int], int | None] = lambda _handler, _number: 200
    got: list[Got] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}/hook"

    def wait(self, count: int, seconds: float = 30) -> list[Got]:
        """What it got, once that is so many."""
        limit = time.monotonic() + seconds
        while len(self.got) < count:
            assert time.monotonic() < limit, f"{len(self.got)} of {count}"
            time.sleep(0.02)
        return self.got


@contextmanager
def old_receiver(
    answer: Callable[[Any, int], int | None] = lambda _handler, _number: 200,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Old]:
    """A running one."""
    old = Old(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65_537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            old.got.append(Got(self.command, self.path, list(self.headers.items()), body))
            status = old.answer(self, len(old.got) - 1)
            if status is not None:
                self.send_response(status)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    old.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield old
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)

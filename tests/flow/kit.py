"""What several flow tests do: drain a house, and serve an app as the web process does."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn

from receiver.ledger import read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.flow.conftest import House


def drain(home: House, seconds: float = 10) -> None:
    """Work and sweep until nothing is open but what is on hold."""
    limit = time.monotonic() + seconds
    while read.states(home.redis)["open"] or sum(
        read.states(home.redis)[state] for state in ("due", "running")
    ):
        assert time.monotonic() < limit, read.states(home.redis)
        home.work()
        home.sweeper.once()
        time.sleep(0.005)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def served(app: Any, port: int = 0) -> Iterator[str]:
    """The app on a port of its own, as the web process runs it."""
    server = uvicorn.Server(
        uvicorn.Config(
            app, port=0, log_config=None, ws="none", server_header=False, http="httptools", loop="uvloop"
        )
    )
    sock = socket.socket()
    sock.bind(("127.0.0.1", port))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    sock.close()

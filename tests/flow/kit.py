"""What several flow tests do: drain a house, serve an app as the web process does, and watch workers from outside."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn

from receiver.app import Web
from receiver.cli.processes import serving
from receiver.event import Delivery, Event, new_id, now_ms
from receiver.ledger import read
from receiver.ledger.accept import Record, accept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis import Redis

    from receiver.settings import Settings
    from tests.flow.conftest import House


def drain(home: House, seconds: float = 30) -> None:
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
    """What `build` built, as the web process serves it, or another app, on a port of its own."""
    other = {"log_config": None, "ws": "none", "server_header": False, "http": "httptools", "loop": "uvloop"}
    server = uvicorn.Server(serving(app) if isinstance(app, Web) else uvicorn.Config(app, **other))
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


def send(
    redis: Redis, event_type: str = "crm.Deals.updated", data: Any = None, count: int = 1, record_id: str = ""
) -> list[str]:
    """Accept events; their ids."""
    ids = []
    for _ in range(count):
        event = Event(
            id=new_id(),
            type=event_type,
            source="crm",
            data=data or {},
            received=now_ms(),
            record_id=record_id,
        )
        accept(redis, [Record(Delivery.arrive("crm", b"{}"), "accepted", events=[event])], again=1)
        ids.append(event.id)
    return ids


def until(true: Callable[[], Any], seconds: float = 30) -> None:
    """Wait until something is so."""
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit, "waited too long"
        time.sleep(0.05)


def seen(project: Settings) -> list[str]:
    """What the handlers of a project wrote."""
    file = project.folder / "seen.txt"
    return file.read_text().split("\n")[:-1] if file.exists() else []

"""A web process that is told to stop: who is just sending is answered first, and nobody holds it up."""

from __future__ import annotations

import hashlib
import hmac
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from receiver.ledger import read
from receiver.ledger.embedded import Embedded
from tests.system.conftest import ROOT, eventually, linux

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from redis import Redis

pytestmark = linux
SECRET = "throwawaybookskey01"
TOML = '[sources]\nbooks = { product = "books", events = ["invoice.paid"] }\n'
SETTLED = 0.3
"""Seconds after which a process that was told to stop is surely at it."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A Redis for the processes of this file."""
    with Embedded(tmp_path_factory.mktemp("own"), share=False) as running:
        yield running


@pytest.fixture
def redis(server: Embedded) -> Iterator[Redis]:
    """Its client; empty before each test."""
    with server.client() as client:
        client.flushall()
        yield client


class Web:
    """A running `zohook web`. The test keeps its listening socket, as a supervisor does."""

    def __init__(self, process: subprocess.Popen[bytes], to: tuple[str, int]) -> None:
        self.process, self.to = process, to
        self.clients: list[socket.socket] = []

    def connect(self) -> socket.socket:
        """A connection that the process has seen."""
        self.clients.append(socket.create_connection(self.to, timeout=10))
        time.sleep(0.05)
        return self.clients[-1]

    def tell_to_stop(self) -> None:
        """SIGTERM; it has stopped to listen afterwards."""
        self.process.send_signal(signal.SIGTERM)
        time.sleep(SETTLED)
        assert self.process.poll() is None, "nobody got a word"

    def ended_within(self, seconds: float) -> bool:
        """Whether it is over by then."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


@pytest.fixture
def web(server: Embedded, redis: Redis, tmp_path: Path) -> Iterator[Web]:
    """A web process with the limits that it comes with."""
    with started(server, tmp_path) as running:
        yield running


@contextmanager
def started(server: Embedded, folder: Path, **environment: str) -> Iterator[Web]:
    """A web process of a project with one source, once it answers."""
    (folder / "zohook.toml").write_text(TOML)
    given = {**os.environ, "PYTHONPATH": str(ROOT), "ZOHOOK_REDIS__URL": server.url, **environment}
    with socket.create_server(("127.0.0.1", 0)) as bound, (folder / "web.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "receiver.cli", "web", "--fd", str(bound.fileno())],
            cwd=folder,
            env={**given, "ZOHOOK_SECRET_BOOKS": SECRET},
            pass_fds=[bound.fileno()],
            stdout=log,
            stderr=log,
        )
        try:
            eventually(lambda: b"startup complete" in (folder / "web.log").read_bytes())
            running = Web(process, bound.getsockname())
            yield running
            for client in running.clients:
                client.close()
        finally:
            process.kill()
            process.wait()


def delivery(number: int) -> bytes:
    """A signed delivery."""
    body = b'{"invoice": {"invoice_id": %d}}' % number
    signature = hmac.new(SECRET.encode(), b"eventinvoice.paid" + body, hashlib.sha256).hexdigest()
    head = (
        f"POST /in/books?event=invoice.paid HTTP/1.1\r\nHost: x\r\nX-Zoho-Webhook-Signature: {signature}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def heard(client: socket.socket) -> bytes:
    """All that comes until the server closes; a reset is an error."""
    said = b""
    while chunk := client.recv(65_536):
        said += chunk
    return said


def taken_as_the_last(said: bytes) -> bool:
    """Whether it was answered 200, and told that the connection ends with that."""
    return said.startswith(b"HTTP/1.1 200 ") and b"\r\nconnection: close\r\n" in said


def test_what_is_just_arriving_is_answered_and_the_connection_closed(web: Web, redis: Redis) -> None:
    """A connection of which nothing came yet, half a head, half a body, and a kept connection that is used again: each delivery is
    kept and answered, and what is silent is closed.
    """
    new, head, body, kept, silent = (web.connect() for _ in range(5))
    for number, client in enumerate((kept, silent)):
        client.sendall(delivery(number))
        assert b" 200 " in client.recv(65_536)
    head.sendall(delivery(3)[:40])
    body.sendall(delivery(4)[:-5])
    time.sleep(0.1)
    web.tell_to_stop()
    new.sendall(delivery(2))
    head.sendall(delivery(3)[40:])
    body.sendall(delivery(4)[-5:])
    kept.sendall(delivery(5))
    assert [taken_as_the_last(heard(each)) for each in (new, head, body, kept)] == [True] * 4
    assert heard(silent) == b""
    assert web.ended_within(5)
    assert read.totals(redis)["accepted"] == 6


def test_a_page_that_is_asked_for_just_then_is_answered(web: Web) -> None:
    """As the deliveries are: a probe of a load balancer is no reason to call the process dead."""
    client = web.connect()
    web.tell_to_stop()
    client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert taken_as_the_last(heard(client))
    assert web.ended_within(5)


def test_nobody_holds_up_the_end(web: Web) -> None:
    """With nothing open it is there at once; with silent connections and half heads within the two seconds that those get."""
    clients = [web.connect() for _ in range(20)]
    for client in clients[:10]:
        client.sendall(delivery(1)[:40])
    time.sleep(0.1)
    began = time.monotonic()
    web.tell_to_stop()
    said = [heard(each) for each in clients]
    assert [answer[:13] for answer in said] == [b"HTTP/1.1 408 "] * 10 + [b""] * 10
    assert web.ended_within(5)
    assert time.monotonic() - began < 4  # and what a busy machine adds


def test_with_nothing_open_it_ends_at_once(web: Web) -> None:
    """No grace is waited for that nobody needs."""
    began = time.monotonic()
    web.process.send_signal(signal.SIGTERM)
    assert web.ended_within(10)
    assert time.monotonic() - began < 1.5


def test_a_short_limit_stays_short(server: Embedded, redis: Redis, tmp_path: Path) -> None:
    """The grace is never longer than the time that a head or a pause may take anyway."""
    with started(server, tmp_path, ZOHOOK_WEB__HEADER_TIME="0.5", ZOHOOK_WEB__IDLE="0.5") as web:
        client = web.connect()
        client.sendall(delivery(1)[:40])
        web.process.send_signal(signal.SIGTERM)
        assert heard(client).startswith(b"HTTP/1.1 408 ")
        assert web.ended_within(5)

"""Threats by quantity, against a web process of its own: large bodies and many bad requests (S8, S28)."""

from __future__ import annotations

import contextlib
import re
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from security_kit import Web, until, web

from receiver.ledger import read
from tests.flow.test_door_holds import BODY, BOOKS, PATH, TOML, request, signature

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from redis import Redis

    from receiver.ledger.embedded import Embedded
    from tests.conftest import MakeSettings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is looked up in /proc")
MIB = 2**20
ROOM = (64 + 24) * MIB
"""What unfinished bodies may take in one process, whoever sends them, and what lies around them."""


@pytest.fixture
def start(
    settings: MakeSettings, redis_server: Embedded, redis: Redis, tmp_path: Path
) -> Callable[..., AbstractContextManager[Web]]:
    """Starts a web process with the limits that it comes with, but for what is given."""
    redis.config_set("appendonly", "yes")
    known = settings(TOML)
    own = {"ZOHOOK_KEY": known.key, "ZOHOOK_SECRET_BOOKS": BOOKS, "ZOHOOK_REDIS__URL": redis_server.url}
    return lambda **given: web(tmp_path, **own, **given)


def connected(to: Web, number: int, addresses: int = 5) -> socket.socket:
    """A connection from one of a few addresses, none of which has too many."""
    return socket.create_connection(
        ("127.0.0.1", to.port), timeout=10, source_address=(f"127.0.2.{1 + number % addresses}", 0)
    )


def status(client: socket.socket) -> int:
    """The status of the answer that comes, 0 where the server hung up without one."""
    with contextlib.suppress(ConnectionError):
        return int(client.recv(4096).split(b" ", 2)[1] or 0)
    return 0


def test_s08_large_bodies_cost_no_memory(start: Callable[..., AbstractContextManager[Web]]) -> None:
    """A hundred bodies of a byte too much at once, announced or in chunks, are 413; those announced are not read, and of the
    others nothing stays.
    """
    with start(ZOHOOK_WEB__UNAUTHENTICATED_BURST="5000") as running:
        assert httpx.post(running.url + PATH, content=b"{}", trust_env=False).status_code == 401
        before = running.memory()
        announced = request(f"Content-Length: {MIB + 1}", body=b"")
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(connected(running, number)) for number in range(100)]
            for client in clients:
                client.sendall(announced)
            assert {status(client) for client in clients} == {413}
            assert running.memory() - before < 8 * MIB
        for _ in range(3):
            in_chunks(running)
        assert running.memory() - before < ROOM


@pytest.mark.parametrize("framing", ["announced", "chunked"])
def test_s08_bodies_that_never_end_have_one_bound_over_all_addresses(
    start: Callable[..., AbstractContextManager[Web]], framing: str
) -> None:
    """Three hundred large halves from sixty addresses take what `web.bodies` says and no more, and meanwhile whoever signs is heard."""
    if framing == "announced":
        half = request(f"Content-Length: {MIB}", body=b"x" * (MIB - 1))
    else:
        half = request("Transfer-Encoding: chunked", body=(b"10000\r\n" + b"x" * 65_536 + b"\r\n") * 15)
    with start() as running, contextlib.ExitStack() as stack, httpx.Client(trust_env=False) as client:
        assert httpx.post(running.url + PATH, content=b"{}", trust_env=False).status_code == 401
        before, most = running.memory(), 0
        for number in range(300):
            large = stack.enter_context(connected(running, number, addresses=60))
            large.sendall(half)
            most = max(most, running.memory())
            if number % 30 == 0:
                assert good(client, running, number) < 5
        assert most - before < ROOM
        text = httpx.get(f"{running.url}/metrics", trust_env=False).text
        (cut,) = re.findall(
            r'^zohook_connections_cut_total\{reason="too many bodies"\} (\S+)$', text, re.MULTILINE
        )
        assert float(cut) > 150


def in_chunks(to: Web) -> None:
    """A hundred bodies in chunks at once, each of which is refused at its last one."""
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(to, number)) for number in range(100)]
        for client in clients:
            client.sendall(request("Transfer-Encoding: chunked", body=b""))
        for _ in range(17):
            for client in clients:
                with contextlib.suppress(ConnectionError):
                    client.sendall(chunk)
        assert {status(client) for client in clients} <= {413, 503, 0}


def test_s28_a_flood_costs_redis_nothing_and_delays_nobody(
    start: Callable[..., AbstractContextManager[Web]], redis: Redis
) -> None:
    """Past the burst thousands of bad requests are 429, none of them makes Redis do anything, and every signed delivery among them is
    taken within half a second.

    Of three rounds the best is judged, for the rest of the machine may be busy too.
    """
    with start(ZOHOOK_WEB__UNAUTHENTICATED_RATE="0.01", ZOHOOK_WEB__UNAUTHENTICATED_BURST="20") as running:
        over, counted = threading.Event(), [0] * 2
        flood = [
            threading.Thread(target=send_until, args=(running, over, number, counted)) for number in range(2)
        ]
        for each in flood:
            each.start()
        try:
            until(lambda: min(counted) > 300)
            before, began = commands(redis), time.monotonic()
            with httpx.Client(trust_env=False) as client:
                slowest = [
                    max(good(client, running, number) for number in range(at, at + 50)) for at in (0, 50, 100)
                ]
            among, took = commands(redis) - before, time.monotonic() - began
        finally:
            over.set()
            for each in flood:
                each.join()
    assert min(slowest) < 0.5
    assert read.totals(redis)["accepted"] == 150
    assert sum(counted) > 1500
    assert among - 150 <= 2 + took  # the door tells its own counts once a second


def good(client: httpx.Client, to: Web, number: int) -> float:
    """Seconds for one signed delivery, which is accepted."""
    body = b'{"invoice": {"invoice_id": %d}}' % number
    began = time.monotonic()
    said = {"X-Zoho-Webhook-Signature": signature(body)}
    answer = client.post(to.url + PATH, content=body, headers=said)
    assert answer.json()["verdict"] == "accepted"
    return time.monotonic() - began


def commands(redis: Redis) -> int:
    """How many scripts Redis was asked to run: the door writes with nothing else."""
    found = redis.info("commandstats")
    return sum(
        found[f"cmdstat_{name}"]["calls"] for name in ("evalsha", "eval") if f"cmdstat_{name}" in found
    )


def send_until(to: Web, over: threading.Event, number: int, counted: list[int]) -> None:
    """Bad requests, one row of twenty after the other, from an address of its own."""
    raw = request(f"Content-Length: {len(BODY)}").replace(signature(BODY).encode(), b"0" * 64) * 20
    while not over.is_set():
        with contextlib.suppress(OSError), connected(to, number) as client:
            while not over.is_set():
                client.sendall(raw)
                said = b""
                while said.count(b"HTTP/1.1 ") < 20:
                    chunk = client.recv(65_536)
                    if not chunk:
                        break
                    said += chunk
                counted[number] += said.count(b" 429 ")

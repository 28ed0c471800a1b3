"""One connection, many requests: what is for the door and what is for the pages, in a row and by halves, over real sockets."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import socket
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from receiver import metrics
from receiver.app import build
from receiver.intake.endpoint import Door
from receiver.ledger import read
from tests.flow.kit import served, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis import Redis

    from receiver.ledger.embedded import Embedded
    from receiver.settings import Settings
    from tests.conftest import MakeSettings

BOOKS = "throwawaybookskey01"
TOML = '[sources]\nbooks = { product = "books", events = ["invoice.paid"] }\n'
PATH = "/in/books?event=invoice.paid"
PAGE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def known(settings: MakeSettings, redis_server: Embedded, redis: Redis) -> Callable[..., Settings]:
    """Makes settings of a project with one source."""
    redis.config_set("appendonly", "yes")
    return lambda **web: settings(TOML, secrets={"books": BOOKS}, redis={"url": redis_server.url}, web=web)


@pytest.fixture
def to(known: Callable[..., Settings]) -> Iterator[tuple[str, int]]:
    """Where a web process listens."""
    with listening(build(known(unauthenticated_burst=500))) as place:
        yield place


@contextlib.contextmanager
def listening(web: Any) -> Iterator[tuple[str, int]]:
    """The host and port of what is served."""
    with served(web) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        yield host, int(port)


def delivery(number: int, *lines: str, method: str = "POST", path: str = PATH) -> bytes:
    """A signed delivery."""
    body = b'{"invoice": {"invoice_id": %d}}' % number
    signature = hmac.new(BOOKS.encode(), b"eventinvoice.paid" + body, hashlib.sha256).hexdigest()
    head = [f"{method} {path} HTTP/1.1", "Host: x", f"X-Zoho-Webhook-Signature: {signature}", *lines]
    head.append(f"Content-Length: {len(body)}")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def answers(to: tuple[str, int], raw: bytes, count: int) -> list[bytes]:
    """The statuses of so many answers to these bytes."""
    with socket.create_connection(to, timeout=10) as client:
        client.sendall(raw)
        said = b""
        while said.count(b"HTTP/1.1 ") < count or not said.endswith((b"}", b"\r\n\r\n")):
            try:
                chunk = client.recv(65_536)
            except ConnectionResetError:  # it is cut, with something sent that nobody reads
                break
            if not chunk:
                break
            said += chunk
    return [answer[:3] for answer in said.split(b"HTTP/1.1 ")[1:]]


def test_answers_come_in_the_order_of_the_requests(to, redis) -> None:
    """Deliveries, pages and refusals in one row: each is answered in its turn, whichever takes longest."""
    row = delivery(1) + PAGE + delivery(2) + delivery(3, path="/in/nothing") + PAGE + delivery(4)
    assert answers(to, row, 6) == [b"200", b"200", b"200", b"404", b"200", b"200"]
    assert read.totals(redis)["accepted"] == 3


def test_a_long_row_is_answered_and_an_endless_one_is_cut(to, caplog) -> None:
    """Sixty requests at once get sixty answers in their order; a client that sends thousands is not worth that much memory."""
    refused = b"GET /in/x HTTP/1.1\r\nHost: x\r\n\r\n"
    assert answers(to, delivery(1) + refused * 59 + delivery(2), 61) == [b"200"] + [b"404"] * 59 + [b"200"]
    assert answers(to, refused * 60 + PAGE, 61) == [b"404"] * 60 + [b"200"]
    assert len(answers(to, delivery(3) + refused * 3000, 3001)) < 100
    assert [each.getMessage() for each in caplog.records if each.name == "asyncio"] == []


def test_who_asks_on_and_reads_no_answer_is_cut(to) -> None:
    """The answers to requests without end are not kept in memory for somebody who does not take them."""
    row = b"GET /in/x HTTP/1.1\r\nHost: x\r\n\r\n" * 50
    with socket.socket() as client, contextlib.suppress(ConnectionResetError, BrokenPipeError):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(10)
        client.connect(to)
        for _ in range(5000):
            client.sendall(row)
        pytest.fail("a quarter of a million answers that nobody reads, and still it is served")


def test_a_client_that_asks_first_is_told_to_go_on_or_why_not(to) -> None:
    """Expect: 100-continue gets its word before the body, and a refusal without one."""
    raw = delivery(1, "Expect: 100-continue")
    head, _, body = raw.partition(b"\r\n\r\n")
    with socket.create_connection(to, timeout=5) as client:
        client.sendall(head + b"\r\n\r\n")
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body)
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
        client.sendall(head.replace(b"/in/books", b"/in/other") + b"\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 404 ")


def test_head_has_no_body_and_each_answer_has_a_date(to) -> None:
    """The handshake of a probe; the next request on the connection is not disturbed."""
    with socket.create_connection(to, timeout=5) as client:
        for _ in range(2):
            client.sendall(b"HEAD /in/books HTTP/1.1\r\nHost: x\r\n\r\n")
            said = client.recv(1000)
            assert said.startswith(b"HTTP/1.1 200 ")
            assert said.endswith(b"\r\n\r\n")
            assert b"\r\ndate: " in said
        client.sendall(delivery(1, "Connection: close"))
        said = b""
        while chunk := client.recv(1000):
            said += chunk
        assert b"\r\nconnection: close\r\n" in said


def test_half_a_delivery_is_no_delivery(to, redis) -> None:
    """A client that hangs up in the middle is counted, and nothing of it is kept."""
    before = gone()
    with socket.create_connection(to, timeout=5) as client:
        client.sendall(delivery(1)[:-5])
        time.sleep(0.1)
    until(lambda: gone() == before + 1, 20)
    assert read.totals(redis)["deliveries"] == 0


def gone() -> float:
    """How many clients hung up on this process so far."""
    return float(metrics.delivered("books", "gone")._value.get())


class _BrokenDoor(Door):
    async def _take(self, delivery: Any, lock: Any) -> Any:
        raise ZeroDivisionError


def test_a_fault_of_ours_is_answered_and_the_connection_goes_on(known) -> None:
    """500 with a JSON body, not a hung-up socket; the log has the traceback."""
    web = build(known())
    broken = _BrokenDoor.__new__(_BrokenDoor)
    broken.__dict__.update(web.door.__dict__)
    with listening(replace(web, door=broken)) as to:
        assert answers(to, delivery(1) + PAGE, 2) == [b"500", b"200"]

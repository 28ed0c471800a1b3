"""The door under people who mean it no good: slow, large, ambiguous and many requests, over raw sockets to the real server."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import selectors
import socket
import statistics
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from receiver import metrics
from receiver.app import build
from receiver.cli.processes import serving
from receiver.ledger import read
from tests.flow.kit import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis import Redis

    from receiver.ledger.embedded import Embedded
    from receiver.settings import Settings
    from tests.conftest import MakeSettings

BOOKS = "throwawaybookskey01"
TOML = '[sources]\nbooks = { product = "books", events = ["invoice.paid"] }\n'
PATH = "/in/books?event=invoice.paid"
BODY = b'{"invoice": {"invoice_id": 7}}'


@pytest.fixture
def known(settings: MakeSettings, redis_server: Embedded, redis: Redis) -> Callable[..., Settings]:
    """Makes settings with limits of tenths of seconds."""
    redis.config_set("appendonly", "yes")

    def make(**web: Any) -> Settings:
        given = {"header_time": 0.4, "body_time": 0.6, "idle": 0.5, **web}
        secrets = {"books": BOOKS}
        return settings(TOML, secrets=secrets, redis={"url": redis_server.url}, web=given)

    return make


@contextmanager
def served(settings: Settings, pages: Any = None) -> Iterator[tuple[str, int]]:
    """Where the web process listens: on all of 127.0.0.0/8, so that a test can come from many addresses."""
    web = build(settings)
    with running(serving(replace(web, pages=pages) if pages else web)) as to:
        yield to


@contextmanager
def running(config: uvicorn.Config) -> Iterator[tuple[str, int]]:
    """The same of a server that is set up already."""
    server = uvicorn.Server(config)
    sock = socket.socket()
    sock.bind(("0.0.0.0", 0))  # noqa: S104 - a client must come from another address than the next
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield "127.0.0.1", sock.getsockname()[1]
    server.should_exit = True
    thread.join(10)
    sock.close()
    assert not thread.is_alive()


def signature(body: bytes) -> str:
    """The signature of a Books delivery to PATH."""
    return hmac.new(BOOKS.encode(), b"eventinvoice.paid" + body, hashlib.sha256).hexdigest()


def connect(to: tuple[str, int], of: str = "127.0.0.1") -> socket.socket:
    """A connection from one of this machine's addresses."""
    return socket.create_connection(to, timeout=5, source_address=(of, 0))


def ask(to: tuple[str, int], raw: bytes, of: str = "127.0.0.1") -> bytes:
    """All that is answered to these bytes until the server closes or is silent."""
    with connect(to, of) as client:
        client.sendall(raw)
        client.settimeout(1)
        answer = b""
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while chunk := client.recv(65_536):
                answer += chunk
    return answer


def request(
    *lines: str, body: bytes = BODY, host: str = "Host: x", first: str = f"POST {PATH} HTTP/1.1"
) -> bytes:
    """A request whose last header is as given."""
    head = [first, *([host] if host else []), f"X-Zoho-Webhook-Signature: {signature(BODY)}", *lines]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def post(
    to: tuple[str, int], number: int, *, of: str = "127.0.0.1", good: bool = True, **headers: str
) -> httpx.Response:
    """One delivery on a connection of its own."""
    body = json.dumps({"invoice": {"invoice_id": number}}).encode()
    said = {"X-Zoho-Webhook-Signature": signature(body) if good else "0" * 64, **headers}
    with httpx.Client(transport=httpx.HTTPTransport(local_address=of)) as client:
        return client.post(f"http://{to[0]}:{to[1]}{PATH}", content=body, headers=said)


LENGTH = f"Content-Length: {len(BODY)}"
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
FRAMING = {
    "plain": (request(LENGTH), 200),
    "chunked": (request("Transfer-Encoding: chunked", body=CHUNKED), 200),
    "chunk extension": (request("Transfer-Encoding: chunked", body=CHUNKED.replace(b"\r\n", b";a=b\r\n", 1)), 200),
    "trailer that repeats the signature": (
        request("Transfer-Encoding: chunked", body=CHUNKED[:-2] + b"X-Zoho-Webhook-Signature: 00\r\n\r\n"), 200,
    ),
    "length and chunked": (request(LENGTH, "Transfer-Encoding: chunked", body=CHUNKED), 400),
    "chunked and length": (request("Transfer-Encoding: chunked", LENGTH, body=CHUNKED), 400),
    "two lengths": (request(LENGTH, "Content-Length: 5"), 400),
    "the same length twice": (request(LENGTH, LENGTH), 400),
    "a list of lengths": (request(f"{LENGTH}, {len(BODY)}"), 400),
    "a negative length": (request("Content-Length: -1"), 400),
    "a length with a sign": (request(f"Content-Length: +{len(BODY)}"), 400),
    "a coding that is not chunked": (request("Transfer-Encoding: identity"), 400),
    "two codings": (request("Transfer-Encoding: gzip, chunked", body=CHUNKED), 400),
    "chunked twice": (request("Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=CHUNKED), 400),
    "space before the colon": (request(LENGTH, "Transfer-Encoding : chunked"), 400),
    "two hosts": (request(LENGTH, "Host: y"), 400),
    "no host": (request(LENGTH, host=""), 400),
    "two signatures": (request(LENGTH, "X-Zoho-Webhook-Signature: 00"), 400),
    "bare line feeds": (request(LENGTH).replace(b"\r\n", b"\n"), 400),
    "a folded header": (request(LENGTH, "X-A: b", " c"), 400),
    "NUL in a header": (request(LENGTH, "X-A: b\0c"), 400),
    "a bad chunk size": (request("Transfer-Encoding: chunked", body=b"zz\r\n"), 400),
    "a chunk longer than it says": (request("Transfer-Encoding: chunked", body=b"2\r\nabcd\r\n0\r\n\r\n"), 400),
    "a gzip body": (request(LENGTH, "Content-Encoding: gzip"), 415),
    "a long header": (request(LENGTH, "X-A: " + "b" * 20_000), 413),
    "a long line": (request(LENGTH, first=f"POST {PATH}&{'a' * 300_000} HTTP/1.1"), 413),
    "a long line that comes at once": (request(LENGTH, first=f"POST {PATH}&{'a' * 20_000} HTTP/1.1"), 413),
    "a line and headers that are long together": (
        request(LENGTH, "X-A: " + "b" * 9_000, first=f"POST {PATH}&{'a' * 9_000} HTTP/1.1"), 413,
    ),
    "a line that is not too long, and not what was signed": (request(LENGTH, first=f"POST {PATH}&{'a' * 9_000} HTTP/1.1"), 401),
    "chunks of nothing but extensions": (
        request("Transfer-Encoding: chunked", body=b"1;" + b"x" * 300_000 + b"\r\n{\r\n" + b"1;" + b"x" * 300_000), 400,
    ),
    "an upgrade to websocket": (b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05", 200),
    "an upgrade to HTTP/2": (b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 200),
    "an upgrade with a body": (request(LENGTH, "Connection: Upgrade", "Upgrade: h2c"), 400),
    "HTTP/2 with prior knowledge": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "a tunnel": (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n", 400),
    "TLS": (bytes.fromhex("16030100c8010000c40303") + b"\0" * 90, 400),
    "an unknown method": (request(LENGTH, first=f"PROPFIND {PATH} HTTP/1.1"), 403),
    "no method at all": (request(LENGTH, first=f"SAY {PATH} HTTP/1.1"), 400),
    "HTTP/1.0 without a host": (request(LENGTH, host="", first=f"POST {PATH} HTTP/1.0"), 200),
}  # fmt: skip


def test_every_framing_has_one_reading(known, redis) -> None:
    """What two readers might read differently is 400 (or its own refusal) and closed; what is plain is taken; never 500, never 101."""
    with served(known(unauthenticated_burst=1000, idle=0.1)) as to:
        found = {}
        for name, (raw, _) in FRAMING.items():
            answers = ask(to, raw).split(b"HTTP/1.1 ")[1:]
            found[name] = [int(answer[:3]) for answer in answers]
        assert found == {name: [status] for name, (_, status) in FRAMING.items()}
        assert read.totals(redis)["accepted"] == 1


def test_requests_in_a_row_are_answered_in_a_row(known) -> None:
    """Pipelined requests are answered in their order; a bad one ends the connection, and its refusal is not taken for another answer."""
    with served(known()) as to:
        raw = (
            request(LENGTH)
            + request(LENGTH, first="POST /in/nothing HTTP/1.1")
            + request(LENGTH, "Host: y")
            + request(LENGTH)
        )
        statuses = [int(answer[:3]) for answer in ask(to, raw).split(b"HTTP/1.1 ")[1:]]
        assert statuses == [200, 404, 400][: len(statuses)]
        assert ask(to, request(LENGTH) * 3).count(b"HTTP/1.1 200") == 3


def test_a_long_row_of_requests_is_not_taken_for_a_long_head(known) -> None:
    """Requests that together are larger than a head may be are all answered, however they are cut up."""
    with served(known(unauthenticated_burst=1000)) as to, connect(to) as client:
        raw = request(LENGTH, "X-A: " + "b" * 9_000) * 10
        client.settimeout(1)
        for at in range(0, len(raw), 13_000):
            client.sendall(raw[at : at + 13_000])
            time.sleep(0.01)
        said = b""
        while said.count(b"HTTP/1.1 200") < 10:
            said += client.recv(65_536)


def test_a_huge_header_is_not_kept_in_memory(known) -> None:
    """Of 200 MB of one header the server takes less than one and hangs up."""
    with served(known(header_time=10)) as to, connect(to) as client:
        before = memory()
        client.sendall(b"POST /in/books HTTP/1.1\r\nHost: x\r\nX-A: ")
        sent = 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while sent < 200 * 2**20:
                sent += client.send(b"a" * 2**20)
        assert sent < 16 * 2**20
        assert memory() - before < 32 * 2**20


def memory() -> int:
    """The bytes that this process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize(
    ("raw", "answer"),
    [
        (b"", b""),
        (b"POST /in/books HT", b" 408 "),
        (b"POST /in/books HTTP/1.1\r\nHost: x\r\nX-A: b\r\n", b" 408 "),
        (b"POST /in/books HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nabc", b" 408 "),
        (b"POST /in/books HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", b" 408 "),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b" 200 "),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HT", b" 200 "),
    ],
    ids=[
        "silent",
        "half a line",
        "half a head",
        "half a body",
        "half the chunks",
        "idle",
        "half a second request",
    ],
)
def test_whoever_takes_too_long_is_closed(known, raw, answer) -> None:
    """Headers, body and the pause between requests have their time; dribbling single bytes buys no more of it."""
    with served(known()) as to, connect(to) as client:
        started = time.monotonic()
        client.sendall(raw)
        client.settimeout(3)
        said = b""
        dribble = b"a" if raw.endswith(b"b\r\n") else b""
        while time.monotonic() - started < 10:
            client.settimeout(0.1)
            try:
                chunk = client.recv(65_536)
            except TimeoutError:
                if dribble:
                    client.sendall(dribble)
                continue
            except ConnectionResetError:
                break
            if not chunk:
                break
            said += chunk
        assert 0.3 < time.monotonic() - started < 8
        assert answer in said
        assert bool(answer) == bool(said)


def test_the_time_to_answer_is_ours_alone(settings, redis_server) -> None:
    """The client's limits do not count while the application works."""

    async def slow(_request: Any) -> JSONResponse:
        import asyncio

        await asyncio.sleep(0.7)
        return JSONResponse({})

    limits = {"header_time": 0.1, "body_time": 0.1, "idle": 0.1}
    known = settings(TOML, secrets={"books": BOOKS}, redis={"url": redis_server.url}, web=limits)
    with served(known, Starlette(routes=[Route("/slow", slow)])) as to:
        assert (
            b" 200 " in ask(to, b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").splitlines()[0]
        )


def test_five_hundred_slow_sockets_delay_nobody(known) -> None:
    """With 500 half heads, half bodies and idle ones the p99 of signed deliveries is under 500 ms, and all of them are closed after the limits."""
    halves = (
        b"",
        b"POST /in/books HTTP/1.1\r\nHost: x\r\nX-A: ",
        b"POST /in/books HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{",
    )
    with served(known(header_time=1.5, body_time=2, idle=1)) as to, contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connect(to, f"127.0.1.{1 + number % 25}")) for number in range(500)]
        for number, each in enumerate(slow):
            each.sendall(halves[number % 3])
        crowded = slowest(to, 1000)
        assert closed(slow, 20) == 500
        # A machine that is busy with something else is slow without them, too.
        assert crowded < max(0.5, 3 * slowest(to, 2000))


def slowest(to: tuple[str, int], first: int) -> float:
    """The p99 of three hundred signed deliveries in a row, each of which must be taken."""
    times = []
    with httpx.Client(base_url=f"http://{to[0]}:{to[1]}") as client:
        for number in range(first, first + 300):
            body = json.dumps({"invoice": {"invoice_id": number}}).encode()
            started = time.monotonic()
            answer = client.post(PATH, content=body, headers={"X-Zoho-Webhook-Signature": signature(body)})
            times.append(time.monotonic() - started)
            assert answer.status_code == 200
    return statistics.quantiles(times, n=100)[98]


def closed(sockets: list[socket.socket], limit: float) -> int:
    """How many of them the other side closes within so many seconds."""
    end, left = time.monotonic() + limit, set(sockets)
    with selectors.DefaultSelector() as selector:
        for each in sockets:
            each.setblocking(False)
            selector.register(each, selectors.EVENT_READ)
        while left and time.monotonic() < end:
            for key, _ in selector.select(0.1):
                each: Any = key.fileobj
                with contextlib.suppress(BlockingIOError):
                    try:
                        over = not each.recv(65_536)
                    except ConnectionResetError:
                        over = True
                    if over:
                        selector.unregister(each)
                        left.discard(each)
    return len(sockets) - len(left)


def test_one_address_cannot_take_all_connections(known) -> None:
    """Beyond its limit the connection of an address that waited longest is closed, so that its newest one, and others, get through."""
    with served(known(connections=5, header_time=5)) as to, contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connect(to)) for _ in range(20)]
        assert closed(idle, 1) == 15
        assert post(to, 1).status_code == 200
        assert post(to, 2, of="127.0.0.9").status_code == 200


HALF = 150_000
"""Of a body of twice that: more than a receive buffer takes at once."""


@pytest.mark.parametrize("framing", ["announced", "chunked"])
def test_bodies_without_end_push_out_each_other(known, framing: str) -> None:
    """Whoever holds large unfinished bodies at many addresses gets 503 for most of them, and those who send what is small and signed
    are taken all the while.
    """
    if framing == "announced":
        half = request(f"Content-Length: {2 * HALF}", body=b"x" * HALF)
    else:
        half = request(
            "Transfer-Encoding: chunked", body=(b"1000\r\n" + b"x" * 4096 + b"\r\n") * (HALF // 4096)
        )
    before = refused_for_room()
    with served(known(body_time=20, bodies="1MiB")) as to, contextlib.ExitStack() as stack:
        for number in range(40):
            large = stack.enter_context(connect(to, f"127.0.3.{1 + number}"))
            large.sendall(half)
            if number % 4 == 0:
                assert post(to, number, of="127.0.4.1").status_code == 200
        until(lambda: refused_for_room() - before >= 40 - 2**20 // HALF)
        assert refused_for_room() - before <= 40
        said = large_refused(to, half)
        assert said.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 5\r\n" in said
        assert post(to, 100, of="127.0.4.2").status_code == 200


def large_refused(to: tuple[str, int], half: bytes) -> bytes:
    """The answer to a body that is larger than all that are held."""
    with connect(to, "127.0.5.1") as client:
        client.sendall(half + half[half.index(b"\r\n\r\n") + 4 : -1])
        return client.recv(65_536)


def refused_for_room() -> float:
    """How many bodies this process refused so far since there was no room for them."""
    return float(metrics.CUT.labels("too many bodies")._value.get())


def test_a_body_of_many_small_pieces_counts_as_what_it_costs(known) -> None:
    """Chunks of two bytes cost memory for each of them; thirty thousand are not sixty kilobytes."""
    before = refused_for_room()
    with served(known(body_time=20, bodies="1MiB")) as to, connect(to) as client:
        client.sendall(request("Transfer-Encoding: chunked", body=b"2\r\nxx\r\n" * 30_000))
        assert client.recv(65_536).startswith(b"HTTP/1.1 503 ")
    assert refused_for_room() == before + 1


def test_who_proved_himself_keeps_his_large_body(known) -> None:
    """Of those who proved nothing the largest goes first, though it is smaller."""
    large = json.dumps({"invoice": {"invoice_id": 9, "notes": "x" * 800_000}}).encode()
    raw = request(f"Content-Length: {len(large)}", body=large).replace(
        signature(BODY).encode(), signature(large).encode()
    )
    with served(known(body_time=20, bodies="1MiB")) as to, contextlib.ExitStack() as stack:
        assert post(to, 1, of="127.0.3.1").status_code == 200
        good = stack.enter_context(connect(to, "127.0.3.1"))
        good.sendall(raw[:-10])
        before = refused_for_room()
        for number in range(5):
            bad = stack.enter_context(connect(to, f"127.0.3.{10 + number}"))
            bad.sendall(request(f"Content-Length: {2 * HALF}", body=b"x" * HALF))
        until(lambda: refused_for_room() > before)
        good.sendall(raw[-10:])
        assert good.recv(65_536).startswith(b"HTTP/1.1 200 ")


def test_room_is_made_by_whoever_is_done(known) -> None:
    """What is whole, refused, too large or gone is not counted any more: thousands in a row never fill it up."""
    web = build(known(unauthenticated_burst=5000, bodies="1MiB"))
    config = serving(web)
    house = config.http.house  # type: ignore[union-attr]
    with running(config) as to:
        for number in range(20):
            assert post(to, number).status_code == 200
            assert post(to, number, good=False).status_code == 401
            with connect(to) as client:
                client.sendall(request(f"Content-Length: {2 * HALF}", body=b"x" * HALF))
        ask(to, request("Transfer-Encoding: chunked", body=(b"10000\r\n" + b"x" * 65_536 + b"\r\n") * 17))
        until(lambda: house.held == 0)
        assert not house._bodies


def test_a_flood_from_elsewhere_shuts_out_no_one_who_signs(known, redis) -> None:
    """Unsigned requests get 401, then 429 before their body is read; signed ones of other addresses, and of one that flooded after it had proved itself, are taken."""
    with served(known(unauthenticated_rate=0.01, unauthenticated_burst=10)) as to:
        assert post(to, 1, of="127.0.0.2").status_code == 200
        statuses = [post(to, number, of="127.0.0.3", good=False).status_code for number in range(30)]
        assert statuses == [401] * 10 + [429] * 20
        unread = request("Content-Length: 500000", body=b"")
        assert b" 429 " in ask(to, unread, "127.0.0.3").splitlines()[0]
        assert post(to, 2, of="127.0.0.3").status_code == 429
        assert post(to, 3, of="127.0.0.2").status_code == 200
        assert post(to, 4, of="127.0.0.4").status_code == 200
        for number in range(30):
            assert post(to, number, of="127.0.0.2", good=False).status_code == 401
        assert post(to, 5, of="127.0.0.2").status_code == 200
        assert post(to, 6, of="127.0.0.3", good=False).headers["retry-after"] == "1"
        assert len(read.deliveries(redis, "rejected")) <= 25


def test_a_proxy_is_believed_only_if_it_is_named(known, redis) -> None:
    """X-Forwarded-For of a trusted proxy says who the client is; from anybody else it changes nothing."""
    with served(known(trusted_proxies=["127.0.0.7"])) as to:
        said = {"X-Forwarded-For": "6.6.6.6, 203.0.113.9:4711"}
        for of, remote in (("127.0.0.7", "203.0.113.9"), ("127.0.0.8", "127.0.0.8")):
            answer = post(to, int(of[-1]), of=of, **said)
            row = read.event(redis, answer.json()["events"][0])
            assert read.delivery(redis, row.event.delivery).meta["remote"] == remote


def test_behind_a_proxy_the_limits_are_the_clients_own(known) -> None:
    """A flood that comes through the proxy is limited by the address behind it; other addresses behind it are not."""
    with served(
        known(trusted_proxies=["127.0.0.0/29"], unauthenticated_rate=0.01, unauthenticated_burst=5)
    ) as to:
        flood = [
            post(to, number, good=False, **{"X-Forwarded-For": "203.0.113.1"}).status_code
            for number in range(8)
        ]
        assert flood[-1] == 429
        assert post(to, 1, **{"X-Forwarded-For": "203.0.113.2"}).status_code == 200

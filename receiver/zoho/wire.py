"""The wire: one HTTP exchange with a deadline for the whole of it and a cap on what comes back. Knows nothing
of Zoho.

httpx's time-outs are per read, and its decoding has no bound (486 KB of gzip became 500 MB), so both are done
here: the deadline in the socket layer, where it also covers a host that drips its headers; the cap while
inflating.
"""

from __future__ import annotations

import threading
import time
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpcore
import httpx

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator, Mapping

CONNECT = 5.0
READ = 20.0
CAP = 10 * 2**20

_clock = threading.local()


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that came whole: status, headers (lower case) and the decoded body."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NoReply:
    """No whole answer. `sent` says whether the request may have reached the other side.

    `why` is one of connect, timeout, cut, too_large, encoding.
    """

    sent: bool
    why: str
    message: str


def _left(timeout: float | None) -> float:
    """What remains of this thread's exchange, at most `timeout`; httpcore turns nought into its own
    time-out.
    """
    remaining = getattr(_clock, "until", float("inf")) - time.monotonic()
    if remaining <= 0:
        raise httpcore.ReadTimeout("the deadline of the whole exchange passed")
    return min(timeout if timeout is not None else READ, remaining)


class _Stream(httpcore.NetworkStream):
    """A socket whose every wait ends at the deadline of the exchange."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """All that this thread does over a `Backend` in here ends after so many seconds, whatever the other side does."""
    outer = getattr(_clock, "until", float("inf"))
    _clock.until = time.monotonic() + seconds  # a file that is sent on is read within the other call's time
    try:
        yield
    finally:
        _clock.until = outer


class Backend(httpcore.SyncBackend):
    """Sockets whose waits end when `within` does."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        return _Stream(super().connect_tcp(host, port, _left(timeout), local_address, socket_options))


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        self._stream.close()


class _Transport(httpx.BaseTransport):
    """httpx over a pool whose sockets know the deadline."""

    def __init__(self, connections: int) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(trust_env=False),
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=30.0,
            http2=False,
            network_backend=Backend(),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        answer = self._pool.handle_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Body(answer.stream), extensions=answer.extensions
        )

    def close(self) -> None:
        self._pool.close()


NETWORK = (
    httpx.TransportError,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    OSError,
)


def no_reply(error: Exception, deadline: float) -> NoReply:
    """What became of an exchange that the network ended."""
    name = str(error) or type(error).__name__
    if isinstance(
        error, httpx.ConnectError | httpcore.ConnectError | httpcore.ConnectTimeout | httpcore.PoolTimeout
    ):
        return NoReply(sent=False, why="connect", message=f"no connection: {name}")
    if isinstance(error, httpcore.TimeoutException | httpx.TimeoutException):
        return NoReply(sent=True, why="timeout", message=f"no whole answer within {deadline:g} s")
    return NoReply(sent=True, why="cut", message=f"the answer was cut: {name}")


class Opened:
    """An answer whose body is still to come."""

    def __init__(self, answer: httpx.Response, cap: int) -> None:
        self._answer, self._cap = answer, cap
        self.status = answer.status_code
        self.headers = {name.lower(): value for name, value in answer.headers.items()}

    @property
    def encoding(self) -> str:
        """How the body is compressed: "identity" where it is not."""
        return self.headers.get("content-encoding", "").strip().lower() or "identity"

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes, without a bound; raises what the network does."""
        yield from self._answer.iter_raw()

    def whole(self) -> Reply | NoReply:
        """The body inflated, if it is no larger than the cap; raises what the network does."""
        if self.encoding not in {"identity", "gzip"}:
            return NoReply(
                sent=True, why="encoding", message=f"the answer is encoded as {self.encoding[:40]!r}"
            )
        body = bytearray()
        try:
            for piece in _inflated(self.chunks(), self._cap) if self.encoding == "gzip" else self.chunks():
                body += piece
                if len(body) > self._cap:
                    return NoReply(
                        sent=True, why="too_large", message=f"the answer exceeds {self._cap} bytes"
                    )
        except (zlib.error, EOFError):
            return NoReply(sent=True, why="cut", message="the compressed answer is damaged or cut")
        return Reply(self.status, self.headers, bytes(body))


class Wire:
    """A pool of connections, one per process, safe from many threads. No proxies, no redirects, no HTTP/2."""

    def __init__(self, *, connections: int = 64, cap: int = CAP) -> None:
        self._client = httpx.Client(
            transport=_Transport(connections),
            trust_env=False,
            follow_redirects=False,
            headers={"User-Agent": "zohook"},
        )
        self._cap = cap

    def exchange(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
        deadline: float = CONNECT + READ,
    ) -> Reply | NoReply:
        """One request and its answer within `deadline` seconds; never raises for what the network does."""
        with self.open(
            method, url, params=params, headers=headers, form=form, body=body, deadline=deadline
        ) as answer:
            if isinstance(answer, NoReply):
                return answer
            try:
                return answer.whole()
            except NETWORK as error:
                return no_reply(error, deadline)

    @contextmanager
    def open(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
        deadline: float = CONNECT + READ,
    ) -> Iterator[Opened | NoReply]:
        """The same, with an answer whose body is still to come, for files; it is read by the same thread, within the block."""
        limits = httpx.Timeout(READ, connect=CONNECT, pool=min(deadline, READ))
        kept = {"accept-encoding": "gzip", "accept": "application/json", **(headers or {})}
        with within(deadline):
            try:
                request = self._client.build_request(
                    method, url, params=params, headers=kept, data=form, content=body, timeout=limits
                )
                answer = self._client.send(request, stream=True)
            except NETWORK as error:
                yield no_reply(error, deadline)
                return
            try:
                yield Opened(answer, self._cap)
            finally:
                answer.close()

    def close(self) -> None:
        """Closes the pool's connections."""
        self._client.close()


def _inflated(chunks: Iterable[bytes], cap: int) -> Iterator[bytes]:
    """The chunks inflated in pieces of at most 64 KiB, so that no single chunk can blow up."""
    inflater = zlib.decompressobj(wbits=31)
    total = 0
    for chunk in chunks:
        rest = chunk
        while rest and not inflater.eof and total <= cap:
            piece = inflater.decompress(rest, 65_536)
            rest = inflater.unconsumed_tail
            total += len(piece)
            yield piece
    if not inflater.eof and total <= cap:
        raise EOFError


_made: list[Wire] = []
_making = threading.Lock()


def shared() -> Wire:
    """The process's own wire, made at the first call."""
    with _making:
        if not _made:
            _made.append(Wire())
        return _made[0]

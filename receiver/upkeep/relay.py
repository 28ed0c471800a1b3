"""One request to an old receiver: as it came, over a connection to an address that was looked at after its name was resolved."""

from __future__ import annotations

import socket
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes, urlsplit

import httpcore
import httpx

from receiver.addresses import Allowed
from receiver.zoho.wire import Backend, within

if TYPE_CHECKING:
    from collections.abc import Iterable

    from receiver.event import Delivery

DEADLINE = 15.0
"""Seconds for all of it, from connecting to the end of the answer."""
LARGEST = 64 * 2**10
"""Bytes of an answer that are read; nobody looks at them."""
HOPS = frozenset(
    {
        *(
            "connection",
            "keep-alive",
            "proxy-authenticate",
            "proxy-authorization",
            "proxy-connection",
            "te",
            "trailer",
        ),
        *("trailers", "transfer-encoding", "upgrade", "http2-settings", "expect", "host", "content-length"),
    }
)
"""Headers of one connection and not of the request (RFC 9110, 7.6.1), and those that are made anew."""
VIA = "1.1 zohook"
_GRAPHIC = string.ascii_letters + string.digits + string.punctuation


@dataclass(frozen=True, slots=True)
class Answer:
    """What the old receiver said: its status, or 0 and why there was none."""

    status: int = 0
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether it took the delivery."""
        return 200 <= self.status < 300


def headers_of(delivery: Delivery) -> list[tuple[bytes, bytes]]:
    """The headers to send: as they came and in their order, without those of the connection, and with a mark of ours in Via."""
    named = {
        name.strip().lower()
        for key, value in delivery.headers
        if key == "connection"
        for name in value.split(",")
    }
    kept = [
        (key.encode("latin-1"), value.encode("latin-1"))
        for key, value in delivery.headers
        if key not in HOPS and key not in named
    ]
    return [*kept, (b"via", VIA.encode())]


def came_round(delivery: Delivery) -> bool:
    """Whether a Zohook relayed it to here: to relay it on would go on for ever."""
    return any(key == "via" and "zohook" in value for key, value in delivery.headers)


class Relay:
    """A pool of connections to one old receiver."""

    def __init__(
        self, url: str, allow: Iterable[str], *, connections: int, deadline: float = DEADLINE
    ) -> None:
        self._parts = urlsplit(url)
        self._deadline = deadline
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=10.0,
            network_backend=_Guarded(Allowed.of(allow), self._parts.hostname or ""),
        )

    def send(self, delivery: Delivery) -> Answer:
        """Relay one delivery; what the network does is an answer, too."""
        body = delivery.body if delivery.body or delivery.method in {"POST", "PUT"} else None
        try:
            with (
                within(self._deadline),
                self._pool.stream(
                    delivery.method, self._url(delivery), headers=headers_of(delivery), content=body
                ) as answer,
            ):
                size = 0
                for chunk in answer.iter_stream():
                    size += len(chunk)
                    if size > LARGEST:
                        break
                return Answer(answer.status, "" if 200 <= answer.status < 300 else _why(answer.status))
        except (httpcore.TimeoutException, TimeoutError):
            return Answer(error=f"no whole answer within {self._deadline:g} s")
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError, ValueError) as error:
            return Answer(error=f"{error or type(error).__name__}"[:300])

    def _url(self, delivery: Delivery) -> httpcore.URL:
        """Where it goes: the address of the settings, with the query as it came behind its own."""
        parts = self._parts
        came = quote_from_bytes(delivery.query, safe=_GRAPHIC)
        query = "&".join(part for part in (parts.query, came) if part)
        return httpcore.URL(
            scheme=parts.scheme.encode(),
            host=(parts.hostname or "").encode(),
            port=parts.port,
            target=f"{parts.path or '/'}{f'?{query}' if query else ''}".encode(),
        )

    def close(self) -> None:
        """Let go of the connections."""
        self._pool.close()


def _why(status: int) -> str:
    if 300 <= status < 400:
        return f"it answered {status}, a redirect, which is not followed: enter the address that it leads to"
    return f"it answered {status}"


class _Guarded(Backend):
    """Connects to addresses that it has looked at, so that no name can lead elsewhere a moment later."""

    def __init__(self, allowed: Allowed, host: str) -> None:
        super().__init__()
        self._allowed = allowed
        self._any = allowed.host(host)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(f"{host} cannot be resolved: {error.strerror or error}") from error
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        good = [each for each in addresses if self._any or self._allowed.address(each)]
        if not good:
            raise httpcore.ConnectError(
                f"{host} is at {', '.join(addresses)}, which is no public address; forward_allow names what is allowed"
            )
        for address in good[:-1]:
            try:
                return super().connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return super().connect_tcp(good[-1], port, timeout, local_address, socket_options)

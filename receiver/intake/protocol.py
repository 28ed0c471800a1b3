"""uvicorn's HTTP protocol, made to hold: time and bytes for headers and body, one reading of each request, plain HTTP only.

uvicorn itself has no time-out before the answer and no limit on headers (`llhttp` takes 200 MB of them).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from receiver.intake.connections import ANSWER, BODY, HEAD, IDLE, Connections
from receiver.intake.limits import subject

if TYPE_CHECKING:
    import asyncio

    from receiver.settings import WebSettings

OVERHEAD = 8
"""Bytes of framing that a chunked body may have per byte: even chunks of one byte have six."""
NEVER = 86_400 * 365
"""Our own look replaces uvicorn's keep-alive timer."""


class Refused(Exception):
    """A request that does not get past its head."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class DoorProtocol(HttpToolsProtocol):
    """One connection."""

    house: ClassVar[Connections]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        host = self.client[0] if self.client else ""
        self.address = subject(host)
        self.from_proxy = self.house.proxies.trusts(host)
        self.phase, self.since = HEAD, self.loop.time()
        self._head = self._raw = self._useful = 0
        self._refused: Refused | None = None
        self._expired = self._deaf = False
        self._held: list[str] = []
        self.house.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.house.leave(self)
        for address in self._held:
            self.house.end(address)
        self._held.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._deaf:
            return
        if self.phase == IDLE:
            self._enter(HEAD)
        if self.phase == HEAD:
            self._head += len(data)
        elif self.phase == BODY:
            self._raw += len(data)
        try:
            self.parser.feed_data(data)
            self._check_size()
        except Refused as refused:
            self._refuse(refused)
        except httptools.HttpParserUpgrade:
            # Answered as plain HTTP, and the last of its connection: what follows is in another protocol.
            self._deaf = True
            if self.cycle is not None:
                self.cycle.keep_alive = False
        except httptools.HttpParserError:
            self._refuse(
                self._refused or Refused(400, "bad_framing", "the request is not well-formed HTTP/1.1")
            )

    def _check_size(self) -> None:
        """What came and is not complete is counted as it comes; the counts begin anew with each head that is complete."""
        limit = self.house.settings.header_limit
        if self.phase == HEAD and self._head > limit:
            raise Refused(413, "too_large", f"the headers are over {limit} bytes")
        if self.phase == BODY and self._raw - self._useful > limit + OVERHEAD * self._useful:
            raise Refused(400, "bad_framing", "the framing of the body is larger than the body")

    def _enter(self, phase: int) -> None:
        self.phase, self.since = phase, self.loop.time()

    # The parser's callbacks -----------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self.phase != HEAD:
            self._enter(HEAD)

    def on_headers_complete(self) -> None:
        try:
            self._check_head()
        except Refused as refused:
            self._refused = refused  # the parser wraps what is raised in its callbacks
            raise
        self._head = self._raw = self._useful = 0
        self.phase, self.since = BODY, self.loop.time()
        super().on_headers_complete()
        self.headers = []  # trailers come by the same callback, and must not pass for headers

    def _check_head(self) -> None:
        headers = self.headers
        names = [name for name, _ in headers]
        if names.count(b"host") != 1 and (b"host" in names or self.parser.get_http_version() == "1.1"):
            raise Refused(
                400, "bad_framing", f"the header host came {names.count(b'host')} times; send it once"
            )
        if names.count(b"content-length") > 1:
            raise Refused(400, "bad_framing", "the header content-length came twice")
        if b"transfer-encoding" in names:
            codings = [value for name, value in headers if name == b"transfer-encoding"]
            if b"content-length" in names or codings != [b"chunked"]:
                raise Refused(400, "bad_framing", "send either Content-Length, or Transfer-Encoding: chunked")
        if self.parser.should_upgrade() and (b"content-length" in names or b"transfer-encoding" in names):
            # The parser takes what follows for another protocol, so that the body would be lost.
            raise Refused(400, "bad_framing", "send it without Upgrade: this is plain HTTP/1.1")
        if self.from_proxy:
            forwarded = (value for name, value in self.headers if name == b"x-forwarded-for")
            client = self.house.proxies.client(self.client[0] if self.client else "", forwarded)
            self.scope["client"] = (client, 0)
            if not self.house.begin(subject(client)):
                raise Refused(429, "too_many", "too many requests of this address are under way")
            self._held.append(subject(client))

    def on_body(self, body: bytes) -> None:
        self._useful += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self.cycle.response_complete:
            self._enter(IDLE)
        else:
            self.phase = ANSWER

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.phase == ANSWER and self.cycle.response_complete:
            self._enter(IDLE)
        if self._held:
            self.house.end(self._held.pop(0))

    # Ends --------------------------------------------------------------------------------------------------------

    def expire(self) -> None:
        """Close what had its time: with a word where the client is in the middle of a request, the second time without."""
        if self._expired:
            self.transport.abort()
            return
        self._expired = True
        begun = self._head > 0 if self.phase == HEAD else self.phase == BODY
        if begun:
            part = "headers" if self.phase == HEAD else "body"
            limit = self.house.limits[self.phase]
            self._refuse(Refused(408, "too_slow", f"the {part} did not come within {limit:g} s"))
        else:
            self.transport.close()

    def cut(self) -> None:
        """Close at once."""
        self.transport.abort()

    def _refuse(self, refused: Refused) -> None:
        """Answer and close; only close where an answer is under way, for it must not be mixed up with another one."""
        cycle = self.cycle
        pending = cycle is not None and not cycle.response_complete
        if not pending or (self.phase == BODY and not cycle.response_started and not self.pipeline):
            body = orjson.dumps({"error": refused.code, "message": str(refused)})
            lines = [STATUS_LINE[refused.status], b"content-type: application/json\r\n"]
            lines += [b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body), body]
            self.transport.write(b"".join(lines))
        self._deaf = True
        self.transport.close()


def guarded(settings: WebSettings) -> type[DoorProtocol]:
    """The protocol of one web process, with its limits."""
    return type("DoorProtocol", (DoorProtocol,), {"house": Connections(settings)})

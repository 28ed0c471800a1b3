"""uvicorn's HTTP protocol, made to hold: time and bytes for headers and body, one reading of each request, plain HTTP only.

uvicorn itself has no time-out before the answer and no limit on headers (`llhttp` takes 200 MB of them). What is for the door goes
there by `Visit`, everything else is uvicorn's and the pages'.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from receiver import logs
from receiver.intake.connections import ANSWER, BODY, HEAD, IDLE, Connections
from receiver.intake.endpoint import Head, way_in
from receiver.intake.limits import subject
from receiver.intake.visit import Visit

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from receiver.intake.endpoint import Door
    from receiver.settings import WebSettings

log = logs.get("delivery")
OVERHEAD = 8
"""Bytes of framing that a chunked body may have per byte: even chunks of one byte have six."""
LONGEST_ROW = 64
"""How many requests may wait on a connection for their turn. No sender of Zoho's sends a second one before the first is answered."""
SHORT = 200
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
    door: ClassVar[Door]
    common: ClassVar[tuple[list[tuple[bytes, bytes]], bytes]] = ([], b"")
    """uvicorn's list of headers that each answer has, made anew each second, and those as bytes."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        host = self.client[0] if self.client else ""
        self.address = subject(host)
        self.from_proxy = self.house.proxies.trusts(host)
        self.phase, self.since = HEAD, self.loop.time()
        self._head = self._raw = self._useful = 0
        self._refused: Refused | None = None
        self._expired = self._deaf = self._had_turn = False
        self._held: list[str] = []
        self._remote = self._client = host
        self.house.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.house.leave(self)
        for address in self._held:
            self.house.end(address)
        self._held.clear()
        for visit in (self.cycle, *(cycle for cycle, _ in self.pipeline)):
            if isinstance(visit, Visit):
                visit.lost()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._had_turn = False
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
        except httptools.HttpParserCallbackError:
            if self._refused is None:
                log.exception("request.broken")
            self._refuse(
                self._refused or Refused(500, "broken", "the server failed at this; its log says how")
            )
        except httptools.HttpParserError:
            self._refuse(
                self._refused or Refused(400, "bad_framing", "the request is not well-formed HTTP/1.1")
            )

    def _check_size(self) -> None:
        """What came and is not complete is counted as it comes; the counts begin anew with each head that is complete."""
        limit = self.house.settings.header_limit
        if self.phase == HEAD and self._head > limit:
            raise Refused(413, "too_large", f"the URL and the headers are over {limit} bytes")
        if self.phase == BODY and self._raw - self._useful > limit + OVERHEAD * self._useful:
            raise Refused(400, "bad_framing", "the framing of the body is larger than the body")

    def _enter(self, phase: int) -> None:
        self.phase, self.since = phase, self.loop.time()

    # The parser's callbacks -----------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        # What uvicorn does here is for the pages, and done when it turns out to be for one of them.
        self.url = b""
        self.headers = []
        if self.phase != HEAD:
            self._enter(HEAD)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        try:
            size, length, encoded = self._check_head()
            path, query = _place(self.url)
        except Refused as refused:
            self._refused = refused  # the parser wraps what is raised in its callbacks
            raise
        self._head = self._raw = self._useful = 0
        self._enter(BODY)
        method = self.parser.get_method().decode("ascii")
        source = way_in(path, method)
        if source:
            self._visit(Head(source, method, query, self.headers, self._client, size, length, encoded))
        else:
            self._open_page()
        self.headers = []  # trailers come by the same callback, and must not pass for headers

    def _visit(self, head: Head) -> None:
        keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        keep_alive = keep_alive and not self.house.stopping
        visit: Any = Visit(self, self.door, head, keep_alive=keep_alive, wants_word=self.expect_100_continue)
        earlier, self.cycle = self.cycle, visit
        if earlier is not None and not earlier.response_complete:
            self.flow.pause_reading()
            self.pipeline.appendleft((visit, self.app))
        elif self._had_turn:  # a row of what is refused at once must not hold up everybody else
            self.loop.call_soon(visit.begin)
        else:
            self._had_turn = True
            visit.begin()

    def _open_page(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers = self.scope["headers"] = headers
        if self._client != self._remote:
            self.scope["client"] = (self._client, 0)
        super().on_headers_complete()
        if self.house.stopping:
            self.cycle.keep_alive = False

    def _begin_next(self) -> None:
        """Begin what waited for its turn on the connection; a visit soon, for it may be over at once, and so may all behind it."""
        cycle, app = self.pipeline.pop()
        if isinstance(cycle, Visit):
            self.loop.call_soon(cycle.begin)
            return
        task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def _check_head(self) -> tuple[int, int, bool]:
        """(the size of the URL and the headers, that of the body where it is told, whether it is encoded); raises Refused."""
        if len(self.pipeline) >= LONGEST_ROW:
            raise Refused(429, "too_many", "too many requests in a row; wait for the answers")
        headers = self.headers
        found = dict(headers)
        if len(found) < len(headers):
            for name in (b"host", b"content-length", b"transfer-encoding"):
                times = sum(each == name for each, _ in headers)
                if times > 1:
                    raise Refused(
                        400, "bad_framing", f"the header {name.decode()} came {times} times; send it once"
                    )
        if b"host" not in found and self.parser.get_http_version() == "1.1":
            raise Refused(400, "bad_framing", "the header host is missing")
        length, coding = found.get(b"content-length"), found.get(b"transfer-encoding")
        if coding is not None and (length is not None or coding != b"chunked"):
            raise Refused(400, "bad_framing", "send either Content-Length, or Transfer-Encoding: chunked")
        if (length is not None or coding is not None) and self.parser.should_upgrade():
            # The parser takes what follows for another protocol, so that the body would be lost.
            raise Refused(400, "bad_framing", "send it without Upgrade: this is plain HTTP/1.1")
        encoded = b"content-encoding" in found and any(
            name == b"content-encoding" and value.lower() != b"identity" for name, value in headers
        )
        self.expect_100_continue = found.get(b"expect", b"").lower() == b"100-continue"
        if self.from_proxy:
            forwarded = (value for name, value in headers if name == b"x-forwarded-for")
            self._client = self.house.proxies.client(self._remote, forwarded)
            if not self.house.begin(subject(self._client)):
                raise Refused(429, "too_many", "too many requests of this address are under way")
            self._held.append(subject(self._client))
        return sum(map(len, chain.from_iterable(headers)), len(self.url)), int(length or 0), encoded

    def on_body(self, body: bytes) -> None:
        self._useful += len(body)
        if isinstance(self.cycle, Visit):
            self.cycle.feed(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        # The phase first: an answer may be written at once.
        if self.cycle.response_complete:
            self._enter(IDLE)
        else:
            self.phase = ANSWER
        if isinstance(self.cycle, Visit):
            self.cycle.complete()
        else:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        # uvicorn would start a timer for each pause between requests; `Connections` looks after those.
        self.server_state.total_requests += 1
        if self.phase == ANSWER and self.cycle.response_complete:
            self._enter(IDLE)
        if self._held:
            self.house.end(self._held.pop(0))
        if not self.transport.is_closing():
            self.flow.resume_reading()
            if self.pipeline:
                self._begin_next()

    def common_headers(self) -> bytes:
        """The headers that each answer has."""
        found = self.server_state.default_headers
        if self.common[0] is not found:
            raw = b"".join(b"%b: %b\r\n" % pair for pair in found)
            type(self).common = (found, raw)
        return self.common[1]

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

    def shutdown(self) -> None:
        """The process ends. A request that is on its way, even one of which nothing came yet, is answered before the connection is
        closed.
        """
        self.house.stop()
        if self.phase in {HEAD, IDLE}:
            self._enter(self.phase)
        else:
            super().shutdown()

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


def _place(url: bytes) -> tuple[str, bytes]:
    """The path, decoded, and the query; raises Refused. Short ones are remembered: a URL in Zoho is typed once and called for years."""
    return _remembered_place(url) if len(url) < SHORT else _parsed_place(url)


def _parsed_place(url: bytes) -> tuple[str, bytes]:
    try:
        found = httptools.parse_url(url)
        path = found.path.decode("ascii")
    except (httptools.HttpParserError, ValueError, AttributeError):
        raise Refused(400, "bad_framing", "the URL of the request is none") from None
    return unquote(path) if "%" in path else path, found.query or b""


_remembered_place = lru_cache(1024)(_parsed_place)


def guarded(
    settings: WebSettings, door: Door, told_to_stop: Callable[[], bool] = lambda: False
) -> type[DoorProtocol]:
    """The protocol of one web process, with its limits and its door."""
    house = Connections(settings, told_to_stop)
    return type("DoorProtocol", (DoorProtocol,), {"house": house, "door": door})

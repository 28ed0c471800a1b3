"""One request for the door on its connection: in the place of uvicorn's cycle of request and response, and without ASGI.

uvicorn keeps it in `protocol.cycle` or `protocol.pipeline`, as it would keep its own; those of its names that uvicorn asks for are
its own, too.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from receiver import logs
from receiver.intake.endpoint import Reply, too_large

if TYPE_CHECKING:
    from receiver.intake.endpoint import Door, Head
    from receiver.intake.keyring import Lock
    from receiver.intake.protocol import DoorProtocol

log = logs.get("delivery")
PIECE = 64
"""Bytes of memory that a piece of a body takes beside what it says: chunks of two bytes would else cost thirty times what is counted."""
BROKEN = Reply.of(500, {"error": "broken", "message": "the door failed at this; its log says how"})


class Visit:
    """Reads the body, asks the door, writes the answer."""

    __slots__ = (
        "_begun",
        "_body",
        "_door",
        "_head",
        "_lock",
        "_protocol",
        "_size",
        "_wants_word",
        "_whole",
        "disconnected",
        "keep_alive",
        "proved",
        "response_complete",
        "response_started",
    )
    message_event: ClassVar = asyncio.Event()
    """Nobody waits for it; uvicorn sets it."""

    def __init__(
        self, protocol: DoorProtocol, door: Door, head: Head, *, keep_alive: bool, wants_word: bool
    ) -> None:
        """`wants_word`: the client waits for "100 Continue" before it sends the body."""
        self._protocol, self._door, self._head = protocol, door, head
        self._lock: Lock | None = None
        self._body: list[bytes] = []
        self._size = 0
        self._begun = self._whole = False
        self._wants_word = wants_word
        self.keep_alive = keep_alive
        self.proved = False
        self.disconnected = self.response_started = self.response_complete = False

    def begin(self) -> None:
        """Its turn on the connection has come: it is refused by its head, or goes on as the body comes."""
        if self.disconnected:
            return
        self._begun = True
        found = self._door.admit(self._head)
        if isinstance(found, Reply):
            self._answer(found)
            return
        self._lock = found
        self.proved = self._door.has_proved(self._head)
        if self._wants_word and not self._whole:
            self._protocol.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._go_on()

    def feed(self, piece: bytes) -> None:
        """A piece of the body came."""
        if self.response_complete:
            return
        self._body.append(piece)
        self._size += len(piece)
        self._protocol.house.hold(self, len(piece) + PIECE)
        if self.response_complete:
            return
        if self._lock is not None and self._size > self._lock.body_limit:
            self._go_on()

    def complete(self) -> None:
        """The body is whole."""
        self._whole = True
        self._protocol.house.let_go(self)
        if not self.response_complete:
            self._go_on()

    def lost(self) -> None:
        """The connection is gone."""
        self.disconnected = True
        self._protocol.house.let_go(self)
        if not self._whole and not self.response_complete:
            self._door.gone(self._head, self._lock)

    def give_up(self) -> None:
        """There is no room for the body. What still comes of it is read and dropped, so that the client hears the answer."""
        self._body.clear()
        if self._begun:
            self._answer(self._door.crowded(self._head, self._lock))
        else:  # the answer to an earlier request comes first
            self._protocol.cut()

    def _go_on(self) -> None:
        if not self._begun or self._lock is None:
            return
        if self._size > self._lock.body_limit:
            self._body.clear()
            self._answer(self._door.refuse(self._head, self._lock, too_large(self._lock)))
        elif self._whole:
            tasks = self._protocol.tasks
            task = self._protocol.loop.create_task(self._take(self._lock))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _take(self, lock: Lock) -> None:
        try:
            reply = await self._door.take(self._head, lock, b"".join(self._body))
        except Exception:  # the sender must hear something, and the connection go on
            log.exception("delivery.broken", source=self._head.source)
            reply = BROKEN
        if not self.disconnected:
            self._answer(reply)

    def _answer(self, reply: Reply) -> None:
        protocol = self._protocol
        protocol.house.let_go(self)
        self.response_started = self.response_complete = True
        if protocol.transport.is_closing():  # it is told soon that its connection is lost
            return
        if protocol.flow.write_paused:  # who asks on and reads no answer would fill our memory
            protocol.transport.abort()
            return
        status, body, retry_after = reply
        protocol.transport.write(
            b"%b%bcontent-type: application/json\r\ncontent-length: %d\r\n%b%b\r\n%b"
            % (
                STATUS_LINE[status],
                protocol.common_headers(),
                len(body),
                b"retry-after: %b\r\n" % retry_after.encode() if retry_after else b"",
                b"" if self.keep_alive else b"connection: close\r\n",
                b"" if self._head.method == "HEAD" else body,
            )
        )
        if not self.keep_alive:
            protocol.transport.close()
        protocol.on_response_complete()

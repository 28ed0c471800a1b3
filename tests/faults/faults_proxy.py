"""A proxy before Redis that loses, delays and changes what passes it: what a network does, and when a process dies."""

from __future__ import annotations

import random
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from receiver.ledger import script

if TYPE_CHECKING:
    from collections.abc import Callable

Address = str | tuple[str, int]


def digest(*names: str) -> bytes:
    """How a call of one of our scripts, or of several as one, is known on the wire."""
    return script.text_of(*names)[1].encode()


@dataclass
class Trap:
    """For the next calls of a script: `before` Redis hears of it, or `after` it was done and before anybody is told, `act` is
    called and the connection is cut. `reply`: only where the answer has this in it.
    """

    word: bytes
    when: str
    act: Callable[[], None] = lambda: None
    reply: bytes = b""
    times: int = 1
    sprung: int = 0


class Proxy:
    """Listens on a port of its own. `upstream` may be set anew; what connects then goes there."""

    def __init__(self, upstream: Address) -> None:
        self.upstream = upstream
        self.trap: Trap | None = None
        self.delay = (0.0, 0.0)
        self.rewrite: tuple[bytes, bytes] | None = None
        self.flowing = threading.Event()
        self.flowing.set()
        self._lock = threading.Lock()
        self._links: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Hang up on everybody."""
        with self._lock:
            links, self._links = self._links, set()
        for each in links:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.flowing.set()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX if isinstance(self.upstream, str) else socket.AF_INET)
            try:
                server.connect(self.upstream)
            except OSError:
                client.close()
                server.close()
                continue
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._links |= {client, server}
            caught = threading.Event()
            for act, source, target in ((self._asked, client, server), (self._told, server, client)):
                threading.Thread(target=self._pump, args=(act, source, target, caught), daemon=True).start()

    def _pump(
        self,
        act: Callable[[bytes, threading.Event], bytes | None],
        source: socket.socket,
        target: socket.socket,
        caught: threading.Event,
    ) -> None:
        with suppress(OSError):
            while data := source.recv(262_144):
                self.flowing.wait()
                passed = act(data, caught)
                if passed is None:
                    break
                target.sendall(passed)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        with self._lock:
            self._links -= {source, target}

    def _asked(self, data: bytes, caught: threading.Event) -> bytes | None:
        trap = self.trap
        if trap is None or trap.word not in data or trap.sprung >= trap.times:
            caught.clear()
            return data
        if trap.when == "before":
            return self._spring(trap, data)
        caught.set()
        return data

    def _told(self, data: bytes, caught: threading.Event) -> bytes | None:
        trap = self.trap
        if caught.is_set() and trap is not None and trap.reply in data:
            return self._spring(trap, data)
        if self.rewrite:
            data = data.replace(*self.rewrite)
        if self.delay[1]:
            time.sleep(random.uniform(*self.delay))
        return data

    def _spring(self, trap: Trap, data: bytes) -> bytes | None:
        with self._lock:
            if trap.sprung >= trap.times:
                return data
            trap.sprung += 1
        trap.act()
        return None

"""The connections of one web process: how many an address may have, and which have had their time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from receiver import metrics
from receiver.intake.limits import Proxies

if TYPE_CHECKING:
    from collections.abc import Callable

    from receiver.settings import WebSettings

PROXY_IDLE = 75.0
"""Proxies keep a connection for a minute; one that we close just before they use it again costs a delivery."""
COARSEST = 0.5
STOPPING = 1.5
"""Seconds that a client gets for what it is just sending when the process is told to stop: most of Zoho's products send once."""
SOON = 0.1


HEAD, BODY, ANSWER, IDLE = range(4)
"""What a connection waits for: the client's head or body, our answer, or the client's next request. Plain numbers, for speed."""
WORDS = {HEAD: "head", BODY: "body"}


class Connection(Protocol):
    """What is asked of a connection."""

    phase: int
    since: float
    address: str
    from_proxy: bool

    def expire(self) -> None:
        """Its time is over: say so where that makes sense, and close; the second time without a word."""

    def cut(self) -> None:
        """Close at once."""


class Body(Protocol):
    """What is asked of a request whose body is not whole yet."""

    proved: bool
    """Whether its client proved at that source lately who he is."""

    def give_up(self) -> None:
        """There is no room for it: say so, and forget what came of it."""


class Connections:
    """All of them; one timer looks after all, so that a request costs none."""

    def __init__(self, settings: WebSettings, told_to_stop: Callable[[], bool] = lambda: False) -> None:
        self.settings = settings
        self._told_to_stop = told_to_stop
        self.proxies = Proxies(settings.trusted_proxies)
        self.limits = {
            HEAD: settings.header_time,
            BODY: settings.body_time,
            IDLE: settings.idle,
        }
        self._every = min(COARSEST, *(limit / 5 for limit in self.limits.values()))
        self._all: set[Connection] = set()
        self._by_address: dict[str, set[Connection]] = {}
        self._under_way: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.stopping = False
        self._bodies: dict[Body, int] = {}
        self.held = 0
        """Bytes of all bodies that are not whole."""

    def stop(self) -> None:
        """The process ends: each connection has its last request, and little time to send the head of it."""
        if self.stopping:
            return
        self.stopping = True
        for phase in (HEAD, IDLE):
            self.limits[phase] = min(self.limits[phase], STOPPING)
        self._every = min(self._every, SOON)

    def enter(self, connection: Connection) -> None:
        """A new one. Where its address has too many, the one of them that has waited longest for its client goes."""
        self._all.add(connection)
        if self._told_to_stop():  # the server tells only those that it has met when it begins to stop
            self.stop()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._every, self._look)
        if connection.from_proxy or not connection.address:
            return
        theirs = self._by_address.setdefault(connection.address, set())
        theirs.add(connection)
        if len(theirs) > self.settings.connections:
            waiting = [each for each in theirs if each.phase in {HEAD, IDLE}]
            metrics.CUT.labels("too many").inc()
            min(waiting or [connection], key=lambda each: each.since).cut()

    def leave(self, connection: Connection) -> None:
        """It is closed."""
        self._all.discard(connection)
        theirs = self._by_address.get(connection.address)
        if theirs is not None:
            theirs.discard(connection)
            if not theirs:
                del self._by_address[connection.address]

    def begin(self, address: str) -> bool:
        """A request through a trusted proxy, whose connections say nothing of their clients: whether it may go on."""
        count = self._under_way.get(address, 0)
        if count >= self.settings.connections:
            metrics.CUT.labels("too many").inc()
            return False
        self._under_way[address] = count + 1
        return True

    def end(self, address: str) -> None:
        """A request that `begin` let through is answered or gone."""
        count = self._under_way.get(address, 0) - 1
        if count > 0:
            self._under_way[address] = count
        else:
            self._under_way.pop(address, None)

    def hold(self, body: Body, size: int) -> None:
        """More of a body came, which is not whole yet, so that nothing is proved. Where all of them together are too many bytes the
        largest goes, if there is one of a client who has proved nothing lately: webhooks are small and whole within
        a moment, so that they pass while many large bodies that never end push out each other.
        """
        self._bodies[body] = self._bodies.get(body, 0) + size
        self.held += size
        while self.held > self.settings.bodies:
            largest = max(self._bodies, key=lambda each: (not each.proved, self._bodies[each]))
            self.let_go(largest)
            metrics.CUT.labels("too many bodies").inc()
            largest.give_up()

    def let_go(self, body: Body) -> None:
        """It is whole, answered or gone."""
        self.held -= self._bodies.pop(body, 0)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in tuple(self._all):
            limit = self.limits.get(connection.phase)
            if limit is not None and connection.phase == IDLE and connection.from_proxy and not self.stopping:
                limit = max(limit, PROXY_IDLE)
            if limit is not None and now - connection.since > limit:
                if connection.phase in WORDS:
                    metrics.CUT.labels(f"slow {WORDS[connection.phase]}").inc()
                connection.expire()
        self._timer = loop.call_later(self._every, self._look) if self._all else None

"""What was asked of the simulator and what it sent, kept for tests and the console; it decides nothing."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import RLock


T = TypeVar("T")


@dataclass(slots=True)
class ApiCall:
    """One call that somebody made to us."""

    at: float
    product: str
    method: str
    path: str
    query: dict[str, str]
    status: int
    code: str
    seconds: float
    fault: str = ""
    body: str = ""
    token: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    """All but the one that holds the token; names in lower case."""


@dataclass(slots=True)
class Sent:
    """One delivery that we made; status 0 is no answer, and `dropped` never left the house."""

    at: float
    product: str
    event: str
    method: str
    url: str
    headers: dict[str, str]
    body: str
    facts: tuple[str, ...]
    status: int = 0
    seconds: float = 0.0
    error: str = ""
    duplicate: bool = False
    dropped: bool = False
    marks: dict[str, Any] = field(default_factory=dict)


class Journal:
    """The last entries of both kinds, and counts over all of them."""

    def __init__(self, lock: RLock, keep: int = 20_000) -> None:
        self._lock = lock
        self._calls: deque[ApiCall] = deque(maxlen=keep)
        self._sent: deque[Sent] = deque(maxlen=keep)
        self.counts: dict[str, int] = {}

    def call(self, entry: ApiCall) -> None:
        with self._lock:
            self._calls.append(entry)
            key = f"{entry.product} {entry.status}"
            self.counts[key] = self.counts.get(key, 0) + 1

    def sent(self, entry: Sent) -> None:
        with self._lock:
            self._sent.append(entry)

    def calls(self, product: str = "", *, path: str = "", method: str = "", status: int = 0) -> list[ApiCall]:
        """Calls oldest first; `path` is a part of the path."""
        return self._pick(
            self._calls,
            lambda e: (
                (not product or e.product == product)
                and path in e.path
                and (not method or e.method == method)
                and (not status or e.status == status)
            ),
        )

    def deliveries(self, product: str = "", *, event: str = "") -> list[Sent]:
        """Deliveries in the order in which their answers came."""
        return self._pick(
            self._sent, lambda e: (not product or e.product == product) and (not event or e.event == event)
        )

    def clear(self) -> None:
        with self._lock:
            self._calls.clear()
            self._sent.clear()
            self.counts.clear()

    def dump(self, what: str, last: int) -> list[dict[str, Any]]:
        entries: list[Any] = self._pick(self._calls if what == "calls" else self._sent, lambda _: True)
        return [asdict(entry) for entry in entries[-last:]]

    def _pick(self, entries: deque[T], keep: Callable[[T], bool]) -> list[T]:
        with self._lock:
            return [entry for entry in entries if keep(entry)]

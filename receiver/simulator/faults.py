"""Faults on order: the next calls that match are answered as a broken Zoho would answer them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from threading import RLock

    from receiver.simulator.wire import Call

KINDS = ("status", "html", "cut", "lost", "slow", "body")


@dataclass(slots=True)
class Fault:
    """`lost` does the work and then breaks the connection; `slow` waits and then works as usual."""

    kind: str
    product: str = ""
    path: str = ""
    method: str = ""
    times: int = 1
    status: int = 500
    seconds: float = 0.0
    body: Any = None


class Faults:
    """Faults in the order in which they were ordered."""

    def __init__(self, lock: RLock) -> None:
        self._lock = lock
        self._waiting: list[Fault] = []

    def add(self, kind: str, **about: Any) -> Fault:
        """Raises ValueError for a kind that we don't know."""
        if kind not in KINDS:
            raise ValueError(f"fault kind {kind!r}: one of {', '.join(KINDS)}")
        fault = Fault(kind, **about)
        with self._lock:
            self._waiting.append(fault)
        return fault

    def take(self, product: str, call: Call) -> Fault | None:
        with self._lock:
            for fault in self._waiting:
                if (
                    (not fault.product or fault.product == product)
                    and fault.path in call.path
                    and (not fault.method or fault.method == call.method)
                ):
                    fault.times -= 1
                    if fault.times <= 0:
                        self._waiting.remove(fault)
                    return fault
        return None

    def clear(self) -> None:
        with self._lock:
            self._waiting.clear()

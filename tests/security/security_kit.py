"""What several threats need: who is connected to, and how much two sets of times differ."""

from __future__ import annotations

import statistics
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_listeners: list[list[tuple[str, Any]]] = []


def _hear(event: str, args: tuple[Any, ...]) -> None:
    if _listeners and event in {"socket.connect", "socket.getaddrinfo"}:
        for each in _listeners:
            each.append((event, args[1] if event == "socket.connect" else args[0]))


sys.addaudithook(_hear)


@contextmanager
def outbound() -> Iterator[list[tuple[str, Any]]]:
    """Every address that this process connects to, and every name that it looks up, meanwhile.

    The interpreter itself tells, so that no client library can keep one from us.
    """
    heard: list[tuple[str, Any]] = []
    _listeners.append(heard)
    try:
        yield heard
    finally:
        _listeners.remove(heard)


def welch(first: Sequence[float], second: Sequence[float]) -> float:
    """Welch's t of two samples."""
    spread = statistics.variance(first) / len(first) + statistics.variance(second) / len(second)
    return abs(statistics.fmean(first) - statistics.fmean(second)) / max(spread, 1e-12) ** 0.5

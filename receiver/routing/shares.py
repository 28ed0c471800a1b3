"""How many of a process's threads each handler may have at once, and which handlers are known to keep theirs for long."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from receiver.routing.plugins import Handler

LONG = 0.02
"""Seconds. A run that takes less gives its thread back before anybody has missed it."""


class Shares:
    """The threads that runs have, by handler. Where only one handler is served nobody is held back, for nobody else waits."""

    def __init__(self, handlers: Collection[Handler], threads: int, share: float) -> None:
        if len(handlers) < 2:
            handlers = ()
        self.most = {
            name: max(1, int(threads * (share if each.options.share is None else each.options.share)))
            for each in handlers
            for name in each.names
        }
        self._names: Mapping[str, str] = {name: each.id for each in handlers for name in each.names}
        self._all = {each.id: each.names for each in handlers}
        self._since: dict[str, dict[int, float]] = {each.id: {} for each in handlers}
        self._long: set[str] = set()

    @classmethod
    def of_nobody(cls) -> Shares:
        """Nobody is held back."""
        return cls((), 1, 1)

    def begin(self, name: str, thread: int) -> bool:
        """Whether a run of that handler may have this thread now; then it has it."""
        known = self._names.get(name)
        if known is None:
            return True
        since = self._since[known]
        if len(since) >= self.most[name]:
            return False
        since[thread] = time.monotonic()
        return True

    def end(self, name: str, thread: int) -> None:
        """The thread is free again."""
        known = self._names.get(name)
        if known is None:
            return
        began = self._since[known].pop(thread)
        if time.monotonic() - began > LONG:
            self._long.add(known)
        else:
            self._long.discard(known)

    def rooms(self) -> dict[str, int]:
        """How many threads more each handler may take of those whose runs take long, by each name that it has or had."""
        now, rooms = time.monotonic(), {}
        for known, since in self._since.items():
            if known in self._long or any(now - began > LONG for began in list(since.values())):
                room = max(0, self.most[known] - len(since))
                rooms.update(dict.fromkeys(self._all[known], room))
        return rooms

    def gone(self, stuck: Collection[int]) -> list[str]:
        """The handlers whose whole share these threads have."""
        return [
            known
            for known, since in self._since.items()
            if since and len(since) >= self.most[known] and since.keys() <= set(stuck)
        ]

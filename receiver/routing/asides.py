"""Which queues a worker takes from: its own, and before each what was set aside of it for want of threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.routing.process import Process


class Asides:
    """The queues of what was set aside, `QUEUE/HANDLER`, by whichever worker. The ledger tells them with every turn."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.told: tuple[str, ...] = ()
        self._strange: frozenset[str] = frozenset()

    def look(self) -> None:
        """Find out of whose jobs somebody else has the handler: those are left to him. Nobody's are taken, and held by us."""
        names = {_handler(aside) for aside in self.told}
        unknown = {name for name in names if not self._process.plugins.find(name)}
        self._strange = frozenset(name for name in unknown if self._process.catalogue.elsewhere(name))

    def before(self, queues: Sequence[str]) -> list[str]:
        """These queues, each after what was set aside of it: that is older."""
        if not self.told:
            return list(queues)
        found = [aside for aside in self.told if _handler(aside) not in self._strange]
        return [
            each
            for queue in queues
            for each in (*(aside for aside in found if aside.partition("/")[0] == queue), queue)
        ]


def _handler(aside: str) -> str:
    return aside.partition("/")[2]

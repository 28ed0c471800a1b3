"""What a worker has in its hands: work for its threads, and a turn that is under way to the ledger."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from receiver.ledger import runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from receiver.ledger.runs import Claim, Route
    from receiver.ledger.turns import Slip, Turn, Words
    from receiver.routing.finisher import Waiting


class Work(NamedTuple):
    """What is put before a thread: a claimed job, or without a claim a suspect to be run in a process of its own."""

    slip: Slip
    claim: Claim | None


def whose(work: Work) -> str:
    """The handler that a piece of work is for; "" where that is not known."""
    if work.claim is not None:
        return runs.split_job(work.claim.id)[1]
    kind, found, _ = work.slip.ids() or ("e", "", 0)
    return runs.split_job(found)[1] if kind == "j" else ""


@dataclass(slots=True)
class Asked:
    """A turn that is under way: what it says, and how its answer is heard."""

    endings: list[Waiting]
    routes: list[tuple[Slip, Route]]
    done: list[Slip]
    said: Turn
    answer: Callable[[], Words] = field(init=False)

    @property
    def weight(self) -> int:
        """How many things it says."""
        return len(self.endings) + len(self.routes) + len(self.done)

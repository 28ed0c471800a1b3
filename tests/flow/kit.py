"""What several flow tests do with a house."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from receiver.ledger import read

if TYPE_CHECKING:
    from tests.flow.conftest import House


def drain(home: House, seconds: float = 10) -> None:
    """Work and sweep until nothing is open but what is on hold."""
    limit = time.monotonic() + seconds
    while read.states(home.redis)["open"] or sum(
        read.states(home.redis)[state] for state in ("due", "running")
    ):
        assert time.monotonic() < limit, read.states(home.redis)
        home.work()
        home.sweeper.once()
        time.sleep(0.005)

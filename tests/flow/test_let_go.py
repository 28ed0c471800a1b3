"""What a run that is over leaves in memory: nothing. A worker does thousands a second, and an event may be megabytes."""

from __future__ import annotations

import gc
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from receiver import on
from receiver.errors import RetryLater, Skip
from receiver.event import Event
from receiver.ledger import read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.flow.conftest import MakeHouse

STARTED = """
import gc, sys
from receiver import collector
collector.spare_what_is_there(4321)
print(gc.get_freeze_count() > 1000, gc.get_threshold()[0])
"""


def ends(event: Event) -> None:
    match event.data:
        case "error":
            raise ValueError("no such customer")
        case "base":
            raise SystemExit(3)
        case "skip":
            raise Skip("nothing to do")
        case "later":
            raise RetryLater(60)


@pytest.fixture
def without_collector() -> Iterator[None]:
    """Python looks for no rings."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def in_memory(marked: str) -> int:
    return sum(type(each) is Event and each.data == marked for each in gc.get_objects())


@pytest.mark.usefixtures("without_collector")
@pytest.mark.parametrize(
    ("said", "state"),
    [("done", "done"), ("error", "dead"), ("base", "dead"), ("skip", "skipped"), ("later", "due")],
)
@pytest.mark.parametrize("batch", [False, True])
def test_an_event_is_gone_when_its_run_is_over(
    house: MakeHouse, said: Any, state: str, *, batch: bool
) -> None:
    """However it ended, and without waiting for the collector."""

    @on("crm.*.updated", retries=0)
    def single(event: Event) -> None:
        ends(event)

    @on("crm.*.updated", retries=0, batch=2)
    def together(events: list[Event]) -> None:
        ends(events[0])

    home = house(together if batch else single)
    ids = [home.accept(data=said, record_id=str(number)).id for number in range(2)]
    home.work()
    assert {read.event(home.redis, each).jobs[0].state for each in ids} == {state}
    assert in_memory(said) == 0


def test_what_is_loaded_is_not_looked_through_again() -> None:
    """Python's collector leaves alone what was there at the start."""
    told = subprocess.run([sys.executable, "-c", STARTED], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["True", "4321"]

"""A handler's own write does not call it again; anybody else's does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from receiver import on
from receiver.ledger import read, runs
from receiver.routing import echoes

if TYPE_CHECKING:
    from receiver.event import Event
    from tests.flow.conftest import House, MakeHouse


def wrote(home: House, event: Event, values: dict[str, Any]) -> None:
    """What the Zoho client says before it sends a write of this handler's job."""
    job = f"{event.id}:rooms.writer"
    claim = runs.Claim(
        "j", job, 1, "w", 0, 0, suspect=False, generation=0, lane="", made=0, at=0, event=event
    )
    echoes.remember(home.redis, [claim], "crm", "Deals", event.record_id, values)


@pytest.fixture
def seen() -> list[str]:
    """Which handler ran on what."""
    return []


@pytest.fixture
def home(house: MakeHouse, seen: list[str]) -> House:
    """A house with a handler that writes and one that watches."""

    @on("crm.Deals.updated")
    def writer(event):
        seen.append(f"writer {event.data.get('n')}")

    @on("crm.Deals.updated")
    def watcher(event):
        seen.append(f"watcher {event.data.get('n')}")

    return house(writer, watcher)


def test_an_echo_is_skipped_once_for_the_one_who_wrote(home, seen) -> None:
    """The writer's job says whose echo it is; the watcher runs; the next such change is nobody's echo."""
    first = home.accept(data={"n": 1}, record_id="7", changed=frozenset({"Stage"}))
    home.work()
    wrote(home, first, {"Invoice_No": "INV-1"})
    echo = home.accept(
        data={"n": 2, "values": {"Invoice_No": "INV-1"}},
        record_id="7",
        changed=frozenset({"Invoice_No", "Modified_Time"}),
    )
    home.work()
    home.accept(
        data={"n": 3, "values": {"Invoice_No": "INV-1"}}, record_id="7", changed=frozenset({"Invoice_No"})
    )
    home.work()
    assert sorted(seen) == ["watcher 1", "watcher 2", "watcher 3", "writer 1", "writer 3"]
    jobs = {job.handler: job for job in read.event(home.redis, echo.id).jobs}
    assert (jobs["rooms.writer"].state, jobs["rooms.writer"].reason) == (
        "skipped",
        f"echo of job {first.id}:rooms.writer",
    )
    assert runs.replay(home.redis, "j", jobs["rooms.writer"].id) == "ok"
    home.work()
    assert "writer 2" in seen


@pytest.mark.parametrize(
    ("changed", "values", "record"),
    [
        ({"Invoice_No", "Stage"}, {"Invoice_No": "INV-1", "Stage": "Lost"}, "7"),
        ({"Invoice_No"}, {"Invoice_No": "INV-2"}, "7"),
        ({"Invoice_No"}, {"Invoice_No": "INV-1"}, "8"),
        ({"Modified_Time"}, {}, "7"),
    ],
)
def test_what_a_person_did_is_no_echo(home, seen, changed, values, record) -> None:
    """Another field, another value, another record: it runs, although the same user did it."""
    first = home.accept(data={"n": 1}, record_id="7", changed=frozenset({"Stage"}))
    home.work()
    wrote(home, first, {"Invoice_No": "INV-1"})
    home.accept(data={"n": 2, "values": values}, record_id=record, changed=frozenset(changed))
    home.work()
    assert "writer 2" in seen

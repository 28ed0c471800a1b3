"""Options that combine work together: every pair that is not refused runs its events to the end and leaves nothing held."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest

from receiver import on
from receiver.errors import HandlerError
from receiver.ledger import read
from receiver.routing import run
from tests.flow.kit import drain

if TYPE_CHECKING:
    from tests.flow.conftest import MakeHouse

OPTIONS: dict[str, dict[str, Any]] = {
    "order": {"order": "record"},
    "latest": {"latest": lambda event: event.record_id},
    "debounce": {"debounce": 0.05},
    "batch": {"batch": 3, "batch_for": 0.05},
    "concurrency": {"concurrency": 1},
    "concurrency_per_key": {"key": "record", "concurrency_per_key": 1},
    "rate": {"rate": "40/s"},
    "rate_per_key": {"key": "record", "rate_per_key": "40/s"},
    "isolated": {"isolated": True},
}


def allowed() -> list[tuple[str, str]]:
    """The pairs that are not refused, which are those of the README."""
    found = []
    for one, other in combinations(OPTIONS, 2):
        try:
            on("app.x", **{**OPTIONS[one], **OPTIONS[other]})
        except HandlerError:
            continue
        found.append((one, other))
    return found


@pytest.mark.parametrize(("one", "other"), allowed())
def test_a_pair_of_options_runs_to_the_end(house: MakeHouse, monkeypatch: Any, one: str, other: str) -> None:
    """Six events of two records, one of which fails at first: each is done or superseded, the newest of a record is done."""
    seen: list[tuple[str, int]] = []

    def work(event: Any) -> None:
        if event.data["n"] == 1 and event.tries == 0:
            raise ValueError("at first")
        seen.append((event.record_id, event.data["n"]))

    def many(events):
        for event in events:
            try:
                work(event)
            except ValueError as error:
                event.fail(error)

    def single(event):
        work(event)

    options = {**OPTIONS[one], **OPTIONS[other]}
    handler = many if "batch" in (one, other) else single
    home = house(on("**", **options)(handler))
    monkeypatch.setattr(
        home.process, "run_alone", lambda *asked: run.work(home.process, *asked, alone=True)
    )  # another process would be the real thing; that it is one is tested elsewhere
    monkeypatch.setattr("receiver.routing.policy.FIRST", 0.02)
    events = [home.accept(data={"n": number}, record_id=str(number % 2)) for number in range(6)]
    drain(home)
    states = {event.data["n"]: read.event(home.redis, event.id).jobs[0] for event in events}
    assert {job.state for job in states.values()} <= {"done", "skipped"}
    assert all("superseded" in job.reason for job in states.values() if job.state == "skipped")
    assert (states[4].state, states[5].state) == ("done", "done")
    if not {"latest", "debounce"} & {one, other}:
        assert sorted(number for _, number in seen) == list(range(6))
    if "order" in (one, other):
        assert [number for record, number in seen if record == "1"] == [1, 3, 5]
    for pattern in ("zh:o*", "zh:l:*", "zh:c", "zh:c:*"):
        assert home.redis.keys(pattern) == [], pattern


def test_some_pairs_were_tried() -> None:
    """All but the six that the table refuses."""
    assert len(allowed()) == len(list(combinations(OPTIONS, 2))) - 6

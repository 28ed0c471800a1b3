"""Hosts whose clocks are wrong: when a job comes due again, is given up or is somebody's to route, is said by the ledger's clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from receiver import RetryLater, keys, on
from receiver.errors import InvalidRequest
from receiver.ledger import read, runs
from receiver.ledger.condition import time_of
from receiver.routing import replays, route
from receiver.routing.catalogue import Catalogue
from tests.flow.conftest import plugged

if TYPE_CHECKING:
    from collections.abc import Callable

    from receiver.ledger.rows import JobRow
    from tests.flow.conftest import House, MakeHouse

HOUR = 3600
either_way = pytest.mark.parametrize("wrong", [HOUR, -HOUR])


@pytest.fixture
def shift(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Makes the wall clock of this process wrong by so many seconds; that of Redis stays right."""
    seconds, nanoseconds = time.time, time.time_ns

    def by(wrong: float) -> None:
        monkeypatch.setattr(time, "time", lambda: seconds() + wrong)
        monkeypatch.setattr(time, "time_ns", lambda: nanoseconds() + int(wrong * 1e9))

    return by


def job_of(home: House, event: str) -> JobRow:
    """The one job of an event."""
    (job,) = read.event(home.redis, event).jobs
    return job


def now(home: House) -> int:
    """What time it is (ms)."""
    return time_of(home.redis)


@either_way
def test_a_failure_waits_its_backoff(house: MakeHouse, shift: Callable[[float], None], wrong: int) -> None:
    """Neither is it tried again at once, nor an hour late; its attempt tells the same times as the ledger."""
    seen = []

    @on("**", retries=3)
    def handler(event):
        seen.append(event.tries)
        raise ValueError("not today")

    home = house(handler)
    event = home.accept()
    shift(wrong)
    before = now(home)
    home.work()
    after = now(home)
    home.sweeper.once()
    home.work()
    job = job_of(home, event.id)
    assert (seen, job.state, job.tries) == ([0], "due", 1)
    assert before + 9_000 <= job.due <= after + 11_000
    (attempt,) = job.attempts
    assert abs(attempt["due"] - job.due) < 1_000
    assert before - 1_000 <= attempt["started"] <= attempt["ended"] <= after + 1_000


@either_way
@pytest.mark.parametrize(("age", "state"), [(0, "due"), (1800, "due"), (5400, "dead")])
def test_giving_up_is_by_the_age_of_the_job(
    house: MakeHouse, shift: Callable[[float], None], wrong: int, age: int, state: str
) -> None:
    """`retry_for` counts from when the job was opened, whoever runs it: its first run or a later one."""

    @on("**", retry_for="1h")
    def handler(event):
        raise ValueError("not today")

    home = house(handler)
    event = home.accept()
    shift(wrong)
    home.work()
    job = job_of(home, event.id)
    assert job.state == "due"
    home.redis.hset(keys.job(job.id), mapping={"made": now(home) - age * 1000, "due": 0})
    home.redis.zadd(keys.due(), {f"j:{job.id}": 0})
    home.sweeper.once()
    home.work()
    job = job_of(home, event.id)
    assert (job.state, job.tries) == (state, 2)
    assert ("given up after 1 hour" in job.reason) == (state == "dead")


@either_way
def test_a_time_that_a_handler_names_is_kept_and_a_wait_is_a_wait(
    house: MakeHouse, shift: Callable[[float], None], wrong: int
) -> None:
    """`RetryLater(at=...)` is that moment, for whoever names a time means it; `RetryLater(seconds)` is from now."""
    noon = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=7)

    @on("crm.Deals.updated")
    def handler(event):
        raise RetryLater(at=noon) if event.data["named"] else RetryLater(60)

    home = house(handler)
    named, waits = home.accept(data={"named": True}), home.accept(data={"named": False})
    shift(wrong)
    before = now(home)
    home.work()
    assert job_of(home, named.id).due == int(noon.timestamp() * 1000)
    assert job_of(home, named.id).attempts[-1]["due"] == int(noon.timestamp() * 1000)
    assert before + 60_000 <= job_of(home, waits.id).due <= now(home) + 60_000


@either_way
def test_the_newest_catalogue_routes(house: MakeHouse, shift: Callable[[float], None], wrong: int) -> None:
    """Who was born last, not whose clock is ahead; what the old one puts off comes again after a tick."""

    @on("**")
    def old(event):
        pass

    @on("**")
    def new(event):
        pass

    shift(wrong)
    home = house(old)
    shift(0)
    time.sleep(0.01)  # not born in the same millisecond
    newer = Catalogue(home.redis, plugged(new).handlers.values())
    newer.publish(born=True)
    shift(wrong)
    event = home.accept()
    home.work()
    row = read.event(home.redis, event.id)
    assert (row.jobs, row.reason) == ((), "a newer catalogue routes")
    assert row.due <= now(home) + 1_000
    shift(-wrong)
    assert newer.may_route()


@either_way
def test_what_is_given_back_is_due_at_once(
    house: MakeHouse, shift: Callable[[float], None], wrong: int
) -> None:
    """An ending without a wait is due when it is written."""
    home = house()
    home.accept()
    ((kind, found, number),) = [slip.ids() for slip in home.slips(1)]
    shift(wrong)
    held = runs.claim(home.redis, kind, found, number, "w", 60)
    assert not isinstance(held, str)
    before = now(home)
    assert abs(held.now() - before) < 1_000
    assert runs.finish(home.redis, held, runs.Ending("due", reason="given back", quiet=True))
    assert before <= read.event(home.redis, found).due <= now(home)


@either_way
def test_a_replay_keeps_its_rate(house: MakeHouse, shift: Callable[[float], None], wrong: int) -> None:
    """Begun by one host, given by another and failed on a third: no clock but the ledger's has a say."""
    ill: list[Exception] = [InvalidRequest("no such field")]

    @on("**")
    def handler(event):
        raise ill[0]

    home = house(handler)
    events = [home.accept() for _ in range(4)]
    home.work()
    jobs = [job_of(home, event.id).id for event in events]
    ill[0] = ValueError("not today")
    shift(wrong)
    found = replays.start(home.redis, "retry", replays.Filter(), jobs, rate=2)
    began = now(home)
    given = []
    for clock in (0, wrong, -wrong, 0):
        shift(clock)
        time.sleep(0.3)
        given.append(replays.advance(home.redis, 0.1))
        assert sum(given) <= (now(home) - began) / 500
    assert sum(given) == 2
    shift(wrong)
    home.work()
    dues = sorted(row.due for row in read.jobs(home.redis, jobs) if row.state == "due")
    assert len(dues) == 2
    assert began + 9_000 <= dues[0] <= dues[1] - 500 <= now(home) + 11_000
    assert replays.one(home.redis, found).ok == 2


def test_time_on_hold_is_none_in_which_it_was_tried(house: MakeHouse) -> None:
    """A job with an hour for its tries is held for two, and then fails: it is tried again."""

    @on("**", retry_for="1h")
    def handler(event):
        raise ValueError("not today")

    home = house(handler)
    event = home.accept()
    home.work()
    job = job_of(home, event.id).id
    runs.pause(home.redis, "handler:rooms.handler")
    home.process.forget_pauses()
    home.redis.zadd(keys.due(), {f"j:{job}": 0})
    home.redis.hset(keys.job(job), mapping={"due": 0, "given": 0})
    home.sweeper.once()
    home.work()
    assert job_of(home, event.id).state == "held"
    began = now(home) - 2 * HOUR * 1000
    home.redis.hset(keys.job(job), "made", began)
    for index in (keys.jobs_in_state("held"), keys.jobs_of_handler("rooms.handler", "held")):
        home.redis.zadd(index, {job: began})
    runs.resume(home.redis, "handler:rooms.handler")
    home.process.forget_pauses()
    home.sweeper.once()
    home.work()
    found = job_of(home, event.id)
    assert (found.state, found.tries) == ("due", 2)


def test_what_waited_for_its_turn_has_all_its_time(house: MakeHouse) -> None:
    """A job that could not begin for two hours is not given up at its first failure: its time is counted from its first run."""

    @on("**", retry_for="1h", concurrency=1)
    def handler(event):
        raise ValueError("not today")

    home = house(handler)
    first, second = home.accept(), home.accept()
    job = f"{first.id}:rooms.handler"
    taken = [runs.claim(home.redis, "e", each.id, 1, "w", 5) for each in (first, second)]
    (running,) = route.route(home.process, taken)
    assert running.id == job
    waits = job_of(home, second.id)
    home.redis.hset(keys.job(waits.id), "made", now(home) - 2 * HOUR * 1000)
    assert runs.claim(home.redis, "j", waits.id, 1, "w", 5) == "limit"
    runs.finish(home.redis, running, runs.Ending("done"))
    drain_once(home)
    found = job_of(home, second.id)
    assert (found.state, found.tries) == ("due", 1)


def drain_once(home: House) -> None:
    """Sweep and work once."""
    home.sweeper.once()
    home.work()

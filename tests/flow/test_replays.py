"""Replays: many jobs run again at a rate, in a lane of their own, recorded, and cancelled at any moment."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from receiver import on
from receiver.errors import InvalidRequest
from receiver.ledger import read, runs
from receiver.routing import dead_letters, replays
from receiver.routing.dead_letters import Filter
from tests.flow.kit import drain

if TYPE_CHECKING:
    from redis import Redis

    from tests.flow.conftest import House, MakeHouse


class Behaviour:
    """What the handler does, and what it saw."""

    def __init__(self) -> None:
        self.error: Exception | None = InvalidRequest("the field Amount is wrong")
        self.keys: list[str] = []
        self.numbers: list[int] = []


@pytest.fixture
def does() -> Behaviour:
    """How the handler behaves in this test."""
    return Behaviour()


@pytest.fixture
def home(house: MakeHouse, does: Behaviour) -> House:
    """A house with ten dead letters."""

    @on("crm.**")
    def handler(event):
        does.keys.append(event.idempotency_key)
        does.numbers.append(event.data["n"])
        if does.error:
            raise does.error

    made = house(handler)
    for number in range(10):
        made.accept(data={"n": number})
    made.work()
    does.numbers.clear()
    return made


def dead(home: House) -> list[str]:
    """The dead jobs, newest first, as a command chooses them."""
    return [row.id for row in dead_letters.select(home.redis, Filter())]


def states(home: House) -> dict[str, int]:
    """How many jobs are in each open state or dead."""
    return {
        name: count
        for name, count in read.states(home.redis).items()
        if name in ("due", "running", "dead") and count
    }


def begin(home: House, mode: replays.Mode = "retry", rate: float = 0) -> str:
    """Start a replay of all that is dead."""
    return replays.start(home.redis, mode, Filter(), dead(home), rate=rate, by="a test")


def test_the_sweep_gives_a_replay_to_the_workers_oldest_first_in_a_lane_of_its_own(
    home: House, does: Behaviour
) -> None:
    """Whoever asked may be gone; the keys are those of the first run, and the record tells how it ended."""
    does.error = None
    before = list(does.keys)
    found = begin(home)
    assert home.redis.llen("rq:queue:zohook_replay") == 0
    home.sweeper.once()
    assert home.redis.llen("rq:queue:zohook_replay") == 10
    assert home.redis.llen("rq:queue:zohook") == 0
    home.work()
    assert does.numbers == list(range(10))
    assert does.keys[10:] == before
    record = replays.one(home.redis, found)
    assert record == replays.recorded(home.redis)[0]
    assert (record.state, record.mode, record.by, record.filter) == ("done", "retry", "a test", Filter())
    assert (record.chosen, record.ok, record.open, record.gone, record.left) == (10, 10, 0, 0, 0)
    assert home.redis.keys("zh:rp:*:jobs") == []
    assert home.redis.exists("zh:rp:running") == 0


def test_a_rerun_has_new_keys(home: House, does: Behaviour) -> None:
    """What it does is done anew."""
    does.error = None
    begin(home, "rerun")
    home.sweeper.once()
    drain(home)
    assert len(set(does.keys)) == 20


def test_a_replay_keeps_to_its_rate_and_has_no_debt(
    home: House, does: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At five a second there are five in a second, whatever time passed without a worker before; the least rate still moves."""
    does.error = None
    clock = [time.time_ns() // 1_000_000]
    monkeypatch.setattr(replays, "time_of", lambda _: clock[0])
    found = begin(home, rate=5)
    given = []
    for step in (0, 199, 1, 400, 60_000, 0):
        clock[0] += step
        given.append(replays.advance(home.redis, 30))
    assert given == [0, 0, 1, 2, 7, 0]
    assert replays.one(home.redis, found).state == "done"
    home.work()
    slow = replays.start(home.redis, "retry", Filter(), ["no:body", "no:one"], rate=0.1)
    for step in (9_999, 1, 5_000, 5_000):
        clock[0] += step
        replays.advance(home.redis, 30)
    assert (replays.one(home.redis, slow).gone, replays.one(home.redis, slow).state) == (2, "done")


def test_the_retries_of_a_replay_stay_in_its_lane_and_keep_to_its_rate(home: House, does: Behaviour) -> None:
    """Ten that fail together would come back together: at two a second they come half a second apart."""
    does.error = ValueError("not yet")
    jobs = dead(home)
    found = begin(home, rate=2)
    while replays.one(home.redis, found).state == "running":
        home.redis.hset(f"zh:rp:{found}", "last", 0)
        replays.advance(home.redis, 30)
    home.work()
    rows = read.jobs(home.redis, jobs)
    assert {row.state for row in rows} == {"due"}
    assert {row.lane for row in rows} == {"zohook_replay"}
    dues = sorted(row.due for row in rows)
    assert all(later - sooner >= 500 for sooner, later in pairwise(dues))
    for job in jobs:
        home.redis.hset(f"zh:j:{job}", mapping={"due": 1, "given": 0})
        home.redis.zadd("zh:due", {f"j:{job}": 1})
    home.sweeper.once()
    assert home.redis.llen("rq:queue:zohook_replay") == 10


def test_a_cancelled_replay_gives_nothing_more_and_what_fails_of_it_is_not_tried_again(
    home: House, does: Behaviour
) -> None:
    """What waited stays dead as it was; what was given and fails dies with the reason; what succeeds is done."""
    does.error = ValueError("not yet")
    found = begin(home, rate=1)
    home.redis.hset(f"zh:rp:{found}", "last", 0)
    assert replays.advance(home.redis, 30) == 2
    assert replays.cancel(home.redis, found) == "cancelled"
    home.redis.hset(f"zh:rp:{found}", "last", 0)
    home.sweeper.once()
    home.work()
    assert states(home) == {"dead": 10}
    reasons = sorted(row.reason for row in dead_letters.select(home.redis, Filter()))
    assert reasons[:2] == ["ValueError: not yet; not tried again, for its replay was cancelled"] * 2
    record = replays.one(home.redis, found)
    assert (record.state, record.ok, record.left) == ("cancelled", 2, 0)
    assert replays.cancel(home.redis, found) == "over"
    assert replays.cancel(home.redis, "nobody") == "gone"


def test_a_replay_that_is_cancelled_while_it_gives_stays_cancelled(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever cancels it between the look at it and the giving of a page: nothing is given, and it is not called done."""
    found, given = begin(home), replays._given

    def late(redis: Redis, replay: str, *rest: Any) -> list[str]:
        assert replays.cancel(redis, replay) == "cancelled"
        return given(redis, replay, *rest)

    monkeypatch.setattr(replays, "_given", late)
    assert replays.advance(home.redis, 30) == 0
    record = replays.one(home.redis, found)
    assert (record.state, record.ok, states(home)) == ("cancelled", 0, {"dead": 10})


def test_what_was_run_since_it_was_chosen_is_not_run_again(home: House, does: Behaviour) -> None:
    """A person ran one of them by hand, and another replay chose some of the same: each of ten runs once, though a rerun has new keys."""
    does.error = None
    jobs = dead(home)
    first = replays.start(home.redis, "rerun", Filter(type="crm.**"), jobs, rate=10)
    other = replays.start(home.redis, "rerun", Filter(error="amount"), jobs[:7], rate=10)
    assert replays.at_once(home.redis, "rerun", [jobs[0]], 30, by="a person") == ["ok"]
    home.work()
    while any(replays.one(home.redis, each).state == "running" for each in (first, other)):
        for each in (first, other):
            home.redis.hset(f"zh:rp:{each}", "last", 0)
        replays.advance(home.redis, 30)
        home.work()
    assert sorted(does.numbers) == list(range(10))
    told = [replays.one(home.redis, each) for each in (first, other)]
    assert sum(each.ok for each in told) == 9
    assert [each.ok + each.open + each.gone for each in told] == [10, 7]


def test_a_replay_that_gave_all_can_still_be_cancelled_for_its_retries(home: House, does: Behaviour) -> None:
    """They would come for three days."""
    does.error = ValueError("not yet")
    found = begin(home)
    home.sweeper.once()
    home.work()
    assert states(home) == {"due": 10}
    assert replays.cancel(home.redis, found) == "over"
    for job in home.redis.zrange("zh:js:x:due", 0, -1):
        home.redis.hset(b"zh:j:" + job, mapping={"due": 1, "given": 0})
        home.redis.zadd("zh:due", {b"j:" + job: 1})
    drain(home)
    assert states(home) == {"dead": 10}


def test_open_and_forgotten_jobs_are_left_alone_and_counted(home: House) -> None:
    """Between choosing and giving one was retried by hand, and one was forgotten."""
    jobs = dead(home)
    found = begin(home)
    assert runs.replay(home.redis, "j", jobs[0]) == "ok"
    home.redis.delete(f"zh:j:{jobs[1]}")
    replays.advance(home.redis, 30)
    record = replays.one(home.redis, found)
    assert (record.ok, record.open, record.gone) == (8, 1, 1)
    assert read.totals(home.redis)["replayed"] == 9


def test_who_dies_between_giving_and_noting_gives_again_and_runs_nothing_twice(
    home: House, does: Behaviour, monkeypatch: Any
) -> None:
    """The jobs are open by then, so the second giving changes nothing."""
    does.error = None
    found = begin(home)

    class Died(BaseException):
        """The process is gone."""

    real = runs.replay_many

    def dies(*about: Any) -> list[str]:
        real(*about)
        raise Died

    monkeypatch.setattr(runs, "replay_many", dies)
    with pytest.raises(Died):
        replays.advance(home.redis, 30)
    monkeypatch.setattr(runs, "replay_many", real)
    assert replays.advance(home.redis, 30) == 0
    home.work()
    assert sorted(does.numbers) == list(range(10))
    assert replays.one(home.redis, found).open == 10


def test_live_events_go_before_replays(home: House, does: Behaviour) -> None:
    """What comes in while a replay waits is handled first."""
    does.error = None
    begin(home)
    home.sweeper.once()
    home.accept(data={"n": 99})
    home.work()
    assert does.numbers[0] == 99


def test_a_single_job_is_run_again_at_once_and_recorded(home: House, does: Behaviour) -> None:
    """With who did it and which job; what is open or gone is told and not recorded."""
    does.error = None
    job = dead(home)[0]
    assert replays.at_once(home.redis, "retry", [job], 30, by="ann") == ["ok"]
    record = replays.recorded(home.redis)[0]
    assert (record.state, record.by, record.filter.job, record.chosen, record.ok) == (
        "done",
        "ann",
        job,
        1,
        1,
    )
    assert replays.at_once(home.redis, "retry", [job], 30, by="ann") == ["open"]
    assert replays.at_once(home.redis, "retry", ["no:body"], 30, by="ann") == ["gone"]
    assert len(replays.recorded(home.redis)) == 1
    home.work()
    assert len(does.numbers) == 1


def test_a_replay_of_nothing_is_over(home: House) -> None:
    """Nothing is left running for ever."""
    found = replays.start(home.redis, "retry", Filter(), [])
    assert replays.one(home.redis, found).state == "done"
    assert replays.one(home.redis, "nobody") is None
    assert replays.advance(home.redis, 30) == 0

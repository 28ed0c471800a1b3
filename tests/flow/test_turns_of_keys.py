"""Order, latest, concurrency and rate where a run comes back, comes late, or is a replay: nothing begins that something still holds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from receiver import on
from receiver.event import now_ms
from receiver.ledger import read, runs
from receiver.ledger.runs import Ending
from receiver.routing import route
from tests.flow.kit import drain

if TYPE_CHECKING:
    from receiver.event import Event
    from receiver.ledger.runs import Claim
    from tests.flow.conftest import House, MakeHouse

JOB = "rooms.handler"


def opened(home: House, event: Event) -> Claim | None:
    """Route an event; the claim of its job, if that may begin at once."""
    held = runs.claim(home.redis, "e", event.id, 1, "w", 30)
    assert not isinstance(held, str)
    return next(iter(route.route(home.process, [held])), None)


def claim(home: House, event: Event, run: int = 1) -> Claim | str:
    """Take a run of an event's job."""
    return runs.claim(home.redis, "j", runs.job_id(event.id, JOB), run, "w", 30)


def end(home: House, held: Claim | str | None, state: runs.State = "done", **more: object) -> None:
    """End a run."""
    assert held is not None
    assert not isinstance(held, str), held
    assert runs.finish(home.redis, held, Ending(state, 1, **more))


def waiting(home: House) -> list[str]:
    """The events whose jobs have slips."""
    return [ids[1].partition(":")[0] for slip in home.slips() if (ids := slip.ids()) and ids[0] == "j"]


def test_a_job_that_yielded_comes_back_to_its_key_one_at_a_time(house: MakeHouse) -> None:
    """Its retry waits while another job of the key runs, and is the next then."""

    @on("**", order="record", on_failure="yield")
    def handler(event):
        pass

    home = house(handler)
    first, second, third = (home.accept(record_id="7") for _ in range(3))
    end(home, opened(home, first), "due")
    running = opened(home, second)
    assert opened(home, third) is None
    assert claim(home, first, 2) == "turn"
    home.slips()
    end(home, running)
    assert waiting(home) == [first.id]
    again = claim(home, first, 2)
    assert claim(home, third) == "turn"
    end(home, again)
    end(home, claim(home, third))
    assert home.redis.keys("zh:o*") == []


def test_what_never_began_yields_to_nobody(house: MakeHouse) -> None:
    """A job that a worker gives back as it stops keeps its place in the order."""

    @on("**", order="record", on_failure="yield")
    def handler(event):
        pass

    home = house(handler)
    first, second = (home.accept(record_id="7") for _ in range(2))
    end(home, opened(home, first), "due", quiet=True)
    assert opened(home, second) is None
    assert not isinstance(claim(home, first, 2), str)


def test_a_replay_runs_beside_no_job_of_its_key_and_after_those_that_wait(house: MakeHouse) -> None:
    """A dead job that is retried waits for what runs, and for the live ones of its key."""

    @on("**", order="record")
    def handler(event):
        pass

    home = house(handler)
    first, second, third = (home.accept(record_id="7") for _ in range(3))
    end(home, opened(home, first), "dead")
    running = opened(home, second)
    opened(home, third)
    assert runs.replay(home.redis, "j", runs.job_id(first.id, JOB)) == "ok"
    assert claim(home, first, 2) == "turn"
    home.slips()
    end(home, running)
    assert waiting(home) == [third.id]
    end(home, claim(home, third))
    assert waiting(home) == [first.id]
    end(home, claim(home, first, 2))
    assert home.redis.keys("zh:o*") == []


def test_an_older_event_that_is_routed_late_waits_for_what_runs(house: MakeHouse) -> None:
    """It is first in the order by its sequence, and yet not run beside the job that began before it came."""

    @on("**", order="record")
    def handler(event):
        pass

    home = house(handler)
    older, newer = (home.accept(record_id="7") for _ in range(2))
    home.redis.zrem("zh:unrouted", older.id)  # as one that was emitted for a later time
    running = opened(home, newer)
    assert running is not None
    assert opened(home, older) is None
    home.slips()
    end(home, running)
    assert waiting(home) == [older.id]


def test_a_key_whose_job_is_gone_is_free_again(house: MakeHouse) -> None:
    """Whoever looks after orders finds a key that a job holds which does not run."""

    @on("**", order="record")
    def handler(event):
        pass

    home = house(handler)
    first, second = (home.accept(record_id="7") for _ in range(2))
    running = opened(home, first)
    opened(home, second)
    home.slips()
    home.redis.delete(f"zh:j:{running.id}")
    home.redis.zrem("zh:due", running.member)
    runs.recheck(home.redis)
    runs.recheck(home.redis)
    assert waiting(home) == [second.id]


def test_a_rate_holds_whatever_waited(house: MakeHouse) -> None:
    """All that was said may start in a window and no more, also of what has stood in line while no worker was there."""
    seen: list[float] = []

    @on("**", rate="5/s")
    def handler(event):
        seen.append(time.monotonic())

    home = house(handler)
    for _ in range(20):
        home.accept()
    home.work()
    assert len(seen) == 5  # the whole rate at once
    time.sleep(3)
    drain(home)
    assert len(seen) == 20
    assert all(later - earlier > 0.99 for earlier, later in zip(seen, seen[5:], strict=False))
    assert seen[-1] - seen[5] < 6  # and all of it: five more each second


def test_live_events_do_not_wait_for_replays_under_a_rate(house: MakeHouse) -> None:
    """A live job starts as soon as the rate lets anybody start, though many replays stand in line."""
    seen: list[int] = []

    @on("**", rate="4/s")
    def handler(event):
        seen.append(event.data["n"])

    home = house(handler)
    old = [home.accept(data={"n": 0}) for _ in range(12)]
    drain(home)
    seen.clear()
    time.sleep(1.1)
    for each in old:
        runs.replay(home.redis, "j", runs.job_id(each.id, JOB))
    home.work()
    assert seen == [0] * 4
    home.accept(data={"n": 1})
    drain(home)
    assert 1 in seen[:9]


def test_live_events_do_not_wait_for_replays_under_a_limit(house: MakeHouse) -> None:
    """The place that becomes free is for the live job, though replays have waited for it longer."""

    @on("**", concurrency=1)
    def handler(event):
        pass

    home = house(handler)
    old = [home.accept() for _ in range(3)]
    drain(home)
    for each in old:
        runs.replay(home.redis, "j", runs.job_id(each.id, JOB))
    running = claim(home, old[0], 2)
    assert [claim(home, each, 2) for each in old[1:]] == ["limit", "limit"]
    home.slips()
    live = home.accept()
    assert opened(home, live) is None
    end(home, running)
    assert waiting(home) == [live.id]


def test_a_limit_counts_a_run_until_its_end_is_known(house: MakeHouse) -> None:
    """A lease that ran out while Redis was away ends no run: its place is free when somebody finds out what became of it."""

    @on("**", concurrency=1)
    def handler(event):
        pass

    home = house(handler)
    first, second = home.accept(), home.accept()
    running = opened(home, first)
    key = home.redis.keys("zh:c:*")[0]
    home.redis.zadd(key, {running.id: 1})
    assert opened(home, second) is None
    assert runs.renew(home.redis, 30, [(running.member, running.run, running.worker)]) == [True]
    assert home.redis.zscore(key, running.id) > now_ms()
    end(home, running)
    assert not isinstance(claim(home, second), str)


def test_latest_skips_what_is_on_hold(house: MakeHouse) -> None:
    """Of five events that came while the handler was paused the newest runs."""
    seen: list[int] = []

    @on("**", latest="record")
    def handler(event):
        seen.append(event.data["n"])

    home = house(handler)
    runs.pause(home.redis, f"handler:{JOB}")
    home.process.forget_pauses()
    for number in range(5):
        home.accept(data={"n": number}, record_id="1")
        home.work()
    assert read.states(home.redis)["held"] == 1
    runs.resume(home.redis, f"handler:{JOB}")
    home.process.forget_pauses()
    drain(home)
    assert seen == [4]
    assert home.redis.keys("zh:parked*") == []


def test_latest_does_not_try_again_what_a_newer_event_has_overtaken(house: MakeHouse) -> None:
    """The older job was running when the newer one came, ran and ended; its retry would write what is out of date."""

    @on("**", latest="record")
    def handler(event):
        pass

    home = house(handler)
    older = home.accept(record_id="1")
    running = opened(home, older)
    newer = home.accept(record_id="1")
    end(home, opened(home, newer))
    end(home, running, "due")
    assert claim(home, older, 2) == "skipped"
    (job,) = read.jobs_in(home.redis, "skipped")
    assert (job.event, job.reason) == (older.id, f"superseded by event {newer.id}")
    assert runs.replay(home.redis, "j", job.id) == "ok"  # a person may want it all the same
    assert not isinstance(claim(home, older, job.run + 1), str)


def test_a_paused_source_holds_what_was_routed_before(house: MakeHouse) -> None:
    """A job that waits for its turn when its source is paused waits on hold then, and goes on when that is over."""
    seen: list[str] = []

    @on("**", concurrency=1)
    def handler(event):
        seen.append(event.source)

    home = house(handler)
    first, second = home.accept(source="rules"), home.accept(source="rules")
    running = opened(home, first)
    assert opened(home, second) is None
    runs.pause(home.redis, "source:rules")
    home.process.forget_pauses()
    end(home, running)
    home.work()
    assert (seen, read.states(home.redis)["held"]) == ([], 1)
    runs.resume(home.redis, "source:rules")
    home.process.forget_pauses()
    drain(home)
    assert seen == ["rules"]


def test_what_has_grown_too_old_is_skipped_when_its_turn_comes(house: MakeHouse) -> None:
    """`max_age=` holds for what waited, too; not for what a person runs again."""
    seen: list[str] = []

    @on("**", max_age=60)
    def handler(event):
        seen.append(event.id)

    home = house(handler)
    runs.pause(home.redis, f"handler:{JOB}")
    home.process.forget_pauses()
    event = home.accept(received=now_ms() - 59_000)
    home.work()
    assert read.states(home.redis)["held"] == 1
    time.sleep(1.1)
    runs.resume(home.redis, f"handler:{JOB}")
    home.process.forget_pauses()
    drain(home)
    (job,) = read.jobs_in(home.redis, "skipped")
    assert (seen, job.reason) == ([], "older than max_age")
    runs.replay(home.redis, "j", job.id)
    home.work()
    assert seen == [event.id]

"""`was=`: a handler that was renamed takes up what waits under the names that it had."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from receiver import on
from receiver.errors import InvalidRequest
from receiver.ledger import read, runs
from receiver.routing import dead_letters
from receiver.routing.dead_letters import Filter
from tests.flow.kit import drain

if TYPE_CHECKING:
    from tests.flow.conftest import House, MakeHouse

Seen = list[tuple[str, Any]]


@pytest.fixture
def seen() -> Seen:
    """Which function ran with what key."""
    return []


@pytest.fixture
def old(house: MakeHouse, seen: Seen) -> House:
    """A house from before the handler was renamed: its steps are done, then it fails as its events say."""

    @on("crm.**", order="record")
    def old(event):
        seen.append(("old", event.idempotency_key))
        event.step("mail", lambda: seen.append(("mailed", event.idempotency_key)))
        if event.data == "dies":
            raise InvalidRequest("the field Amount is wrong")
        if event.data == "fails":
            raise ValueError("not yet")

    return house(old)


@pytest.fixture
def new(house: MakeHouse, seen: Seen) -> Any:
    """Makes the house after it was renamed."""

    def make(*, was: Any = "rooms.old") -> House:
        @on("crm.**", order="record", was=was)
        def new(event):
            seen.append(("new", event.idempotency_key))
            event.step("mail", lambda: seen.append(("mailed", event.idempotency_key)))

        return house(new)

    return make


def sooner(home: House, job: str) -> None:
    """Let a job that waits for its retry be due now."""
    home.redis.hset(f"zh:j:{job}", mapping={"due": 1, "given": 0})
    home.redis.zadd("zh:due", {f"j:{job}": 1})


def test_what_was_begun_under_the_old_name_goes_on_with_its_keys_and_steps(
    old: House, new: Any, seen: Seen
) -> None:
    """The retry runs the new function with the old idempotency key, and does no step a second time."""
    event = old.accept(data="fails", record_id="1")
    old.work()
    home = new()
    sooner(home, f"{event.id}:rooms.old")
    drain(home)
    key = seen[0][1]
    assert seen == [("old", key), ("mailed", key), ("new", key)]
    assert [(job.handler, job.state) for job in read.event(home.redis, event.id).jobs] == [
        ("rooms.old", "done")
    ]


def test_an_order_goes_on_over_the_rename(old: House, new: Any, seen: Seen) -> None:
    """What comes after the rename waits for what failed before it, for both are of one handler."""
    first = old.accept(data="fails", record_id="1")
    old.work()
    home = new()
    second = home.accept(data="", record_id="1")
    home.work()
    assert [name for name, _ in seen] == ["old", "mailed"]
    sooner(home, f"{first.id}:rooms.old")
    drain(home)
    assert [name for name, _ in seen] == ["old", "mailed", "new", "new", "mailed"]
    assert seen[3][1] == second.job_key("rooms.new")


def test_parked_jobs_without_a_handler_are_taken_up(
    old: House, new: Any, house: MakeHouse, seen: Seen
) -> None:
    """They waited while no worker had the old name; the next recheck after the new one was started releases them."""
    event = old.accept(data="fails", record_id="1")
    old.work()

    @on("app.other")
    def stranger(event):
        """Wants nothing of this."""

    between = house(stranger)
    between.redis.delete(*between.redis.keys("zh:cat:*"))
    between.process.catalogue.publish(born=True)
    sooner(between, f"{event.id}:rooms.old")
    drain(between)
    assert read.parked_work(between.redis) == {"no_handler:rooms.old": 1}
    home = new()
    assert home.sweeper.recheck() == 1
    drain(home)
    assert seen[-1][0] == "new"
    assert read.parked_work(home.redis) == {}


def test_dead_letters_of_the_old_name_are_found_under_the_new_one_and_run_by_it(
    old: House, new: Any, seen: Seen
) -> None:
    """A filter by the new id finds them; the retry keeps their key."""
    old.accept(data="dies", record_id="1")
    old.work()
    home = new()
    [row] = dead_letters.select(home.redis, Filter(handler="rooms.new"))
    assert row.handler == "rooms.old"
    assert list(dead_letters.select(home.redis, Filter(handler="rooms.old"))) == [row]
    assert runs.replay(home.redis, "j", row.id) == "ok"
    drain(home)
    assert seen[-1] == ("new", seen[0][1])


def test_an_event_that_is_routed_again_opens_no_second_job_for_the_renamed_handler(
    old: House, new: Any, seen: Seen
) -> None:
    """It has its job already, under the old name."""
    event = old.accept(data="", record_id="1")
    old.work()
    home = new()
    assert runs.replay(home.redis, "e", event.id) == "ok"
    drain(home)
    assert [name for name, _ in seen] == ["old", "mailed"]
    assert [job.handler for job in read.event(home.redis, event.id).jobs] == ["rooms.old"]


def test_a_pause_of_the_old_name_still_holds(old: House, new: Any, seen: Seen) -> None:
    """Whoever paused the handler did not mean its name."""
    runs.pause(old.redis, "handler:rooms.old")
    home = new(was=("rooms.older", "rooms.old"))
    home.accept(data="", record_id="1")
    drain(home)
    assert seen == []
    assert read.parked_work(home.redis) == {"paused:handler:rooms.old": 1}
    assert runs.resume(home.redis, "handler:rooms.old") == 1
    home.process.forget_pauses()
    drain(home)
    assert len(seen) == 2


def test_a_worker_from_before_the_rename_leaves_new_jobs_to_the_new_one(
    old: House, new: Any, seen: Seen
) -> None:
    """While both run, a job of the new name goes back to the queue until the new worker takes it."""
    home = new()
    event = home.accept(data="", record_id="1")
    claim = runs.claim(home.redis, *home.slips()[0].ids(), "w", 5)
    opening = runs.Opening("rooms.new")
    runs.route(home.redis, claim, [opening], lease=5, again=0.05, claim_first=False)
    old.work()
    assert seen == []
    drain(home)
    assert seen[0] == ("new", event.job_key("rooms.new"))

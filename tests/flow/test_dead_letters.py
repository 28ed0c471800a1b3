"""Dead letters: found by a filter, run again in a lane of their own, recorded and cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from receiver import on
from receiver.errors import InvalidRequest
from receiver.ledger import read
from receiver.routing import dead_letters
from receiver.routing.dead_letters import Filter, Replay

if TYPE_CHECKING:
    from tests.flow.conftest import House, MakeHouse


@pytest.fixture
def home(house: MakeHouse) -> House:
    """A house with dead letters of two handlers, and a switch that lets them succeed."""
    fixed: list[bool] = []
    keys: list[str] = []

    @on("crm.Deals.*")
    def deals(event):
        keys.append(event.idempotency_key)
        if not fixed:
            raise InvalidRequest("the field Amount is wrong", code="INVALID_DATA")

    @on("crm.Leads.*")
    def leads(event):
        if not fixed:
            raise InvalidRequest("no such owner", code="NO_OWNER")

    made = house(deals, leads)
    made.fixed, made.keys = fixed, keys
    for number in range(6):
        made.accept("crm.Deals.updated", record_id=str(number))
    made.accept("crm.Leads.created", record_id="99")
    made.work()
    return made


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (Filter(), 7),
        (Filter(handler="rooms.deals"), 6),
        (Filter(type="crm.leads.*"), 1),
        (Filter(type="Deals.edit"), 6),
        (Filter(source="crm"), 7),
        (Filter(source="books"), 0),
        (Filter(record="3"), 1),
        (Filter(record="crm.Deals:3"), 1),
        (Filter(error="no_owner"), 1),
        (Filter(error="amount"), 6),
        (Filter(until=1), 0),
        (Filter(since=2**53), 0),
        (Filter(state="skipped"), 0),
    ],
)
def test_a_filter_finds_what_it_says(home, wanted, count) -> None:
    """By handler, type, source, record, error and time."""
    assert len(list(dead_letters.select(home.redis, wanted))) == count


def test_a_retry_of_many_keeps_the_keys_and_is_recorded(home) -> None:
    """All that fit run again through the replay lane, with the keys that they had."""
    home.fixed.append(True)
    before = list(home.keys)
    counts = Replay(home.redis, "retry", Filter(handler="rooms.deals"), rate=0, by="a test").run()
    assert counts == {"ok": 6, "open": 0, "gone": 0}
    assert home.redis.llen("rq:queue:zohook_replay") == 6
    home.work()
    assert sorted(home.keys[6:]) == sorted(before)
    assert len(read.jobs_in(home.redis, "dead")) == 1
    record = dead_letters.replays(home.redis)[0]
    assert (record["state"], record["chosen"], record["ok"], record["by"]) == ("done", 6, 6, "a test")


def test_a_rerun_has_new_keys(home) -> None:
    """What it does is done anew."""
    home.fixed.append(True)
    before = set(home.keys)
    Replay(home.redis, "rerun", Filter(handler="rooms.deals"), rate=0).run()
    home.work()
    assert not before & set(home.keys[6:])


def test_a_replay_is_cancelled(home) -> None:
    """Whoever cancels it stops what it has not given out yet."""
    replay = Replay(home.redis, "retry", Filter(), rate=0)
    home.redis.set(f"zh:rp:{replay.id}:cancelled", "1")
    assert replay.run()["ok"] == 0
    assert dead_letters.replays(home.redis)[0]["state"] == "cancelled"
    assert dead_letters.cancel(home.redis, replay.id) is True
    assert dead_letters.cancel(home.redis, "nobody") is False


def test_the_writes_that_a_rerun_repeats_are_listed(home) -> None:
    """Only writes that Zoho took, each once."""
    row = read.JobRow(
        "e:h", "e", "h", "dead",
        attempts=(
            {"calls": [{"write": True, "status": 201, "method": "POST", "path": "/crm/v8/Leads"}, {"write": False, "status": 200}]},
            {"calls": [{"write": True, "status": 201, "method": "POST", "path": "/crm/v8/Leads"}, {"write": True, "status": 500}]},
        ),
    )  # fmt: skip
    assert dead_letters.writes(home.redis, row) == ["POST /crm/v8/Leads"]


def test_open_jobs_are_not_for_replays(home) -> None:
    """A filter over open states is refused with the reason."""
    with pytest.raises(ValueError, match="dead or skipped"):
        list(dead_letters.select(home.redis, Filter(state="due")))

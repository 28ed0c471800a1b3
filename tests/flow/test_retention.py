"""Retention forgets finished work whole, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver import on
from receiver.errors import InvalidRequest
from receiver.ledger import read
from receiver.settings import RetentionSettings
from receiver.upkeep import retention

if TYPE_CHECKING:
    from tests.flow.conftest import MakeHouse

NOW = RetentionSettings(days=-0.001, size=10**12)
"""Everything is over age."""


def test_finished_events_go_with_all_that_belongs_to_them(house: MakeHouse) -> None:
    """No key of a forgotten event is left, whatever it was: done, skipped, unmatched."""

    @on("crm.Deals.*")
    def handler(event):
        pass

    home = house(handler)
    before = set(home.redis.keys("*"))
    for number in range(250):
        home.accept(
            "crm.Deals.updated" if number % 2 else "crm.Leads.created", {"x": number}, record_id=str(number)
        )
    home.work()
    assert retention.trim(home.redis, RetentionSettings(days=1, size=10**12)) == 0
    assert retention.trim(home.redis, NOW) == 250
    left = {key.decode() for key in set(home.redis.keys("*")) - before}
    kept = {"zh:n", "zh:seq", "zh:types", "zh:ms", "zh:recent", "zh:wake", "rq:queues"}
    assert {key for key in left if not key.startswith(("zh:n:", "zh:m:"))} <= kept, left
    assert read.page(home.redis).rows == ()


def test_what_is_open_or_dead_stays(house: MakeHouse) -> None:
    """A dead letter never expires while it is undelivered, nor does anything that still waits."""

    @on("crm.Deals.deleted")
    def deadly(event):
        raise InvalidRequest("no")

    @on("crm.Deals.updated")
    def later(event):
        raise ValueError("later")

    home = house(deadly, later)
    kept = {home.accept("crm.Deals.deleted").id, home.accept("crm.Deals.updated").id}
    gone = home.accept("crm.Leads.created").id
    home.work()
    waiting = home.accept("crm.Leads.created").id
    assert retention.trim(home.redis, NOW) == 1
    left = {row.event.id for row in read.page(home.redis).rows}
    assert left == {*kept, waiting}
    assert gone not in left
    assert len(read.jobs_in(home.redis, "dead")) == 1


def test_retention_by_size_ends_where_nothing_finished_is_left(house: MakeHouse, monkeypatch) -> None:
    """Over its size the oldest finished events go first, and what cannot go does not make it run for ever."""
    monkeypatch.setattr(retention, "YOUNGEST", -1000)

    @on("crm.Deals.deleted")
    def deadly(event):
        raise InvalidRequest("no")

    home = house(deadly)
    dead = home.accept("crm.Deals.deleted").id
    for _ in range(20):
        home.accept("crm.Leads.created")
    home.work()
    assert retention.trim(home.redis, RetentionSettings(days=1, size=1000)) == 20
    assert [row.event.id for row in read.page(home.redis).rows] == [dead]

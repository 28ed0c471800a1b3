"""Events of one's own, and steps that happen once."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from receiver import on
from receiver.event import Event, new_id, now_ms
from receiver.ledger import read, runs

if TYPE_CHECKING:
    from tests.flow.conftest import House, MakeHouse


def again(home: House, job: str) -> None:
    """Let a job that waits for its retry run now."""
    home.redis.hset(f"zh:j:{job}", mapping={"due": now_ms(), "given": 0})
    home.redis.zadd("zh:due", {f"j:{job}": now_ms()})
    time.sleep(0.01)
    home.sweeper.once()
    home.work()


def test_an_emitted_event_is_routed_knows_its_cause_and_is_made_once_over_retries(house: MakeHouse) -> None:
    """The handler fails after it emitted; its retry emits nothing new."""
    seen = []

    @on("crm.**")
    def first(event):
        event.emit("app.invoice.remind", {"n": 1}, record_id="9")
        if event.tries == 0:
            raise ValueError("after the emit")

    @on("app.invoice.*")
    def second(event):
        seen.append((event.cause, event.origin, event.data, event.record_id))

    home = house(first, second)
    event = home.accept()
    home.work()
    again(home, f"{event.id}:rooms.first")
    assert seen == [(f"{event.id}:rooms.first", "handler", {"n": 1}, "9")]
    assert read.event(home.redis, event.id).jobs[0].state == "done"


def test_an_event_for_later_comes_at_its_time_and_can_be_replaced_or_cancelled(house: MakeHouse) -> None:
    """Under a key one waits: the first stays, a replacement takes its place, a cancelled one never comes."""
    seen = []
    script = []

    @on("crm.**")
    def plan(event):
        soon = datetime.now(UTC) + timedelta(seconds=0.3)
        script.append(
            getattr(event, event.data["do"])(
                *event.data["args"],
                **({"at": soon} | event.data["named"] if event.data["do"] == "emit" else {}),
            )
        )

    @on("app.**")
    def come(event):
        seen.append(event.data)

    home = house(plan, come)
    for args, named in (
        (["app.remind", "one"], {"key": "k"}),
        (["app.remind", "two"], {"key": "k"}),
        (["app.remind", "three"], {"key": "k", "replace": True}),
        (["app.remind", "other"], {"key": "o"}),
    ):
        home.accept(data={"do": "emit", "args": args, "named": named})
    home.accept(data={"do": "cancel", "args": ["o"], "named": {}})
    home.accept(data={"do": "cancel", "args": ["o"], "named": {}})
    home.work()
    assert seen == []
    assert script[0] == script[1] != script[2]
    assert script[4:] == [True, False]
    time.sleep(0.35)
    home.sweeper.once()
    home.work()
    assert seen == ["three"]


def test_a_loop_of_events_ends(house: MakeHouse) -> None:
    """A handler that emits what it listens to is stopped at the fifth link, where a person sees it."""
    seen = []

    @on("**")
    def loop(event):
        seen.append(event.depth)
        event.emit("app.again")

    home = house(loop)
    home.accept()
    home.work()
    assert seen == [0, 1, 2, 3, 4, 5]
    assert read.page(home.redis, by="state", value="dead").rows[0].event.depth == 6


def test_a_step_happens_once_and_its_result_is_remembered(house: MakeHouse) -> None:
    """A retry gets what the step returned then; a rerun does it anew."""
    sent, got = [], []

    @on("**")
    def handler(event):
        got.append(event.step("mail", lambda to: sent.append(to) or {"id": len(sent)}, "a@b.c"))
        if event.tries == 0 and len(got) == 1:
            raise ValueError("after the mail")

    home = house(handler)
    event = home.accept()
    home.work()
    job = f"{event.id}:rooms.handler"
    again(home, job)
    assert sent == ["a@b.c"]
    assert got == [{"id": 1}, {"id": 1}]
    runs.replay(home.redis, "j", job, "rerun")
    home.work()
    assert len(sent) == 2


def test_a_step_that_raised_did_not_happen_and_one_that_was_cut_off_is_unknown(house: MakeHouse) -> None:
    """The first is repeated; the second repeats or stops, as the handler says."""
    calls = []

    @on("crm.A.x")
    def raises(event):
        event.step("call", lambda: calls.append("raised") or 1 / (len(calls) - 1), if_unknown="stop")

    @on("crm.B.x")
    def cut(event):
        event.step("call", lambda: calls.append("cut"), if_unknown=event.data)

    home = house(raises, cut)
    event = home.accept("crm.A.x")
    home.work()
    again(home, f"{event.id}:rooms.raises")
    assert calls == ["raised", "raised"]
    for how in ("repeat", "stop"):
        event = home.accept("crm.B.x", how)
        home.redis.hset(f"zh:s:{event.id}:rooms.cut", "0:call", '{"state": "begun", "run": 1}')
        home.work()
    assert calls == ["raised", "raised", "cut"]
    assert "nobody knows" in read.jobs_in(home.redis, "dead")[0].reason


def test_outside_a_run_an_event_says_why_it_cannot() -> None:
    """An event made by hand has nobody to emit through."""
    event = Event(id=new_id(), type="crm.Deals.updated", source="crm", data={}, received=now_ms())
    with pytest.raises(RuntimeError, match="only while a handler runs"):
        event.emit("app.x")


def test_only_app_events_can_be_emitted(house: MakeHouse) -> None:
    """Nobody pretends that Zoho said something."""

    @on("crm.**", retries=0)
    def handler(event):
        event.emit("books.invoice.paid")

    home = house(handler)
    home.accept()
    home.work()
    assert "app.something" in read.jobs_in(home.redis, "dead")[0].reason

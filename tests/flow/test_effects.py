"""Events of one's own, and steps that happen once."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING

import httpx
import orjson
import pytest

from receiver import on
from receiver.errors import Fenced, InvalidRequest, Unavailable
from receiver.event import Event, new_id, now_ms
from receiver.ledger import read, runs
from receiver.routing import run
from receiver.routing.effects import RunEffects
from receiver.routing.leases import Held
from tests.flow.kit import drain

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


class Answered(Exception):
    """What libraries raise that show the answer: httpx.HTTPStatusError, requests.HTTPError."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.response = SimpleNamespace(status_code=status)


@pytest.mark.parametrize(
    ("error", "repeated"),
    [
        (Unavailable("no answer came"), False),
        (Unavailable("in trouble", status=502), False),
        (Unavailable("no connection", code="connect"), True),
        (Unavailable("no token in time", code="no_token"), True),
        (httpx.ReadTimeout("too slow"), False),
        (httpx.RemoteProtocolError("cut"), False),
        (TimeoutError("too slow"), False),
        (ConnectionResetError("cut"), False),
        (Answered(503), False),
        (Answered(400), True),
        (ConnectionRefusedError("nobody there"), True),
        (httpx.ConnectError("nobody there"), True),
        (httpx.ConnectTimeout("nobody there"), True),
        (InvalidRequest("no such field", status=400), True),
        (KeyError("id"), True),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_step_whose_answer_was_lost_is_unknown(house: MakeHouse, error: Exception, repeated: bool) -> None:
    """What may have arrived is not done a second time where the handler says so; what certainly did not arrive is."""
    calls = []

    def act() -> None:
        calls.append(1)
        raise error

    @on("**")
    def handler(event):
        event.step("call", act, if_unknown="stop")

    home = house(handler)
    job = f"{home.accept().id}:rooms.handler"
    home.work()
    if read.jobs_in(home.redis, "dead"):  # what Zoho refused dies at once
        runs.replay(home.redis, "j", job)
        home.work()
    else:
        again(home, job)
    assert (len(calls) == 2) is repeated
    assert any("nobody knows" in each.reason for each in read.jobs_in(home.redis, "dead")) is not repeated


def test_a_step_that_returned_no_json_was_done(house: MakeHouse) -> None:
    """The job dies, for its code must change; what was done is not done again when a person retries it."""
    calls = []

    @on("**")
    def handler(event):
        event.step("call", lambda: calls.append(1) or object())

    home = house(handler)
    job = f"{home.accept().id}:rooms.handler"
    home.work()
    (dead,) = read.jobs_in(home.redis, "dead")
    assert "returned a object, which cannot be remembered" in dead.reason
    runs.replay(home.redis, "j", job)
    home.work()
    assert len(calls) == 1
    assert read.totals(home.redis)["done"] == 1


def test_an_event_for_later_is_as_old_as_its_time(house: MakeHouse) -> None:
    """`max_age=` counts from when it was to come, and not from when somebody thought of it."""
    seen = []

    @on("crm.**")
    def first(event):
        event.emit("app.remind", at=datetime.now(UTC) + timedelta(seconds=0.5))

    @on("app.remind", max_age=0.4)
    def remind(event):
        seen.append(event.occurred - event.received)

    home = house(first, remind)
    home.accept()
    drain(home)
    time.sleep(0.5)
    drain(home)
    assert len(seen) == 1
    assert 400 < seen[0] <= 500


def test_a_retry_emits_nothing_twice_however_late(house: MakeHouse) -> None:
    """After the mark of the event has gone the event itself is known by its id."""
    seen = []

    @on("crm.**", retries=0)
    def first(event):
        event.emit("app.invoice", {"n": 1})
        if not seen:
            raise ValueError("after the emit")

    @on("app.invoice")
    def invoice(event):
        seen.append(event.id)

    home = house(first, invoice)
    event = home.accept()
    home.work()
    [mark] = [key for key in home.redis.scan_iter("zh:m*") if home.redis.type(key) == b"string"]
    home.redis.delete(mark)
    assert runs.replay(home.redis, "j", f"{event.id}:rooms.first") == "ok"
    drain(home)
    assert len(seen) == 1
    assert runs.replay(home.redis, "j", f"{event.id}:rooms.first", "rerun") == "ok"
    drain(home)
    assert len(set(seen)) == 2, "a rerun begins anew"


def test_a_run_that_was_cut_off_forgets_no_step_of_the_next_one(house: MakeHouse) -> None:
    """It was frozen within its step; the next run did it, and that is what is remembered when the first one finds itself fenced."""
    done = []

    @on("**")
    def handler(event):
        def pay():
            if done:
                return done.append("again")
            done.append("first")
            job = f"{event.id}:rooms.handler"
            home.redis.zadd("zh:due", {f"j:{job}": 1})
            home.sweeper.once()
            held = runs.claim(
                home.redis, "j", job, int(home.redis.hget(f"zh:j:{job}", "run")) + 1, "w", 30, alone=True
            )
            RunEffects(home.process, Held(held, time.monotonic() + 60)).step("pay", lambda: "paid", "again")
            raise Fenced("another run has it")

        event.step("pay", pay)

    home = house(handler)
    event = home.accept()
    home.work()
    [told] = home.redis.hvals(f"zh:s:{event.id}:rooms.handler")
    assert (orjson.loads(told)["state"], orjson.loads(told)["result"]) == ("done", "paid")


def test_what_waits_on_hold_can_be_cancelled_and_replaced(house: MakeHouse) -> None:
    """An event of one's own that a pause holds before it was routed still waits under its key."""
    seen = []

    @on("app.late")
    def late(event):
        seen.append(event.data)

    @on("crm.A.x")
    def first(event):
        event.emit("app.late", event.data, key="k", replace=True)

    @on("crm.B.x")
    def second(event):
        seen.append(event.cancel("k"))

    home = house(late, first, second)
    home.accept("crm.A.x", 1, source="other")
    held = home.slips(1)
    run.work(home.process, *held[0].ids())
    runs.pause(home.redis, "source:other")
    home.process.forget_pauses()
    home.work()
    assert list(read.parked_work(home.redis)) == ["paused:source:other"]
    home.accept("crm.B.x")
    home.work()
    assert seen == [True]
    runs.resume(home.redis, "source:other")
    home.process.forget_pauses()
    drain(home)
    assert seen == [True]
    assert home.redis.keys("zh:parked*") == []


def test_what_a_worker_looks_at_just_now_can_be_cancelled_once_it_is_put_off(house: MakeHouse) -> None:
    """It cannot while it may be routed any moment; asked again on hold, it can."""

    @on("app.late")
    def late(event):
        raise AssertionError("it was cancelled")

    @on("crm.**")
    def first(event):
        event.emit("app.late", key="k")

    home = house(late, first)
    home.accept()
    [slip] = home.slips(1)
    run.work(home.process, *slip.ids())
    [slip] = home.slips(1)
    held = runs.claim(home.redis, *slip.ids(), "w", 60)
    assert not runs.cancel(home.redis, "k")
    runs.pause(home.redis, "source:crm")
    runs.finish(home.redis, held, runs.Ending(state="held", reason="paused", parked="paused:source:crm"))
    assert list(read.parked_work(home.redis)) == ["paused:source:crm"]
    assert runs.cancel(home.redis, "k")
    assert read.event(home.redis, held.id).state == "cancelled"
    assert not runs.cancel(home.redis, "k")


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

"""The engine against a model: random deliveries, duplicates, failures, deaths, workers that stall and come back too late, lost slips,
pauses and replays; at the end they agree.

    python -m pytest tests/flow/test_model.py --long -n 0

looks at thousands of them.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from receiver import RetryLater, Skip, on
from receiver.errors import InvalidRequest
from receiver.ledger import read, rows, runs

if TYPE_CHECKING:
    from tests.flow.conftest import House, MakeHouse

STEPS = st.lists(st.sampled_from(["raise", "later", "skip", "never"]), max_size=3)
COMES_TO = {"ok": "done", "skip": "skipped", "never": "dead", "raise": "due", "later": "due"}
"""What a job comes to by the word of its run."""
COSTS_A_TRY = ("raise", "never")
STATES: tuple[runs.State, ...] = ("done", "skipped", "dead", "due", "held")
EXAMPLES, LONG = 30, 1_000


@dataclass
class Stalled:
    """A claim whose worker stands still. `taken`: the sweep came by when its lease was over; `leads`: a slip led to it."""

    claim: runs.Claim
    leads: bool
    taken: bool = False


class Engine(RuleBasedStateMachine):
    """One house; the model is what was accepted, what its handler will do, try by try, and what it said so far."""

    make: MakeHouse
    events = Bundle("events")

    @initialize()
    def build(self) -> None:
        """A house with three handlers: one that follows its script, one in order per record, one that takes batches one by one."""
        self.script: dict[str, list[str]] = {}
        self.said: dict[str, list[str]] = {}
        self.since_replay: dict[str, list[str]] = {}
        self.word: tuple[str, str] | None = None
        self.replays = 0
        self.stalled: list[Stalled] = []
        self.ordered: dict[str, list[int]] = {}
        self.gathered: dict[str, int] = {}
        self.facts: dict[str, str] = {}
        machine = self

        @on("crm.A.x", retries=5)
        def follows(event: Any) -> None:
            todo = machine.script[event.id]
            word = todo.pop(0) if todo else "ok"
            machine.word = (event.id, word)
            if word == "raise":
                raise ValueError(word)
            if word == "later":
                raise RetryLater(0.001, reason=word)
            if word == "skip":
                raise Skip(word)
            if word == "never":
                raise InvalidRequest(word)

        @on("crm.A.x", order="record")
        def orders(event: Any) -> None:
            machine.ordered.setdefault(event.record_id, []).append(event.seq)

        @on("crm.A.x", batch=3, batch_for=0.01, concurrency=1)
        def gathers(events: Any) -> None:
            assert len(events) <= 3
            assert [event.seq for event in events] == sorted(event.seq for event in events)
            for event in events:
                machine.gathered[event.id] = machine.gathered.get(event.id, 0) + 1
                if event.tries == 0 and event.seq % 3 == 0:
                    event.fail(ValueError("at first"))

        sys.modules.pop("rooms", None)
        self.home: House = self.make(follows, orders, gathers, lease=0.05, again=0.02, deaths=99)
        self.home.redis.flushall()
        self.home.process.catalogue.publish(born=True)

    @rule(target=events, todo=STEPS, record=st.sampled_from(["1", "2"]), fact=st.integers(0, 30))
    def accept(self, todo: list[str], record: str, fact: int) -> str:
        """A delivery; the same fact again is a duplicate of the first."""
        event, answer = self.home.deliver("crm.A.x", {}, record_id=record, identity=f"fact {fact}")
        known = self.facts.get(f"fact {fact}")
        if known:
            assert answer.new == ()
            assert answer.duplicates[0][1] == known
            return known
        assert answer.new == (event.id,)
        self.facts[f"fact {fact}"] = event.id
        self.script[event.id] = list(todo)
        self.said[event.id], self.since_replay[event.id] = [], []
        return event.id

    @rule(count=st.integers(1, 4))
    def work(self, count: int) -> None:
        """A worker does some slips."""
        for slip in self.home.slips(count):
            run = slip.ids()
            claim = runs.claim(self.home.redis, *run, self.home.process.name, 5, alone=True)
            if isinstance(claim, str):
                continue
            self.go_on(claim)

    def go_on(self, claim: runs.Claim) -> None:
        """What a worker does with a claim; the model hears what the handler said."""
        from receiver.routing import route
        from receiver.routing import run as running

        jobs = route.route(self.home.process, [claim]) if claim.kind == "e" else [claim]
        for job in jobs:
            self.word = None
            state = running.run_job(self.home.process, job)
            if self.word is not None:
                event, word = self.word
                assert state == COMES_TO[word]
                self.said[event].append(word)
                self.since_replay[event].append(word)

    @rule(count=st.integers(1, 3))
    def die(self, count: int) -> None:
        """A worker takes slips and runs, and what comes along with a batch, and is gone."""
        for slip in self.home.slips(count):
            claim = runs.claim(self.home.redis, *slip.ids(), "dead", 0.005, alone=True)
            if not isinstance(claim, str) and claim.id.endswith("rooms.gathers"):
                runs.gather(self.home.redis, claim, 0.005, 2)

    @rule(count=st.integers(1, 3))
    def stall(self, count: int) -> None:
        """A worker takes slips and runs, and what comes along with a batch, and stands still before it does anything."""
        for slip in self.home.slips(count):
            claim = runs.claim(self.home.redis, *slip.ids(), "stalled", 0.005, alone=True)
            if isinstance(claim, str):
                continue
            self.stalled.append(Stalled(claim, leads=True))
            if claim.id.endswith("rooms.gathers"):
                company = runs.gather(self.home.redis, claim, 0.005, 2)
                self.stalled += [Stalled(each, leads=False) for each in company]

    @rule(which=st.integers(0, 9), state=st.sampled_from(STATES))
    def come_back(self, which: int, state: runs.State) -> None:
        """A worker that stood still goes on: a run that nobody took away is still its own, whatever its lease; any other is refused."""
        if not self.stalled:
            return
        late = self.stalled.pop(which % len(self.stalled))
        if late.taken:
            self.refused(late.claim, state)
        elif late.leads:
            self.go_on(late.claim)

    def refused(self, claim: runs.Claim, state: runs.State) -> None:
        """Whatever is done in the name of a run that was taken away, nothing comes of it."""
        redis = self.home.redis
        before = self.ledger()
        assert runs.renew(redis, 5, [(claim.member, claim.run, claim.worker)]) == [False]
        ending = runs.Ending(state, 9, 0, "late", '{"outcome": "late"}', 1, "late" if state == "held" else "")
        assert runs.finish(redis, claim, ending) is False
        if claim.kind == "e":
            opening = runs.Opening("rooms.late")
            assert runs.route(redis, claim, [opening], lease=5, again=5, claim_first=True) is None
        else:
            assert runs.gather(redis, claim, 5, 2) == []
        assert self.ledger() == before

    def ledger(self) -> dict[bytes, bytes]:
        """Everything that is kept."""
        redis = self.home.redis
        found = sorted(redis.keys("zh:*"))
        pipe = redis.pipeline(transaction=False)
        for key in found:
            pipe.dump(key)
        return dict(zip(found, pipe.execute(), strict=True))

    @rule()
    def lose_slips(self) -> None:
        """Every RQ key is gone."""
        for key in self.home.redis.keys("rq:*"):
            self.home.redis.delete(key)

    @rule()
    def sweep(self) -> None:
        """Time passes, and the sweep comes by."""
        time.sleep(0.01)
        self.home.sweeper.once()
        for late in self.stalled:
            late.taken = True

    @rule()
    def wait_for_retries(self) -> None:
        """What failed waits ten seconds and more by policy; here its time has come."""
        for job in read.jobs_in(self.home.redis, "due", count=500):
            self.home.redis.hset(f"zh:j:{job.id}", mapping={"due": 0, "given": 0})
            if self.home.redis.zscore("zh:due", f"j:{job.id}") is not None:
                self.home.redis.zadd("zh:due", {f"j:{job.id}": 0})
        self.sweep()

    @rule(what=st.sampled_from(["handler:rooms.follows", "source:crm"]))
    def pause(self, what: str) -> None:
        """An operator pauses something."""
        runs.pause(self.home.redis, what)
        self.home.process.forget_pauses()

    @rule()
    def resume(self) -> None:
        """An operator ends all pauses."""
        for what in ("handler:rooms.follows", "source:crm"):
            runs.resume(self.home.redis, what)
        self.home.process.forget_pauses()

    @rule(event=events)
    def replay(self, event: str) -> None:
        """An operator retries a job, whatever it is; an open one is left alone."""
        job = f"{event}:rooms.follows"
        before = {row.id: row.state for row in read.jobs(self.home.redis, [job])}.get(job)
        words = self.since_replay[event]
        over = COMES_TO[words[-1]] if words else "due"
        assert before == over if over != "due" else before in (None, *rows.OPEN)
        word = runs.replay(self.home.redis, "j", job)
        assert word == ("gone" if before is None else "open" if before in rows.OPEN else "ok")
        if word == "ok":
            self.replays += 1
            words.clear()

    @invariant()
    def counts_agree(self) -> None:
        """What is counted as accepted is what the model accepted, whatever happened to it since."""
        if hasattr(self, "home"):
            assert read.totals(self.home.redis)["accepted"] == len(self.script)
            assert read.states(self.home.redis)["events"] == len(self.script)

    def teardown(self) -> None:
        """Everything is let run to its end; then each event was run at least once by each handler that wants it. So it is once more
        when all of them are replayed, and what stood still until now says its word.
        """
        if not hasattr(self, "home"):
            return
        try:
            self.let_all_end()
        finally:
            self.home.process.close()  # a thousand keepers of leases are more than a machine has time for

    def let_all_end(self) -> None:
        """Until nothing is left to do; then all of it once more."""
        self.resume()
        self.stall(len(STATES))
        self.sweep()
        for state in STATES:
            self.come_back(-1, state)
        self.settle()
        for event in self.script:
            self.replay(event)
        self.settle()
        for late in self.stalled:
            assert late.taken
            self.refused(late.claim, "done")

    def settle(self) -> None:
        """Time passes until nothing is left to do."""
        limit = time.monotonic() + 20
        while self.open():
            assert time.monotonic() < limit, (
                self.open(),
                read.states(self.home.redis),
                read.parked_work(self.home.redis),
            )
            self.wait_for_retries()
            self.home.sweeper.recheck()
            self.work(100)
        self.judge()

    def open(self) -> int:
        """How much is left to do."""
        found = read.states(self.home.redis)
        return int(found["open"] + found["due"] + found["running"] + found["held"])

    def judge(self) -> None:
        """The model and the ledger agree."""
        redis = self.home.redis
        for event in self.script:
            row = read.event(redis, event)
            assert row is not None
            assert row.state == "routed"
            assert row.open == 0
            jobs = {job.handler: job for job in row.jobs}
            assert set(jobs) == {"rooms.follows", "rooms.orders", "rooms.gathers"}
            assert jobs["rooms.orders"].state == jobs["rooms.gathers"].state == "done"
            assert jobs["rooms.gathers"].tries == (row.event.seq % 3 == 0)
            assert self.gathered[event] >= 1 + jobs["rooms.gathers"].tries
            words, follows = self.since_replay[event], jobs["rooms.follows"]
            assert follows.state == COMES_TO[words[-1]] != "due"
            assert follows.tries == sum(word in COSTS_A_TRY for word in words)
            told = [attempt["outcome"] for attempt in follows.attempts if attempt["outcome"] != "lost"]
            assert told == [COMES_TO[word] for word in self.said[event]]
        counted = read.counted(redis)
        ends = Counter(COMES_TO[word] for words in self.said.values() for word in words)
        assert {state: counted.get(f"{state}:rooms.follows", 0) for state in ends} == ends
        assert counted.get("replayed", 0) == self.replays
        for seqs in self.ordered.values():
            assert seqs == sorted(seqs), "an order was broken"
        assert sum(len(seqs) for seqs in self.ordered.values()) == len(self.script)
        assert redis.keys("zh:o*") == []
        assert redis.keys("zh:c:*") == [], "a limit is held though nothing runs"
        assert redis.zcard("zh:unrouted") == 0


@pytest.mark.timeout(110)
def test_the_engine_agrees_with_its_model(house: MakeHouse, request: pytest.FixtureRequest) -> None:
    """No sequence of accepts, works, deaths, stalls, losses, pauses and replays loses an event, breaks an order, runs a fact twice or
    lets a run say anything that is no longer its own.
    """
    machine = type("Bound", (Engine,), {"make": staticmethod(house)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=LONG if request.config.getoption("long") else EXAMPLES,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=False,
            database=None,
        ),
    )

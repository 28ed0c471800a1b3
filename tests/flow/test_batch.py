"""`batch=`: one call for many events, each with its own job, outcome and lease."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from receiver import RetryLater, Skip, on
from receiver.errors import HandlerError, InvalidRequest
from receiver.event import now_ms
from receiver.ledger import read, rows, runs
from receiver.routing import batch, pacing, run
from receiver.routing.dead_letters import repeats
from receiver.routing.taker import Taker
from receiver.testing import make_event, run_handler
from tests.flow.kit import drain

if TYPE_CHECKING:
    from receiver.simulator import Simulator
    from receiver.zoho import Zoho
    from tests.flow.conftest import House, MakeHouse


def send(home: House, count: int, event_type: str = "crm.Deals.updated", **fields: Any) -> list[str]:
    """Accept events with the numbers 0, 1, 2, ...; their ids."""
    return [home.accept(event_type, {"n": number}, **fields).id for number in range(count)]


def jobs(home: House, ids: list[str]) -> list[rows.JobRow]:
    """The jobs of events that one handler wants, with their attempts."""
    return [read.event(home.redis, each).jobs[0] for each in ids]


def route(home: House, lease: float = 5) -> None:
    """Route what is queued and run nothing, as it is under load."""
    handler = home.process.plugins.handlers["rooms.handler"]
    for slip in home.slips():
        claim = runs.claim(home.redis, *slip.ids(), "w", 5)
        opening = runs.Opening(handler.id, policy=pacing.policy(handler, claim.event))
        runs.route(home.redis, claim, [opening], lease=lease, again=0.1, claim_first=False)


def sooner(home: House, job: str) -> None:
    """Let a job that waits for its retry be due now."""
    home.redis.hset(f"zh:j:{job}", mapping={"due": now_ms(), "given": 0})
    for place in ("zh:due", *home.redis.keys("zh:b:*")):
        home.redis.zadd(place, {f"j:{job}" if place == "zh:due" else job: now_ms()}, xx=True)


def numbers(events: Any) -> list[int]:
    """What `send` numbered."""
    return [event.data["n"] for event in events]


def test_many_due_jobs_are_one_call_in_the_order_accepted(house: MakeHouse) -> None:
    """A full batch runs at once; every event has its own job, run and attempt, which name the batch."""
    seen = []

    @on("**", batch=5, batch_for="1m")
    def handler(events):
        seen.append(numbers(events))

    home = house(handler)
    ids = send(home, 5)
    home.work()
    assert seen == [[0, 1, 2, 3, 4]]
    found = jobs(home, ids)
    assert {(job.state, job.run, job.tries) for job in found} == {("done", 1, 0)}
    lead = found[4].id
    company = {"lead": lead, "run": 1, "jobs": 5}
    assert [attempt["batch"] for job in found for attempt in job.attempts] == [company] * 5
    assert read.totals(home.redis)["done"] == 5
    assert home.redis.keys("zh:b:*") == []
    assert home.redis.zcard("zh:due") == 0


def test_what_is_too_few_waits_for_company_but_not_for_ever(house: MakeHouse) -> None:
    """Three of ten wait until the first has waited for as long as it may, and then run together."""
    seen = []

    @on("**", batch=10, batch_for=0.3)
    def handler(events):
        seen.append(numbers(events))

    home = house(handler)
    began = time.monotonic()
    send(home, 2)
    home.work()
    time.sleep(0.15)
    send(home, 1)
    home.work()
    home.sweeper.once()
    home.work()
    assert seen == []
    while not seen:
        home.sweeper.once()
        home.work()
        time.sleep(0.01)
    assert 0.3 <= time.monotonic() - began < 10
    assert seen == [[0, 1, 0]]
    drain(home)


def test_no_call_has_more_than_was_asked_for(house: MakeHouse) -> None:
    """Twenty-three events in batches of ten are three calls, and none is handled twice."""
    seen = []

    @on("**", batch=10, batch_for=0.1)
    def handler(events):
        seen.append(numbers(events))

    home = house(handler)
    send(home, 23)
    drain(home)
    assert sorted(map(len, seen)) == [3, 10, 10]
    assert sorted(each for call in seen for each in call) == list(range(23))


def test_one_of_a_batch_fails_is_skipped_or_put_off_singly(house: MakeHouse) -> None:
    """Each is retried, dead, skipped or due by what was said of it; the others are done; a retry finds company again."""
    seen = []

    @on("**", batch=6, batch_for="1m")
    def handler(events):
        seen.append(numbers(events))
        for event in events:
            if event.data["n"] == 1 and event.tries == 0:
                event.fail(ValueError("not yet"))
            elif event.data["n"] == 2:
                event.fail(InvalidRequest("the field Amount is wrong"))
            elif event.data["n"] == 3:
                event.skip("nothing to do")
            elif event.data["n"] == 4 and event.tries == 0:
                event.fail(RetryLater(0.05, reason="in a moment") if len(seen) == 1 else Skip("late"))

    home = house(handler)
    ids = send(home, 6)
    home.work()
    found = jobs(home, ids)
    assert [job.state for job in found] == ["done", "due", "dead", "skipped", "due", "done"]
    assert [job.tries for job in found] == [0, 1, 1, 0, 0, 0]
    assert [found[n].reason for n in (1, 2, 3, 4)] == [
        "ValueError: not yet",
        "Zoho will not take this: the field Amount is wrong",
        "nothing to do",
        "in a moment",
    ]
    assert "ValueError: not yet" in found[1].attempts[0]["error"]["traceback"]
    assert "error" not in found[5].attempts[0]
    time.sleep(0.06)
    sooner(home, found[1].id)
    home.sweeper.once()
    home.work()
    assert seen[1:] == [[1, 4]]
    assert [job.state for job in jobs(home, ids)] == ["done", "done", "dead", "skipped", "skipped", "done"]


def test_an_error_of_the_call_is_an_error_of_all_that_were_not_spoken_of(house: MakeHouse) -> None:
    """Who was skipped before it stays skipped; each of the others has lost a try of its own."""

    @on("**", batch=3, retries=0)
    def handler(events):
        events[0].skip("had it already")
        raise ValueError("the database is away")

    home = house(handler)
    ids = send(home, 3)
    home.work()
    found = jobs(home, ids)
    assert [(job.state, job.tries) for job in found] == [("skipped", 0), ("dead", 1), ("dead", 1)]


def test_a_batch_is_of_one_key_and_one_source_and_organisation(house: MakeHouse) -> None:
    """With key= each key has batches of its own, and so has each organisation, for a batch has one `zoho`."""
    seen = []

    @on("crm.**", batch=10, batch_for=0.05, key="record")
    def by_key(events):
        seen.append({event.record_id for event in events})

    @on("books.**", batch=10, batch_for=0.05)
    def by_organisation(events):
        seen.append({event.organisation for event in events})

    home = house(by_key, by_organisation)
    for number in range(6):
        home.accept(data={"n": number}, record_id=str(number % 2))
        home.accept("books.invoice.paid", {"n": number}, organisation=str(7 + number % 2))
    drain(home)
    assert sorted(map(sorted, seen)) == [["0"], ["1"], ["7"], ["8"]]


def test_a_limit_counts_calls_and_not_events(house: MakeHouse) -> None:
    """With a concurrency of one there is one batch at a time, of many events, and its place is free afterwards."""
    running, most, sizes = [0], [0], []
    lock = threading.Lock()

    @on("**", batch=4, batch_for=0, concurrency=1)
    def handler(events):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.02)
        sizes.append(len(events))
        with lock:
            running[0] -= 1

    home = house(handler, lease=5)
    send(home, 24)
    route(home)

    def hands() -> None:
        limit = time.monotonic() + 15
        while read.totals(home.redis)["done"] < 24 and time.monotonic() < limit:
            for slip in home.slips(2):
                run.work(home.process, *slip.ids())
            time.sleep(0.002)

    threads = [threading.Thread(target=hands) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (most[0], sum(sizes), max(sizes)) == (1, 24, 4)
    assert home.redis.keys("zh:c:*") == []


def test_a_rate_counts_calls(house: MakeHouse) -> None:
    """Thirty events at two calls in ten seconds are through at once where a call takes fifteen of them."""
    seen = []

    @on("**", batch=15, batch_for=0.05, rate="2/10s")
    def handler(events):
        seen.append(len(events))

    home = house(handler)
    send(home, 15)
    drain(home)
    assert seen == [15]


def test_latest_leaves_one_of_each_record_in_the_batch(house: MakeHouse) -> None:
    """What still waits and is older is skipped as superseded; the batch takes the newest of each record."""
    seen = []

    @on("**", batch=50, batch_for=0.1, latest="record")
    def handler(events):
        seen.append([(event.record_id, event.data["n"]) for event in events])

    home = house(handler)
    for number in range(9):
        home.accept(data={"n": number}, record_id=str(number % 3))
    drain(home)
    assert seen == [[("0", 6), ("1", 7), ("2", 8)]]
    assert read.totals(home.redis)["skipped"] == 6


def test_replays_have_batches_of_their_own(house: MakeHouse) -> None:
    """What is retried by a person never takes a place in a batch of live events."""
    seen = []

    @on("**", batch=4, batch_for=0.1, retries=0)
    def handler(events):
        seen.append(sorted(numbers(events)))
        if len(seen) == 1:
            raise ValueError

    home = house(handler)
    ids = send(home, 4)
    home.work()
    for each in ids:
        assert runs.replay(home.redis, "j", f"{each}:rooms.handler") == "ok"
    home.accept(data={"n": 9})
    drain(home)
    assert sorted(seen[1:]) == [[0, 1, 2, 3], [9]]


@pytest.mark.parametrize(("count", "calls"), [(10, [10]), (120, [50, 50, 20])])
def test_many_threads_do_not_split_what_waits(house: MakeHouse, count: int, calls: list[int]) -> None:
    """A worker with an idle thread for each takes all of the slips in one turn: those that no lead would leave anything take none."""
    seen = []

    @on("**", batch=50, batch_for=0.3)
    def handler(events):
        seen.append(len(events))

    home = house(handler, threads=8)
    send(home, count)
    worker = Taker(home.process, home.redis, ("zohook_recovered", "zohook"), threading.Event())
    worker.hands.start()
    limit = time.monotonic() + 20
    while read.totals(home.redis)["done"] < count and time.monotonic() < limit:
        worker.turn(8)
        home.sweeper.once()
        time.sleep(0.01)
    worker.hands.close()
    assert sorted(seen, reverse=True) == calls


def test_what_waited_on_hold_comes_back_as_a_batch(house: MakeHouse) -> None:
    """A pause of the handler holds them all; resumed, they are one call."""
    seen = []

    @on("**", batch=4, batch_for=0)
    def handler(events):
        seen.append(numbers(events))

    home = house(handler)
    runs.pause(home.redis, "handler:rooms.handler")
    send(home, 4)
    drain(home)
    assert seen == []
    assert runs.resume(home.redis, "handler:rooms.handler") == 4
    home.process.forget_pauses()
    drain(home)
    assert sorted(each for call in seen for each in call) == [0, 1, 2, 3]
    assert len(seen[0]) == 4


def test_past_its_time_limit_each_has_failed_once_and_nothing_more_is_done_in_its_name(
    house: MakeHouse,
) -> None:
    """The time limit is that of the call; all of its jobs are due again, with a try counted each."""
    late = []

    @on("**", batch=3, timeout=0.2)
    def handler(events):
        limit = time.monotonic() + 20
        try:
            while time.monotonic() < limit:
                time.sleep(0.01)
        finally:
            for event in events:
                try:
                    event.emit("app.late")
                except Exception as error:  # noqa: BLE001 - what it is told is what is asked
                    late.append(type(error).__name__)

    home = house(handler, lease=5)
    ids = send(home, 3)
    home.work()
    found = jobs(home, ids)
    assert {(job.state, job.tries) for job in found} == {("due", 1)}
    assert all("over its time limit of 0.2 s" in job.reason for job in found)
    assert late == ["Fenced"] * 3
    assert read.totals(home.redis)["accepted"] == 3


def test_a_job_that_another_worker_took_is_left_to_it_and_the_others_are_done(house: MakeHouse) -> None:
    """One lease of a batch is lost: its ending is refused, the other endings are written."""

    @on("**", batch=3)
    def handler(events):
        home.redis.hset(f"zh:j:{events[1].id}:rooms.handler", "worker", "another#1")

    home = house(handler)
    ids = send(home, 3)
    home.work()
    assert [job.state for job in jobs(home, ids)] == ["done", "running", "done"]


def test_once_one_of_its_leases_is_lost_a_batch_calls_nobody_and_the_rest_comes_again(
    house: MakeHouse,
) -> None:
    """`zoho` refuses, for nobody can say for which event a call would be; the jobs that are still ours lose no try."""
    tries = []

    @on("**", batch=3, batch_for=0)
    def handler(events):
        tries.append(len(events))
        if len(tries) == 1:
            current[0].others[0].held.lost = "was taken up by another worker"
            current[0].fence()

    home = house(handler)
    current: list[batch.Batch] = []
    ids = send(home, 3)
    route(home)
    lead = runs.claim(home.redis, *home.slips(1)[0].ids(), "w", 5)
    found = batch.gathered(home.process, lead, home.process.plugins.handlers["rooms.handler"], lambda: None)
    current.append(found)
    assert found.go() == "due"
    states = {job.id: job.state for job in jobs(home, ids)}
    assert states == {**dict.fromkeys(states, "due"), found.others[0].claim.id: "running"}
    assert {job.tries for job in jobs(home, ids)} == {0}


def test_a_suspect_leads_nobody_and_is_taken_along_by_nobody(house: MakeHouse) -> None:
    """After a death each job of the batch runs alone, so that the one that kills is found."""
    seen = []

    @on("**", batch=3, batch_for=0)
    def handler(events):
        seen.append(numbers(events))

    home = house(handler, lease=0.1)
    ids = send(home, 3)
    route(home, lease=0.1)
    lead = runs.claim(home.redis, *home.slips(1)[0].ids(), "dead", 0.1)
    assert len(runs.gather(home.redis, lead, 0.1, 2)) == 2
    assert [job.state for job in jobs(home, ids)] == ["running"] * 3
    time.sleep(0.15)
    home.sweeper.once()
    assert [job.state for job in jobs(home, ids)] == ["due"] * 3
    for each in ids:
        claim = runs.claim(home.redis, "j", f"{each}:rooms.handler", 2, "alone", 5, alone=True)
        run.run_job(home.process, claim)
    assert seen == [[0], [1], [2]]
    assert all(job.attempts[0]["outcome"] == "lost" for job in jobs(home, ids))


def test_large_data_makes_smaller_batches(house: MakeHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch brings so many bytes into a worker and no more; the rest is the next batch."""
    seen = []
    monkeypatch.setattr(runs, "GATHERED", 3000)

    @on("**", batch=10, batch_for="1m")
    def handler(events):
        seen.append(len(events))

    home = house(handler)
    for number in range(10):
        home.accept(data={"n": number, "x": [hash((number, each)) for each in range(60)]})
    home.work()
    assert 2 <= seen[0] < 10


def test_a_handler_with_a_batch_takes_events(house: MakeHouse) -> None:
    """And a handler without takes event; each is told so, and the words for single events are refused where there are none."""

    def wrong(event):
        """Takes one."""

    def other(events):
        """Takes many."""

    with pytest.raises(HandlerError, match=r"must take a parameter called events: def wrong\(events, zoho\)"):
        house(on("**", batch=2)(wrong))
    with pytest.raises(HandlerError, match="events is for handlers with batch="):
        house(on("**")(other))

    @on("**", retries=0)
    def single(event):
        event.skip("why")

    home = house(single)
    home.accept()
    home.work()
    assert "raise the error, or Skip(why), instead" in read.jobs_in(home.redis, "dead")[0].reason


def test_the_kit_runs_a_batch_and_tells_each_outcome(zoho: Zoho, zoho_simulator: Simulator) -> None:
    """One call with a list; filters, records that are gone and single failures have their own outcome, in the list's order."""
    deals = [
        zoho_simulator.crm.create("Deals", {"Deal_Name": str(n), "Stage": "Closed Won"}) for n in range(3)
    ]
    calls = []

    @on("crm.Deals.*", batch=10, record=True, where={"Stage": "Closed Won"})
    def close(events, zoho):
        calls.append([event.record["Deal_Name"] for event in events])
        rows = [{"id": event.record_id, "Next_Step": "bill"} for event in events]
        for event, result in zip(events, zoho.crm.update("Deals", rows), strict=True):
            if event.record["Deal_Name"] == "1":
                event.fail(ValueError("odd"))
            assert result.ok

    made = [make_event("crm.Deals.updated", record_id=deal["id"]) for deal in deals]
    gone = make_event("crm.Deals.updated", record_id="999")
    other = make_event("crm.Leads.updated", record_id="1")
    lost = make_event("crm.Deals.updated", record={"id": "5", "Stage": "Lost"})
    outcomes = run_handler(close, [*made, gone, other, lost], zoho)
    assert [outcome.state for outcome in outcomes] == [
        "done",
        "due",
        "done",
        "skipped",
        "filtered",
        "skipped",
    ]
    assert [outcomes[3].reason, outcomes[5].reason] == ["the record 999 is gone", "where: Stage is 'Lost'"]
    assert calls == [["0", "1", "2"]]
    assert outcomes[0].writes == ["PUT /crm/v8/Deals"]
    assert run_handler(close, made[0], zoho).state == "done"
    with pytest.raises(ValueError, match="odd"):
        run_handler(close, made, zoho, raises=True)
    with pytest.raises(TypeError, match="takes 10 events at most"):
        run_handler(close, made * 4, zoho)


def test_the_records_of_a_batch_share_calls(zoho: Zoho, zoho_simulator: Simulator) -> None:
    """Forty records are a handful of calls, and every event has its own. While the first call is under way all others come."""

    @on("crm.Leads.*", batch=50, record=True)
    def greet(events):
        for event in events:
            assert event.record["id"] == event.record_id

    leads = [zoho_simulator.crm.create("Leads", {"Last_Name": f"L{number}"}) for number in range(40)]
    made = [make_event("crm.Leads.updated", record_id=lead["id"]) for lead in leads]
    zoho_simulator.faults.add("slow", product="crm", path="/Leads", seconds=2)
    assert {outcome.state for outcome in run_handler(greet, made, zoho, raises=True)} == {"done"}
    assert len([call for call in zoho.calls if call["code"] != "shared" and "/Leads" in call["path"]]) <= 4


def test_a_list_is_for_batches_only() -> None:
    """The kit says so."""

    @on("app.x")
    def single(event):
        """Takes one."""

    with pytest.raises(TypeError, match="a list is for handlers with batch="):
        run_handler(single, [make_event("app.x")])


def test_the_writes_of_a_batch_are_those_of_its_lead(house: MakeHouse) -> None:
    """A rerun of one who was taken along repeats what the call did; its attempt says where that is kept."""

    @on("**", batch=2, batch_for="1m")
    def handler(events):
        """Does nothing."""

    home = house(handler)
    ids = send(home, 2)
    home.work()
    lead, other = jobs(home, ids)[1], jobs(home, ids)[0]
    call = {"write": True, "status": 201, "method": "POST", "path": "/crm/v8/Leads"}
    attempt = {**lead.attempts[0], "calls": [call]}
    home.redis.lset(f"zh:a:{lead.id}", 0, orjson.dumps(attempt))
    found = read.jobs(home.redis, [other.id], attempts=True)[0]
    assert repeats(home.redis, found) == ["POST /crm/v8/Leads (in a batch of 2)"]

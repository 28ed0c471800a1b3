"""Order, latest, debounce, concurrency and rate: what holds a handler back, and that nothing holds it for ever."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

import pytest

from receiver import on
from receiver.errors import HandlerError, InvalidRequest
from receiver.ledger import read, runs
from receiver.routing import run
from tests.flow.kit import drain

if TYPE_CHECKING:
    from tests.flow.conftest import MakeHouse


def test_an_order_runs_each_key_in_the_order_accepted_whatever_order_slips_come_in(house: MakeHouse) -> None:
    """Slips are worked in a random order by four threads; each record still sees its events in sequence, one at a time."""
    seen: dict[str, list[int]] = {}
    at_once: dict[str, int] = {}

    @on("**", order="record")
    def handler(event):
        key = event.record_id
        at_once[key] = at_once.get(key, 0) + 1
        assert at_once[key] == 1
        time.sleep(random.random() / 300)
        seen.setdefault(key, []).append(event.data["n"])
        at_once[key] -= 1

    home = house(handler)
    for number in range(40):
        home.accept(data={"n": number}, record_id=str(number % 3))
    stop = threading.Event()

    def hands() -> None:
        while not stop.is_set():
            slips = home.slips(3)
            random.shuffle(slips)
            for slip in slips:
                run.work(home.process, *slip.ids())
            time.sleep(0.002)

    threads = [threading.Thread(target=hands) for _ in range(4)]
    for each in threads:
        each.start()
    limit = time.monotonic() + 20
    while read.totals(home.redis)["done"] < 40 and time.monotonic() < limit:
        home.sweeper.once()
        time.sleep(0.02)
    stop.set()
    for each in threads:
        each.join()
    assert seen == {key: [n for n in range(40) if n % 3 == int(key)] for key in ("0", "1", "2")}
    assert home.redis.keys("zh:o*") == []


def test_a_failing_job_holds_its_key_or_yields(house: MakeHouse) -> None:
    """While the first waits for its retry the second waits for it, unless the handler yields."""
    seen = []

    @on("crm.A.x", order="record")
    def holds(event):
        seen.append(("holds", event.data["n"]))
        if event.data["n"] == 1:
            raise ValueError

    @on("crm.B.x", order="record", on_failure="yield")
    def yields(event):
        seen.append(("yields", event.data["n"]))
        if event.data["n"] == 1:
            raise ValueError

    home = house(holds, yields)
    for kind in ("crm.A.x", "crm.B.x"):
        for number in (1, 2):
            home.accept(kind, {"n": number}, record_id="7")
    home.work()
    assert seen == [("holds", 1), ("yields", 1), ("yields", 2)]


def test_a_dead_job_releases_its_key_unless_told_to_hold_it(house: MakeHouse) -> None:
    """After the first died the second runs; with on_dead="hold" it waits for a person."""
    seen = []

    @on("crm.A.x", order="record")
    def releases(event):
        seen.append(("releases", event.data["n"]))
        if event.data["n"] == 1:
            raise InvalidRequest("never")

    @on("crm.B.x", order="record", on_dead="hold")
    def holds(event):
        seen.append(("holds", event.data["n"]))
        if event.data["n"] == 1 and len(seen) < 4:
            raise InvalidRequest("never")

    home = house(releases, holds)
    for kind in ("crm.A.x", "crm.B.x"):
        for number in (1, 2):
            home.accept(kind, {"n": number}, record_id="7")
    home.work()
    assert seen == [("releases", 1), ("releases", 2), ("holds", 1)]
    seen.append("a person looks")
    dead = next(row for row in read.jobs_in(home.redis, "dead") if row.handler == "rooms.holds")
    assert runs.replay(home.redis, "j", dead.id) == "ok"
    home.work()
    assert seen[4:] == [("holds", 1), ("holds", 2)]


def test_latest_skips_what_still_waits(house: MakeHouse) -> None:
    """Of five waiting events of a key only the newest runs; the others say which event superseded them."""
    seen = []

    @on("**", latest="record", debounce=0.3)
    def handler(event):
        seen.append(event.data["n"])

    home = house(handler)
    last = [home.accept(data={"n": number}, record_id="1") for number in range(5)][-1]
    home.work()
    assert seen == []
    time.sleep(0.35)
    drain(home)
    assert seen == [4]
    rows = read.jobs_in(home.redis, "skipped")
    assert len(rows) == 4
    assert all("superseded by event" in row.reason for row in rows)
    assert f"superseded by event {last.id}" in {row.reason for row in rows}


def test_debounce_has_a_longest_wait(house: MakeHouse) -> None:
    """Events that never stop coming do not put the run off for ever."""
    seen = []

    @on("**", debounce=0.3, debounce_for=0.5)
    def handler(event):
        seen.append(event.data["n"])

    home = house(handler)
    began = time.monotonic()
    number = 0
    while not seen and time.monotonic() - began < 8:
        home.accept(data={"n": number}, record_id="1")
        number += 1
        home.work()
        home.sweeper.once()
        time.sleep(0.05)
    assert seen
    assert time.monotonic() - began < 4


def test_concurrency_is_a_limit_over_all_threads_and_frees_its_places(house: MakeHouse) -> None:
    """Never more than two at once of thirty; all of them run."""
    running, most = [0], [0]
    lock = threading.Lock()

    @on("**", concurrency=2)
    def handler(event):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.01)
        with lock:
            running[0] -= 1

    home = house(handler, lease=5)
    for number in range(30):
        home.accept(data={"n": number})

    def hands() -> None:
        limit = time.monotonic() + 15
        while read.totals(home.redis)["done"] < 30 and time.monotonic() < limit:
            for slip in home.slips(2):
                run.work(home.process, *slip.ids())
            time.sleep(0.002)

    threads = [threading.Thread(target=hands) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert read.totals(home.redis)["done"] == 30
    assert most[0] == 2


def test_a_dead_process_does_not_hold_a_limit(house: MakeHouse) -> None:
    """The place of a run whose lease ran out is free again, and the waiting job gets it."""
    seen = []

    @on("**", concurrency=1)
    def handler(event):
        seen.append(event.id)

    home = house(handler, lease=0.2)
    first, second = home.accept(), home.accept()
    slips = home.slips()
    held = runs.claim(home.redis, *slips[0].ids(), "dead", 5)
    job = runs.route(
        home.redis,
        held,
        [runs.Opening("rooms.handler", policy='{"limit":"rooms.handler","most":1}')],
        lease=0.2,
        again=0.1,
        claim_first=True,
    )
    assert job.id == f"{first.id}:rooms.handler"
    run.work(home.process, *slips[1].ids())
    assert seen == []
    time.sleep(0.25)
    home.sweeper.once()
    home.work()
    assert second.id in seen


def test_a_rate_gives_each_its_time(house: MakeHouse) -> None:
    """Ten jobs at four in 0.4 s take more than 0.5 s and less than a few; none is lost, and none starts too early."""
    times = []

    @on("**", rate="10/s")
    def handler(event):
        times.append(time.monotonic())

    home = house(handler)
    for _ in range(20):
        home.accept()
    drain(home)
    assert len(times) == 20
    for index in range(10, 20):
        assert times[index] - times[index - 10] > 0.9


def test_a_pause_holds_work_while_deliveries_are_accepted(house: MakeHouse) -> None:
    """Paused by handler, by source and by queue; resumed work runs, and nothing burnt a try."""
    seen = []

    @on("**", queue="slow")
    def handler(event):
        seen.append(event.id)

    home = house(handler)
    for what in ("handler:rooms.handler", "source:crm", "queue:slow"):
        runs.pause(home.redis, what)
        home.process.forget_pauses()
        event = home.accept()
        home.work()
        home.sweeper.recheck()
        home.work()
        assert event.id not in seen
        assert read.parked_work(home.redis) == {f"paused:{what}": 1}
        assert runs.resume(home.redis, what) == 1
        home.process.forget_pauses()
        time.sleep(0.01)
        drain(home)
        assert event.id in seen
    assert all(job.tries == 0 for job in read.recent(home.redis))


def test_a_worker_that_has_not_heard_of_a_resume_holds_nothing(house: MakeHouse) -> None:
    """It asks for pauses once a second; what a resume released meanwhile must not be held again until the recheck."""
    seen = []

    @on("**")
    def handler(event):
        seen.append(event.id)

    home = house(handler)
    runs.pause(home.redis, "handler:rooms.handler")
    home.process.forget_pauses()
    home.accept()
    home.work()
    assert runs.resume(home.redis, "handler:rooms.handler") == 1
    drain(home)
    assert len(seen) == 1


def test_a_run_that_is_to_be_held_by_a_pause_that_just_ended_is_due(house: MakeHouse) -> None:
    """The worker has decided, and then the pause ends: the ending knows, for nobody would release it soon."""

    @on("**")
    def handler(event):
        """Runs when it is let."""

    home = house(handler)
    event = home.accept()
    claim = runs.claim(home.redis, *home.slips()[0].ids(), "w", 5)
    opening = runs.Opening("rooms.handler")
    job = runs.route(home.redis, claim, [opening], lease=5, again=0.1, claim_first=True)
    held = runs.Ending("held", 0, reason="paused", parked="paused:queue:zohook", quiet=True)
    assert runs.finish(home.redis, job, held)
    assert read.parked_work(home.redis) == {}
    drain(home)
    assert read.event(home.redis, event.id).jobs[0].state == "done"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"order": "record", "latest": "record"}, "choose one"),
        ({"order": True}, "key="),
        ({"order": 3}, "takes"),
        ({"debounce_for": 3}, "debounce="),
        ({"on_dead": "hold"}, "order="),
        ({"on_dead": "never", "order": "record"}, "on_dead"),
        ({"concurrency": 0}, "1 or more"),
        ({"concurrency": 1, "concurrency_per_key": 1, "key": "record"}, "exclude"),
        ({"rate_per_key": "1/s"}, "key="),
        ({"rate": "often"}, "10/m"),
    ],
)
def test_what_does_not_combine_is_refused_at_start_up(options, words) -> None:
    """With a sentence that says what to write instead."""
    with pytest.raises(HandlerError, match=words):
        on("**", **options)

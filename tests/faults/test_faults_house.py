"""Faults of time, of versions, of order and of sheer size, and all of them at once."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx
import orjson
import pytest
from faults_power import compiled
from faults_rig import LEASE, ROOT, RULES, children, eventually
from faults_verdict import begun, job_of, judge

from receiver import keys
from receiver.event import Delivery, Event, new_id, now_ms
from receiver.ledger import read, runs
from receiver.ledger.accept import Record, accept
from receiver.routing.policy import FIRST

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faults_rig import House
    from faults_verdict import Tally

fault = pytest.mark.fault
PASSWORD = "a password of the tests"
BEFORE = "00fbb9b"
"""A version whose ledger this one must be able to share while it takes its place."""


@pytest.fixture
def wrong_by(tmp_path: Path) -> Callable[[int], dict[str, str]]:
    """The environment in which a process's wall clock is wrong by so many seconds."""
    library = compiled("clocks", tmp_path)
    return lambda seconds: {"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(seconds)}


def fails_once(house: House, tally: Tally) -> None:
    """Send jobs that fail at first, and see by a clock that is right that none is tried again before its backoff, or much later."""
    sent = house.load.send(8, do="once")
    began = {
        each.number: eventually(lambda each=each: begun(house, "begin", each)) and time.time()
        for each in sent
    }
    tally.injected += 1
    again: dict[int, float] = {}
    while len(again) < len(sent):
        for each in sent:
            if each.number not in again and len(begun(house, "begin", each)) > 1:
                again[each.number] = time.time()
        assert time.time() < max(began.values()) + FIRST * 1.1 + 15, sorted(set(began) - set(again))
        time.sleep(0.1)
    waits = [again[number] - since for number, since in began.items()]
    assert min(waits) >= FIRST * 0.9 - 1, waits  # the first was seen a little late
    tally.take(sent, judge(house, sent))
    for each in sent:
        assert len(begun(house, "begin", each)) == 2
        first, _ = job_of(house, each, "apply").attempts
        assert FIRST * 900 <= first["due"] - first["ended"] <= FIRST * 1100


@fault("F39", "clocks an hour ahead and an hour behind", long=2)
def test_f39_clock_jumps(house: House, tally: Tally, wrong_by: Callable[[int], dict[str, str]]) -> None:
    """A web process and a worker that are wrong about the time take and handle all the same, once; what fails waits its backoff."""
    for seconds in (3600, -3600):
        wrong = wrong_by(seconds)
        house.with_only()
        web, worker = house.start("web", environment=wrong), house.start("worker", environment=wrong)
        for _ in range(tally.count):
            sent = house.load.send(10)
            tally.injected += 1
            tally.take(sent, judge(house, sent))
            told = house.ran("tell")
            assert {told[each.number] for each in sent} == {1}
            fails_once(house, tally)
        for each in (web, worker):
            each.kill()


@fault("F40", "one worker two minutes ahead, one two minutes behind", long=3)
def test_f40_clock_skew(house: House, tally: Tally, wrong_by: Callable[[int], dict[str, str]]) -> None:
    """Redis has the time: no lease ends early, nothing runs twice."""
    house.with_only(web=1)
    workers = [house.start("worker", environment=wrong_by(seconds)) for seconds in (120, -120)]
    for _ in range(tally.count):
        lost = read.totals(house.redis)["lost"]
        sent = house.load.send(12, do="sleep", **{"for": LEASE})
        tally.injected += 1
        tally.take(sent, judge(house, sent))
        assert read.totals(house.redis)["lost"] == lost
        applied = house.ran("apply")
        assert {applied[each.number] for each in sent} == {1}
        fails_once(house, tally)
    for each in workers:
        each.kill()


@fault("F42", "ledger of another version, with fields that nobody knows", short=1, long=5)
def test_f42_unknown_fields(house: House, tally: Tally) -> None:
    """What a newer version adds to events, jobs and slips is left alone and stops nothing; the other way round is F43."""
    for _ in range(tally.count):
        runs.pause(house.redis, "source:load")
        time.sleep(1.2)  # a worker asks once a second what is paused
        sent = house.load.send(5, event="contact.created")
        eventually(lambda: len(read.parked_work(house.redis)) == 1)
        for each in sent:
            add_fields(house, each.events[0])
            tally.injected += 1
        house.redis.set("zh:of_tomorrow", "1")
        house.redis.zadd(keys.due(), {"x:a kind of tomorrow": 0})
        runs.resume(house.redis, "source:load")
        tally.take(sent, judge(house, sent))
        assert house.redis.hget(keys.event(sent[0].events[0]), "of_tomorrow") == b"1"
        assert house.redis.zscore(keys.due(), "x:a kind of tomorrow") is None


@pytest.fixture(scope="session")
def before(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which a process is of the version before: `FAULTS_OLD`, else the last that is tagged, else BEFORE."""
    tags = subprocess.run(
        ["git", "describe", "--tags", "--abbrev=0"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    version, place = os.environ.get("FAULTS_OLD") or tags or BEFORE, tmp_path_factory.mktemp("before")
    got = subprocess.run(["git", "archive", version, "receiver"], cwd=ROOT, capture_output=True, check=False)
    if got.returncode:
        pytest.skip(f"git has no version {version} here: {got.stderr.decode().strip()[:200]}")
    with tarfile.open(fileobj=io.BytesIO(got.stdout)) as archive:
        archive.extractall(place, filter="data")
    return {"PYTHONPATH": str(place)}


@fault("F42", "old and new, side by side on one ledger", long=10)
def test_f42_old_and_new(house: House, tally: Tally, before: dict[str, str]) -> None:
    """While a version is exchanged both take, route and run, each also what the other began; what is left then is the new one's."""
    for _ in range(tally.count):
        house.with_only(web=1, worker=1)
        old = house.start("worker", environment=before)
        sent = house.load.send(20) + house.load.send(10, do="once")
        tally.injected += 1
        old.kill()  # it had some of them in its hands
        house.with_only(worker=1)
        old_web, old = house.start("web", environment=before), house.start("worker", environment=before)
        sent += house.load.send(20)
        old.kill()
        old_web.end()
        tally.take(sent, judge(house, sent))


def add_fields(house: House, event: str) -> None:
    """What a newer version may say of an event and of the delivery that tells it."""
    key = keys.event(event)
    delivery = keys.delivery(house.redis.hget(key, "delivery").decode())
    line, newline, body = house.redis.get(delivery).partition(b"\n")
    about = orjson.loads(line)
    for inner in [about, *(value for value in about.values() if isinstance(value, dict))]:
        inner["of_tomorrow"] = {"deep": [1]}
    house.redis.set(delivery, orjson.dumps(about) + newline + body)
    house.redis.hset(key, "of_tomorrow", "1")


@fault("F43", "slips and jobs of a newer version in an older worker", short=1, long=5)
def test_f43_newer_slips(house: House, tally: Tally) -> None:
    """Slips that cannot be read are dropped, the worker stays up, and the events are handled."""
    (worker,) = house.living("worker")
    for _ in range(tally.count):
        for number, data in enumerate(
            (
                '["receiver.routing.slips.work2",null,["e","x",1],{}]',
                '["receiver.routing.slips.work",null,["e","x",1,"more"],{"of":"tomorrow"}]',
            )
        ):
            house.redis.hset(
                keys.rq_job(f"tomorrow{number}"),
                mapping={"data": data, "status": "queued", "of_tomorrow": "1"},
            )
            house.redis.rpush(keys.rq_queue("zohook"), f"tomorrow{number}")
            tally.injected += 1
        sent = house.load.send(5, event="contact.created")
        tally.take(sent, judge(house, sent))
        assert worker.alive


@fault("F44", "RQ itself, at the points where it loses work", long=1)
def test_f44_rq_measured_again(house: House, tally: Tally) -> None:
    """What RQ alone does when its worker dies right after the pop, and what becomes of the same slip with a ledger behind it."""
    house.with_only(web=1)
    rq = [sys.executable, "-m", "rq.cli", "worker", "--url", house.server.url, "--serializer", "json"]
    here = {**os.environ, "PYTHONPATH": str(ROOT), "ZOHOOK_FOLDER": str(house.folder)}
    for queues in (["zohook"], ["zohook", "zohook_replay"]):
        sent = house.load.send(1, do="sleep", **{"for": 3})
        stock = subprocess.Popen(
            [*rq, "--job-class", "receiver.routing.slips.Slip", *queues],
            env=here,
            cwd=house.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        eventually(lambda sent=sent: begun(house, "begin", sent[0]) or read.states(house.redis)["running"])
        with suppress(ProcessLookupError):
            os.killpg(stock.pid, 9)
        stock.wait()
        tally.injected += 1
        began = time.monotonic()
        ours = house.start("worker")
        tally.take(sent, judge(house, sent, within=60))
        tally.recoveries.append(time.monotonic() - began)
        ours.end()
    tally.notes["rq_alone"] = rq_alone(house, rq, here)


def rq_alone(house: House, rq: list[str], here: dict[str, str]) -> dict[str, str]:
    """What RQ says of a job of its own a second after its worker was killed in the middle of it, by number of queues."""
    found = {}
    for queues in (["alone"], ["alone", "other"]):
        name = f"alone{len(queues)}"
        code = (
            "import sys; from redis import Redis; from rq import Queue; from rq.serializers import JSONSerializer\n"
            "Queue('alone', connection=Redis.from_url(sys.argv[1]), serializer=JSONSerializer).enqueue('time.sleep', 30, job_id=sys.argv[2])"
        )
        subprocess.run([sys.executable, "-c", code, house.server.url, name], check=True, env=here)
        stock = subprocess.Popen(
            [*rq, *queues],
            env=here,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        eventually(lambda name=name: house.redis.hget(f"rq:job:{name}", "status") == b"started")
        for pid in [*children(stock.pid), stock.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        stock.wait()
        time.sleep(1)
        places = [
            key.decode()
            for key in house.redis.scan_iter("rq:*")
            if key.startswith((b"rq:queue:alone", b"rq:wip:alone", b"rq:failed:alone"))
        ]
        found[f"{len(queues)} queues"] = (
            f"{house.redis.hget(f'rq:job:{name}', 'status').decode()} in {sorted(places)}"
        )
        for key in house.redis.scan_iter("rq:*alone*"):
            house.redis.delete(key)
    house.redis.srem("rq:queues", "rq:queue:alone", "rq:queue:other")
    return found


@fault("F48", "updates out of their order", short=2, long=100)
def test_f48_out_of_order(house: House, tally: Tally) -> None:
    """Handlers that read the record as it is now end with what it is now, in whatever order they hear of it."""
    for _ in range(tally.count):
        deal = house.simulator.crm.create(
            "Deals", {"Deal_Name": "0", "Stage": "Qualification", "Closing_Date": "2027-01-31"}
        )
        versions = list(range(1, 6))
        house.simulator.crm.update("Deals", deal["id"], {"Deal_Name": str(versions[-1])})
        random.shuffle(versions)
        for version in versions:
            body = {
                "record_id": deal["id"],
                "at": f"2027-01-01T00:00:{version:02d}+00:00",
                "version": version,
            }
            answer = httpx.post(
                f"http://127.0.0.1:{house.port}/in/rules?event=Deals.edited",
                json=body,
                headers={"x-webhook-token": RULES},
            )
            assert answer.json()["verdict"] == "accepted", answer.text
            tally.injected += 1
        copy = house.folder / f"copy-{deal['id']}"
        eventually(lambda: not house.redis.zcard(keys.due()))
        tally.accepted += len(versions)
        tally.handled += len(versions)
        assert copy.read_text() == "5"


@fault("F49", "backlog, and then the workers start", short=1500, long=200_000)
def test_f49_backlog(house: House, tally: Tally) -> None:
    """The first page is quick, the worker's memory stays within bounds, and all of it is handled."""
    house.with_only(web=1)
    done = read.totals(house.redis)["done"]
    events = preload(house, tally.count)
    tally.injected = tally.accepted = len(events)
    with signed_in(house) as client:
        began = time.monotonic()
        assert client.get("/").status_code == 200
        tally.notes["page_s"] = round(time.monotonic() - began, 3)
        assert tally.notes["page_s"] < 1
        began = time.monotonic()
        worker = house.start("worker")
        before = worker.rss()
        eventually(lambda: read.totals(house.redis)["done"] - done >= tally.count, 60 + tally.count / 200)
        tally.recoveries.append(time.monotonic() - began)
        tally.notes["grown_mib"] = round((worker.rss() - before) / 2**20, 1)
        assert worker.rss() - before < 128 * 2**20
    eventually(lambda: not house.redis.zcard(keys.due()))
    tally.handled = tally.count
    tally.notes["per_second"] = round(tally.count / tally.recoveries[-1])


def preload(house: House, count: int) -> list[str]:
    """So many events in the ledger at once, by the script of the door."""
    ids = []
    for first in range(0, count, 100):
        records = []
        for number in range(first, min(first + 100, count)):
            delivery = Delivery.arrive("load", b"{}")
            data = {"number": -1 - number}
            event = Event(
                id=new_id(),
                type="books.contact.created",
                source="load",
                data=data,
                received=now_ms(),
                delivery=delivery.id,
            )
            records.append(Record(delivery, "accepted", events=[event]))
            ids.append(event.id)
        accept(house.redis, records, again=house.settings_given["again"])
    return ids


class signed_in:  # noqa: N801 - a context, named as one
    """A browser of the operator's, as far as httpx is one."""

    def __init__(self, house: House) -> None:
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{house.port}", timeout=10)

    def __enter__(self) -> httpx.Client:
        answer = self.client.post("/sign-in", data={"password": PASSWORD})
        assert answer.status_code == 303, answer.text[:300]
        return self.client

    def __exit__(self, *_: object) -> None:
        self.client.close()


READS = {
    *(
        "GET",
        "GETRANGE",
        "MGET",
        "HGET",
        "HMGET",
        "HGETALL",
        "HVALS",
        "HKEYS",
        "HLEN",
        "LRANGE",
        "LLEN",
        "LINDEX",
        "SMEMBERS",
        "SCARD",
        "SISMEMBER",
        "ZCARD",
    ),
    *(
        "ZCOUNT",
        "ZRANGE",
        "ZREVRANGE",
        "ZRANGEBYSCORE",
        "ZREVRANGEBYSCORE",
        "ZSCORE",
        "ZREVRANK",
        "ZRANK",
        "INFO",
        "PING",
        "CLIENT",
        "HELLO",
    ),
    *("SELECT", "AUTH", "TTL", "PTTL", "EXISTS", "TYPE", "STRLEN"),
}


@fault("F50", "dashboard hammered while workers die", short=1, long=20)
def test_f50_dashboard_hammered(house: House, tally: Tally, long: bool) -> None:
    """Fifty pollers change nothing in Redis, and nothing is lost while they look."""
    pages = ("/", "/events", "/dead", "/deliveries", "/handlers", "/connections", "/healthz", "/metrics")
    for _ in range(tally.count):
        house.load.begin(15, senders=2)
        with signed_in(house) as client, ThreadPoolExecutor(50 if long else 8) as pool:
            looked = [pool.submit(client.get, random.choice(pages)) for _ in range(400 if long else 60)]
            time.sleep(0.5)
            house.living("worker")[0].kill()
            house.start("worker")
            statuses = {each.result().status_code for each in looked}
        tally.injected += len(looked)
        assert statuses == {200}
        sent = house.load.end()
        tally.take(sent, judge(house, sent))
    written = what_pages_write(house, pages)
    tally.notes["writes"] = len(written)
    assert written == []


def what_pages_write(house: House, pages: tuple[str, ...]) -> list[str]:
    """Commands that a round through the pages gives Redis and that change anything but sessions; nobody else is at work then."""
    house.with_only(web=1)
    with signed_in(house) as client, house.server.client() as watcher, watcher.monitor() as monitor:
        for page in pages:
            client.get(page)
        house.redis.echo("over")
        seen = []
        for each in monitor.listen():
            words = each["command"].split()
            if words[0].upper() == "ECHO":
                break
            seen.append(words)
    # The drain's look at the ledger is a script, which writes when something is wrong; a session may be renewed.
    harmless = {*READS, "EVALSHA", "EVAL", "MULTI", "EXEC", "TIME"}
    written = [words for words in seen if words[0].upper() not in harmless]
    return [" ".join(words[:2]) for words in written if not "".join(words[1:2]).startswith(keys.session(""))]

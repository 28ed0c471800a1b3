"""The spool over real HTTP, with a real Redis that is killed, frozen and filled: whatever was answered 200 is kept, once."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import hmac
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn

from receiver import keys
from receiver.app import build
from receiver.cli.processes import serving
from receiver.event import Delivery, Event, new_id, now_ms
from receiver.intake import drain as draining
from receiver.intake.drain import Drain
from receiver.intake.packing import pack_record
from receiver.intake.spool import Spool
from receiver.intake.spoolfile import Depth, Row
from receiver.ledger import accept as accepting
from receiver.ledger import read, spools
from receiver.ledger.accept import Record, accept
from receiver.ledger.connect import connect
from receiver.ledger.embedded import Embedded
from receiver.ledger.witness import Witness
from receiver.zoho.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from receiver.settings import Settings
    from tests.conftest import MakeSettings

BOOKS = "throwawaybookskey01"
TOML = '[sources]\nbooks = { product = "books", events = ["invoice.paid"] }\n'
PATH = "/in/books?event=invoice.paid"


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A Redis of the test's own, with the fsync of production, to be killed and started again."""
    with Embedded(tmp_path_factory.mktemp("own"), share=False) as server:
        yield server


@pytest.fixture
def spooling(settings: MakeSettings, own: Embedded) -> Callable[..., Settings]:
    """Makes settings on that Redis that look at it often."""

    def make(deadline: float = 1, **spool: Any) -> Settings:
        redis = {"url": own.url, "deadline": deadline}
        return settings(TOML, secrets={"books": BOOKS}, redis=redis, spool={"tick": 0.05, **spool})

    return make


@contextmanager
def served(settings: Settings) -> Iterator[httpx.Client]:
    """A client of a web process of its own, as far as a thread can be one."""
    server = uvicorn.Server(serving(build(settings)))
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    with httpx.Client(base_url=f"http://127.0.0.1:{sock.getsockname()[1]}", timeout=10) as client:
        yield client
    server.should_exit = True
    thread.join(10)
    sock.close()
    assert not thread.is_alive()


def signed(number: int, size: int = 0) -> dict[str, Any]:
    """What to post: invoice `number`, with its signature."""
    body = json.dumps({"invoice": {"invoice_id": number, "notes": os.urandom(size // 2).hex()}}).encode()
    digest = hmac.new(BOOKS.encode(), b"eventinvoice.paid" + body, hashlib.sha256).hexdigest()
    return {
        "url": PATH,
        "content": body,
        "headers": {"X-Zoho-Webhook-Signature": digest, "content-type": "application/json"},
    }


def wait(until: Callable[[], Any], limit: float = 30) -> Any:
    """Wait until something is so."""
    end = time.monotonic() + limit
    while not (found := until()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def spooled(settings: Settings) -> int:
    """How many deliveries the file holds."""
    with Spool.of(settings).file() as file:
        return file.depth().depth


def kept(redis: Any) -> list[str]:
    """The ids of the events in the ledger, in the order they were accepted."""
    rows = [read.event(redis, each.decode()) for each in redis.zrange(keys.events(), 0, -1)]
    return [row.event.id for row in sorted(rows, key=lambda row: row.event.seq)]


def aged(number: int, seconds: float) -> tuple[Event, Row]:
    """A row that was received so long ago."""
    at = now_ms() - int(seconds * 1000)
    delivery = Delivery.arrive("books", b"{}", received=at)
    event = Event(
        id=new_id(at),
        type="books.invoice.paid",
        source="books",
        data={},
        received=at,
        identity=f"n{number}",
        delivery=delivery.id,
    )
    return event, Row(at, *pack_record(Record(delivery, "accepted", events=[event], window=60)))


def test_redis_killed_under_load_loses_and_doubles_nothing(spooling, own) -> None:
    """Every delivery answered 200 before, during and after a kill -9 of Redis is in the ledger exactly once."""
    known = spooling()

    async def load(url: httpx.URL, until: list[float]) -> list[httpx.Response]:
        answers: list[httpx.Response] = []

        async def one(start: int) -> None:
            number = start
            while time.monotonic() < until[0]:
                answers.append(await client.post(**signed(number)))
                number += 1

        async with httpx.AsyncClient(base_url=url, timeout=10) as client:
            await asyncio.gather(*(one(100_000 * lane) for lane in range(16)))
        return answers

    with served(known) as client:
        until, found = [time.monotonic() + 60], []
        loading = threading.Thread(target=lambda: found.extend(asyncio.run(load(client.base_url, until))))
        loading.start()
        for _ in range(2):
            time.sleep(0.3)
            own.kill()
            time.sleep(0.3)
            own.start()
        time.sleep(0.3)
        until[0] = 0
        loading.join()
        wait(lambda: spooled(known) == 0)
        ids = [event for answer in found for event in answer.json()["events"]]
        assert {answer.status_code for answer in found} == {200}
        assert {answer.json()["verdict"] for answer in found} == {"accepted", "spooled"}
        assert sorted(kept(own.client())) == sorted(ids)
        assert read.totals(own.client())["duplicates"] == 0


def test_a_web_process_killed_with_rows_in_the_spool_drains_them_when_it_is_back(
    spooling, own, tmp_path
) -> None:
    """The web starts while Redis is down, takes deliveries, and what it took outlives two kill -9 of it."""
    known = spooling()
    own.kill()
    ids: list[str] = []
    for number in range(2):
        with process(known) as (web, client):
            for each in range(3):
                answer = client.post(**signed(10 * number + each))
                assert (answer.status_code, answer.json()["verdict"]) == (200, "spooled")
                ids += answer.json()["events"]
            web.kill()
    assert spooled(known) == 6
    own.start()
    with process(known):
        wait(lambda: spooled(known) == 0)
    assert kept(own.client()) == ids


@contextmanager
def process(settings: Settings) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    """The real command in a process of its own, killed at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = {
        "ZOHOOK_REDIS__URL": settings.redis.url,
        "ZOHOOK_KEY": settings.key,
        "ZOHOOK_SPOOL__TICK": "0.05",
    }
    command = [sys.executable, "-m", "receiver.cli", "web", "--port", str(port)]
    with (settings.folder / "web.log").open("ab") as log:
        web = subprocess.Popen(
            command, cwd=settings.folder, env={**os.environ, **given}, stdout=log, stderr=log
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:

            def listens() -> bool:
                assert web.poll() is None, (settings.folder / "web.log").read_text()
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", port)) == 0

            wait(listens)
            yield web, client
    finally:
        web.kill()
        web.wait()


def test_a_frozen_redis_costs_the_sender_a_second_and_nothing_is_lost(spooling, own) -> None:
    """With Redis stopped by SIGSTOP every answer is 200 "spooled" after a second, and each event is in the ledger once when it goes on."""
    known = spooling()
    with served(known) as client:
        assert client.post(**signed(1)).json()["verdict"] == "accepted"
        os.kill(own.pid, signal.SIGSTOP)
        try:
            took = []
            for number in range(2, 6):
                started = time.monotonic()
                answer = client.post(**signed(number))
                took.append(time.monotonic() - started)
                assert (answer.status_code, answer.json()["verdict"]) == (200, "spooled")
            assert min(took) < 1.5
            assert max(took) < 5  # on a machine that is busy with something else
            health = client.get("/healthz")  # whoever asks waits for no Redis that may never answer
            assert (health.status_code, health.json()) == (200, {"status": "spooling", "redis": "down"})
        finally:
            os.kill(own.pid, signal.SIGCONT)
        wait(lambda: spooled(known) == 0)
        assert len(kept(own.client())) == 5
        assert read.totals(own.client())["duplicates"] == 0
        assert client.post(**signed(9)).json()["verdict"] == "accepted"


def test_a_redis_that_is_nearly_full_is_spared(spooling, own) -> None:
    """Over 85 % of maxmemory, and past it, deliveries are spooled; with room again they are drained and the next is accepted."""
    known, redis = spooling(), own.client()
    with served(known) as client:
        for share in (0.9, 2):
            redis.config_set("maxmemory", int(redis.info("memory")["used_memory"] / share))
            wait(lambda: client.post(**signed(now_ms())).json()["verdict"] == "spooled")
            assert redis.hlen(keys.spool(socket.gethostname())) in {0, 5}
            redis.config_set("maxmemory", 0)
            wait(lambda: spooled(known) == 0)
            wait(lambda: client.post(**signed(now_ms())).json()["verdict"] == "accepted")
        said = wait(lambda: redis.hgetall(keys.spool(socket.gethostname())))
        assert int(said[b"depth"]) == 0
        assert redis.ttl(keys.spool(socket.gethostname())) <= 60
        assert redis.zrange(keys.spools(), 0, -1) == [socket.gethostname().encode()]


def test_a_full_spool_is_503_until_redis_is_back(spooling, own) -> None:
    """Past its size the answer is 503 and nothing is promised; what was promised is drained."""
    known = spooling(size=5_000)
    with served(known) as client:
        own.kill()
        answers = [client.post(**signed(number, 1_000)) for number in range(8)]
        statuses = [answer.status_code for answer in answers]
        assert statuses[:2] == [200, 200]
        assert statuses[-1] == 503
        assert answers[-1].json()["error"] == "unavailable"
        assert answers[-1].headers["retry-after"]
        own.start()
        wait(lambda: spooled(known) == 0)
        assert kept(own.client()) == [
            event for answer in answers for event in answer.json().get("events", [])
        ]


def test_order_is_kept_from_outage_through_draining(spooling, own) -> None:
    """What comes while older deliveries wait goes behind them: the ledger has all in the order they were sent."""
    known = spooling()
    with served(known) as client:
        ids = list(client.post(**signed(0)).json()["events"])
        own.kill()
        for number in range(1, 200):
            ids += client.post(**signed(number)).json()["events"]
        own.start()
        verdict, number = "spooled", 1_000
        while verdict == "spooled":
            answer = client.post(**signed(number)).json()
            verdict, number = answer["verdict"], number + 1
            ids += answer["events"]
            assert number < 20_000
        assert kept(own.client()) == ids


def test_repetitions_are_known_across_spool_and_ledger(spooling, own) -> None:
    """A delivery that came before Redis went away, and one that came twice while it was away, each become one event."""
    known = spooling()
    with served(known) as client:
        first, second = signed(1), signed(2)
        client.post(**first)
        own.kill()
        for each in (first, second, second):
            assert client.post(**each).json()["verdict"] == "spooled"
        own.start()
        wait(lambda: spooled(known) == 0)
        assert client.post(**second).json()["verdict"] == "duplicate"
        found = read.totals(own.client())
        assert (found["accepted"], found["duplicates"]) == (2, 3)


@pytest.mark.parametrize("batch", [1, 128])
def test_the_window_counts_from_receipt(spooling, own, monkeypatch, batch) -> None:
    """Long after: two of the same within the minute are one event, in one batch or in two; one after it is another event."""
    monkeypatch.setattr("receiver.intake.drain.MOST", batch)
    known = spooling()
    drain, spool = drain_of(known)
    rows = [aged(1, age) for age in (600, 590, 480, 90, 50, 5)]
    with spool.file() as file:
        file.insert([row for _, row in rows], 10**6)
    drain._once()
    assert kept(own.client()) == [rows[at][0].id for at in (0, 2, 3, 5)]
    assert read.totals(own.client())["duplicates"] == 2
    drain._redis.close()


@pytest.mark.parametrize("batch", [1, 40])
def test_a_repetition_is_known_however_many_facts_came_before(spooling, own, monkeypatch, batch) -> None:
    """Where no more can be remembered the oldest is forgotten: two of the same stay one event, wherever among the others they came."""
    monkeypatch.setattr("receiver.intake.marks.MOST", 30)
    monkeypatch.setattr("receiver.intake.drain.MOST", batch)
    known = spooling()
    drain, spool = drain_of(known)
    with spool.file() as file:
        for number in range(100):
            file.insert([aged(number, age)[1] for age in (600, 595)], 10**6)
    drain._once()
    assert read.totals(own.client())["accepted"] == 100
    assert len(kept(own.client())) == 100
    drain._redis.close()


def drain_of(settings: Settings, *, fit: bool = True) -> tuple[Drain, Spool]:
    """A drain that runs when the test says so, and its spool."""
    spool = Spool.of(settings)
    return Drain(spool, connect(settings), settings, Witness.of(settings), Vault.of(settings), fit=fit), spool


def test_of_two_web_processes_one_drains(spooling, own) -> None:
    """While somebody holds the lock nothing is drained by others; deliveries of both processes end up in the ledger once each."""
    known = spooling()
    with served(known) as one, served(known) as two:
        own.kill()
        with (known.folder / ".zohook/spool/spool.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for number in range(20):
                client = (one, two)[number % 2]
                assert client.post(**signed(number)).json()["verdict"] == "spooled"
            own.start()
            time.sleep(0.3)
            assert spooled(known) == 20
            assert one.post(**signed(20)).json()["verdict"] == "spooled"
        wait(lambda: spooled(known) == 0)
        for client in (one, two):
            wait(lambda client=client: client.post(**signed(now_ms())).json()["verdict"] == "accepted")
        assert read.totals(own.client())["accepted"] == 23
        assert read.totals(own.client())["duplicates"] == 0


def test_writes_that_stand_still_are_no_rows_fault(spooling, own) -> None:
    """A Redis that fails over answers, and lets writes wait: what was spooled waits for it, too, however often it is tried."""
    known = spooling(deadline=0.2)
    with served(known) as client, own.client() as redis:
        redis.execute_command("CLIENT", "PAUSE", "4000", "WRITE")
        assert {client.post(**signed(number)).json()["verdict"] for number in range(3)} == {"spooled"}
        with Spool.of(known).file() as file:
            wait(lambda: file.depth().depth == 0)
            assert file.depth().quarantined == 0
        assert len(kept(redis)) == 3


def test_a_row_that_fails_alone_three_times_is_quarantined(spooling, own) -> None:
    """What cannot be read and what Redis refuses are set aside with the reason; the rows around them are accepted."""
    known, redis = spooling(), own.client()
    drain, spool = drain_of(known)
    rows = [aged(number, 1) for number in range(4)]
    bad, unreadable = rows[1][1], Row(1, b"-{", b"-")
    with spool.file() as file:
        file.insert([rows[0][1], bad, unreadable, rows[2][1], rows[3][1]], 10**6)
    redis.set(keys.event(rows[1][0].id), "no hash")
    drain._once()
    assert kept(redis)[0] == rows[0][0].id
    with spool.file() as file:
        assert file.oldest(1, 1)[0].tries == 1
    for _ in range(4):
        drain._once()
    with spool.file() as file:
        reasons = [why for _, why in file.quarantined()]
        assert file.depth().depth == 0
    assert len(reasons) == 2
    assert "WRONGTYPE" in reasons[0]
    assert "cannot be read" in reasons[1]
    assert kept(redis)[-2:] == [rows[2][0].id, rows[3][0].id]
    assert spool.depth().quarantined == 2
    drain._redis.close()


def test_what_may_not_wait_to_be_verified_yet_is_set_aside_and_comes_back(spooling, own, monkeypatch) -> None:
    """Rows that the ledger has no room for bar no other row's way and are not lost: set aside with the reason, they come back once there is room."""
    monkeypatch.setattr(accepting, "KEPT", 2)
    monkeypatch.setattr(draining, "KEPT", 2)
    monkeypatch.setattr(draining, "ROOM_AGAIN", 0.0)
    known, redis = spooling(), own.client()
    drain, spool = drain_of(known)
    unverified = [Record(Delivery.arrive("desk", b"[]"), "unverified", "no keys") for _ in range(5)]
    event, behind = aged(1, 1)
    with spool.file() as file:
        file.insert([*(Row(now_ms(), *pack_record(each)) for each in unverified), behind], 10**6)
    drain._once()
    assert kept(redis) == [event.id]
    assert (spool.depth().depth, spool.depth().quarantined, spool.first) == (0, 3, False)
    assert "too many deliveries wait to be verified" in command(known, "spool")
    drain._once()
    assert spool.depth().quarantined == 3
    seen = set()
    for each in unverified:
        seen.update(row.id for row in read.deliveries(redis, "unverified"))
        accept(redis, [Record(each.delivery, "rejected", "its key is not Desk's")])
        for _ in range(3):
            drain._once()
        assert redis.zcard(keys.deliveries("unverified")) <= 2
    assert spool.depth() == Depth()
    assert seen == {each.delivery.id for each in unverified}
    drain._redis.close()


def test_an_unreadable_spool_is_told_and_costs_nothing_while_redis_lives(spooling, own, capsys) -> None:
    """The log names the file and the cure; deliveries are accepted, and 503 only once Redis is away as well; mended, it is used."""
    known = spooling()
    file: Path = known.folder / known.spool.path
    file.parent.mkdir(parents=True)
    file.write_bytes(b"this is no database, whatever it is called" * 100)
    with served(known) as client:
        assert client.post(**signed(1)).json()["verdict"] == "accepted"
        own.kill()
        assert client.post(**signed(2)).status_code == 503
        assert file.read_bytes().startswith(b"this is no database")
        file.rename(file.with_suffix(".broken"))
        wait(lambda: client.post(**signed(3)).json().get("verdict") == "spooled")
        own.start()
        wait(lambda: client.post(**signed(now_ms())).json().get("verdict") == "accepted")
    said = capsys.readouterr().err
    assert "spool.unusable" in said
    assert str(file) in said


READER = """
import sys
from pathlib import Path
from receiver.intake.spoolfile import Flag, SpoolFile
path = Path(sys.argv[1])
with SpoolFile(path, Flag(path.with_suffix(".flag"))) as file:
    print(file.depth().depth)
"""


def test_who_opens_and_closes_the_file_takes_nothing_from_others(spooling) -> None:
    """Another process that comes and goes leaves the log to those that write it, however many connections they have opened."""
    spool = Spool.of(spooling())

    def seen_by_another() -> int:
        words = [sys.executable, "-c", READER, str(spool.path)]
        return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)

    with spool.file() as writer, spool.file() as other:
        for count in (1, 2, 3):
            writer.insert([aged(count, 1)[1]], 10**6)
            assert (other.depth().depth, seen_by_another()) == (count, count)


def test_a_look_at_the_spool_costs_nothing_that_comes_after_it(spooling, own) -> None:
    """What is answered 200 after somebody ran `zohook spool` outlives a kill -9 as what came before."""
    known = spooling()
    own.kill()
    with process(known) as (web, client):
        for number in range(6):
            assert client.post(**signed(number)).json()["verdict"] == "spooled"
            if number == 2:
                assert "3 deliveries wait" in command(known, "spool")
        web.kill()
        web.wait()
    assert spooled(known) == 6


def test_a_spool_file_that_is_taken_away_is_made_anew(spooling, own) -> None:
    """Rows are never written into a file that nobody will find again."""
    known = spooling()
    with served(known) as client:
        own.kill()
        assert client.post(**signed(1)).json()["verdict"] == "spooled"
        for each in (known.folder / known.spool.path).parent.glob("spool.sqlite3*"):
            each.rename(each.with_name("aside." + each.name))
        # Who looks between two of the files finds half a spool: that is answered 503, and Zoho sends it again.
        wait(lambda: client.post(**signed(2)).json().get("verdict") == "spooled")
        assert spooled(known) == 1


def test_an_unfit_redis_gets_nothing_when_it_answers_at_last(spooling, own) -> None:
    """A Redis that evicts, first met after the start, stays unwritten until it is set right."""
    known, redis = spooling(), own.client()
    redis.config_set("maxmemory-policy", "allkeys-lru")
    drain, spool = drain_of(known, fit=False)
    with spool.file() as file:
        file.insert([aged(1, 1)[1]], 10**6)
    drain._once()
    assert (spool.first, redis.dbsize()) == (True, 0)
    redis.config_set("maxmemory-policy", "noeviction")
    drain._once()
    assert (spool.first, len(kept(redis))) == (False, 1)
    drain._redis.close()


def test_what_is_rejected_is_never_spooled(spooling, own) -> None:
    """A forged delivery is 401 whether Redis lives or not, and leaves nothing on disk."""
    known = spooling()
    with served(known) as client:
        own.kill()
        assert client.post(PATH, content=b"{}").status_code == 401
        good = client.post(**signed(1))
        assert (good.status_code, good.json()["verdict"]) == (200, "spooled")
        assert client.post(PATH, content=b"{}").status_code == 401
        assert spooled(known) == 1


def test_what_the_ledger_refused_is_looked_at_and_let_go(spooling, own) -> None:
    """`zohook spool` lists a quarantined delivery with its reason and shows it; released, it reaches the ledger once it can."""
    known, redis = spooling(), own.client()
    drain, spool = drain_of(known)
    event, row = aged(1, 1)
    with spool.file() as file:
        file.insert([row], 10**6)
    redis.set(keys.events_of_type("books.invoice.paid"), "in the way")
    for _ in range(3):
        drain._once()
    assert "1 quarantined" in (listed := command(known, "spool"))
    assert "WRONGTYPE" in listed
    assert '"source": "books"' in command(known, "spool", "--show", "1")
    assert "1 deliveries are quarantined" in command(known, "check")
    redis.delete(keys.events_of_type("books.invoice.paid"))
    assert command(known, "spool", "--release", "all").startswith("1 wait again")
    drain._once()
    assert kept(redis) == [event.id]
    assert spool.depth() == Depth()
    assert "0 deliveries wait" in command(known, "spool")
    drain._redis.close()


def long_ago(redis: Any, host: str, seconds: float = 600) -> None:
    """A host was heard of so long ago."""
    at = int(redis.hget(keys.spool(host), "seen")) - int(seconds * 1000)
    redis.hset(keys.spool(host), "seen", at)
    redis.zadd(keys.spools(), {host: at})


def test_a_host_that_is_gone_stays_known_with_what_it_left(spooling, own) -> None:
    """A minute after its last word the row of a host is there as long as anything waits, and `zohook check` and `zohook spool` say so; an empty one goes."""
    known, redis = spooling(), own.client()
    drain, spool = drain_of(known)
    host = socket.gethostname()
    with spool.file() as file:
        file.insert([aged(1, 1)[1]], 10**6)
        drain._tell(file)
        assert redis.ttl(keys.spool(host)) == -1
        assert "not heard of" not in command(known, "check")
        long_ago(redis, host)
        spools.tell(redis, "web-2", "", depth=0, size=0, oldest=0, quarantined=1)
        (gone, living) = spools.rows(redis)
        assert (gone.host, gone.depth, gone.gone, living.host, living.gone) == (host, 1, True, "web-2", False)
        for word in ("check", "spool"):
            said = " ".join(command(known, word).split())
            assert f"1 deliveries wait on the disk of {host}, which was not heard of since" in said
            assert "disk of web-2" not in said
        drain._once()  # it came back
        assert [row.depth for row in spools.rows(redis)] == [0, 0]
        assert 0 < redis.ttl(keys.spool(host)) <= 60
        redis.delete(keys.spool(host))  # as it does by itself
        drain._told = float("-inf")
        drain._tell(file)
        assert [row.host for row in spools.rows(redis)] == ["web-2"]
    drain._redis.close()


def test_a_host_that_never_comes_back_is_forgotten_by_a_person(spooling, own) -> None:
    """`zohook spool --forget-host` gives up what it left; of one that lives, or that nobody knows, it says why not."""
    known, redis = spooling(), own.client()
    redis.config_set("appendonly", "yes")
    spools.tell(redis, "web-1", "", depth=12, size=1, oldest=1, quarantined=3)
    assert "web-1 was heard of" in command(known, "spool", "--forget-host", "web-1", status=2)
    long_ago(redis, "web-1")
    assert "12 deliveries wait and 3 are quarantined on the disk of web-1" in command(known, "spool")
    assert "15 deliveries on its disk are given up" in command(known, "spool", "--forget-host", "web-1")
    assert spools.rows(redis) == []
    assert not redis.exists(keys.spools(), keys.spool("web-1"))
    assert "no spool of a host web-1" in command(known, "spool", "--forget-host", "web-1", status=2)


def test_a_container_made_anew_tells_of_the_same_file_under_its_new_name(spooling, own) -> None:
    """What its forerunner told is no more than what it tells itself, be that nothing."""
    known, redis = spooling(), own.client()
    first, spool = drain_of(known)
    first._host = "container-1"
    with spool.file() as file:
        file.insert([aged(1, 1)[1]], 10**6)
        first._tell(file)
    assert [(row.host, row.depth) for row in spools.rows(redis)] == [("container-1", 1)]
    second, _ = drain_of(known)
    second._host = "container-2"
    second._once()
    assert [(row.host, row.depth) for row in spools.rows(redis)] == [("container-2", 0)]
    first._redis.close()
    second._redis.close()


def test_who_drains_after_a_death_says_that_nothing_waits_any_more(spooling, own) -> None:
    """The process that told of a row and drained it may die before it says so; another one of the host does, though it never saw any."""
    known, redis = spooling(), own.client()
    spools.tell(redis, host := socket.gethostname(), "", depth=3, size=1, oldest=1, quarantined=0)
    drain, _ = drain_of(known)
    drain._once()
    assert [(row.host, row.depth) for row in spools.rows(redis)] == [(host, 0)]
    assert redis.ttl(keys.spool(host)) > 0
    drain._redis.close()


def test_a_host_with_a_fast_clock_leaves_the_rows_of_the_others(spooling, own, monkeypatch) -> None:
    """Who was heard of when is a matter of one clock, that of Redis."""
    known, redis = spooling(), own.client()
    spools.tell(redis, "web-2", "", depth=0, size=0, oldest=0, quarantined=1)
    drain, spool = drain_of(known)
    with spool.file() as file:
        file.insert([aged(1, 1)[1]], 10**6)
        real = time.time_ns
        monkeypatch.setattr(time, "time_ns", lambda: real() + 3_600 * 10**9)
        drain._tell(file)
    assert [(row.host, row.silent < 10_000) for row in spools.rows(redis)] == [
        ("web-2", True),
        (socket.gethostname(), True),
    ]
    drain._redis.close()


def command(settings: Settings, *words: str, status: int = 0) -> str:
    """What a command prints, run in the project's folder."""
    given = {**os.environ, "ZOHOOK_REDIS__URL": settings.redis.url, "ZOHOOK_KEY": settings.key}
    (settings.folder / "handlers").mkdir(exist_ok=True)
    (settings.folder / "handlers" / "__init__.py").touch()
    run = subprocess.run(
        [sys.executable, "-m", "receiver.cli", *words],
        cwd=settings.folder, env=given, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == status, run.stderr
    return run.stderr if status else run.stdout


def test_machines_hear_of_the_spool_and_of_memory(spooling, own) -> None:
    """While Redis is away the web process is well as long as its spool is, and /metrics tells how much waits; filling shows too."""
    known, redis = spooling(), own.client()
    with served(known) as client:
        assert client.get("/healthz").json() == {"status": "ok", "redis": "ok"}
        for share, word in ((0.75, "filling"), (0.9, "full")):
            redis.config_set("maxmemory", int(redis.info("memory")["used_memory"] / share))
            assert client.get("/healthz").json() == {"status": word, "redis": word}
        redis.config_set("maxmemory", 0)
        assert "zohook_redis_up 1.0" in client.get("/metrics").text
        own.kill()
        assert client.post(**signed(1)).json()["verdict"] == "spooled"
        health = client.get("/healthz")
        assert (health.status_code, health.json()) == (200, {"status": "spooling", "redis": "down"})
        text = wait(lambda: "zohook_spool_depth 1.0" in (said := client.get("/metrics").text) and said)
        assert "zohook_redis_up 0.0" in text
        assert float(text.partition("\nzohook_spool_oldest_seconds ")[2].split()[0]) < 30


def test_health_is_bad_while_the_spool_refuses_too(spooling, own) -> None:
    """With Redis away or full and the spool at its size it is 503; with Redis back, all is well without another delivery."""
    known, redis = spooling(deadline=0.2, size=5_000), own.client()
    with served(known) as client:
        for word in ("down", "full"):
            if word == "down":
                own.kill()
            else:
                redis.config_set("maxmemory", int(redis.info("memory")["used_memory"] / 0.9))
            wait(lambda: client.post(**signed(now_ms(), 1_000)).json()["verdict"] == "spooled")
            wait(lambda word=word: client.get("/healthz").json()["redis"] == word)
            assert client.get("/healthz").status_code == 200
            wait(lambda: client.post(**signed(now_ms(), 1_000)).status_code == 503)
            health = client.get("/healthz")
            assert (health.status_code, health.json()) == (503, {"status": "refusing", "redis": word})
            own.start() if word == "down" else redis.config_set("maxmemory", 0)
            wait(lambda: client.get("/healthz").json() == {"status": "ok", "redis": "ok"})
            wait(lambda: spooled(known) == 0)


def test_a_spool_that_refused_keeps_again_once_there_is_room(spooling, own) -> None:
    """A later delivery that fits makes it well, and so does a drain, also that of another process, as soon as it is seen."""
    known = spooling(size=5_000)
    one, two = Spool.of(known), Spool.of(known)
    rows = [Row(1, b"", bytes(size)) for size in (3_000, 3_000, 100)]
    assert [one._insert([row]) for row in rows[:2]] == [1, 0]
    assert (one.keeps, two.keeps) == (False, True)
    assert one._insert(rows[2:]) == 1
    assert one.keeps
    assert one._insert([rows[1]]) == 0
    assert not one.keeps
    with two.file() as file:
        file.done(file.oldest(1, 1))
        one.seen(file.depth())
    assert one.keeps
    for each in (one, two):
        each._drop_file()

"""Limits kept by all processes together, against a Zoho that refuses whoever goes over them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest

from receiver import keys
from receiver.errors import InvalidRequest, RateLimited, Unavailable
from receiver.event import now_ms
from receiver.zoho.ask import Ask
from receiver.zoho.limits import place_of, uses
from receiver.zoho.outcomes import Verdict

ROOT = Path(__file__).parents[3]


def refused(house):
    """How often the simulator had to say 429."""
    return sum(call.status == 429 for call in house.simulator.journal.calls())


def limited(build, simulator, text):
    """A connected house with these limits."""
    house = build(simulator, more=text)
    house.connect()
    return house


def test_no_more_calls_are_in_flight_than_are_let_in(build, simulator):
    """Forty threads and a Zoho that takes five at once: every call is served, and none is refused."""
    simulator.limits.crm_concurrency = 5
    simulator.limits.api_delay = 0.01
    house = limited(build, simulator, "limits = { crm = { in_flight = 5 } }")
    with ThreadPoolExecutor(40) as pool:
        done = list(pool.map(lambda _: house.zoho.crm.user()["id"], range(120)))
    assert len(done) == 120
    assert refused(house) == 0
    assert simulator.crm.gate.highest <= 5
    house.transport.flush()
    assert uses(house.redis)[0].in_flight == 0


def test_calls_a_minute_are_counted_and_the_rest_comes_later(build, simulator):
    """The calls that a minute has room for are made; the others are told how long to wait, and Zoho never refused one."""
    simulator.limits.books_per_minute = 20
    house = limited(build, simulator, "limits = { books = { per_minute = 20 } }")
    house.transport._patience = 0.2

    def call(_):
        try:
            return bool(list(house.zoho.books.list("contacts")))
        except RateLimited as error:
            return (error.hold, 0 < error.retry_after <= 60)

    with ThreadPoolExecutor(8) as pool:
        done = Counter(pool.map(call, range(30)))
    assert done == {True: 20, ("", True): 10}
    assert refused(house) == 0


def test_replays_leave_room_to_live_events(build, simulator):
    """Work that may wait takes half of the places and of the minute; a live call goes through at once beside it."""
    house = limited(build, simulator, "limits = { books = { per_minute = 10 } }")
    house.transport._patience = 0.1
    replay = house.clients.for_job("acme", behind=True)
    for _ in range(5):
        list(replay.books.list("contacts"))
    with pytest.raises(RateLimited, match="a minute"):
        list(replay.books.list("contacts"))
    assert list(house.zoho.books.list("contacts"))


def test_the_last_credits_are_kept_for_live_events(build, simulator):
    """With a fifth of the day left, replays are held, and live events go on until nothing is left; then they are held as well."""
    house = limited(build, simulator, "limits = { crm = { credits = 20 } }")
    replay = house.clients.for_job("acme", behind=True)
    for _ in range(16):
        replay.crm.user()
    with pytest.raises(RateLimited, match="kept for live events") as told:
        replay.crm.user()
    assert told.value.hold == "acme:crm#behind"
    for _ in range(4):
        house.zoho.crm.user()
    with pytest.raises(RateLimited, match="spent"):
        house.zoho.crm.user()
    (use,) = [each for each in uses(house.redis) if each.place == "acme:crm"]
    assert use.spent == 20
    assert "kept for live events" in use.kept
    assert use.blocked == "the day's credits are spent"
    assert use.pace >= 10
    assert use.lasts(20) == 0
    assert 0 < use.lasts(40) <= 7200
    assert use.lasts(100_000) is None


def test_a_days_calls_that_the_settings_name_are_kept_to(build, simulator):
    """Books has no credits, but a number of calls a day that goes by the plan: what the settings say is not gone over."""
    house = limited(build, simulator, "limits = { books = { credits = 3 } }")
    for _ in range(3):
        list(house.zoho.books.list("contacts"))
    with pytest.raises(RateLimited, match="spent") as told:
        list(house.zoho.books.list("contacts"))
    assert told.value.hold == "acme:books:20061234567"


def test_what_zoho_says_is_left_wins(build, simulator):
    """Others spend from the same credits: the header tells, and is believed over our own count."""
    simulator.limits.crm_credits = 10
    house = limited(build, simulator, "limits = { crm = { credits = 1000 } }")
    for _ in range(10):
        house.zoho.crm.user()
    with pytest.raises(RateLimited):
        house.zoho.crm.user()
    assert refused(house) == 0


def test_a_long_refusal_blocks_the_place_for_all(build, simulator):
    """Books' day limit: one process hears it, no process calls any more, and each job is told which place to wait for."""
    simulator.limits.books_per_day = 0
    house = limited(build, simulator, "")
    other = build(simulator)
    for each in (house, other):
        with pytest.raises(RateLimited) as told:
            list(each.zoho.books.list("contacts"))
        assert told.value.hold == "acme:books:20061234567"
    assert refused(house) == 1
    (use,) = [each for each in uses(house.redis) if "books" in each.place]
    assert use.blocked == "day limit"
    assert house.zoho.crm.user()
    house.redis.delete(keys.calls_blocked("acme:books:20061234567"))
    simulator.limits.books_per_day = 100
    assert list(other.zoho.books.list("contacts"))


def test_an_outage_opens_the_brake(build, simulator):
    """Ten calls in a row without an answer and nobody calls for a while; the first failure after that brakes for longer."""
    house = limited(build, simulator, "")
    house.transport._patience = 0.0
    house.zoho.crm.user()
    simulator.faults.add("status", product="crm", status=503, times=100)
    for _ in range(10):
        with pytest.raises(Unavailable):
            house.zoho.crm.user()
    calls = len(simulator.journal.calls("crm"))
    with pytest.raises(RateLimited, match="outage") as told:
        house.zoho.crm.user()
    assert told.value.hold == "acme:crm"
    assert len(simulator.journal.calls("crm")) == calls
    house.redis.delete(keys.calls_blocked("acme:crm"))
    with pytest.raises(Unavailable):
        house.zoho.crm.user()
    assert house.redis.pttl(keys.calls_blocked("acme:crm")) > 25_000
    house.redis.delete(keys.calls_blocked("acme:crm"))
    simulator.faults.clear()
    assert house.zoho.crm.user()
    house.transport.flush()
    assert not house.redis.exists(keys.calls_failed("acme:crm"))


def test_a_killed_process_gives_its_places_back(build, simulator):
    """A process that is SIGKILLed in mid-call holds its place only as long as its lease."""
    simulator.limits.api_delay = 5
    house = limited(build, simulator, "limits = { crm = { in_flight = 1 } }")
    house.tokens.get("acme")
    script = (
        "import sys\nfrom receiver.ledger.connect import connect\nfrom receiver.settings import Settings\n"
        "from receiver.zoho import Clients\nfrom receiver.zoho.vault import Vault\n"
        "s = Settings.load(sys.argv[1])\nClients(connect(s), s, Vault.open_or_make(s)).for_job('acme').crm.user()\n"
    )
    environment = {
        **os.environ,
        "ZOHOOK_KEY": house.settings.key,
        "ZOHOOK_SECRET_ACME": simulator.client_secret,
        "PYTHONPATH": str(ROOT),
    }
    child = subprocess.Popen([sys.executable, "-c", script, str(house.settings.folder)], env=environment)
    until = time.monotonic() + 30
    place = keys.calls_in_flight("acme:crm")
    while not house.redis.zcard(place):
        assert time.monotonic() < until
        time.sleep(0.02)
    child.kill()
    child.wait()
    simulator.limits.api_delay = 0
    house.transport._patience = 0.2
    with pytest.raises(RateLimited, match="all places are taken"):
        house.zoho.crm.user()
    (call,) = house.redis.zrange(place, 0, -1)
    house.redis.zadd(place, {call: 1})  # as if its lease were over
    assert house.zoho.crm.user()


def test_without_redis_a_call_is_made_all_the_same(house, monkeypatch):
    """A Redis that does not answer the limits stops no call: the token in hand is good, and the run's end will tell."""
    from redis.exceptions import ConnectionError as Gone

    assert house.zoho.crm.user()

    def gone(**_):
        raise Gone

    monkeypatch.setattr(house.transport._limits, "_admit", gone)
    monkeypatch.setattr(house.transport._limits, "_leave", gone)
    assert house.zoho.crm.user()


def test_what_must_last_is_on_disk_and_no_call_waits_for_it(house):
    """A lease is not written to the append-only file; a tenth of a second later credits and record are, as they are counted."""
    house.zoho.crm.user()
    house.transport.flush()
    house.redis.config_set("appendonly", "yes")
    time.sleep(0.3)
    before, known = house.redis.info("persistence")["aof_current_size"], house.redis.llen(keys.calls_log())
    ask = Ask("crm", "GET", "/crm/v8/org")
    place = place_of("acme", ask, "", house.zoho.connection_settings)
    lease = house.transport._limits.enter(place, ask, patience=1, behind=False, fence=lambda: None)
    assert house.redis.zscore(keys.calls_in_flight("acme:crm"), lease)
    assert house.redis.info("persistence")["aof_current_size"] == before
    (spent,) = [use.spent for use in uses(house.redis) if use.place == "acme:crm"]
    house.transport._limits.leave(place, lease, ask, Verdict(), {"at": now_ms(), "credits": None, "ms": 1})
    until = time.monotonic() + 5
    while house.redis.llen(keys.calls_log()) == known:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert not house.redis.zscore(keys.calls_in_flight("acme:crm"), lease)
    house.redis.execute_command("DEBUG", "LOADAOF")
    (again,) = [use.spent for use in uses(house.redis) if use.place == "acme:crm"]
    assert (again, house.redis.llen(keys.calls_log())) == (spent, known + 1)


def test_every_call_is_kept_and_summed(house):
    """A good call and a refused one: both are in the log of all calls, the refused one with what was sent and said; the day's sums add up."""
    house.zoho.crm.user()
    with pytest.raises(InvalidRequest):
        house.zoho.request("crm", "POST", "/crm/v8/Leads", json={"nonsense": "a-word"})
    house.transport.flush()
    refused, good = (orjson.loads(each) for each in house.redis.lrange(keys.calls_log(), 0, 1))
    assert (good["connection"], good["product"], good["status"], "answer" in good) == (
        "acme",
        "crm",
        200,
        False,
    )
    assert refused["status"] == 400
    assert "a-word" in refused["request"]
    assert refused["code"] in refused["answer"]
    (day,) = house.redis.keys(keys.calls_of_day("*"))
    sums = {name.decode(): int(value) for name, value in house.redis.hgetall(day).items()}
    assert (sums["acme:crm:n"], sums["acme:crm:failed"]) == (2, 1)

"""A flood of jobs against a Zoho that lets in five calls at once, a hundred a minute, and has few credits.

    python -m pytest tests/flow/zoho/test_zoho_flood.py --flood 2000 -n 0 -s

takes Zoho's own minutes; without `--flood` it is a few hundred jobs and minutes of a second.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter

import pytest
from test_zoho_limits import limited

from receiver import keys
from receiver.event import Delivery, Event, new_id, now_ms
from receiver.ledger import backfills, read, runs
from receiver.ledger.accept import Record, accept

SHORT = 240
ROOM = """
from receiver import on

@on("books.invoice.updated")
def bill(event, zoho):
    zoho.books.update("contacts", event.data["contact"], {"notes": event.record_id})

@on("crm.Leads.updated")
def lead(event, zoho):
    zoho.crm.update("Leads", event.data["lead"], {"Phone": event.record_id}, trigger=[])
"""
WAYS = {"bill": ("books.invoice.updated", "contact"), "lead": ("crm.Leads.updated", "lead")}


class Flood:
    """Jobs for two products, half of them live and half behind them, and the workers that do them."""

    def __init__(self, house, count, package):
        self.house, self.redis, self.zoho = house, house.redis, house.simulator
        self.each = count // 4
        self.package = package
        person = self.zoho.books.create("contacts", {"contact_name": "Acme"})["contact_id"]
        lead = self.zoho.crm.create("Leads", {"Last_Name": "Doe", "Company": "Acme"})["id"]
        self.about = {"bill": {"contact": person}, "lead": {"lead": lead}}

    def behind(self):
        """The half that live events go before: what a backfill gives."""
        for name, (kind, _) in WAYS.items():
            said = {"handler": f"room.{name}", "type": kind, "connection": "acme"}
            rows = [
                {"id": f"b{number}", "data": self.about[name], "policy": ""} for number in range(self.each)
            ]
            backfills.give(self.redis, new_id(), said, rows, 1)

    def live(self):
        """The other half, as the door accepts it; a record's number is its rank."""
        for number in range(self.each):
            events = [
                Event(
                    id=new_id(), type=kind, source="crm", data=self.about[name], received=now_ms(),
                    record_id=f"l{number}", connection="acme",
                )
                for name, (kind, _) in WAYS.items()
            ]  # fmt: skip
            accept(self.redis, [Record(Delivery.arrive("crm"), "accepted", events=events)], again=1)

    def worker(self):
        """A worker process of twenty threads."""
        environment = {
            **os.environ,
            "ZOHOOK_FOLDER": str(self.house.settings.folder),
            "ZOHOOK_KEY": self.house.settings.key,
            "ZOHOOK_SECRET_ACME": self.zoho.client_secret,
        }
        return subprocess.Popen([sys.executable, "-m", "receiver.cli", "worker"], env=environment)

    def wrote(self):
        """The marks that reached Zoho, in their order: one for each call that it took."""
        found = []
        for call in self.zoho.journal.calls():
            if call.method == "PUT" and call.status == 200:
                mark = call.body.split('"notes":"' if call.product == "books" else '"Phone":"')[1]
                found.append((call.product, mark.split('"')[0]))
        return found

    def done(self, product, kind):
        """How many marks of a product and a kind (l for live, b for behind) reached Zoho."""
        return sum(each == product and mark[0] == kind for each, mark in self.wrote())


@pytest.fixture
def flood(request, build, simulator, tmp_path):
    """The flood, its workers running while the test lasts."""
    count = request.config.getoption("flood", None) or SHORT
    long = count >= 2_000
    window, minute = (60, 100) if long else (1, 25)
    package = f"rooms_{os.getpid()}_{time.monotonic_ns()}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / package / "room.py").write_text(ROOM)
    limits = simulator.limits
    limits.books_concurrency = limits.crm_concurrency = 5
    limits.books_per_minute, limits.books_minute = minute, window
    limits.crm_credits = int(count * 0.4)
    limits.api_delay = 0.02
    house = limited(
        build, simulator,
        f"limits = {{ books = {{ in_flight = 5, per_minute = {minute * 9 // 10}, window = {window} }}, "
        f"crm = {{ in_flight = 5, credits = {limits.crm_credits} }} }}\n"
        f'[handlers]\npackages = ["{package}"]\n[worker]\nthreads = 20\ntick = 0.2\nagain = 2\n',
    )  # fmt: skip
    made = Flood(house, count, package)
    workers = [made.worker() for _ in range(2)]
    yield made
    for each in workers:
        each.terminate()
    for each in workers:
        each.wait()


def waited(true, seconds):
    """Wait until something is so; how long it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() < began + seconds, "waited too long"
        time.sleep(0.2)
    return time.monotonic() - began


def test_a_flood_is_served_within_zohos_limits(flood):
    """No call is refused that we could have kept back, no job is lost or done twice, live ones come first and get the last credits."""
    each, redis = flood.each, flood.redis
    flood.behind()
    flood.live()
    seconds = 90 if each * 4 < 2_000 else 2_400
    lead_live = waited(lambda: flood.done("crm", "l") == each, seconds)
    book_live = waited(lambda: flood.done("books", "l") == each, seconds)
    early = {product: flood.done(product, "b") for product in ("crm", "books")}
    books = waited(lambda: flood.done("books", "b") == each, seconds)
    (place,) = [reason for reason in read.parked_work(redis) if reason.startswith("limit:")]
    assert place == "limit:acme:crm#behind"
    held = read.parked_work(redis)[place]
    spent = flood.done("crm", "b")
    assert spent < each, "the credits were too many to show anything"
    left = flood.zoho.limits.crm_credits - flood.zoho.crm.credits.used(flood.zoho.world.now())
    flood.zoho.crm.credits.clear()  # as if a day had passed
    flood.zoho.limits.crm_credits = 50_000
    redis.delete(keys.calls_credits("acme:crm"))
    redis.hset(keys.calls_credits("acme:crm"), mapping={"left": 50_000, "left_at": now_ms()})
    redis.delete(keys.calls_blocked("acme:crm#behind"))
    runs.release(redis, place)
    rest = waited(lambda: read.states(redis)["open"] == 0 and read.totals(redis)["done"] == 4 * each, seconds)
    calls = flood.zoho.journal.calls()
    refused = Counter(call.code for call in calls if call.status == 429)
    figures = {
        "jobs": 4 * each,
        "seconds": round(lead_live + book_live + books + rest, 1),
        "refused": dict(refused),
        "highest in flight": {"crm": flood.zoho.crm.gate.highest, "books": flood.zoho.books.gate.highest},
        "behind, done when the last live one was": early,
        "held for credits": held,
        "credits left to live events": left,
    }
    print(figures)
    assert not refused
    assert Counter(flood.wrote()) == dict.fromkeys(
        (
            (product, f"{kind}{number}")
            for product in ("crm", "books")
            for kind in "lb"
            for number in range(each)
        ),
        1,
    )
    assert flood.zoho.crm.gate.highest <= 5
    assert flood.zoho.books.gate.highest <= 5
    assert early["books"] < each
    assert left >= 0

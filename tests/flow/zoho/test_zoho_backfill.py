"""`zohook run`: a handler over records that had no event, with the real command, the real ledger and a strict Zoho."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter

import pytest
import typer
from test_zoho_limits import limited

from receiver import cli, keys
from receiver.event import id_within
from receiver.ledger import read, runs
from receiver.routing import backfill_pages, backfills, plugins, replays
from receiver.routing.process import Process
from tests.flow.conftest import House
from tests.flow.kit import drain

ROOM = """
from pathlib import Path
from receiver import on
from receiver.errors import InvalidRequest

FOLDER = Path(__file__).parent.parent

def note(*words):
    with (FOLDER / "seen.txt").open("a") as file:
        file.write(" ".join(map(str, words)) + "\\n")

@on("Leads.edit", "crm.Leads.created", record=True, where={"Company": lambda name: name != "Nobody"}, order="record")
def greet(event, zoho):
    note(event.record_id, event.origin, event.record["Last_Name"])
    if event.record["Last_Name"] == "Bad":
        raise InvalidRequest("no such lead")

@on("crm.Deals.updated", "crm.Leads.updated")
def both(event):
    note(event.type, event.data)

@on("books.invoice.*", record=True)
def billed(event):
    note(event.type, event.record["invoice_id"])

@on("desk.Ticket.created", batch=10, batch_for="0.1s")
def tickets(events):
    note(*sorted(event.record_id for event in events))

@on("app.remind")
def remind(event):
    note("never")

@on("crm.Leads.created", origins="live")
def lately(event):
    note("never")
"""


class Rig:
    """A connected house, its project's folder, and the command."""

    def __init__(self, house, zohook):
        self.house, self.zohook, self.redis = house, zohook, house.redis
        self.simulator = house.simulator

    def leads(self, count, **more):
        """New leads; their ids in the order of making."""
        made = [{"Last_Name": f"Lead {number}", "Company": "Acme", **more} for number in range(count)]
        return [self.simulator.crm.create("Leads", each)["id"] for each in made]

    def worker(self):
        """A worker of one thread in this process."""
        process = Process(self.house.settings, self.redis, plugins.load(self.house.settings))
        process.catalogue.publish(born=True)
        return House(self.redis, process)

    def work_off(self, worker, seconds=20):
        """Give out what the backfills have, and work until nothing is open."""
        limit = time.monotonic() + seconds
        while self.redis.exists(keys.replays_running()):
            assert time.monotonic() < limit
            worker.sweeper.once()
            worker.work()
        drain(worker, seconds)

    def seen(self):
        """What the handlers wrote."""
        file = self.house.settings.folder / "seen.txt"
        return file.read_text().splitlines() if file.exists() else []

    def the_only(self):
        """The one backfill that there is."""
        (found,) = replays.recorded(self.redis)
        return found


@pytest.fixture
def rig(build, simulator, monkeypatch, capsys, tmp_path):
    """Makes rigs; `limits` are those of the connection."""
    simulator.limits.crm_search_lag = 0
    package = f"rooms_{os.getpid()}_{time.monotonic_ns()}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / package / "room.py").write_text(ROOM)

    def make(limits=""):
        worker = "[worker]\nlease = 2\ntick = 0.1\nagain = 0.5\n"
        house = limited(build, simulator, f'{limits}\n[handlers]\npackages = ["{package}"]\n{worker}')
        monkeypatch.setenv("ZOHOOK_FOLDER", str(tmp_path))
        monkeypatch.setenv("ZOHOOK_KEY", house.settings.key)

        def zohook(*arguments, status=0):
            monkeypatch.setattr(sys, "argv", ["zohook", *arguments])
            with pytest.raises(SystemExit) as ended:
                cli.main()
            out, err = capsys.readouterr()
            assert (ended.value.code or 0) == status, out + err
            return err if status else out

        return Rig(house, zohook)

    yield make
    for name in [name for name in sys.modules if name.startswith(package)]:
        del sys.modules[name]


def test_ids_are_run_once_each_and_told_how_it_went(rig):
    """Named records: one job each in the lane of replays, with an origin of its own; the same command again runs nothing twice."""
    rig = rig()
    good, bad, other = [*rig.leads(1), *rig.leads(1, Last_Name="Bad"), *rig.leads(1, Company="Nobody")]
    told = rig.zohook(
        "run", "room.greet", "--id", f"{good},{bad}", "--id", other, "--id", good, "--rate", "0"
    )
    assert "3 records known" in told
    assert "no worker is running" in told
    worker = rig.worker()
    worker.sweeper.once()
    (found,) = {row.event.origin for row in read.page(rig.redis).rows}
    assert found == "backfill"
    lanes = {rig.redis.hget(keys.job(job), "lane") for job in jobs_of(rig, "room.greet", good, bad, other)}
    assert lanes == {b"zohook_replay"}
    drain(worker)
    assert Counter(line.split()[0] for line in rig.seen()) == {good: 1, bad: 1}
    assert rig.seen()[0].split()[1] == "backfill"
    told = rig.zohook("run", "room.greet", "--id", f"{good},{bad}", "--id", other)
    assert "all given out" in told
    drain(worker)
    assert len(rig.seen()) == 2
    assert backfills.progress(rig.redis, rig.the_only().id).jobs == {"skipped": 1, "dead": 1, "done": 1}
    rig.zohook("run", "room.greet", "--id", f"{good},{bad}", "--id", other, "--again")
    rig.work_off(worker)
    assert len(rig.seen()) == 4


def jobs_of(rig, handler, *records):
    """The ids of the jobs of these records in the only backfill."""
    run = rig.the_only().id
    return [runs.job_id(id_within(run, each), handler) for each in records]


def test_a_query_is_counted_and_then_run_page_by_page(rig, monkeypatch):
    """A dry run counts and writes nothing; every row of every page becomes a job, and the event says what the row says."""
    monkeypatch.setattr(backfill_pages, "ROWS", 4)
    rig = rig()
    mine = rig.leads(10, Company="Acme & Sons")
    rig.leads(3)
    query = "select Last_Name from Leads where Company = 'Acme & Sons'"
    told = rig.zohook("run", "room.both", "--coql", query, "--dry-run")
    assert "10 records of crm.Leads, read in 3 calls" in told
    assert not rig.redis.keys("zh:rp:*")
    rig.zohook("run", "room.both", "--coql", query, "--rate", "0")
    rig.work_off(rig.worker())
    assert len(rig.seen()) == 10
    assert all(line.startswith("crm.Leads.updated {'Last_Name'") for line in rig.seen())
    assert all(any(each in line for line in rig.seen()) for each in mine)


def test_what_was_changed_since_a_time_in_crm_books_and_desk(rig):
    """Each product is asked in its own way, and the handlers get events of their own kinds."""
    rig = rig()
    leads = rig.leads(2)
    rig.zohook("run", "room.both", "--since", "1h", "--module", "Leads")
    contact = rig.simulator.books.create("contacts", {"contact_name": "Acme"})
    line = {"name": "Roof", "rate": 10, "quantity": 1}
    bill = rig.simulator.books.create(
        "invoices", {"customer_id": contact["contact_id"], "line_items": [line]}
    )
    rig.zohook("run", "room.billed", "--since", "1h", "--module", "invoice")
    person = rig.simulator.desk.create("contacts", {"lastName": "Doe", "email": "doe@acme.example"})
    asked = {
        "subject": "Help",
        "contactId": person["id"],
        "departmentId": rig.simulator.desk.rows.departments[0]["id"],
    }
    tickets = sorted(rig.simulator.desk.create("tickets", asked)["id"] for _ in range(3))
    rig.zohook("run", "room.tickets", "--since", "1h")
    rig.work_off(rig.worker())
    seen = rig.seen()
    assert {each for each in leads if any(each in line for line in seen)} == {*leads}
    assert f"books.invoice.updated {bill['invoice_id']}" in seen
    found = [each for line in seen for each in line.split() if each in tickets]
    assert sorted(found) == tickets


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("room.gret", "--id", "1"), "did you mean room.greet"),
        (("room.greet",), "one of --id, --coql and --since"),
        (("room.both", "--id", "1"), "--module"),
        (("room.remind", "--id", "1"), "wants no record of Zoho's"),
        (("room.lately", "--id", "1"), 'add "backfill"'),
        (("room.greet", "--id", "1", "--module", "Deals"), "not about Deals"),
        (("room.greet", "--coql", "select id from Leads"), "SYNTAX_ERROR"),
        (("room.greet", "--coql", "select id from Deals where id = 1"), "not about crm.Deals"),
        (("room.greet", "--coql", "select Nonsense from Leads where id = 1"), "column not found"),
        (("room.greet", "--id", "1", "--connection", "nobody"), "there are acme"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(rig, arguments, said):
    """A wrong handler, module, query or connection: a sentence with the cure, Zoho's own word where it is Zoho's, and no job."""
    rig = rig()
    assert said in rig.zohook("run", *arguments, status=2)
    assert not rig.redis.keys("zh:j:*")


def test_a_connection_on_hold_and_a_limit_are_named(rig):
    """No consent: connect. The day's credits all but spent: how long, and that what was read is kept."""
    rig = rig("limits = { crm = { credits = 4 } }")
    rig.leads(1)
    for _ in range(3):
        rig.house.zoho.crm.user()
    told = rig.zohook("run", "room.greet", "--since", "1h", status=2)
    assert "kept for live events" in told
    assert "goes on there" in told
    rig.redis.hset(keys.token("acme"), "state", "revoked")
    assert "revoked" in rig.zohook("run", "room.greet", "--since", "1h", status=2)


def test_it_goes_on_after_being_killed_and_cancelled_it_stops(rig):
    """SIGKILL in the middle of reading: the same command goes on at its page and no record comes twice; cancel ends the rest."""
    rig = rig()
    leads = rig.leads(450)
    rig.house.tokens.get("acme")
    rig.simulator.limits.api_delay = 0.5
    command = [sys.executable, "-m", "receiver.cli", "run", "room.greet", "--since", "1h", "--rate", "0"]
    child = subprocess.Popen(command, env={**os.environ, "ZOHOOK_SECRET_ACME": rig.simulator.client_secret})
    until = time.monotonic() + 30
    while not any(replays.one(rig.redis, each.id).chosen for each in replays.recorded(rig.redis)):
        assert time.monotonic() < until
        assert child.poll() is None
        time.sleep(0.02)
    child.kill()
    child.wait()
    found = rig.the_only()
    assert (found.state, found.chosen) == ("reading", 200)
    worker = rig.worker()
    worker.sweeper.once()
    assert not rig.redis.keys("zh:j:*"), "nothing is given before all are known"
    rig.simulator.limits.api_delay = 0
    assert "450 records known" in rig.zohook("run", "room.greet", "--since", "1h", "--rate", "0")
    first = [call for call in rig.simulator.journal.calls("crm") if call.query.get("page") == "1"]
    assert len(first) == 1, "what was read is not read again"
    worker.sweeper.once()
    rig.redis.lpush(keys.replay_jobs(found.id), *given_again(rig, leads[:3]))  # as if who gave them had died
    rig.redis.sadd(keys.replays_running(), found.id)
    rig.redis.hset(keys.replay(found.id), "state", "running")
    worker.sweeper.once()
    assert read.states(rig.redis)["due"] == 450
    some = worker.slips(5)
    assert len(some) == 5
    drain(worker, 60)
    assert Counter(line.split()[0] for line in rig.seen()) == dict.fromkeys(leads, 1)
    rig.leads(1)
    rig.zohook("run", "room.greet", "--since", "2h", "--rate", "1")
    (last, _) = replays.recorded(rig.redis)
    assert "cancelled" in rig.zohook("cancel", last.id)
    drain(worker)
    assert len(rig.seen()) == 450


def test_a_backfill_that_is_cancelled_while_it_is_read_stays_cancelled(rig, monkeypatch):
    """Whoever cancels it between the answer of Zoho and the putting down of its page: it does not run, and keeps nothing."""
    rig = rig()
    rig.leads(3)
    put_down = backfills._put_down

    def late(redis, found, *rest):
        assert "cancelled" in rig.zohook("cancel", found)
        return put_down(redis, found, *rest)

    monkeypatch.setattr(backfills, "_put_down", late)
    rig.zohook("run", "room.greet", "--since", "1h", "--rate", "0")
    found = rig.the_only()
    assert (found.state, found.chosen) == ("cancelled", 0)
    assert not rig.redis.exists(keys.replays_running(), keys.replay_jobs(found.id))
    rig.work_off(rig.worker())
    assert rig.seen() == []


def given_again(rig, records):
    """The lines of some records as the list of a backfill has them."""
    return [
        b'{"id":"%s","data":{"id":"%s"},"policy":""}' % (each.encode(), each.encode()) for each in records
    ]


def test_live_events_go_first(rig):
    """With a backfill of many given, a live event is the next that is taken."""
    rig = rig()
    rig.leads(30)
    rig.zohook("run", "room.greet", "--since", "1h", "--rate", "0")
    worker = rig.worker()
    worker.sweeper.once()
    worker.accept("crm.Leads.created", record_id=rig.leads(1, Last_Name="Live")[0], connection="acme")
    kinds = [slip.queue for slip in worker.slips(3)]
    assert kinds[0] == "zohook"


def test_it_leaves_the_last_credits_and_goes_on_when_there_are_more(rig):
    """With a fifth of the day left its jobs wait on hold and burn no try, a live one runs beside them; then they go on by themselves."""
    rig = rig("limits = { crm = { credits = 20 } }")
    leads = rig.leads(20)
    rig.zohook("run", "room.greet", "--since", "1h", "--rate", "0")
    worker = rig.worker()
    worker.sweeper.once()
    drain(worker)
    done = len(rig.seen())
    assert 0 < done < 20
    hold = "limit:acme:crm#behind"
    assert read.parked_work(rig.redis) == {hold: 20 - done}
    now = backfills.progress(rig.redis, rig.the_only().id)
    assert (now.jobs["held"], now.over) == (20 - done, False)
    assert "kept for live events" in now.why
    live = worker.accept("crm.Leads.created", record_id=rig.leads(1, Last_Name="Live")[0], connection="acme")
    drain(worker)
    assert f"{live.record_id} live Live" in rig.seen()
    worker.sweeper.recheck()
    assert read.parked_work(rig.redis) == {hold: 20 - done}
    rig.redis.delete(
        keys.calls_credits("acme:crm"), keys.calls_blocked("acme:crm#behind")
    )  # as if a day had passed
    worker.sweeper.recheck()
    drain(worker)
    rows = read.jobs(rig.redis, jobs_of(rig, "room.greet", *leads))
    assert {(row.state, row.tries) for row in rows} == {("done", 0)}
    assert {line.split()[0] for line in rig.seen()} > set(leads)


def test_ctrl_c_while_reading_keeps_what_was_read(rig, monkeypatch):
    """Interrupted after the first page: status 130 and what to do; the same command reads the rest, and only that."""
    rig = rig()
    rig.leads(250)
    say = typer.echo

    def interrupted(text, **more):
        if "200 records known" in text:
            raise KeyboardInterrupt
        say(text, **more)

    monkeypatch.setattr(typer, "echo", interrupted)
    rig.zohook("run", "room.greet", "--since", "1h", status=130)
    assert (rig.the_only().state, rig.the_only().chosen) == ("reading", 200)
    assert "250 records known" in rig.zohook("run", "room.greet", "--since", "1h")
    assert [call.query.get("page") for call in rig.simulator.journal.calls("crm", path="/crm/v8/Leads")] == [
        "1",
        "2",
    ]

"""The simulator's sender, its demo script and its command: what is counted is what was sent."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

import httpx
import pytest
from simulator_kit import Sink, Zoho, sinking

from receiver.simulator import Limits, Simulator


def listen(zoho: Zoho, sink: Sink) -> None:
    """Subscribes the sink to all that the script does."""
    events = ["Leads.all", "Deals.all"]
    zoho.post(
        "/crm/v8/actions/watch", json={"watch": [zoho.watch(notify_url=f"{sink.url}/crm", events=events)]}
    )
    wanted = {"Ticket_Add": None, "Ticket_Update": None, "Ticket_Comment_Add": None}
    zoho.post("/api/v1/webhooks", json={"url": f"{sink.url}/desk", "subscriptions": wanted})
    for event in ("invoice.created", "invoice.paid"):
        sent = {"product": "books", "url": f"{sink.url}/books?event={event}", "event": event}
        assert zoho.post("/_console/webhooks", json=sent).status_code == 200
    sink.got.clear()


def test_the_script_counts_what_it_sends() -> None:
    """The number wanted is answered, each a fact of its own, and the sink has seen as many."""
    with sinking() as (zoho, sink):
        listen(zoho, sink)
        zoho.post("/_console/scene", json={"rate": 0, "events": 60, "seed": 4})
        assert zoho.simulator.scene.wait(20)
        status = zoho.get("/_console/scene").json()
    counted = {name: status[name] for name in ("state", "answered_200", "facts", "failed", "pending")}
    assert counted == {"state": "done", "answered_200": 60, "facts": 60, "failed": 0, "pending": 0}
    assert len(sink.got) == 60
    assert {got[1].split("?")[0] for got in sink.got} == {"/crm", "/desk", "/books"}


def test_the_same_seed_tells_the_same_story() -> None:
    """Two scripts with one seed do the same things in the same number."""
    told: list[Any] = []
    for _ in range(2):
        with sinking() as (zoho, sink):
            listen(zoho, sink)
            zoho.simulator.scene.start(rate=0, events=30, seed=9)
            assert zoho.simulator.scene.wait(20)
            told.append(zoho.simulator.scene.status()["did"])
    assert told[0] == told[1]


def test_the_script_waits_for_somebody_to_listen() -> None:
    """Without a subscriber it does nothing, and it stops when told to."""
    with sinking() as (zoho, sink):
        zoho.simulator.scene.start(rate=100, events=5)
        assert not zoho.simulator.scene.wait(0.2)
        assert zoho.simulator.scene.status()["state"] == "waiting"
        assert zoho.simulator.scene.status()["actions"] == 0
        assert zoho.call("DELETE", "/_console/scene").json()["state"] == "stopped"
        assert sink.got == []


def test_a_duplicate_is_the_same_bytes_and_the_same_fact() -> None:
    """With duplicates=1 each delivery goes twice and no fact is new."""
    with sinking() as (zoho, sink):
        zoho.simulator.sender.duplicates = 1.0
        listen(zoho, sink)
        zoho.simulator.crm.create("Leads", {"Last_Name": "Twice"})
        assert zoho.simulator.drain()
        assert sink.got[0] == sink.got[1]
        total = zoho.get("/_console/tally").json()
    assert (total["sent"], total["facts"], total["duplicates"]) == (2, 1, 1)


def test_what_fails_is_counted_and_not_sent_again() -> None:
    """A refused and an unreachable delivery are failures; nothing is retried."""
    with sinking() as (zoho, sink):
        listen(zoho, sink)
        sink.status = 500
        zoho.simulator.crm.create("Leads", {"Last_Name": "Lost"})
        zoho.simulator.books.add_webhook("http://127.0.0.1:9/", "contact.created")
        zoho.simulator.books.create("contacts", {"contact_name": "Nobody"})
        assert zoho.simulator.drain()
        assert len(sink.got) == 1
        assert sorted(sent.status for sent in zoho.simulator.journal.deliveries()) == [0, 500]
        assert zoho.simulator.sender.tally.failed == 2


def test_a_full_queue_drops() -> None:
    """At most once: what finds no place is dropped and counted."""
    simulator = Simulator(limits=Limits(delivery_queue=1, delivery_threads=0))
    for rule in range(2):
        simulator.books.add_webhook(f"http://127.0.0.1:9/{rule}", "contact.created")
    simulator.books.create("contacts", {"contact_name": "Nobody"})
    tally = simulator.sender.tally
    assert (tally.queued, tally.dropped) == (1, 1)
    assert not simulator.drain(0.01)
    simulator.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_introduces_itself_and_ends_cleanly(number: int) -> None:
    """The first line is all that a program needs to get a token; a signal ends it with 0."""
    command = [
        sys.executable,
        "-m",
        "receiver.simulator",
        "--port",
        "0",
        "--redirect-uri",
        "http://127.0.0.1:1/cb",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        known = {name: line[name] for name in ("client_id", "client_secret", "refresh_token")}
        body = httpx.post(
            f"{line['accounts']}/oauth/v2/token", data={"grant_type": "refresh_token", **known}
        ).json()
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)
    assert "access_token" in body
    assert line["redirect_uri"] == "http://127.0.0.1:1/cb"
    assert set(line["org_ids"]) == {"crm", "books", "desk"}
    assert (process.returncode, errors) == (0, "")

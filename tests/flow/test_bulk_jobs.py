"""Bulk jobs of CRM's: what a callback says is a hint, and how the job has ended is asked of Zoho."""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest
from test_door import served

from receiver import keys, on
from receiver.app import build
from receiver.errors import SettingsError
from receiver.event import Delivery, Event, new_id, now_ms
from receiver.ledger import read, runs
from receiver.ledger.accept import Record, accept
from receiver.ledger.turns import turn
from receiver.routing import bulk_jobs, plugins, run
from receiver.routing.process import Process
from receiver.simulator import Limits, Simulator
from receiver.zoho import Clients
from receiver.zoho.scopes import needed_scopes
from receiver.zoho.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from receiver.ledger.embedded import Embedded
    from tests.conftest import MakeSettings

POLL = "zohook.poll_bulk_job"
TOML = """
[connections.acme]
dc = "simulator"
client_id = "{client}"
crm = "1"
[simulator]
url = "{url}"
[sources]
crm = "crm_channel"
bulk = "crm_bulk"
"""


class Desk:
    """A worker of one thread, its handlers, and the Zoho that it calls."""

    def __init__(self, process: Process, simulator: Simulator, redis: Redis) -> None:
        self.process, self.simulator, self.redis = process, simulator, redis
        self.zoho = process.clients.for_job("acme")

    def told(self, event_type: str, data: Any = None, record_id: str = "", **fields: Any) -> Event:
        """Accept an event."""
        event = Event(
            id=new_id(), type=event_type, source="bulk", data=data, received=now_ms(), record_id=record_id, connection="acme",
            **fields,
        )  # fmt: skip
        accept(self.redis, [Record(Delivery.arrive("bulk"), "accepted", events=[event])])
        return event

    def work(self) -> None:
        """Work off what is queued."""
        while taken := turn(self.redis, "test", ("zohook",), 1, []):
            run.work(self.process, *taken[0].ids())
            turn(self.redis, "test", ("zohook",), 0, taken)

    def job(self, event: Event) -> Any:
        """The poll of an event."""
        (row,) = read.jobs(self.redis, [runs.job_id(event.id, POLL)], attempts=True)
        return row

    def of_type(self, event_type: str) -> list[Event]:
        """The events of a type."""
        return [row.event for row in read.page(self.redis, by="type", value=event_type).rows]


@pytest.fixture
def desk(settings: MakeSettings, redis: Redis, redis_server: Embedded) -> Iterator[Desk]:
    """A process with Zohook's own handler, connected to a simulator whose jobs end by hand."""
    redis.config_set("appendonly", "yes")
    with Simulator(limits=Limits(bulk_by_hand=True)) as simulator:
        client = simulator.self_client
        known = settings(
            TOML.format(client=client.id, url=simulator.base),
            secrets={"acme": client.secret},
            redis={"url": redis_server.url},
        )
        process = Process(known, redis, plugins.collect([("zohook", bulk_jobs)]))
        process.catalogue.publish(born=True)
        process.clients.consent.self_client("acme", simulator.self_client_code())
        yield Desk(process, simulator, redis)
        process.close()


@pytest.mark.parametrize(
    ("kind", "state", "event_type"),
    [
        ("read", "COMPLETED", "crm.BulkRead.completed"),
        ("read", "FAILURE", "crm.BulkRead.failed"),
        ("write", "COMPLETED", "crm.BulkWrite.completed"),
        ("write", "FAILED", "crm.BulkWrite.failed"),
        ("write", "SKIPPED", "crm.BulkWrite.skipped"),
    ],
)
def test_what_zoho_answers_becomes_the_event(kind: str, state: str, event_type: str, desk: Desk) -> None:
    """Whatever the callback said, the event tells what the job's own page tells, and by which event it was asked."""
    job = desk.simulator.crm.bulk.make(kind, "Deals")
    desk.simulator.crm.bulk.end(job.id, state)
    hint = desk.told(f"crm.Bulk{kind.capitalize()}.reported", {"state": "a lie"}, job.id)
    desk.work()
    (event,) = desk.of_type(event_type)
    assert (event.record_id, event.origin, event.verified_by, event.cause) == (
        job.id,
        "poll",
        "poll",
        hint.id,
    )
    assert (event.source, event.connection, event.native) == ("bulk", "acme", state)
    assert event.data["id"] == job.id
    assert "a lie" not in str(event.data)


def test_two_hints_of_one_end_are_one_event(desk: Desk) -> None:
    """The callback, the poll without one, and a callback that comes twice find the same end."""
    job = desk.simulator.crm.bulk.make("read", "Deals")
    desk.simulator.crm.bulk.end(job.id)
    for _ in range(2):
        desk.told("crm.BulkRead.reported", {}, job.id)
    desk.told("app.bulk.started", {"kind": "read", "id": job.id}, depth=1)
    desk.work()
    assert len(desk.of_type("crm.BulkRead.completed")) == 1


def test_a_job_that_has_not_ended_is_asked_for_again(desk: Desk) -> None:
    """It waits without counting a try, longer and longer; when the job has ended, the next look finds it."""
    job = desk.simulator.crm.bulk.make("read", "Deals")
    event = desk.told("app.bulk.started", {"kind": "read", "id": job.id})
    desk.work()
    waiting = desk.job(event)
    assert (waiting.state, waiting.tries, waiting.reason) == ("due", 0, "the job is ADDED")
    assert 10_000 < waiting.due - now_ms() < 20_000
    desk.simulator.crm.bulk.end(job.id, tell=False)
    desk.redis.hset(keys.job(waiting.id), "due", 0)
    run.work(desk.process, "j", waiting.id, waiting.run + 1)
    assert len(desk.of_type("crm.BulkRead.completed")) == 1


def test_a_job_that_is_none_of_ours_is_skipped(desk: Desk) -> None:
    """Zoho does not know it, or knows it as one of the other kind: nothing is believed, and the reason is told."""
    job = desk.simulator.crm.bulk.make("read", "Deals")
    for event_type, job_id in (("crm.BulkRead.reported", "999"), ("crm.BulkWrite.reported", job.id)):
        event = desk.told(event_type, {"state": "COMPLETED"}, job_id)
        desk.work()
        row = desk.job(event)
        assert (row.state, "none of ours" in row.reason) == ("skipped", True)
    assert desk.of_type("crm.BulkRead.completed") == []


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"kind": "read"},
        {"kind": "x", "id": "1"},
        {"kind": "read", "id": 1},
        {"kind": "read", "id": ""},
    ],
)
def test_a_start_that_names_no_job_says_what_it_takes(data: Any, desk: Desk) -> None:
    """Whoever emits it wrongly finds the cure at the job."""
    event = desk.told("app.bulk.started", data)
    desk.work()
    assert '"the id of the job"' in desk.job(event).attempts[0]["error"]["message"]


def test_an_answer_of_another_form_is_asked_for_again(desk: Desk) -> None:
    """An answer that tells no state is no end."""
    for body in ({"data": []}, {"data": [1]}, {}):
        desk.simulator.faults.add("body", product="crm", body=body, status=200)
        event = desk.told("crm.BulkRead.reported", {}, "7")
        desk.work()
        assert desk.job(event).reason == "the job is in no state"


def test_the_callback_needs_a_source(desk: Desk) -> None:
    """Without a crm_bulk source of the connection, what to write into the settings is said."""
    assert urlsplit(desk.zoho.crm.bulk_callback("read")["url"]).path == "/in/bulk"
    desk.zoho.connection = "other"
    with pytest.raises(SettingsError, match='bulk = "crm_bulk"'):
        desk.zoho.crm.bulk_callback("read")


def test_a_customers_callback_names_his_organisation(desk: Desk, settings: MakeSettings) -> None:
    """Many customers share one source, and his job is asked for with his own consent."""
    shared = desk.process.settings
    changed = shared.connections["acme"].model_copy(update={"customers": True})
    clients = Clients(
        desk.redis, shared.model_copy(update={"connections": {"acme": changed}}), Vault(shared.key)
    )
    customer = {"of": "acme", "organisations": {"crm": "759145822"}}
    desk.redis.hset(keys.customers(), "globex", json.dumps(customer))
    url = clients.for_job("globex").crm.bulk_callback("write")["url"]
    assert "/in/bulk?job=write&org=759145822&token=" in url
    assert clients.for_job("acme", "759145822", "crm").connection == "globex"


def test_consent_asks_for_bulk_where_there_is_a_source(desk: Desk) -> None:
    """Scopes are frozen in a consent, so it must be asked for in time."""
    assert "ZohoCRM.bulk.ALL" in needed_scopes(desk.process.settings, "acme")


def test_the_handler_is_there_where_a_source_needs_it(settings: MakeSettings, tmp_path: Any) -> None:
    """It is loaded beside the user's own, whatever `handlers.only` says, and is not where there is no such source."""
    rooms = tmp_path / "rooms_of_mine"
    rooms.mkdir()
    (rooms / "__init__.py").write_text("")
    sys.modules.pop("rooms_of_mine", None)
    given = {"packages": ["rooms_of_mine"], "only": ["x.y"]}
    assert list(plugins.load(settings('[sources]\nbulk = "crm_bulk"', handlers=given)).handlers) == [POLL]
    assert not plugins.load(settings('[sources]\ncrm = "crm_channel"', handlers=given)).handlers


def test_from_the_call_to_the_event(desk: Desk) -> None:
    """A job is made with the callback; its end comes to the door, is polled, and a handler of the user's runs on it."""
    seen = []

    @on("crm.BulkRead.completed")
    def fetch(event):
        seen.append(event.data["result"]["download_url"])

    module = ModuleType("rooms")
    fetch.__module__ = "rooms"
    module.fetch = fetch
    found = plugins.collect([("zohook", bulk_jobs), ("rooms", module)])
    process = Process(desk.process.settings, desk.redis, found)
    process.catalogue.publish(born=True)
    with served(build(desk.process.settings)) as url:
        callback = desk.zoho.crm.bulk_callback("read")
        callback["url"] = callback["url"].replace(desk.process.settings.public_url, url)
        made = desk.zoho.request(
            "crm",
            "POST",
            "/crm/bulk/v8/read",
            json={"callback": callback, "query": {"module": {"api_name": "Deals"}}},
        )
        job = made["data"][0]["details"]["id"]
        desk.simulator.crm.bulk.end(job)
        assert desk.simulator.drain()
        assert desk.simulator.journal.deliveries("crm_bulk")[0].status == 200
        assert httpx.post(f"{url}/in/bulk?job=read", json={"id": job}).status_code == 401
    desk.process = process
    desk.work()
    assert seen == [f"/crm/bulk/v8/read/{job}/result"]
    process.close()

"""Jobs that wait for what no try can cure: a consent, a client's settings, a token, a product's limit. None counts a try."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from receiver import on
from receiver.ledger import read, runs
from receiver.routing.process import Process
from receiver.zoho.vault import Vault
from tests.flow.conftest import House, plugged

if TYPE_CHECKING:
    from redis import Redis

    from receiver.ledger.embedded import Embedded
    from receiver.simulator import Simulator
    from tests.conftest import MakeSettings

TOML = """
[connections.acme]
dc = "simulator"
client_id = "{client}"
books = "20061234567"
{more}
[simulator]
url = "{url}"
[sources]
crm = "crm_channel"
"""
RAN: list[str] = []


@on("crm.Leads.created")
def ask_crm(event: Any, zoho: Any) -> None:
    """Needs CRM."""
    zoho.crm.user()
    RAN.append(event.id)


@on("crm.Leads.created")
def ask_books(event: Any, zoho: Any) -> None:
    """Needs Books."""
    next(zoho.books.list("contacts"), None)
    RAN.append(event.id)


@pytest.fixture
def place(settings: MakeSettings, redis_server: Embedded, redis: Redis, zoho_simulator: Simulator) -> Any:
    """Makes a house at work with a connection to the simulator, that is connected unless told otherwise."""
    RAN.clear()
    made: list[Process] = []

    def make(*functions: Any, connected: bool = True, more: str = "") -> House:
        client = zoho_simulator.self_client
        known = settings(
            TOML.format(client=client.id, url=zoho_simulator.base, more=more),
            secrets={"acme": client.secret},
            redis={"url": redis_server.url},
            worker={"lease": 5, "tick": 0.05, "again": 0.1},
        )
        process = Process(known, redis, plugged(*functions))
        process.catalogue.publish(born=True)
        made.append(process)
        if connected:
            process.clients.consent.self_client("acme", zoho_simulator.self_client_code())
        return House(redis, process)

    yield make
    for each in made:
        each.close()


def job_of(house: House, handler: str) -> Any:
    """The one job of a handler."""
    return next(row for row in read.jobs_in(house.redis, "held", f"rooms.{handler}"))


def connect(house: House, simulator: Simulator) -> None:
    """What a person does: consent, and with it what waited is released."""
    house.process.clients.consent.self_client("acme", simulator.self_client_code())
    runs.release(house.redis, "connection:acme")


def test_a_revoked_consent_holds_and_a_new_one_goes_on(place: Any, zoho_simulator: Simulator) -> None:
    """Somebody takes the consent back: the job waits with a sentence, counts no try, and runs by itself after a new consent."""
    house = place(ask_crm)
    zoho_simulator.accounts.end(next(iter(reversed(zoho_simulator.accounts.grants.values()))))
    event = house.accept("crm.Leads.created")
    house.work()
    held = job_of(house, "ask_crm")
    assert (held.state, held.tries, RAN) == ("held", 0, [])
    assert "connect it again" in held.reason
    assert house.sweeper.recheck() == 0
    connect(house, zoho_simulator)
    house.sweeper.once()
    house.work()
    assert [event.id] == RAN


def test_nobody_consented_yet(place: Any, zoho_simulator: Simulator) -> None:
    """A job before the first consent waits for it, and the sweep alone finds that it is there."""
    house = place(ask_crm, connected=False)
    event = house.accept("crm.Leads.created")
    house.work()
    assert job_of(house, "ask_crm").tries == 0
    house.process.clients.consent.self_client("acme", zoho_simulator.self_client_code())
    assert house.sweeper.recheck() == 1
    house.sweeper.once()
    house.work()
    assert [event.id] == RAN


def test_a_throttled_token_endpoint_costs_no_try_and_no_further_call(
    place: Any, zoho_simulator: Simulator
) -> None:
    """Told "Access Denied", ten jobs wait for the end of the cool-down, none lost a try, and Zoho is asked no more meanwhile."""
    house = place(ask_crm)
    zoho_simulator.accounts.kill_access_tokens()
    denied = {
        "error": "Access Denied",
        "error_description": "You have made too many requests continuously.",
        "status": "failure",
    }
    zoho_simulator.faults.add("body", product="oauth", status=200, body=denied, times=100)
    before = len(zoho_simulator.journal.calls("oauth"))
    events = [house.accept("crm.Leads.created") for _ in range(10)]
    house.work()
    assert len(zoho_simulator.journal.calls("oauth")) == before + 1
    for event in events:
        (row,) = read.jobs(house.redis, [runs.job_id(event.id, "rooms.ask_crm")])
        assert (row.state, row.tries) == ("due", 0)
        assert "no token" in row.reason


def test_a_day_limit_holds_one_product_and_not_the_other(place: Any, zoho_simulator: Simulator) -> None:
    """Books' code 45: its jobs are on hold, CRM's go on, and Books' go on by themselves when the block is over."""
    house = place(ask_books, ask_crm)
    zoho_simulator.limits.books_per_day = 0
    try:
        events = [house.accept("crm.Leads.created") for _ in range(3)]
        house.work()
        assert sorted(RAN) == sorted(event.id for event in events), "CRM's jobs ran"
        assert read.parked_work(house.redis) == {"limit:acme:books:20061234567": 3}
        assert job_of(house, "ask_books").tries == 0
        assert sum(call.status == 429 for call in zoho_simulator.journal.calls("books")) == 1
    finally:
        zoho_simulator.limits.books_per_day = 10_000
    assert house.sweeper.recheck() == 0
    house.redis.delete("zh:q:acme:books:20061234567:block")
    assert house.sweeper.recheck() == 3
    house.sweeper.once()
    house.work()
    assert len(RAN) == 6


def test_a_lost_key_says_what_to_do(place: Any) -> None:
    """The key that sealed the tokens is gone: the job says which one to put back."""
    house = place(ask_crm)
    house.process.clients.tokens._vault = Vault(
        Vault.of(house.process.settings.model_copy(update={"key": ""})).keys[0]
    )
    house.accept("crm.Leads.created")
    house.work()
    rows = [
        row for state in ("held", "due", "dead") for row in read.jobs_in(house.redis, state, "rooms.ask_crm")
    ]
    assert "ZOHOOK_KEY" in str(rows[0].reason)

"""Causes: an event that our own write brought about knows it, so that handlers which call each other through Zoho end."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from receiver import on
from receiver.app import build
from receiver.event import now_ms
from receiver.ledger import read, runs
from receiver.routing import echoes
from receiver.routing.process import Process
from receiver.upkeep import channels
from tests.flow.conftest import House, plugged
from tests.flow.kit import drain, free_port, served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis import Redis

    from receiver.ledger.embedded import Embedded
    from receiver.simulator import Simulator
    from tests.conftest import MakeSettings
    from tests.flow.conftest import MakeHouse

TOML = """
[connections.acme]
dc = "simulator"
client_id = "{client}"
[simulator]
url = "{url}"
[sources]
crm = "crm_channel"
[channels]
all = {{ events = ["Deals.all", "Leads.all"], values = {values} }}
"""
STAGES = ("Qualification", "Needs Analysis", "Value Proposition", "Negotiation/Review")


class Town:
    """The simulated CRM, the door that its channel calls, and a house that works."""

    def __init__(self, house: House, simulator: Simulator) -> None:
        self.house, self.simulator, self.redis = house, simulator, house.redis

    def settle(self) -> None:
        """Let everything that is under way come in and be handled."""
        quiet = 0
        while quiet < 3:
            assert self.simulator.drain()
            quiet = 0 if self.house.work() else quiet + 1
            drain(self.house)
            time.sleep(0.01)

    def depths(self) -> list[tuple[int, str]]:
        """(depth, who caused it) of every event, the oldest first."""
        rows = read.page(self.redis).rows[::-1]
        return [(row.event.depth, row.event.cause.partition(":")[2]) for row in rows]


@pytest.fixture
def town(
    settings: MakeSettings, redis_server: Embedded, redis: Redis, zoho_simulator: Simulator
) -> Callable[..., Any]:
    """Makes towns, with a channel that tells values or does not."""

    @contextmanager
    def make(*functions: Any, values: bool = True) -> Iterator[Town]:
        client, port = zoho_simulator.self_client, free_port()
        toml = TOML.format(client=client.id, url=zoho_simulator.base, values=str(values).lower())
        known = settings(
            toml,
            secrets={"acme": client.secret},
            redis={"url": redis_server.url},
            public_url=f"http://127.0.0.1:{port}",
            worker={"lease": 5, "tick": 0.05, "again": 0.1},
        )
        redis.config_set("appendonly", "yes")
        process = Process(known, redis, plugged(*functions))
        process.catalogue.publish(born=True)
        process.clients.consent.self_client("acme", zoho_simulator.self_client_code())
        with served(build(known), port):
            assert channels.ensure(known, redis, process.clients) == 1
            yield Town(House(redis, process), zoho_simulator)
            zoho_simulator.drain()
        process.close()

    return make


@pytest.mark.parametrize("values", [True, False])
def test_two_handlers_that_call_each_other_through_crm_are_parked_as_a_loop(town: Any, values: bool) -> None:
    """Each writes what the other waits for; the chain grows by one at each write, and what would be the sixth link is parked."""
    ran: list[str] = []

    @on("crm.Deals.updated", changed="Stage")
    def planner(event, zoho):
        ran.append("planner")
        zoho.crm.update("Deals", event.record_id, {"Description": f"step {len(ran)}"})

    @on("crm.Deals.updated", changed="Description")
    def mover(event, zoho):
        ran.append("mover")
        zoho.crm.update("Deals", event.record_id, {"Stage": STAGES[len(ran) % 4]})

    with town(planner, mover, values=values) as place:
        deal = place.simulator.crm.create("Deals", {"Deal_Name": "Roof", "Stage": STAGES[0]})
        place.settle()
        place.simulator.crm.update("Deals", deal["id"], {"Stage": STAGES[1]})
        place.settle()
        assert ran == ["planner", "mover"] * 3
        names = ["rooms.planner", "rooms.mover"] * 3
        assert place.depths()[1:] == [(0, ""), *zip(range(1, 7), names, strict=True)]
        [parked] = read.page(place.redis, by="state", value="dead").rows
        assert (parked.state, parked.event.depth, parked.jobs) == ("dead", 6, ())
        assert parked.reason == (
            "a loop: 6 events that caused each other, by rooms.planner > rooms.mover > rooms.planner > rooms.mover > "
            "rooms.planner > rooms.mover; mend a handler, then route this again"
        )
        assert runs.replay(place.redis, "e", parked.event.id) == "ok"
        place.settle()
        assert ran[6:] == ["planner"], "a person lets it pass, and the next link is parked again"
        assert len(read.page(place.redis, by="state", value="dead").rows) == 1


def test_a_persons_edits_of_the_same_record_grow_no_chain(town: Any) -> None:
    """They work under the user that the handlers have, edit right after a handler's write, and the same field: still no link."""
    seen: list[tuple[int, str]] = []

    @on("crm.Deals.updated", changed={"Stage", "Description"})
    def noter(event, zoho):
        seen.append((event.depth, event.cause))
        zoho.crm.update("Deals", event.record_id, {"Description": f"step {len(seen)}"})

    with town(noter) as place:
        deal = place.simulator.crm.create("Deals", {"Deal_Name": "Roof", "Stage": STAGES[0]})
        place.settle()
        for number in range(8):
            stage = {"Stage": STAGES[number % 4]} if number % 2 else {"Description": f"mine {number}"}
            place.simulator.crm.update("Deals", deal["id"], stage)
            place.settle()
        assert seen == [(0, "")] * 8
        assert read.page(place.redis, by="state", value="dead").rows == ()
        assert max(depth for depth, _ in place.depths()) == 1
        assert read.totals(place.redis)["skipped"] == 8, "its own writes are echoes"


def test_a_handler_that_makes_what_it_waits_for_is_a_loop(town: Any) -> None:
    """A new record has no id before it is made; it is remembered as soon as it has one."""
    ran: list[int] = []

    @on("crm.Leads.created")
    def breeder(event, zoho):
        ran.append(event.depth)
        zoho.crm.create("Leads", {"Last_Name": f"Child {len(ran)}"})

    with town(breeder) as place:
        place.simulator.crm.create("Leads", {"Last_Name": "Adam"})
        place.settle()
        assert ran == [0, 1, 2, 3, 4, 5]
        [parked] = read.page(place.redis, by="state", value="dead").rows
        assert "a loop: 6 events" in parked.reason


def test_a_chain_that_nobody_goes_on_with_is_no_loop(town: Any) -> None:
    """A chain through emitted events and Zoho is one chain, and what nobody waits for is not parked."""
    ran: list[tuple[str, int]] = []

    @on("crm.Deals.created")
    def first(event):
        ran.append((event.type, event.depth))
        event.emit("app.stage", event.record_id)

    @on("app.stage")
    def second(event, zoho):
        ran.append((event.type, event.depth))
        zoho.crm.update("Deals", event.data, {"Description": "call"})

    @on("crm.Deals.updated")
    def third(event):
        ran.append((event.type, event.depth))

    with town(first, second, third) as place:
        place.simulator.crm.create("Deals", {"Deal_Name": "Roof", "Stage": STAGES[0]})
        place.settle()
        assert ran == [("crm.Deals.created", 0), ("app.stage", 1), ("crm.Deals.updated", 2)]
        assert place.depths() == [(0, ""), (1, "rooms.first"), (2, "rooms.second")]
        assert read.page(place.redis, by="state", value="dead").rows == ()


def claim_of(house: House, depth: int = 2, handler: str = "rooms.a", record_id: str = "1") -> runs.Claim:
    """A run of a handler on an event that is so deep."""
    event = house.accept("crm.Deals.created", record_id=record_id, depth=depth)
    return runs.Claim(
        "j",
        f"{event.id}:{handler}",
        1,
        "w",
        0,
        0,
        suspect=False,
        generation=0,
        lane="",
        made=0,
        at=0,
        event=event,
    )


@pytest.fixture
def home(house: MakeHouse) -> House:
    """A house whose handlers do nothing."""

    @on("crm.Deals.updated")
    def a(event):
        """Wrote."""

    @on("crm.Deals.updated", "crm.Deals.deleted")
    def b(event):
        """Watches."""

    return house(a, b)


def cause(home: House, **fields: Any) -> tuple[int, str]:
    """(depth, cause) that an event on the record gets, as the ledger keeps it."""
    event = home.accept(
        fields.pop("event_type", "crm.Deals.updated"), fields.pop("data", None), record_id="1", **fields
    )
    home.work()
    found = read.event(home.redis, event.id).event
    return found.depth, found.cause


def test_a_write_causes_one_event_of_each_source(home: House) -> None:
    """A channel and a workflow may both tell of it; a second event of the same source is somebody else's doing."""
    claim = claim_of(home)
    echoes.remember(home.redis, [claim], "crm", "Deals", "1", {"Stage": "Won"})
    stage = {"changed": frozenset({"Stage"})}
    assert cause(home, **stage) == (3, claim.id)
    assert cause(home, **stage) == (0, "")
    event = home.accept(record_id="1", source="rules", **stage)
    home.work()
    assert read.event(home.redis, event.id).event.cause == claim.id


def test_an_event_from_before_the_write_or_long_after_it_is_not_its_effect(home: House) -> None:
    """A minute is what Zoho may take; what came in before the call was made cannot come of it."""
    claim = claim_of(home)
    late = {"changed": frozenset({"Stage"}), "received": now_ms() + 61_000}
    early = {"changed": frozenset({"Stage"}), "received": now_ms() - 10}
    time.sleep(0.01)
    echoes.remember(home.redis, [claim], "crm", "Deals", "1", {"Stage": "Won"})
    assert cause(home, **late) == (0, "")
    assert cause(home, **early) == (0, "")


def test_routing_that_is_cut_off_gives_the_same_cause_again(home: House) -> None:
    """The write is taken and the event knows it in one step; whoever routes it next finds it so."""
    claim = claim_of(home)
    home.work()
    echoes.remember(home.redis, [claim], "crm", "Deals", "1", {"Stage": "Won"})
    event = home.accept(record_id="1", changed=frozenset({"Stage"}))
    slip = home.slips()[0]
    for number in (1, 2):
        taken = runs.claim(home.redis, "e", slip.ids()[1], number, f"w{number}", 0.01, alone=number > 1)
        openings = [runs.Opening("rooms.a"), runs.Opening("rooms.b")]
        [(_, told)] = echoes.recognise(home.redis, [(taken, openings)], home.process.plugins.names)
        assert (taken.event.depth, taken.event.cause) == (3, claim.id)
        assert [each.state for each in told] == ["skipped", "due"]
        time.sleep(0.02)
        home.sweeper.once()
    assert read.event(home.redis, event.id).event.cause == claim.id


def test_a_write_of_a_batch_belongs_to_the_event_of_its_record(home: House) -> None:
    """And a write to another record to the deepest of them, so that no chain is cut by a batch."""
    shallow, deep = claim_of(home, 0, record_id="1"), claim_of(home, 4, record_id="2")
    echoes.remember(home.redis, [shallow, deep], "crm", "Deals", "1", {"Stage": "Won"})
    assert cause(home, changed=frozenset({"Stage"})) == (1, shallow.id)
    echoes.remember(home.redis, [shallow, deep], "crm", "Deals", "3", {"Stage": "Won"})
    event = home.accept(record_id="3", changed=frozenset({"Stage"}))
    home.work()
    assert read.event(home.redis, event.id).event.depth == 5


def test_a_deletion_of_ours_is_known(home: House) -> None:
    """The event of it has no fields; that the record was to go is enough."""
    claim = claim_of(home)
    echoes.remember(home.redis, [claim], "crm", "Deals", "1", {"Stage": "Won"})
    assert cause(home, event_type="crm.Deals.deleted") == (0, "")
    echoes.remember(home.redis, [claim], "crm", "Deals", "1", None)
    assert cause(home, event_type="crm.Deals.deleted") == (3, claim.id)

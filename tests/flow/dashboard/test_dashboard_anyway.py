"""A duplicate and its button: shown as the same as an event, and run as one of its own when an operator says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest
from dashboard_kit import TOML, VIEWER

from receiver import keys
from receiver.event import Delivery
from receiver.intake.judge import read as read_events
from receiver.intake.keyring import Keyring
from receiver.ledger import read, runs
from receiver.ledger.accept import accept
from receiver.settings import RetentionSettings
from receiver.sources.source import Verified
from receiver.upkeep.retention import Retention
from receiver.zoho.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable

    from dashboard_kit import Seed, Visitor
    from redis import Redis

    from receiver.settings import Settings
    from tests.conftest import MakeSettings

INVOICE = b'{"invoice": {"invoice_id": "77", "total": 12}}'
Deliver = Any


@pytest.fixture
def deliver(known: Settings, redis: Redis) -> Callable[..., str]:
    """Takes a proven delivery in as the door does; its id."""
    locks = Keyring(known, Vault.open_or_make(known)).locks

    def take(source: str = "books", body: bytes = INVOICE, query: bytes = b"event=invoice.paid") -> str:
        delivery = Delivery.arrive(source, body, query=query)
        accept(redis, [read_events(delivery, locks[source], Verified("hmac", 0, "700")).record])
        return delivery.id

    return take


def channel(*ids: str) -> bytes:
    """A callback of CRM's."""
    return orjson.dumps(
        {
            "module": "Deals",
            "operation": "update",
            "ids": ids,
            "channel_id": "1",
            "server_time": 1_750_000_000_000,
        }
    )


def test_a_duplicate_is_shown_and_run_anyway_under_an_id_of_its_own(
    operator: Visitor, redis: Redis, deliver: Deliver
) -> None:
    """It links to the first event; a click accepts it as another one, which is routed; its delivery tells both."""
    first, second = deliver(), deliver()
    (original,) = read.delivery(redis, first).meta["events"]
    (own,) = read.delivery(redis, second).meta["events"]
    assert read.event(redis, own) is None
    for page in (
        operator.get("/deliveries?verdict=duplicate").text,
        operator.get(f"/deliveries/{second}").text,
    ):
        assert f'href="/events/{original}"' in page
        assert "Run anyway" in page
    answer = operator.post(f"/deliveries/{second}/run")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/deliveries/{second}")
    page = operator.get(f"/deliveries/{second}").text
    assert "accepted now" in page
    assert f'href="/events/{own}"' in page
    assert f'href="/events/{original}"' in page
    assert "Run anyway" not in page
    row = read.event(redis, own)
    assert (row.event.type, row.event.record_id, row.event.verified_by) == (
        "books.invoice.paid",
        "77",
        "hmac",
    )
    assert (row.state, row.event.delivery) == ("due", second)
    assert redis.zscore(keys.due(), f"e:{own}") > 0
    assert read.delivery(redis, second).verdict == "accepted"
    assert read.deliveries(redis, "duplicate") == []
    assert "the same as event <a" in operator.get(f"/events/{own}").text


def test_a_second_click_runs_nothing_twice(operator: Visitor, redis: Redis, deliver: Deliver) -> None:
    """A form that is sent again, or by two people, is told so."""
    deliver()
    second = deliver()
    operator.get(f"/deliveries/{second}")
    for words in ("accepted now", "accepted already"):
        operator.post(f"/deliveries/{second}/run")
        assert words in operator.get("/events").text
    assert read.totals(redis)["accepted"] == 2
    assert read.totals(redis)["deliveries"] == 2
    assert read.states(redis)["events"] == 2


def test_the_next_redelivery_is_a_duplicate_of_the_first(
    operator: Visitor, redis: Redis, deliver: Deliver
) -> None:
    """Running one anyway moves no mark."""
    first, second = deliver(), deliver()
    operator.post(f"/deliveries/{second}/run")
    third = read.delivery(redis, deliver())
    assert (third.verdict, list(third.same)) == ("duplicate", read.delivery(redis, first).meta["events"])


def test_the_part_that_is_a_duplicate_can_be_run_too(
    operator: Visitor, redis: Redis, deliver: Deliver
) -> None:
    """Of two facts in one callback one was told before: the page says so, and a click runs that one only."""
    deliver("crm", channel("1"), b"")
    both = deliver("crm", channel("1", "2"), b"")
    old, new = read.delivery(redis, both).meta["events"]
    assert (read.event(redis, old), read.delivery(redis, both).verdict) == (None, "accepted")
    assert "Run anyway" in operator.get(f"/deliveries/{both}").text
    before = read.event(redis, new)
    operator.post(f"/deliveries/{both}/run")
    assert read.event(redis, old).event.record_id == "1"
    assert read.event(redis, new) == before
    assert "Run anyway" not in operator.get(f"/deliveries/{both}").text


def test_what_was_finished_and_is_forgotten_does_not_run_anyway(
    operator: Visitor, redis: Redis, deliver: Deliver
) -> None:
    """Of three facts one was told before, one is done and forgotten, one is open: the page tells them apart, and only the first is run at a click."""
    deliver("crm", channel("1"), b"")
    found = deliver("crm", channel("1", "2", "3"), b"")
    old, done, waiting = read.delivery(redis, found).meta["events"]
    claim = runs.claim(redis, "e", done, 1, "a worker", 60)
    runs.route(redis, claim, (), lease=60, again=60, claim_first=False)
    assert Retention(redis, RetentionSettings(days=-0.001, size=10**12)).trim() == 1
    page = operator.get(f"/deliveries/{found}").text
    assert "1 more were finished and are forgotten" in page
    assert f'href="/events/{waiting}"' in page
    assert f'href="/events/{done}"' not in page
    assert done not in operator.get("/events").text
    assert "Raw body" in operator.get(f"/events/{waiting}").text
    assert "Run anyway" in page
    operator.post(f"/deliveries/{found}/run")
    assert read.event(redis, old).event.record_id == "1"
    assert read.event(redis, done) is None
    page = operator.get(f"/deliveries/{found}").text
    assert "Run anyway" not in page
    operator.post(f"/deliveries/{found}/run")
    assert read.states(redis)["events"] == 3


def test_viewers_see_it_and_run_nothing(visitor: Any, redis: Redis, deliver: Deliver) -> None:
    """The button is not theirs, and a form of theirs is refused."""
    deliver()
    second = deliver()
    viewer = visitor().sign_in(VIEWER)
    assert "same as event" in viewer.get("/deliveries?verdict=duplicate").text
    assert "Run anyway" not in viewer.get(f"/deliveries/{second}").text
    assert viewer.post(f"/deliveries/{second}/run").status_code == 403
    assert read.totals(redis)["accepted"] == 1


@pytest.mark.parametrize("name", ["none", "x" * 3000, "*", "%00"])
def test_what_is_no_duplicate_is_left_alone(name: str, operator: Visitor, seed: Seed) -> None:
    """An id that is none, and a delivery with another verdict, change nothing and say so."""
    refused = seed.refuse()
    before = seed.redis.dbsize()
    for delivery in (name, refused):
        answer = operator.post(f"/deliveries/{delivery}/run")
        assert answer.headers["location"] == "/deliveries?verdict=duplicate"
        assert "no such thing" in operator.get("/events").text
    assert seed.redis.dbsize() == before
    assert read.delivery(seed.redis, refused).verdict == "rejected"


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        (TOML.replace('books = { product = "books", events = ["invoice.paid"] }', ""), "not in zohook.toml"),
        (TOML.replace('"invoice.paid"', '"invoice.sent"'), "reads it otherwise"),
    ],
    ids=["removed", "changed"],
)
def test_a_source_that_cannot_read_it_any_more_says_so(
    toml: str,
    words: str,
    visitor: Any,
    settings: MakeSettings,
    known: Settings,
    redis: Redis,
    deliver: Deliver,
) -> None:
    """Where the settings have changed since, nothing is accepted and the duplicate stays."""
    deliver()
    second = deliver()
    now = settings(toml, key=known.key)
    operator = visitor(settings=now).sign_in()
    operator.post(f"/deliveries/{second}/run")
    assert words in operator.get(f"/deliveries/{second}").text
    assert read.delivery(redis, second).verdict == "duplicate"
    assert read.totals(redis)["accepted"] == 1

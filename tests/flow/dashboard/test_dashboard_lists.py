"""The lists: events found by filters and cursors, dead letters, deliveries."""

from __future__ import annotations

import pytest
from dashboard_kit import Seed, Tags, Visitor

from receiver.event import Delivery, Event, new_id, now_ms
from receiver.ledger.accept import Record, accept


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({}, {"a", "b", "c", "d", "e"}),
        ({"type": "crm.Deals.updated"}, {"a", "b"}),
        ({"type": "CRM.deals.Updated"}, {"a", "b"}),
        ({"type": "crm.*"}, {"a", "b", "c", "e"}),
        ({"type": "*.created"}, {"c"}),
        ({"source": "books"}, {"d"}),
        ({"record": "crm.Deals:1"}, {"a", "b"}),
        ({"record": "1"}, {"a", "b"}),
        ({"record": "4"}, {"d"}),
        ({"record": "4", "source": "crm"}, set()),
        ({"state": "dead"}, {"b"}),
        ({"state": "done"}, {"a", "d"}),
        ({"state": "unmatched"}, {"c"}),
        ({"state": "routing"}, {"e"}),
        ({"state": "dead", "type": "books.*"}, set()),
        ({"state": "done", "source": "crm", "record": "1"}, {"a"}),
        ({"state": "no such state"}, {"a", "b", "c", "d", "e"}),
        ({"type": "[", "source": " crm "}, set()),
    ],
)
def test_events_are_found_by_what_is_asked(
    params: dict[str, str], found: set[str], operator: Visitor, seed: Seed
) -> None:
    """Every filter, alone and with others, finds what fits it and nothing else."""
    made = {
        "a": seed.handled(record_id="1"),
        "b": seed.handled(record_id="1", state="dead", reason="no"),
        "c": seed.accept("crm.Leads.created", record_id="3"),
        "d": seed.handled("books.invoice.paid", record_id="4"),
        "e": seed.accept("crm.Leads.updated", record_id="5"),
    }
    seed.route(made["c"])
    text = operator.ask("GET", "/events", params=params).text
    assert {name for name, event in made.items() if f'data-id="{event.id}"' in text} == found


def test_pages_of_events_follow_one_another(operator: Visitor, seed: Seed) -> None:
    """The cursor leads through all events, each once, with and without a filter."""
    made = [seed.accept(received=now_ms() - number * 1000).id for number in range(120)]
    for query in ("", "?source=crm", "?state=routing"):
        seen: list[str] = []
        path: str | None = "/events" + query
        while path:
            page = Tags(operator.get(path).text)
            seen += [value or "" for name, value in page.attributes if name == "data-id"]
            path = next(
                (value for name, value in page.attributes if name == "href" and "after=" in (value or "")),
                None,
            )
        assert seen == made, query


def test_a_cursor_that_is_gone_begins_anew(operator: Visitor, seed: Seed) -> None:
    """Retention may take the row that a cursor names; the page then starts at the newest."""
    event = seed.accept()
    assert event.id in operator.get("/events?after=00000000000000000000").text


def test_dead_letters_are_listed_by_handler(operator: Visitor, seed: Seed) -> None:
    """The filter shows one handler's, with their number, and the reason of each."""
    first = seed.handled(state="dead", reason="because of this")
    second = seed.handled(handler="mirror.records", state="dead", reason="because of that")
    everything = operator.get("/dead").text
    assert "because of this" in everything
    assert "because of that" in everything
    one = operator.get("/dead?handler=mirror.records").text
    assert second.id in one
    assert first.id not in one
    assert "mirror.records (1)" in one


def test_deliveries_that_became_no_event_are_shown_with_their_reason(operator: Visitor, seed: Seed) -> None:
    """Each verdict has its tab; a duplicate names the event that it is the same as."""
    rejected = seed.refuse(reason="the signature does not fit")
    seed.refuse("quarantined", "the body is no JSON")
    seed.refuse("unverified", "no key is at hand")
    first = seed.accept(identity="one", window=60)
    again = Delivery.arrive("crm", b"{}")
    twin = Event(
        id=new_id(),
        type=first.type,
        source="crm",
        data={},
        received=now_ms(),
        identity="one",
        delivery=again.id,
    )
    accept(seed.redis, [Record(again, "accepted", events=[twin], window=60)])
    assert "the signature does not fit" in operator.get("/deliveries").text
    assert "the body is no JSON" in operator.get("/deliveries?verdict=quarantined").text
    assert "no key is at hand" in operator.get("/deliveries?verdict=unverified").text
    assert (
        f'same as event <a class="mono" href="/events/{first.id}">'
        in operator.get("/deliveries?verdict=duplicate").text
    )
    assert f"/events/{first.id}" in operator.get(f"/deliveries/{again.id}").text
    assert "POST" in operator.get(f"/deliveries/{rejected}").text
    assert operator.get("/deliveries?verdict=accepted").status_code == 404


@pytest.mark.parametrize(
    ("by", "secret", "said"),
    [
        ("hmac", 0, "hmac, the newest secret"),
        ("rsa", 1, "rsa, secret number 2, an older one"),
        ("jwt", 0, "jwt<"),
    ],
)
def test_a_delivery_says_which_secret_proved_it(
    operator: Visitor, seed: Seed, by: str, secret: int, said: str
) -> None:
    """So that an old one is dropped when nothing comes with it any more."""
    delivery = Delivery.arrive("books", b"{}")
    event = Event(
        id=new_id(),
        type="books.invoice.paid",
        source="books",
        data={},
        received=now_ms(),
        delivery=delivery.id,
    )
    accept(seed.redis, [Record(delivery, "accepted", events=[event], verified_by=by, secret=secret)])
    assert f"<dd>{said}" in operator.get(f"/deliveries/{delivery.id}").text

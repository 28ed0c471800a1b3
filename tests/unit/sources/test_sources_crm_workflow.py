"""Webhooks of Zoho CRM's automation."""

from __future__ import annotations

import pytest
from kits import KITS
from signed_deliveries import RECEIVED, SECRETS, changed, workflow

from receiver.errors import BadFraming, Malformed, Unauthenticated
from receiver.event import Delivery, Event
from receiver.sources import PRODUCTS
from receiver.sources.source import Keys, Verified, Way

WEEK = 7 * 86_400
WORKFLOWS = PRODUCTS["crm_workflow"]
STATIC = Verified("static")
KEYS = Keys((SECRETS["new"],))

MULTIPART = (
    b'--B\r\nContent-Disposition: form-data; name="lead"\r\n\r\n57\r\n--B\r\n'
    b'Content-Disposition: form-data; name="key"\r\n\r\nnewsecret-0123456789\r\n--B--\r\n'
)
RULES = KITS["crm_workflow"].way


def ran(delivery: Delivery, way: Way = RULES) -> Event:
    """The one event of a workflow's webhook."""
    (event,) = WORKFLOWS.parse(delivery, way, STATIC).events
    return event


def test_a_workflow_is_one_event():
    """The rendered template gives one event of the only type listed, without what stands for nothing."""
    event = ran(workflow("x"))
    assert (event.type, event.record_id, event.native) == (
        "crm.Deals.won",
        "5725767000003000064",
        "Deals.won",
    )
    assert "owner" not in event.data
    assert event.data["email"] == "p.boyle@example.com"
    assert event.identity.startswith("sha256:")
    assert "@" not in event.identity
    assert WORKFLOWS.window(RULES) == 60


@pytest.mark.parametrize(
    ("events", "query", "kind"),
    [
        (("Deals.won",), b"", "crm.Deals.won"),
        (("Deals.won", "Deals.lost"), b"event=Deals.lost", "crm.Deals.lost"),
        (("Deals.won", "Deals.lost"), b"event=deals.WON", "crm.Deals.won"),
        (("crm.Deals.won",), b"event=Deals.won", "crm.Deals.won"),
        (("Deals.edit",), b"event=Deals.edit", "crm.Deals.updated"),
        (("Deals.all",), b"", "crm.Deals.all"),
    ],
)
def test_the_url_names_the_event(events, query, kind):
    """The URL chooses among the events listed, and a native word has the type that a channel would give it."""
    assert ran(workflow("x", query=query), Way("rules", "crm_workflow", events=events)).type == kind


@pytest.mark.parametrize(
    ("events", "query"),
    [
        *[((), b""), ((), b"event=Deals.won"), (("Deals.won",), b"event=Deals.lost"), (("a.b", "a.c"), b"")],
        *[(("a.b",), b"event=a.b&event=a.b"), (("a.b",), b"event=%FF")],
    ],
)
def test_an_event_that_is_not_listed_is_malformed(events, query):
    """Whoever knows the secret may not choose the event freely; the reason says how to list it."""
    with pytest.raises(Malformed):
        ran(workflow("x", query=query), Way("rules", "crm_workflow", events=events))


@pytest.mark.parametrize("method", ["POST", "PUT", "GET", "DELETE"])
def test_parameters_are_data_where_there_is_no_body(method):
    """A GET or DELETE brings its data in the URL; the secret and the event are not data."""
    way = Way("rules", "crm_workflow", events=("Deals.won",), id="/lead", secret_parameter="key")
    query = b"event=Deals.won&lead=57&key=newsecret-0123456789&empty=&merge=%24%7BLeads.X%7D"
    delivery = Delivery.arrive("rules", method=method, query=query)
    assert method in WORKFLOWS.methods
    assert not WORKFLOWS.handshake(delivery, way)
    assert WORKFLOWS.verify(delivery, way, KEYS).by == "static"
    event = ran(delivery, way)
    assert (event.data, event.record_id) == ({"lead": "57"}, "57")
    assert SECRETS["new"] not in repr(event)


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (b"lead=57&key=newsecret-0123456789", "application/x-www-form-urlencoded"),
        (
            MULTIPART,
            "multipart/form-data; boundary=B",
        ),
    ],
    ids=["urlencoded", "multipart"],
)
def test_forms_of_both_sorts(sent, kind):
    """A form may carry data and secret; the secret is taken out of the data."""
    way = Way("rules", "crm_workflow", events=("Deals.won",), secret_header="", secret_parameter="key")
    delivery = Delivery.arrive("rules", sent, headers={"content-type": kind})
    assert WORKFLOWS.verify(delivery, way, KEYS).secret == 0
    assert ran(delivery, way).data == {"lead": "57"}


@pytest.mark.parametrize(
    "query", [b"key=a&key=newsecret-0123456789", b"key=newsecret-0123456789&key=newsecret-0123456789"]
)
def test_a_doubled_parameter_is_refused(query):
    """A secret that comes twice is refused, in one place or in two."""
    way = Way("rules", "crm_workflow", secret_header="", secret_parameter="key")
    with pytest.raises(BadFraming):
        WORKFLOWS.verify(Delivery.arrive("rules", query=query, method="GET"), way, KEYS)
    form = {"content-type": "application/x-www-form-urlencoded"}
    with pytest.raises(BadFraming):
        WORKFLOWS.verify(Delivery.arrive("rules", query[:5], query=query[6:], headers=form), way, KEYS)


@pytest.mark.parametrize(
    ("way", "query"),
    [
        ({"secret_header": ""}, b"key=newsecret-0123456789"),
        ({"secret_header": "", "secret_parameter": "key"}, b""),
        ({"secret_header": "", "secret_parameter": "key"}, b"key="),
        ({"secret_parameter": "key"}, b"key=wrong"),
        ({"secret_parameter": "key"}, b"key=%FF"),
    ],
    ids=repr,
)
def test_a_parameter_without_the_secret_is_refused(way, query):
    """Without a place configured, without the parameter, empty, wrong or unreadable: refused, and never kept as malformed."""
    with pytest.raises(Unauthenticated):
        WORKFLOWS.verify(Delivery.arrive("rules", query=query), Way("rules", "crm_workflow", **way), KEYS)


def test_the_header_has_any_name():
    """The header's name is the admin's choice and its case does not matter."""
    way = Way("rules", "crm_workflow", secret_header="X-My-Key")
    delivery = Delivery.arrive("rules", b"{}", headers={"x-MY-key": SECRETS["new"]})
    assert WORKFLOWS.verify(delivery, way, KEYS).secret == 0
    assert not WORKFLOWS.handshake(Delivery.arrive("rules", headers={"x-MY-key": "?"}), way)


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (b'{"name": "5" pipe"}', "application/json"),
        (b'{"note": "two\nlines"}', "application/json"),
        (b"<lead/>", "text/xml"),
        (b"a=%FF", "application/x-www-form-urlencoded"),
        (b"x", "multipart/form-data"),
    ],
)
def test_unreadable_bodies_are_malformed(sent, kind):
    """A quote or line break in a merged field may break the JSON: kept as malformed, not guessed at."""
    with pytest.raises(Malformed):
        ran(Delivery.arrive("rules", sent, headers={"content-type": kind}))


def test_a_modified_time_makes_the_mark_live_a_week():
    """Where the body says when the record was modified, equal bytes are one fact for a week; else for a minute."""
    way = Way("rules", "crm_workflow", events=("Deals.won",), id="/id", time="/at")
    timed, untimed = b'{"id": "5", "at": "2024-11-23T10:00:00+01:00"}', b'{"id": "5", "at": "Nov 23, 2024"}'
    assert WORKFLOWS.window(way) == WEEK
    event, other = ran(workflow("x", timed), way), ran(workflow("x", untimed), way)
    assert event.occurred == 1_732_352_400_000
    assert ran(changed(workflow("x", timed), received=RECEIVED + 86_400_000), way).identity == event.identity
    assert (other.occurred, other.identity[:7]) == (None, "sha256:")
    assert ran(changed(workflow("x", untimed), received=RECEIVED + 59_000), way).identity == other.identity
    assert (event.mark_life(WEEK), other.mark_life(WEEK)) == (WEEK, 60)
    assert WORKFLOWS.window(Way("rules", "crm_workflow", time="/at", dedupe_for=9.0)) == 9
    assert WORKFLOWS.window(Way("rules", "crm_workflow", time="/at", dedupe=False)) == 0


def test_a_list_is_data_too():
    """A template may be an array; pointers reach into it."""
    way = Way("rules", "crm_workflow", events=("Deals.won",), id="/0/id")
    assert ran(workflow("x", b'[{"id": 5, "x": ""}]'), way).record_id == "5"

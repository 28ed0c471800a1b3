"""Who wants an event: patterns of types, and filters over what was delivered."""

from __future__ import annotations

from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver import on
from receiver.errors import HandlerError
from receiver.event import now_ms
from receiver.routing.plugins import collect
from receiver.routing.router import (
    Pattern,
    Router,
    matches,
    mismatch,
    unknown_connections,
    unknown_patterns,
    unknown_sources,
    wants,
)
from receiver.settings_tables import ConnectionSettings
from receiver.testing import make_event


def handlers(*declared):
    """Handlers with these declarations, called a, b, c, ..."""
    rooms = ModuleType("rooms")
    for letter, declare in zip("abcdefgh", declared, strict=False):

        def function(event):
            """Wants it or not."""

        function.__module__ = "rooms"
        setattr(rooms, letter, declare(function))
    return list(collect([("rooms", rooms)]).handlers.values())


def wanted(event=None, **options):
    """Whether a handler with these options wants the event, now."""
    [handler] = handlers(on("**", **options))
    return wants(handler, event or make_event("crm.Deals.updated"), now_ms())


PARTS = st.text("abcXYZ019_", min_size=1, max_size=6)
TYPES = st.tuples(
    st.sampled_from(["crm", "books", "desk", "app"]), st.lists(PARTS, min_size=1, max_size=4)
).map(lambda both: [both[0], *both[1]])


@pytest.mark.parametrize(
    ("pattern", "fitting", "other"),
    [
        ("crm.Deals.updated", "crm.Deals.updated", "crm.Deals.created"),
        ("crm.deals.UPDATED", "CRM.Deals.updated", "crm.Deal.updated"),
        ("crm.*.created", "crm.Leads.created", "books.invoice.created"),
        ("crm.*.created", "crm.Custom_Module.created", "crm.a.b.created"),
        ("*.*.deleted", "desk.Ticket.deleted", "deleted"),
        ("crm.**", "crm.Deals.won.again", "crmx.Deals.won"),
        ("crm.**", "crm", "books.crm"),
        ("**", "anything.at.all", None),
        ("app.order", "app.order", "app.order.paid"),
        ("Deals.edit", "crm.Deals.updated", "crm.Deals.created"),
        ("deals.ALL", "crm.Deals.deleted", "crm.Leads.deleted"),
        ("Ticket_Add", "desk.Ticket.created", "desk.Ticket_Comment.created"),
        ("Ticket_Comment_Add", "desk.Ticket_Comment.created", "desk.Ticket.created"),
        ("IM_Session_Status", "desk.IM_Session_Status", "desk.IM_Session.created"),
    ],
)
def test_a_pattern_fits_what_it_says(pattern, fitting, other):
    """In our words and in Zoho's, whatever the case: `*` is one part, `**` all the rest."""
    [handler] = handlers(on(pattern))
    router = Router([handler])
    for _ in range(2):  # the second time from memory
        assert router.of_type(fitting) == (handler,)
        assert other is None or router.of_type(other) == ()
    assert Pattern(pattern).fits(fitting)
    assert other is None or not Pattern(pattern).fits(other)


@given(TYPES, st.data())
def test_a_pattern_made_from_a_type_fits_it(parts, data):
    """Any of its parts may be a star, its tail two of them, and its case another."""
    stars = [data.draw(st.sampled_from([part, "*", part.swapcase()])) for part in parts]
    assert Pattern(".".join(stars)).fits(".".join(parts))
    cut = data.draw(st.integers(0, len(parts)))
    assert Pattern(".".join([*stars[:cut], "**"])).fits(".".join(parts))


@given(TYPES, PARTS)
def test_a_pattern_without_the_rest_counts_the_parts(parts, more):
    """A type with one part more or less is another one."""
    pattern = Pattern(".".join("*" for _ in parts))
    assert pattern.fits(".".join(parts))
    assert not pattern.fits(".".join([*parts, more]))
    assert not pattern.fits(".".join(parts[:-1]))


def test_the_rest_comes_last():
    """`**.created` would be every event there is, so it is refused where it is written."""
    with pytest.raises(HandlerError, match="comes last"):
        on("**.created")


def test_all_that_want_it_are_found_in_the_order_of_their_ids():
    """Several types are alternatives; each handler comes once."""
    found = Router(handlers(on("Deals.all"), on("crm.Deals.*", "**"), on("Leads.all"))).of_type(
        "crm.Deals.created"
    )
    assert [each.id for each in found] == ["rooms.a", "rooms.b"]


def test_memory_of_types_is_bounded():
    """Types come from outside: ten thousand are remembered, the others are worked out again."""
    router = Router(handlers(on("**")))
    for number in range(10_050):
        assert len(router.of_type(f"app.{number}")) == 1
    assert len(router._by_type) == 10_000


@pytest.mark.parametrize(
    ("changed", "wants_it"),
    [(None, True), ({"Stage"}, True), ({"Stage", "x"}, True), (set(), False), ({"x"}, False)],
)
def test_unknown_changes_mean_run(changed, wants_it):
    """`changed=` filters only where the product said what changed."""
    assert wanted(make_event("Deals.edit", changed=changed), changed=["Stage", "Amount"]) is wants_it


def test_sources_and_origins_are_filtered():
    """By the name of the way in, and by how the event came about."""
    event = make_event("Deals.edit", source="crm2", origin="catchup")
    assert wanted(event, source="crm2")
    assert not wanted(event, source=["crm", "books"])
    assert wanted(event, origins=["live", "catchup"])
    assert not wanted(event, origins="live")


def test_age_is_counted_from_what_happened():
    """By Zoho's clock where it is known, else by ours; a clock that is ahead is no reason to drop anything."""
    hours = 3_600_000
    assert wanted(make_event("Deals.edit", occurred=now_ms() - hours), max_age="2h")
    assert not wanted(make_event("Deals.edit", occurred=now_ms() - 3 * hours), max_age="2h")
    assert not wanted(make_event("Deals.edit", received=now_ms() - 3 * hours), max_age="2h")
    assert wanted(make_event("Deals.edit", occurred=now_ms() + 3 * hours), max_age="2h")


ORDER = {
    "customer": {"country": "DE", "vip": True},
    "lines": [{"sku": "A", "n": 2}, {"sku": "B"}],
    "total": 100.0,
    "id": 7,
    "a.b": "dotted",
    "none": None,
}


@pytest.mark.parametrize(
    "when",
    [
        {"customer.country": "DE"},
        {"customer": {"country": "DE", "vip": True}},
        {"customer.country": ["AT", "DE"]},
        {"customer.country": {"AT", "DE"}},
        {"lines.1.sku": "B"},
        {"lines": {"0.sku": "A"}},
        {"total": 100},
        {"total": lambda total: total > 99},
        {"total": [5, lambda total: total > 99]},
        {"id": "7"},
        {"id": 7, "a.b": "dotted"},
        {"none": None, "missing": None},
        {},
    ],
)
def test_when_matches_at_any_depth(when):
    """By dots, nested tables, lists of values and functions; an id is the same as a number and as text."""
    assert matches(ORDER, when)
    assert mismatch(ORDER, when) == ""
    assert wanted(make_event("app.order", data=ORDER), when=when)


@pytest.mark.parametrize(
    ("when", "why"),
    [
        ({"customer.country": "AT"}, "customer.country is 'DE'"),
        ({"customer": {"vip": False}}, "customer is {'country': 'DE', 'vip': True}"),
        ({"customer.vip": 1}, "customer.vip is True"),
        ({"lines.2.sku": "B"}, "lines.2.sku is absent"),
        ({"lines.-1.sku": "B"}, "lines.-1.sku is absent"),
        ({"missing": lambda value: True}, "missing is absent"),
        ({"missing": {"deep": None}}, "missing is absent"),
        ({"total": "1e2"}, "total is 100.0"),
        ({"id": [8, "9"]}, "id is 7"),
        ({"id": []}, "id is 7"),
        ({"id": None}, "id is 7"),
    ],
)
def test_what_does_not_match_says_why(when, why):
    """In words that a person reads in the list of skipped jobs."""
    assert not matches(ORDER, when)
    assert mismatch(ORDER, when) == why
    assert not wanted(make_event("app.order", data=ORDER), when=when)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_whatever_was_delivered_can_be_filtered(data):
    """Data of any shape is an answer, never an error."""
    assert matches(data, {"x.0.y": lambda value: True}) in (True, False)
    assert len(mismatch(data, {"a": {"b": 1}})) <= 200


def test_a_filter_that_raises_is_not_hidden():
    """The router's caller makes a dead job of it, for this handler only."""
    with pytest.raises(ZeroDivisionError):
        wanted(make_event("app.x", data={"n": 0}), when={"n": lambda n: 1 / n})


def test_a_pattern_that_fits_nothing_known_is_told_with_a_guess():
    """What products are known to send, what zohook.toml lists and the user's own types are known; the rest may be misspelt."""
    found = handlers(
        on("crm.Deal.updated"),
        on("crm.Deals.updated", "Ticket_Add", "app.mine", "**", "crm.*.created"),
        on("books.invoice.paid"),
        on("books.unheard.of"),
        on("desk.Ticket_Thread.created"),
    )
    said = unknown_patterns(found, ["books.invoice.paid"])
    assert said[0] == (
        "rooms.a waits for 'crm.Deal.updated', which no source is known to send; did you mean 'crm.Deals.updated'?"
    )
    assert [line.split()[0] for line in said] == ["rooms.a", "rooms.d"]


def test_a_source_that_zohook_toml_does_not_have_is_told_with_a_guess():
    """Its handler would never run, and nobody would know why."""
    found = handlers(
        on("a", source="rules"), on("a", source=["rules", "ruels"]), on("a", source="other"), on("a")
    )
    assert unknown_sources(found, ["rules", "crm"]) == [
        "rooms.b waits for the source 'ruels', which is none of [sources]; did you mean 'rules'?",
        "rooms.c waits for the source 'other', which is none of [sources]",
    ]


def test_connections_that_nobody_has_are_told():
    """With the nearest name; not where customers have theirs in the ledger."""
    found = handlers(
        on("a", connection="acme"), on("a", connection="acne"), on("a", connection="us"), on("a")
    )
    acme, everybody = ConnectionSettings(), ConnectionSettings(customers=True)
    assert unknown_connections(found, {"acme": acme}) == [
        "rooms.b uses the connection 'acne', which is none of [connections]; did you mean 'acme'?",
        "rooms.c uses the connection 'us', which is none of [connections]",
    ]
    assert unknown_connections(found, {"acme": acme, "app": everybody}) == []

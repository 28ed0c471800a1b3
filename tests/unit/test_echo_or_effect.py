"""Whether an event says what was written: just that (an echo), or nothing against it (an effect)."""

from __future__ import annotations

import pytest

from receiver.event import Event, new_id, now_ms
from receiver.routing import echoes
from receiver.routing.echoes import is_echo, may_cause

CRM = "crm.Deals.updated"


def event(changed=None, data=None, event_type=CRM):
    """An event on one record."""
    names = None if changed is None else frozenset(changed)
    return Event(
        id=new_id(), type=event_type, source="s", data=data, received=now_ms(), record_id="1", changed=names
    )


def told(**values):
    """What a CRM channel says with values."""
    return {"id": "1", "operation": "update", "values": values}


@pytest.mark.parametrize(
    ("said", "wrote"),
    [
        ({"id": "5", "name": "Ann"}, {"id": 5}),
        ("10", 10),
        ("10.00", 10),
        (" Roof ", "Roof"),
        ("2027-01-31T10:00:00+01:00", "2027-01-31T09:00:00+00:00"),
        (None, None),
        (True, True),
    ],
)
def test_a_value_comes_back_in_zohos_own_form(said, wrote):
    """A lookup with its name, a number as text, a time in the zone of the user: all are what was written."""
    assert is_echo(event(["F"], told(F=said)), {"F": wrote})


@pytest.mark.parametrize(
    ("said", "wrote"),
    [
        ({"id": "5"}, {"id": "6"}),
        ("10", 11),
        ("Roof", "roof"),
        (None, ""),
        ("2027-01-31", "2027-02-01"),
        (["a"], ["b"]),
    ],
)
def test_another_value_is_somebody_elses(said, wrote):
    """Then it is neither an echo nor an effect."""
    assert not is_echo(event(["F"], told(F=said)), {"F": wrote})
    assert not may_cause({"F": wrote}, event(["F"], told(F=said)))


def test_an_echo_says_nothing_else_and_an_effect_may():
    """Zoho's own rules change further fields along with ours: then the handler runs, and knows the cause."""
    both = event(["Stage", "Probability", "Modified_Time"], told(Stage="Won", Probability=100))
    assert not is_echo(both, {"Stage": "Won"})
    assert may_cause({"Stage": "Won"}, both)
    assert not may_cause({"Amount": 5}, both)


def test_without_values_only_the_fields_are_compared_and_no_other_may_be_there():
    """A person who changed another field as well would otherwise be taken for us."""
    bare = {"id": "1", "operation": "update", "values": None}
    assert is_echo(event(["Stage"], bare), {"Stage": "Won", "id": "1"})
    assert may_cause({"Stage": "Won"}, event(["Stage"], bare))
    assert not may_cause({"Stage": "Won"}, event(["Stage", "Amount"], bare))


def test_stamps_alone_are_no_change():
    """Every write changes them, whoever wrote."""
    assert not is_echo(event(["Modified_Time"], told()), {"Modified_Time": "x"})
    assert not may_cause({"Modified_Time": "x"}, event(["Modified_Time"], told()))


@pytest.mark.parametrize(
    ("data", "wrote", "caused"),
    [
        ({"invoice": {"notes": "N", "total": 5.0}}, {"notes": "N"}, True),
        ({"invoice": {"notes": "M"}}, {"notes": "N"}, False),
        ({"invoice": {"notes": "N", "line_items": [{"id": 1}]}}, {"notes": "N", "line_items": []}, True),
        ({"invoice": {"total": 5.0}}, {"custom_fields": [{"api_name": "cf_x", "value": 1}]}, True),
        ({"notes": "M"}, {"notes": "N"}, False),
        ({"invoice": {"notes": "M"}}, {}, True),
        ("text", {"notes": "N"}, True),
    ],
)
def test_where_nobody_knows_what_changed_nothing_may_speak_against_it(data, wrote, caused):
    """Books tells the whole record and not what changed: it is our effect if it has what we wrote, and never an echo."""
    books = event(None, data, "books.invoice.updated")
    assert may_cause(wrote, books) is caused
    assert not is_echo(books, wrote)


def test_a_deleted_record_is_the_effect_of_a_deletion_only():
    """A write of values does not delete."""
    gone = event(None, {"id": "1"}, "crm.Deals.deleted")
    assert may_cause({}, gone)
    assert not may_cause({"Stage": "Won"}, gone)


@pytest.mark.parametrize(
    ("product", "module", "resource"),
    [
        ("crm", "Deals", "Deals"),
        ("books", "invoices", "invoice"),
        ("books", "currencies", "currency"),
        ("desk", "tickets", "Ticket"),
        ("desk", "ticket_comments", "Ticket_Comment"),
    ],
)
def test_what_the_api_calls_a_module_is_what_the_events_are_called_by(product, module, resource):
    """Else a write would never be found by its event."""
    assert echoes._RESOURCE[product](module) == resource

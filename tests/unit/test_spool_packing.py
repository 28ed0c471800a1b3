"""What goes to the spool's file comes back as the ledger would have kept it."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.exceptions import ResponseError

from receiver.event import Delivery, Event, new_id, now_ms
from receiver.intake.faults import is_everyones
from receiver.intake.packing import pack_record, unpack_record
from receiver.intake.spoolfile import Flag, Row, SpoolFile
from receiver.ledger.accept import Record

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip
LATIN = st.text(st.characters(max_codepoint=255))


def record(body: bytes = b"{}", **fields: object) -> Record:
    """A record of one event."""
    delivery = Delivery.arrive("books", body, headers=[("x-webhook-token", "a secret"), ("x-b", "1")])
    event = Event(
        id=new_id(), type="books.invoice.paid", source="books", data={}, received=now_ms(), identity="i"
    )
    return Record(delivery, "accepted", events=[event], window=60, **fields)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=3000), JSON, JSON, LATIN, LATIN, st.none() | st.frozensets(st.text(max_size=3)))
def test_a_record_comes_back_as_it_went(body, data, previous, query, value, changed) -> None:
    """The script gets the same arguments for the record that was packed as for the one that was not."""
    delivery = Delivery.arrive(
        "books", body, query=query.encode("latin-1"), headers=[("x-a", value)], remote="::1"
    )
    events = [
        Event(
            id=new_id(), type="books.invoice.paid", source="books", data=data, previous=previous, received=delivery.received,
            record_id="7", identity="id:7", changed=changed, cause="c", delivery=delivery.id, connection="acme", verified_by="hmac",
        )
    ]  # fmt: skip
    given_record = Record(delivery, "accepted", "why", events, 604_800.5, "hmac", 1, "sealed")
    assert unpack_record(*pack_record(given_record)).args() == given_record.args()


@pytest.mark.parametrize(
    ("said", "everyones"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", True),
        (
            "Error running script (call to f_1): @user_script:9: -OOM command not allowed when used memory",
            True,
        ),
        ("MISCONF Redis is configured to save RDB snapshots", True),
        ("You can't write against a read only replica.", True),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", False),
        ("user_script:3: attempt to compare nil with number", False),
    ],
)
def test_a_record_is_not_blamed_for_what_is_wrong_with_redis(said, everyones) -> None:
    """An error that any record would have met never sends one into quarantine."""
    assert is_everyones(ResponseError(said)) is everyones


def test_the_file_keeps_order_totals_and_its_limit(tmp_path) -> None:
    """Rows come back oldest first, only as many go in as there is room for, and the flag tells all openers whether any wait."""
    flag, other = Flag(tmp_path / "f"), Flag(tmp_path / "f")
    rows = [Row(at, b"h%d" % at, b"b" * 100) for at in range(10)]
    with SpoolFile(tmp_path / "s", flag) as file:
        assert file.insert(rows, 7 * rows[0].size) == 7
        assert other.byte[0] == 1
        assert [row.received for row in file.oldest(3, 10**6)] == [0, 1, 2]
        assert len(file.oldest(99, 250)) == 1
        first, second, *rest = file.oldest(99, 10**6)
        file.done([first])
        file.done([first])
        assert not file.failed(second, "why", 2)
        assert file.failed(file.oldest(1, 1)[0], "why", 2)
        assert (file.depth().depth, file.depth().oldest, file.depth().quarantined) == (5, 2, 1)
        assert file.depth().bytes == 6 * rows[0].size
        file.done(rest)
        assert (other.byte[0], file.depth().depth) == (0, 0)
        assert [(row.received, why) for row, why in file.quarantined()] == [(1, "why")]
        file.shrink()
        assert not file.moved()
        (tmp_path / "s").unlink()
        assert file.moved()
    assert (tmp_path / "f").stat().st_mode & 0o077 == 0

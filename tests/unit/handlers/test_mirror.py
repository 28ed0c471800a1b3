"""The mirror: records in a table of one's own, right in whatever order the runs end."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from handlers.mirror import forget_record, keep_record
from receiver.testing import make_event, run_handler

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeSettings

NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


class Mirror:
    """What CRM told, and what the table holds."""

    def __init__(self, make: MakeSettings, toml: str = "") -> None:
        self.settings = make(toml)

    def saw(self, stage: str, seconds: float, seq: int = 1, offset: int = 0, module: str = "Deals") -> None:
        """A run that read the record in this state, modified so many seconds after noon."""
        at = (NOON + timedelta(seconds=seconds)).astimezone(timezone(timedelta(hours=offset))).isoformat()
        event = make_event(
            f"crm.{module}.updated", record={"id": "7", "Stage": stage, "Modified_Time": at}, seq=seq
        )
        assert run_handler(keep_record, event, raises=True, settings=self.settings).state == "done"

    def gone(self, seconds: float, seq: int = 1, **times: Any) -> None:
        """A run for the record's deletion."""
        times = times or {"occurred": int((NOON.timestamp() + seconds) * 1000)}
        event = make_event("Deals.delete", record_id="7", seq=seq, **times)
        assert run_handler(forget_record, event, raises=True, settings=self.settings).state == "done"

    def rows(self, path: str = ".zohook/mirror.sqlite3") -> list[tuple[Any, ...]]:
        """(module, id, a field of the data) of all rows."""
        with closing(sqlite3.connect(self.settings.folder / path)) as database:
            query = "SELECT module, id, json_extract(data, '$.Stage') FROM records ORDER BY module, id"
            return database.execute(query).fetchall()


@pytest.fixture
def mirror(settings: MakeSettings) -> Mirror:
    """An empty mirror."""
    return Mirror(settings)


def test_a_record_is_one_row_of_its_module(mirror: Mirror) -> None:
    """The same event twice is a row once; the same id in another module is another row."""
    mirror.saw("Qualification", 0)
    mirror.saw("Qualification", 0)
    mirror.saw("Unpaid", 0, module="Invoices")
    assert mirror.rows() == [("Deals", "7", "Qualification"), ("Invoices", "7", "Unpaid")]


def test_an_older_state_changes_nothing(mirror: Mirror) -> None:
    """A run that was late with what it read does not undo a newer one."""
    mirror.saw("newer", 1, seq=1)
    mirror.saw("older", 0, seq=2)
    assert mirror.rows() == [("Deals", "7", "newer")]


def test_times_are_compared_as_moments(mirror: Mirror) -> None:
    """An organisation's clock goes back an hour in autumn, and its records still move on."""
    mirror.saw("in summer time", 0, offset=2)
    mirror.saw("in winter time", 1, offset=1)
    assert mirror.rows() == [("Deals", "7", "in winter time")]


def test_within_one_second_the_later_event_wins(mirror: Mirror) -> None:
    """CRM's times are whole seconds: the order of the ledger decides, whichever run ends first."""
    mirror.saw("second", 0, seq=2)
    mirror.saw("first", 0, seq=1)
    assert mirror.rows() == [("Deals", "7", "second")]
    mirror.saw("third", 0, seq=3)
    assert mirror.rows() == [("Deals", "7", "third")]


def test_a_deleted_record_is_emptied_and_stays_so(mirror: Mirror) -> None:
    """Neither a run that read it before, nor the deletion a second time, nor one of a record never seen does harm."""
    mirror.gone(2.5, seq=5)
    mirror.saw("read before it was deleted", 1, seq=6)
    mirror.gone(2.5, seq=5)
    assert mirror.rows() == [("Deals", "7", None)]


def test_a_restored_record_comes_back_with_its_next_edit(mirror: Mirror) -> None:
    """A state later than the deletion is kept, and the deletion told late does not take it away."""
    mirror.gone(2.5, seq=5)
    mirror.saw("restored", 9, seq=7)
    mirror.gone(2.5, seq=8)
    assert mirror.rows() == [("Deals", "7", "restored")]


def test_a_deletion_without_zohos_time_counts_from_its_arrival(mirror: Mirror) -> None:
    """Workflow webhooks do not say when: the time of the door stands in."""
    mirror.saw("there", 0)
    mirror.gone(0, seq=2, received=int(NOON.timestamp() * 1000) + 5000)
    assert mirror.rows() == [("Deals", "7", None)]


def test_the_file_is_a_setting(settings: MakeSettings, tmp_path: Path) -> None:
    """A path of the project's folder or from the root; its folder is made."""
    mirror = Mirror(settings, '[values]\nmirror = "data/crm.db"\n')
    mirror.saw("there", 0)
    assert mirror.rows("data/crm.db") == [("Deals", "7", "there")]
    assert (tmp_path / "data" / "crm.db").exists()

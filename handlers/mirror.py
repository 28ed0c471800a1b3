"""CRM's records, mirrored to a table of your own that you can query with SQL.

The table is `records` in .zohook/mirror.sqlite3, or in zohook.toml:

    [values]
    mirror = "/var/lib/acme/crm.sqlite3"

Events may come late, twice or in any order: a row only ever moves on. A deleted record leaves an empty row behind, so that a
run which read it before cannot bring it back.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from typing import Any

from receiver import Event, on, resource

TABLE = """
CREATE TABLE IF NOT EXISTS records (
    module TEXT, id TEXT, modified REAL NOT NULL, seq INTEGER NOT NULL, data TEXT, PRIMARY KEY (module, id)
)"""
# CRM's times are whole seconds. Of two edits within one, the event that was accepted last has seen both.
UPSERT = """
INSERT INTO records VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET modified = excluded.modified, seq = excluded.seq, data = excluded.data
WHERE (excluded.modified, excluded.seq) >= (records.modified, records.seq)"""


@resource
def mirror(settings: Any) -> Iterator[sqlite3.Connection]:
    """The database, opened once per worker process; each statement is a transaction of its own."""
    path = settings.folder / settings.values.get("mirror", ".zohook/mirror.sqlite3")
    path.parent.mkdir(parents=True, exist_ok=True)
    opened = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    with closing(opened) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute(TABLE)
        yield database


@on("crm.*.created", "crm.*.updated", record=True)
def keep_record(event: Event, mirror: sqlite3.Connection) -> None:
    """Write a record to the mirror as it is now."""
    modified = datetime.fromisoformat(event.record["Modified_Time"]).timestamp()
    row = (event.resource, event.record_id, modified, event.seq, json.dumps(event.record))
    mirror.execute(UPSERT, row)


@on("crm.*.deleted")
def forget_record(event: Event, mirror: sqlite3.Connection) -> None:
    """Empty the row of a deleted record."""
    gone = (event.occurred_at or event.received_at).timestamp()
    mirror.execute(UPSERT, (event.resource, event.record_id, gone, event.seq, None))

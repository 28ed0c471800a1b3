"""Recruit and Bigin, version 2, where they equal CRM: records, searches, notes.

https://www.zoho.com/recruit/developer-guide/apiv2/ and https://www.bigin.com/developer/docs/apis/v2/. What CRM has beyond records is not here,
and `zoho.request` reaches what else they have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from receiver.errors import InvalidRequest
from receiver.zoho.crm_ensure import Records

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from receiver.zoho.crm_records import Record


class Bigin(Records):
    """Bigin's records: Contacts, Accounts (its companies), Pipelines (its deals), Tasks, Products."""

    product = "bigin"
    base = "/bigin/v2"


class Recruit(Records):
    """Recruit's records: Candidates, Job_Openings, Clients, Contacts, ... It has no COQL, and no page_token is known: pages go by number."""

    product = "recruit"
    base = "/recruit/v2"
    by_number = 1_000_000

    def coql(self, query: str) -> Sequence[Record]:
        """Raises InvalidRequest: Recruit has none."""
        raise InvalidRequest(
            f"recruit has no COQL; use search instead of {query[:80]!r}", code="NOT_SUPPORTED"
        )

    def _find(self, module: str, by: Mapping[str, Any]) -> Record | None:
        """By a search, whose index lags behind writes: one that was made in the last moments is found by the upsert, and gets the values."""
        criteria = "and".join(f"({name}:equals:{_escaped(value)})" for name, value in by.items())
        found = self.search(module, criteria, limit=1)
        return self.get(module, str(found[0]["id"])) if found else None


def _escaped(value: Any) -> str:
    r"""A value in a criteria: commas, brackets and backslashes are escaped with a backslash."""
    return "".join(f"\\{letter}" if letter in "(),\\" else letter for letter in str(value))

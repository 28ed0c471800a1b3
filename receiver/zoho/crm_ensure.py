"""Made once: a record that is to be there whoever asks for it, and how often. Bigin and Recruit have it too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from receiver.errors import InvalidRequest, NotFound, ScopeMissing
from receiver.zoho.crm_writes import Writes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from receiver.zoho.crm_records import Record
    from receiver.zoho.crm_writes import Trigger


class Records(Writes):
    """All that is done to records."""

    def ensure(
        self,
        module: str,
        by: Mapping[str, Any],
        values: Mapping[str, Any],
        *,
        trigger: Trigger = None,
        external: bool = False,
    ) -> tuple[Record, bool]:
        """(the record with those values in `by`, whether it was made now). One that is there already is
        returned as it is.

        Looked up with COQL, which sees what was just written, and made with upsert: two at once make one
        record, provided that the fields of `by` are unique in CRM or one of its own duplicate check fields. With `external=True`
        the one field of `by` is an external one: it is looked up and made by that, with no need of COQL.
        """
        if external and len(by) != 1:
            raise InvalidRequest(
                "an external id is one field; give by= with one name and value", code="bad_by"
            )
        field = next(iter(by)) if external else ""
        found = self._find_external(module, field, str(by[field])) if field else self._find(module, by)
        if found:
            return found, False
        record = {**values, **by}
        if field:
            made = self.upsert(module, record, external=field, trigger=trigger)
        else:
            made = self.upsert(module, record, by=list(by), trigger=trigger)
        return {**values, **by, **made}, made["action"] == "insert"

    def _find_external(self, module: str, field: str, value: str) -> Record | None:
        try:
            return self.get(module, value, external=field)
        except NotFound:
            return None

    def _find(self, module: str, by: Mapping[str, Any]) -> Record | None:
        where = " and ".join(f"({name} = {_literal(value)})" for name, value in by.items())
        try:
            rows = self.coql(f"select id from {module} where {where} limit 1")  # noqa: S608 - COQL, quoted below
        except ScopeMissing:  # the consent has no COQL; the upsert still keeps it to one record
            return None
        try:
            return self.get(module, str(rows[0]["id"])) if rows else None
        except NotFound:
            return None


def _literal(value: Any) -> str:
    """A value as COQL writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    escaped = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"

"""External ids: a record named by a field of the user's own instead of CRM's id, with the header `X-EXTERNAL: Module.Field`.

https://www.zoho.com/crm/developer/docs/api/v8/external-id.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from receiver.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def naming(product: str, module: str, field: str) -> dict[str, str]:
    """The header for a call whose ids are values of that field; none for CRM's own ids.

    Raises InvalidRequest where it is no name, and for CRM's kin, whose pages know of no such header.
    """
    if not field:
        return {}
    if product != "crm":
        raise InvalidRequest(
            f"external ids are CRM's; {product} has none that is documented", code="NOT_SUPPORTED"
        )
    for each in (module, field):
        if not _NAME.fullmatch(each):
            raise InvalidRequest(f"{each!r} is no API name of a module or field", code="bad_name")
    return {"X-EXTERNAL": f"{module}.{field}"}


def named(record: Mapping[str, Any], field: str) -> str:
    """What names a record of many: its id, or its value of the external field. Raises InvalidRequest where it has none."""
    name = field or "id"
    if not record.get(name):
        raise InvalidRequest(f"each record to update needs its {name}", code="MANDATORY_NOT_FOUND")
    return str(record[name])


def together(values: list[str]) -> str:
    """Several of them in one parameter; a comma within one would make it two."""
    if odd := next((each for each in values if "," in each), None):
        raise InvalidRequest(f"{odd!r} has a comma, so it is only for calls of one record", code="bad_id")
    return ",".join(values)

"""JSON pointers (RFC 6901): how zohook.toml says where in a body a value stands."""

from __future__ import annotations

import re
from typing import Any

_FORM = re.compile(r"(?:/(?:[^~/]|~[01])*)*")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


def well_formed(pointer: str) -> bool:
    """Whether this is a JSON pointer: empty, or parts that each begin with a slash."""
    return _FORM.fullmatch(pointer) is not None


def find(document: Any, pointer: str) -> Any:
    """The value at the pointer, or None where there is none; an ill-formed pointer finds nothing."""
    if not well_formed(pointer):
        return None
    value = document
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and _INDEX.fullmatch(name) and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value

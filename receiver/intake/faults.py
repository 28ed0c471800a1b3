"""Whose fault an error of Redis is: the record's that was to be written, or that of Redis, whatever is written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redis.exceptions import ResponseError

# Full, no disk, a replica, no rights, a script of somebody's that runs for ever. Up to 6.2 a script's error wraps the words of
# the command's; redis-py cuts the first word off where it has a class for it.
_EVERYONES = re.compile(
    r"\b(?:OOM|MISCONF|READONLY|NOREPLICAS|NOPERM|NOAUTH|BUSY|MASTERDOWN|CLUSTERDOWN|LOADING|TRYAGAIN)\b"
    r"|when used memory > 'maxmemory'|no permissions|read only replica|unable to persist",
    re.IGNORECASE,
)


def is_everyones(error: ResponseError) -> bool:
    """Whether any other record would have fared the same."""
    return _EVERYONES.search(f"{type(error).__name__} {error}") is not None

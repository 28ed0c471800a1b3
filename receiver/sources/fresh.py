"""A captured body made new: other ids, and its times moved to now, each in the form that it had."""

from __future__ import annotations

import re
import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from receiver.sources import reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from receiver.sources.guide import Guide

UNMISTAKABLE = 6
"""An id of so many characters is the same id wherever it stands in the body; a shorter one may be anything."""

_DIGITS = re.compile(r"\d+(?!.*\d)", re.DOTALL)
_ZONE = re.compile(r"(Z|[+-]\d\d:?\d\d)$")


def renewed(document: Any, guide: Guide, at: int, organisation: str = "") -> Any:
    """The document with new ids, the same one for the same old one, and with times that are as far apart as they were, the
    latest of them `at` (ms); and of this organisation, where one is given.
    """
    ids: dict[str, str] = {}

    def another(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | str) or not str(value):
            return value
        new = ids.setdefault(str(value), _another(str(value)))
        return int(new) if isinstance(value, int) else new

    times = [reading.instant(value) for pointer in guide.times for value in values(document, pointer)]
    known = [time for time in times if time is not None]
    for pointer in guide.ids:
        document = changed(document, pointer, another)
    for pointer in guide.organisations if organisation else ():
        document = changed(document, pointer, lambda value: type(value)(organisation))
    for pointer in guide.times if known else ():
        document = changed(document, pointer, lambda value: _moved(value, at - max(known)))
    return _everywhere(document, {old: new for old, new in ids.items() if len(old) >= UNMISTAKABLE})


def values(document: Any, pointer: str) -> Iterator[Any]:
    """What stands at a JSON pointer, in whose parts `*` is any."""
    found: list[Any] = []
    changed(document, pointer, found.append)
    return iter(found)


def changed(document: Any, pointer: str, change: Callable[[Any], Any]) -> Any:
    """A copy of the document with what stands at the pointer changed; where nothing stands there, nothing is."""
    return _changed(document, pointer.split("/")[1:], change)


def _changed(value: Any, parts: Sequence[str], change: Callable[[Any], Any]) -> Any:
    if not parts:
        return change(value)
    wanted, rest = parts[0].replace("~1", "/").replace("~0", "~"), parts[1:]
    if isinstance(value, dict):
        return {
            name: _changed(inner, rest, change) if wanted in ("*", name) else inner
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [
            _changed(inner, rest, change) if wanted in ("*", str(index)) else inner
            for index, inner in enumerate(value)
        ]
    return value


def _another(old: str) -> str:
    """An id of the same look: its last digits are others, at least six of them; one without digits gets some."""
    try:
        UUID(old)
    except ValueError:
        pass
    else:
        return str(uuid4())
    if not _DIGITS.search(old):
        return f"{old}-{_digits(6)}"
    return _DIGITS.sub(lambda match: _digits(max(len(match[0]), 6)), old, count=1)


def _digits(count: int) -> str:
    return str(10 ** (count - 1) + secrets.randbelow(9 * 10 ** (count - 1)))


def _moved(value: Any, by: int) -> Any:
    """A time moved by so many milliseconds, written as it was; what is no time stays."""
    when = reading.instant(value)
    if when is None:
        return value
    then = when + by
    if isinstance(value, int):
        return then if value >= 10**11 else then // 1000
    if value.strip().isdigit():
        return str(then if len(value.strip()) > 11 else then // 1000)
    return _written_as(value, datetime.fromisoformat(value.strip()) + timedelta(milliseconds=by))


def _written_as(old: str, when: datetime) -> str:
    zone = _ZONE.search(old.strip())
    text = when.isoformat(
        sep="T" if "T" in old else " ", timespec="milliseconds" if "." in old else "seconds"
    )
    bare, offset = (text[:-6], text[-6:]) if when.tzinfo else (text, "")
    if zone and zone[0] == "Z":
        offset = "Z"
    elif zone and ":" not in zone[0]:
        offset = offset.replace(":", "")
    return bare + offset


def _everywhere(value: Any, ids: dict[str, str]) -> Any:
    """The ids that stand as names or values in other places: `affected_fields` names its fields by record."""
    if isinstance(value, dict):
        return {ids.get(name, name): _everywhere(inner, ids) for name, inner in value.items()}
    if isinstance(value, list):
        return [_everywhere(inner, ids) for inner in value]
    if isinstance(value, str):
        return ids.get(value, value)
    if isinstance(value, int) and not isinstance(value, bool) and str(value) in ids:
        return int(ids[str(value)])
    return value

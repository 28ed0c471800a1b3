"""What single values of a delivery mean: ids, times, names, and what stands for nothing."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ValidationError

from receiver.errors import Malformed

if TYPE_CHECKING:
    from datetime import tzinfo

Model = TypeVar("Model", bound=BaseModel)

_LATEST = 253_402_300_799_999
"""The last millisecond of the year 9999, after which no datetime is."""

_UNRESOLVED = re.compile(r"\$\{[^{}]*\}")
_NAME = re.compile(r"\w[\w-]*")
_NO_NAME = re.compile(r"[^\w-]+")
_BETWEEN = re.compile(r"[./:]+")


def identifier(value: object) -> str:
    """An id as text, whether Zoho sent digits or a number; empty where it is no id."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip() if isinstance(value, str) else ""


def instant(value: object, zone: tzinfo | None = None, form: str = "") -> int | None:
    """A time in ms UTC, from epoch ms, epoch seconds, or ISO 8601 with its offset; None for anything else.

    A time without an offset is in the organisation's `zone`, and one for people in its `form` (as strptime takes it); where they
    are not told, nobody here knows them.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return _within(value if value >= 10**11 else value * 1000)
    if not isinstance(value, str):
        return None
    text = value.strip()
    if form and (read := _in_form(text, form)) is not None:
        return _utc(read, zone)
    if text.isascii() and text.isdigit() and len(text) <= 15:
        return instant(int(text))
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    return _utc(read, zone)


def _in_form(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form)  # noqa: DTZ007 - its zone is the caller's to know
    except ValueError:
        return None


def _utc(read: datetime, zone: tzinfo | None) -> int | None:
    known = read if read.tzinfo else read.replace(tzinfo=zone)
    return _within(round(known.timestamp() * 1000)) if known.tzinfo else None


def _within(ms: int) -> int | None:
    return ms if 0 <= ms <= _LATEST else None


def digest(text: bytes) -> str:
    """A short name for these bytes, the same every time."""
    return hashlib.sha256(text).hexdigest()[:40]


def is_name(text: str) -> bool:
    """Whether this can be a part of an event's type: letters, digits, `_` and `-`."""
    return _NAME.fullmatch(text) is not None


def event_word(value: object) -> str:
    """What happened, as a body says it: names with dots, whatever stands between them. "order:Paid late" is "order.Paid_late"."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    parts = [_NO_NAME.sub("_", part).strip("_-") for part in _BETWEEN.split(str(value)[:200])]
    return ".".join(part for part in parts if part)


def present(value: Any) -> Any:
    """The value without what stands for nothing: empty texts and merge fields not filled (`${...}`)."""
    if isinstance(value, dict):
        return {key: present(item) for key, item in value.items() if not _is_nothing(item)}
    if isinstance(value, list):
        return [present(item) for item in value if not _is_nothing(item)]
    return value


def _is_nothing(value: object) -> bool:
    """An empty text, or one of nothing but merge fields that Zoho could not fill."""
    return isinstance(value, str) and not (value if "${" not in value else _UNRESOLVED.sub("", value)).strip()


def _identifier(value: object) -> str:
    found = identifier(value)
    if not found:
        raise ValueError("is no id")
    return found


def _milliseconds(value: object) -> int | None:
    found = instant(value)
    if found is None and value is not None:
        raise ValueError("is no time")
    return found


def _maybe_identifier(value: object) -> str:
    return "" if value is None or value == "" else _identifier(value)


Identifier = Annotated[str, BeforeValidator(_identifier)]
MaybeIdentifier = Annotated[str, BeforeValidator(_maybe_identifier)]
"""An id that may be missing, null or empty, which are all read as ""."""
Milliseconds = Annotated[int | None, BeforeValidator(_milliseconds)]


def checked(model: type[Model], document: object) -> Model:
    """The document as the model; raises Malformed with what is wrong with it."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise Malformed(reasons(error)) from None


def reasons(error: ValidationError) -> str:
    """What a model found wrong: where and what, but never the value, which may be anybody's."""
    found = [
        f"{'.'.join(map(str, one['loc'])) or 'the body'}: {one['msg']}"
        for one in error.errors(include_input=False)[:5]
    ]
    return "; ".join(found)

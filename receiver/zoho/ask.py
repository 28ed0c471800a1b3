"""A call as a client means it, and its answer; what of it may be shown. No network here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from receiver.errors import InvalidRequest, Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DEADLINE = 30.0
"""Seconds for one try, from connecting to the last byte."""
SAFE = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_FOREIGN = frozenset("\\\r\n\t @?#")
SHORT = 4_000
"""Letters of a refused call's body and answer in the record of all calls, which holds thousands."""
_SECRET = ("token", "secret", "password", "authorization", "code")


@dataclass(frozen=True, slots=True)
class Upload:
    """A file on its way to Zoho: its bytes are read as they are sent, once. `size` is in bytes, None where nobody knows it."""

    name: str
    content: Iterable[bytes]
    size: int | None = None
    kind: str = "application/octet-stream"
    part: str = "file"
    """What its part of the form is called."""
    more: Mapping[str, str] = field(default_factory=dict)
    """Fields of the form beside the file."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One call as a client means it. `path` begins with a slash, under the product's own host."""

    product: str
    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    safe: bool | None = None
    """Whether repeating it has the same effect; None goes by the method."""
    write: bool | None = None
    """Whether it changes anything at Zoho; None goes by the method."""
    pretend: Any = None
    """What shadow mode answers instead of sending it."""
    touches: tuple[tuple[str, str, Any], ...] = ()
    """(module, record id or "", values) of each record that it writes, for whoever remembers our own
    writes.
    """
    deadline: float = DEADLINE
    file: Upload | None = None
    form: Mapping[str, str] | None = None
    """Fields that are sent as a form instead of JSON."""

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent again when nobody knows if the first one arrived. A file is gone when it was sent."""
        if self.file is not None:
            return False
        return self.method in SAFE if self.safe is None else self.safe

    @property
    def writes(self) -> bool:
        """Whether it changes anything at Zoho."""
        return self.method not in {"GET", "HEAD"} if self.write is None else self.write


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer: its data is None where Zoho has none (204, 304)."""

    status: int
    data: Any
    headers: Mapping[str, str]


def check(ask: Ask) -> None:
    """Raises InvalidRequest where the path could lead to another host, or the body is no JSON."""
    odd = _FOREIGN & {*ask.path} or {".", ".."} & {*ask.path.split("/")}
    if odd or not ask.path.startswith("/") or ask.path.startswith("//"):
        raise InvalidRequest(
            f"the path {ask.path!r} must begin with one slash; queries go into params", code="bad_path"
        )
    try:
        orjson.dumps(ask.json)
    except TypeError as error:
        raise InvalidRequest(
            f"{ask.method} {ask.path}: the body is no JSON: {error}", code="not_json"
        ) from None


def request_of(ask: Ask, url: str) -> Request:
    """The call as an error shows it."""
    return Request(ask.method, url, ask.product, shown(ask.params))


def shown(params: Mapping[str, str]) -> dict[str, str]:
    """Query parameters without secrets."""
    return {
        name: "***" if any(word in name.lower() for word in _SECRET) else value
        for name, value in params.items()
    }


def shortened(line: Mapping[str, Any]) -> dict[str, Any]:
    """The line as it stands in the record of all calls."""
    return {name: value[:SHORT] if name in {"answer", "request"} else value for name, value in line.items()}

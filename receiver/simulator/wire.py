"""What goes over the simulator's wire: one call, one answer, and the refusal that ends a call early."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from receiver.simulator.world import Access

TYPE_JSON = "application/json;charset=UTF-8"
Json = dict[str, Any]


@dataclass(slots=True)
class Call:
    """One HTTP request, read to its end; header names are in lower case."""

    method: str
    path: str
    query: list[tuple[str, str]] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    form: list[tuple[str, str]] = field(default_factory=list)
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    """Files of a multipart form: part -> (file name, bytes)."""
    token: Access | None = None
    probed: dict[str, bool] = field(default_factory=dict)

    @property
    def parts(self) -> list[str]:
        return [part for part in self.path.split("/") if part]

    def param(self, name: str, default: str = "") -> str:
        return next((value for key, value in self.query if key == name), default)

    def fields(self) -> dict[str, str]:
        """Query and form together, the form winning."""
        return {**dict(self.query), **dict(self.form)}

    def basic(self) -> tuple[str, str] | None:
        """Client id and secret from HTTP Basic, or None."""
        scheme, _, value = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            name, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return name, secret

    def json(self) -> Any:
        """The body as JSON, or None where it is none."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None


@dataclass(slots=True)
class Answer:
    """A dict becomes JSON, a str HTML, bytes a file, None an empty body."""

    status: int = 200
    body: Json | str | bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def encode(self) -> tuple[bytes, str]:
        """Body bytes and content type."""
        if self.body is None:
            return b"", ""
        if isinstance(self.body, bytes):
            return self.body, "application/octet-stream"
        if isinstance(self.body, str):
            return self.body.encode(), "text/html;charset=UTF-8"
        return orjson.dumps(self.body), TYPE_JSON

    @property
    def code(self) -> str:
        """The product's own word for what happened, for the journal."""
        if not isinstance(self.body, dict):
            return ""
        for key in ("code", "errorCode", "error"):
            if key in self.body:
                return str(self.body[key])
        for key in ("data", "watch"):
            items = self.body.get(key)
            if isinstance(items, list) and items and isinstance(items[0], dict) and "code" in items[0]:
                return str(items[0]["code"])
        return ""


class Refused(Exception):
    """Ends a call with this answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status, answer.code)
        self.answer = answer


class NeedsProbe(Exception):
    """The URL has to be probed before the call can be answered."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


def whole(text: str, default: int) -> int | None:
    """The number in the text, the default where it is empty, None where it is no number."""
    if not text:
        return default
    return int(text) if text.isdecimal() and len(text) < 12 else None

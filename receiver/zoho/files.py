"""Files on their way from and to Zoho, in pieces: none is ever whole in memory."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from receiver.errors import InvalidRequest, Unavailable
from receiver.zoho.ask import Upload
from receiver.zoho.wire import NETWORK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from receiver.zoho.wire import Opened

PIECE = 64 * 2**10
LONGEST = 300.0
"""Seconds that one file may take."""


class Download:
    """A file that comes from Zoho: read once, in pieces, within its `with` block."""

    def __init__(self, opened: Opened, called: str) -> None:
        self._opened, self._called = opened, called
        length = opened.headers.get("content-length", "")
        self.size = int(length) if length.isdecimal() and opened.encoding == "identity" else None
        self.kind = opened.headers.get("content-type", "").partition(";")[0] or "application/octet-stream"

    @property
    def name(self) -> str:
        """What Zoho calls the file, as a name without folders; what was asked for where it does not say."""
        said = self._opened.headers.get("content-disposition", "")
        found = re.search(r"filename\*?=(?:UTF-8'')?\"?([^\";]+)", said, re.IGNORECASE)
        return Path(found[1].strip()).name if found else self._called

    def __iter__(self) -> Iterator[bytes]:
        """Its pieces. Raises Unavailable where it is cut."""
        seen = 0
        try:
            for piece in self._opened.chunks():
                seen += len(piece)
                yield piece
        except NETWORK as error:
            raise Unavailable(
                f"the file {self.name} was cut after {seen} bytes: {error}", code="cut"
            ) from error
        if self.size is not None and seen != self.size:
            raise Unavailable(f"the file {self.name} was cut after {seen} of {self.size} bytes", code="cut")

    def save(self, path: Path | str) -> int:
        """Write it to a path, whole or not at all; its size in bytes."""
        target = Path(path)
        beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            with beside.open("xb") as out:
                for piece in self:
                    out.write(piece)
                size = out.tell()
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
        return size


def upload(
    what: Download | Path | bytes | IO[bytes] | Iterable[bytes], name: str = "", *, part: str = "file"
) -> Upload:
    """A file to send: from a path, bytes, an open file, another Zoho client's download, or pieces as they come."""
    if isinstance(what, bytes):
        return Upload(_named(name), [what], len(what), part=part)
    if isinstance(what, Path):
        return Upload(_named(name or what.name), _pieces_of(what), what.stat().st_size, part=part)
    if isinstance(what, Download):
        return Upload(_named(name or what.name), what, what.size, what.kind, part=part)
    if hasattr(what, "read"):
        file = cast("IO[bytes]", what)
        called = name or Path(str(getattr(file, "name", ""))).name
        return Upload(_named(called), _read(file), _left(file), part=part)
    return Upload(_named(name), what, part=part)


def framed(file: Upload) -> tuple[dict[str, str], Iterator[bytes]]:
    """(headers, body) of a multipart form with that file in it. Its length is said where it is known; else it goes in chunks."""
    mark = secrets.token_hex(16)
    head = _written(mark, file.more)
    head += f'--{mark}\r\nContent-Disposition: form-data; name="{file.part}"; filename="{_quoted(file.name)}"\r\n'.encode()
    head += f"Content-Type: {file.kind}\r\n\r\n".encode()
    tail = f"\r\n--{mark}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={mark}"}
    if file.size is not None:
        headers["Content-Length"] = str(len(head) + file.size + len(tail))

    def body() -> Iterator[bytes]:
        yield head
        yield from file.content
        yield tail

    return headers, body()


def form(fields: Mapping[str, str]) -> tuple[dict[str, str], bytes]:
    """(headers, body) of a multipart form without a file."""
    mark = secrets.token_hex(16)
    headers = {"Content-Type": f"multipart/form-data; boundary={mark}"}
    return headers, _written(mark, fields) + f"--{mark}--\r\n".encode()


def _written(mark: str, fields: Mapping[str, str]) -> bytes:
    return b"".join(
        f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    )


def _named(name: str) -> str:
    if not name or "/" in name or "\\" in name:
        raise InvalidRequest(
            f"a file needs a name without folders, not {name!r}; give name=", code="bad_name"
        )
    return name


def _quoted(name: str) -> str:
    """A name as a form has it: what would end the header is encoded, as browsers do."""
    return name.replace("%", "%25").replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _pieces_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from _read(file)


def _read(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(PIECE):
        yield piece


def _left(file: IO[bytes]) -> int | None:
    try:
        return os.fstat(file.fileno()).st_size - file.tell()
    except (OSError, AttributeError, ValueError):
        return None

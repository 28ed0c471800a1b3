"""A way in from nothing to its first event, as a person makes it at a terminal; and a mistake on the way that costs no delivery."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.system.conftest import ROOT, eventually, linux
from tests.system.test_send_command import free_port, zohook

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Start = Callable[..., Any]

pytestmark = [linux, pytest.mark.timeout(240)]
SECRET = re.compile(r"\b[A-Za-z0-9]{43}\b")


def at_a_terminal(folder: Path, *arguments: str, answers: list[tuple[str, str]]) -> str:
    """Run a command at a terminal and answer its questions; all that the person saw."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-P", "-m", "receiver.cli", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb", "COLUMNS": "200"}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        seen, waiting, limit = "", list(answers), time.monotonic() + 60
        while time.monotonic() < limit:
            if select.select([ours], [], [], 0.2)[0]:
                with suppress(OSError):  # how a terminal says that nobody is there any more
                    seen += os.read(ours, 65_536).decode()
            if waiting and re.search(waiting[0][0], seen):
                os.write(ours, waiting.pop(0)[1].encode() + b"\n")
            if process.poll() is not None and not select.select([ours], [], [], 0)[0]:
                break
            if process.poll() is not None:
                with suppress(OSError):
                    seen += os.read(ours, 65_536).decode()
                break
        process.kill()
    os.close(ours)
    assert process.returncode == 0, seen
    assert not waiting, seen
    return seen


def answering(url: str) -> bool:
    """Whether the web process is there."""
    try:
        return httpx.get(f"{url}/healthz", trust_env=False, timeout=2).status_code > 0
    except httpx.HTTPError:
        return False


def test_from_nothing_to_an_event_and_past_a_mistake(house: Start, tmp_path: Path) -> None:
    """`source add` asks what it must know; what is sent is accepted; a secret that only Zoho has changed refuses a delivery, which
    `reverify` accepts once the receiver knows it, too.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    (tmp_path / "zohook.toml").write_text(f'public_url = "https://hooks.acme.eu"\n[web]\nport = {port}\n')
    seen = at_a_terminal(
        tmp_path,
        "source",
        "add",
        answers=[
            (r"name of the source.*: $", "books"),
            (r"Which product.*: $", "books"),
            (r"Its events.*: $", "invoice.paid, invoice.made"),
        ],
    )
    assert "https://hooks.acme.eu/in/books?event=invoice.paid" in seen
    (typed,) = SECRET.findall(seen)
    assert typed in (tmp_path / ".env").read_text()
    with house("web"):
        eventually(lambda: answering(url))
        assert zohook(tmp_path, "send", "books/invoice-minimal").returncode == 0
        rotated = zohook(tmp_path, "source", "rotate", "books")
        assert rotated.returncode == 0, rotated.stderr
        (new,) = SECRET.findall(rotated.stdout)
        early = zohook(tmp_path, "send", "books/invoice-minimal")  # nobody has restarted the receiver yet
        assert (early.returncode, "401" in early.stdout) == (1, True)
    with house("web"):
        eventually(lambda: answering(url))
        looked = zohook(tmp_path, "reverify", "--source", "books")
        assert "1 would be accepted" in looked.stdout, looked.stderr
        done = zohook(tmp_path, "reverify", "--source", "books", "--yes")
        assert done.stdout.endswith("1 accepted\n"), done.stderr
        shown = zohook(tmp_path, "source", "show").stdout
        assert "2 kept" in shown
        assert "no. 2 verified last" in shown
        assert "rejected 1" in shown
    for text in (looked.stdout, done.stdout, shown, early.stdout):
        assert not {typed, new} & set(SECRET.findall(text))


def test_a_secret_that_zoho_shows_is_asked_for_and_never_shown(tmp_path: Path) -> None:
    """Typed unseen at the terminal it is kept, and nothing is left to be done about it; left out, what to do later is told."""
    (tmp_path / "zohook.toml").write_text('public_url = "https://hooks.acme.eu"\n')
    asked = r"secret that Zoho shows.*: $"
    seen = at_a_terminal(
        tmp_path, "source", "add", "pay", "payments", answers=[(asked, "the-signing-key-of-zoho")]
    )
    assert "the-signing-key-of-zoho" not in seen
    assert "zohook source rotate" not in seen
    assert (tmp_path / ".env").read_text() == "ZOHOOK_SECRET_PAY=the-signing-key-of-zoho\n"
    seen = at_a_terminal(tmp_path, "source", "add", "later", "payments", answers=[(asked, "")])
    assert "zohook source rotate later" in seen

"""`zohook send` against a real `zohook web`: what it sends is taken, and it says what became of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.system.conftest import ROOT, eventually, linux

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Start = Callable[..., Any]

pytestmark = [linux, pytest.mark.timeout(240)]
TOML = """
[web]
port = {port}
[simulator]
url = "{simulator}"
[connections.acme]
dc = "simulator"
desk = "700123"
[sources]
rules = {{ product = "crm_workflow", id = "/record_id", events = ["Deals.won"] }}
books = {{ product = "books", events = ["invoice.paid"] }}
desk = "desk"
"""
ENV = "ZOHOOK_SECRET_RULES=a-static-secret-of-ours\nZOHOOK_SECRET_BOOKS=throwawaybookskey01\n"


def zohook(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One command, as a person types it."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "receiver.cli", *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_what_is_sent_is_taken_and_followed(house: Start, tmp_path: Path) -> None:
    """Signed deliveries become events, whose ids and pages are told; what is refused is told with its page; Desk's are signed by
    the simulator.
    """
    port, simulator = free_port(), free_port()
    (tmp_path / "zohook.toml").write_text(TOML.format(port=port, simulator=f"http://127.0.0.1:{simulator}"))
    (tmp_path / ".env").write_text(ENV)
    url = f"http://127.0.0.1:{port}"
    away = zohook(tmp_path, "send", "rules/deal-won")
    assert (away.returncode, "zohook up" in away.stderr) == (2, True)
    assert not (tmp_path / ".zohook" / "redis" / "url").exists()
    with house("simulator", "--port", str(simulator)), house("web"):
        eventually(lambda: _answers(url))
        sent = zohook(tmp_path, "send", "rules/deal-won", "--set", "name=Ada")
        assert sent.returncode == 0, sent.stderr
        assert "crm.Deals.won" in sent.stdout
        assert f"{url}/events/" in sent.stdout
        assert "no worker has looked at it yet" in sent.stdout
        assert zohook(tmp_path, "send", "desk/ticket-update-excerpt").returncode == 0
        refused = zohook(tmp_path, "send", "books/invoice-minimal", "--unsigned")
        assert refused.returncode == 1
        assert "401" in refused.stdout
        assert f"{url}/deliveries/" in refused.stdout
        for each in (sent, refused):
            assert "throwawaybookskey01" not in each.stdout + each.stderr


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False, timeout=2).status_code > 0
    except httpx.HTTPError:
        return False

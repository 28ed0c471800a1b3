"""A migration as it is lived: `zohook web` takes what Zoho sends, and `zohook clock` relays it to the receiver that was there before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.flow.old_receiver import old_receiver
from tests.system.conftest import eventually, linux
from tests.system.test_send_command import free_port, zohook
from tests.system.test_source_story import answering

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Start = Callable[..., Any]

pytestmark = [linux, pytest.mark.timeout(240)]
SECRET = "a-static-secret-of-ours"
TOML = """
[web]
port = {port}
[sources]
rules = {{ product = "crm_workflow", events = ["Deals.won"], id = "/record_id", forward = "{old}", forward_allow = "127.0.0.1" }}
"""


def test_what_came_before_the_clock_was_there_is_relayed_by_it(house: Start, tmp_path: Path) -> None:
    """It waits in the ledger, is sent as it came, and the command tells how far it is."""
    port = free_port()
    with old_receiver() as old:
        (tmp_path / "zohook.toml").write_text(TOML.format(port=port, old=old.url))
        (tmp_path / ".env").write_text(f"ZOHOOK_SECRET_RULES={SECRET}\n")
        with house("web"):
            eventually(lambda: answering(f"http://127.0.0.1:{port}"))
            assert zohook(tmp_path, "send", "rules/deal-won", "--set", "name=Ada").returncode == 0
            with house("clock"):
                (got,) = old.wait(1, 60)
                shown = eventually(lambda: _shown(tmp_path, "1 relayed, 0 wait"))
    assert got.header("x-webhook-token") == SECRET
    assert got.target == "/hook?event=Deals.won"
    assert b'"name":"Ada"' in got.body
    assert SECRET not in shown


def _shown(folder: Path, words: str) -> str:
    said = zohook(folder, "source", "show", "rules").stdout
    return said if words in said else ""

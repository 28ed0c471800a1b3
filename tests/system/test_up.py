"""`zohook up`, and the processes that also run alone, as the commands that a user types."""

from __future__ import annotations

import json
import os
import signal
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

pytestmark = [linux, pytest.mark.timeout(120)]
TOML = '[web]\nport = {port}\n[sources]\nrules = {{ product = "crm_workflow", id = "/id", events = ["Deals.won"] }}\n'
SECRET = "a-secret-of-the-test"
HANDLER = '''
from pathlib import Path
from receiver import on

@on("**")
def note(event):
    """Write down what came."""
    with Path("seen.txt").open("a") as file:
        file.write(event.data["id"] + "\\n")
'''


@pytest.fixture
def project(tmp_path: Path) -> str:
    """A project with a workflow source and a handler; the address of its web process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "zohook.toml").write_text(TOML.format(port=port))
    (tmp_path / ".env").write_text(f"ZOHOOK_SECRET_RULES={SECRET}\n")
    (tmp_path / "handlers").mkdir()
    (tmp_path / "handlers" / "__init__.py").write_text("")
    (tmp_path / "handlers" / "notes.py").write_text(HANDLER)
    return f"http://127.0.0.1:{port}"


def send(url: str, ident: str, secret: str = SECRET) -> int:
    """The status that a workflow webhook is answered with; 0 where nobody answers."""
    try:
        answer = httpx.post(
            f"{url}/in/rules",
            json={"id": ident},
            headers={"x-webhook-token": secret},
            trust_env=False,
            timeout=30,
        )
    except httpx.HTTPError:
        return 0
    return answer.status_code


def test_up_runs_the_users_handlers(house: Start, project: str, tmp_path: Path) -> None:
    """A signed webhook is answered 200 and handled, an unsigned one 401; stopped, nothing stays, and the data is there next time."""
    with house("up") as running:
        eventually(lambda: send(project, "1") == 200)
        assert send(project, "2", "wrong-secret-here") == 401
        eventually(lambda: (tmp_path / "seen.txt").exists() and "1\n" in (tmp_path / "seen.txt").read_text())
        assert running.pids().keys() == {"redis", "web", "worker", "clock"}
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0
        assert running.left() == {}
    assert "2\n" not in (tmp_path / "seen.txt").read_text()
    assert SECRET not in running.out.read_text() + running.err.read_text()
    assert list((tmp_path / ".zohook" / "redis").glob("appendonly*"))


def test_a_broken_handler_does_not_shut_the_door(house: Start, project: str, tmp_path: Path) -> None:
    """With handlers that do not import, webhooks are taken all the same, and are handled when the file is mended."""
    (tmp_path / "handlers" / "notes.py").write_text("def broken(:\n")
    with house("up") as running:
        eventually(lambda: send(project, "kept") == 200)
        eventually(lambda: "notes" in running.err.read_text())
        (tmp_path / "handlers" / "notes.py").write_text(HANDLER)
        eventually((tmp_path / "seen.txt").exists, 30)
        assert (tmp_path / "seen.txt").read_text() == "kept\n"


def test_no_connection_is_refused_while_the_web_process_is_replaced(house: Start, project: str) -> None:
    """A webhook that comes while the web process is dead waits for the next one and is taken."""
    with house("up") as running:
        eventually(lambda: send(project, "0") == 200)
        for number in range(3):
            os.kill(running.pids()["web"], signal.SIGKILL)
            assert send(project, str(number)) == 200


def test_processes_that_run_alone_share_the_folders_redis(house: Start, project: str, tmp_path: Path) -> None:
    """`zohook web` and `zohook worker` in one folder, without a Redis configured, find each other."""
    with house("web"):
        eventually(lambda: send(project, "alone") == 200)
        command = [sys.executable, "-P", "-m", "receiver.cli", "worker", "--burst"]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr
    assert "alone\n" in (tmp_path / "seen.txt").read_text()


def test_connect_by_a_self_clients_code(house: Start, tmp_path: Path) -> None:
    """`zohook simulator` introduces itself in one line, and `zohook connect` connects with its self client's code, once."""
    with house("simulator") as running:
        said = json.loads(eventually(running.out.read_text))
        own = said["self_client"]
        (tmp_path / "zohook.toml").write_text(
            f'[simulator]\nurl = "{said["accounts"]}"\n[connections.acme]\ndc = "simulator"\nclient_id = "{own["client_id"]}"\n'
        )
        (tmp_path / ".env").write_text(f"ZOHOOK_SECRET_ACME={own['client_secret']}\n")

        def connect() -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-P", "-m", "receiver.cli", "connect", "--code", "-"],
                cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, input=said["self_client_code"] + "\n",
                capture_output=True, text=True, check=False,
            )  # fmt: skip

        first, second = connect(), connect()
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("acme is connected.\n")
    assert f'books = "{said["org_ids"]["books"]}"' in first.stdout
    assert second.returncode == 1
    assert "used before" in second.stderr
    assert "Traceback" not in second.stderr
    assert said["self_client_code"] not in second.stderr

"""The embedded Redis as a process: what it keeps, who shares it, and what ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from receiver.errors import SettingsError
from receiver.ledger.embedded import Embedded
from receiver.ledger.server import tied

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]


def eventually(true: Callable[[], object], seconds: float = 30) -> bool:
    """Whether it comes true within that time."""
    limit = time.monotonic() + seconds
    while not true():
        if time.monotonic() > limit:
            return False
        time.sleep(0.02)
    return True


def alive(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_it_holds_a_ledger(tmp_path: Path) -> None:
    """It keeps an append-only file with every write on disk, evicts nothing, and listens on no port of the machine."""
    with Embedded(tmp_path) as server:
        client = server.client()
        found = client.config_get("*")
        client.close()
        assert server.url.startswith("unix://")
    wanted = {
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
        "save": "",
        "port": "0",
    }
    assert {name: found[name] for name in wanted} == wanted
    assert not alive(server.pid)


def test_its_data_outlives_it(tmp_path: Path) -> None:
    """What was written is there after a stop and a new start."""
    for written in (None, b"kept"):
        with Embedded(tmp_path) as server:
            client = server.client()
            assert client.get("word") == written
            client.set("word", "kept")
            client.close()


def test_a_kill_costs_nothing_that_was_answered(tmp_path: Path) -> None:
    """After kill -9 every write that was answered is there again."""
    server = Embedded(tmp_path).start()
    client = server.client()
    for number in range(200):
        client.rpush("numbers", number)
    client.close()
    server.kill()
    with Embedded(tmp_path) as again:
        client = again.client()
        assert client.llen("numbers") == 200
        client.close()


def test_a_second_start_shares_the_first(tmp_path: Path) -> None:
    """Two users of one folder have one server, and only the one who started it ends it."""
    with Embedded(tmp_path) as first:
        with Embedded(tmp_path) as second:
            assert (second.url, second.pid, second.owned) == (first.url, first.pid, False)
        assert first.alive()


def test_a_running_one_can_be_refused(tmp_path: Path) -> None:
    """Whoever wants the folder for himself is told which process has it."""
    with Embedded(tmp_path) as first, pytest.raises(SettingsError, match=f"process {first.pid}"):
        Embedded(tmp_path, share=False).start()


def test_one_that_hangs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that holds the folder and does not answer is told with its process id, after a while."""
    monkeypatch.setattr("receiver.ledger.embedded.ANSWER_WITHIN", 0.5)
    with Embedded(tmp_path) as first:
        os.kill(first.pid, signal.SIGSTOP)
        try:
            with pytest.raises(SettingsError, match=f"kill {first.pid}"):
                Embedded(tmp_path).start()
        finally:
            os.kill(first.pid, signal.SIGCONT)


def test_a_copied_folder_has_a_server_of_its_own(tmp_path: Path) -> None:
    """A copy of the folder, taken while the server runs, does not lead to the server of the original."""
    (tmp_path / "copy" / ".zohook" / "redis").mkdir(parents=True)
    with Embedded(tmp_path / "original") as first:
        url = (first.place / "url").read_text()
        (tmp_path / "copy" / ".zohook" / "redis" / "url").write_text(url)
        with Embedded(tmp_path / "copy") as second:
            assert second.pid != first.pid


def test_a_long_path_gets_a_port_and_a_password(tmp_path: Path) -> None:
    """Where the path does not fit into a socket's address it listens on this machine only, and for those who know the password."""
    folder = tmp_path / ("long" * 20)
    with Embedded(folder) as server:
        assert server.url.startswith("redis://:")
        assert "127.0.0.1" in server.url
        password = server.url.split(":")[2].split("@")[0]
        client = server.client()
        assert client.ping()
        assert client.config_get("bind")["bind"] == "127.0.0.1"
        client.close()
        assert password.encode() not in Path(f"/proc/{server.pid}/cmdline").read_bytes()
        assert (server.place / "url").stat().st_mode & 0o077 == 0
        url = server.url
        server.kill()
        assert server.start().url == url


@pytest.mark.parametrize(
    "name", ["a folder", "Ünïcode", 'quo"te', "back\\slash", "per%cent", "hash#mark?", "new\nline"]
)
def test_any_name_of_a_folder_will_do(tmp_path: Path, name: str) -> None:
    """No character of the folder's name breaks the server's settings or its address."""
    with Embedded(tmp_path / name, appendfsync="no") as server:
        client = server.client()
        assert client.ping()
        client.close()


def test_a_broken_file_is_told_with_the_servers_own_words(tmp_path: Path) -> None:
    """A server that cannot read its data says so in the error, and nothing is thrown away."""
    with Embedded(tmp_path) as server:
        client = server.client()
        client.set("a", "b" * 100)
        client.close()
    files = [
        path
        for path in server.place.rglob("*")
        if "appendonly" in path.name and path.is_file() and path.stat().st_size
    ]
    for file in files:
        file.write_bytes(b"*1\r\n$nonsense" + file.read_bytes())
    with pytest.raises(SettingsError) as caught:
        Embedded(tmp_path).start()
    assert "AOF" in str(caught.value) or "append only" in str(caught.value)
    assert all(file.exists() for file in files)


@pytest.mark.parametrize("how", ["kernel", "watcher"])
def test_it_ends_with_the_process_that_started_it(tmp_path: Path, how: str) -> None:
    """When its parent is killed with -9 the server ends too, in order, by the kernel's word or by a watcher's."""
    if how == "kernel" and sys.platform != "linux":
        pytest.skip("only Linux tells a child of its parent's death")
    code = f"""
        import time, receiver.ledger.embedded as embedded
        tied = embedded.tied
        embedded.tied = lambda command: tied(command, {how!r})
        server = embedded.Embedded({str(tmp_path)!r}).start()
        client = server.client()
        client.set("word", "kept")
        print(server.pid, flush=True)
        time.sleep(60)
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
    assert eventually(lambda: not alive(pid))
    with Embedded(tmp_path) as again:
        client = again.client()
        assert client.get("word") == b"kept"
        client.close()


def test_the_watcher_goes_when_the_program_does() -> None:
    """The watcher beside a program does not outlive it."""
    program = subprocess.Popen(
        tied([sys.executable, "-c", "import time; time.sleep(30)"], "watcher"), process_group=0
    )
    time.sleep(0.3)
    program.kill()
    program.wait()

    def group_is_empty() -> bool:
        try:
            os.killpg(program.pid, 0)
        except ProcessLookupError:
            return True
        return False

    assert eventually(group_is_empty)

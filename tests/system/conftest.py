"""Running the real commands: started as a person would, watched from outside, killed without mercy."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis as redis_py

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0

linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")


def table() -> dict[int, tuple[int, str]]:
    """Every process: (parent, command line)."""
    found = {}
    for place in Path("/proc").iterdir():
        if not place.name.isdigit():
            continue
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if fields[0] != "Z":
            found[int(place.name)] = (int(fields[1]), command)
    return found


def eventually(true: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """What it gives once that is true; an AssertionError after so many seconds."""
    limit = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < limit, f"not within {seconds} s"
        time.sleep(0.05)
    return found


def _heeds_signals() -> None:
    """Tests that run under nohup or behind an & ignore SIGHUP or SIGINT, and what they start would too."""
    for each in (signal.SIGHUP, signal.SIGINT):
        signal.signal(each, signal.SIG_DFL)


class House:
    """One running `zohook demo` or `zohook up`."""

    def __init__(self, folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.out = folder / "out.txt"
        self.err = folder / "err.txt"
        given = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
        with self.out.open("wb") as out, self.err.open("wb") as err:
            command = [sys.executable, "-P", "-m", "receiver.cli", *arguments]
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=given,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                process_group=0,
                preexec_fn=_heeds_signals,  # noqa: PLW1509 - no thread of ours holds a lock then
            )
        self.seen: set[int] = set()

    def pids(self) -> dict[str, int]:
        """Our processes under it, by the command that each runs; Redis is `redis`."""
        known, all_of_them = {self.process.pid}, table()
        named: dict[str, int] = {}
        for _ in range(4):
            known |= {pid for pid, (parent, _) in all_of_them.items() if parent in known}
        for pid in known - {self.process.pid}:
            command = all_of_them.get(pid, (0, ""))[1]
            words = command.split()
            if "receiver.cli" in words:
                named[words[words.index("receiver.cli") + 1]] = pid
            elif "redis-server" in command or "valkey-server" in command:
                named["redis"] = pid
        self.seen |= known
        return named

    def accepted(self) -> int:
        """How many events the last line of progress tells of."""
        lines = [line for line in self.out.read_text().splitlines() if "  accepted " in line]
        return int(lines[-1].split("  accepted ")[1].split()[0]) if lines else 0

    def redis(self) -> redis_py.Redis:
        """A client of the demo's own Redis."""
        url = (self.folder / ".zohook" / "demo" / ".zohook" / "redis" / "url").read_text()
        return redis_py.Redis.from_url(url)

    def finish(self, seconds: float = 100) -> dict[str, Any]:
        """Its last line, which must be JSON, after it ended by itself with status 0."""
        status = self.process.wait(seconds)
        text = self.out.read_text()
        assert status == 0, f"{text}\n{self.err.read_text()}"
        found: dict[str, Any] = json.loads(text.splitlines()[-1])
        return found

    def left(self) -> dict[int, str]:
        """Which of the processes that were ever seen under it are still there."""
        now = table()
        ours = ("receiver", "redis-server", "valkey-server")
        return {
            pid: now[pid][1] for pid in self.seen if pid in now and any(word in now[pid][1] for word in ours)
        }

    def end(self) -> None:
        """Whatever became of it, nothing stays."""
        if self.process.poll() is None:
            self.pids()
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@pytest.fixture
def house(tmp_path: Path) -> Callable[..., Any]:
    """What starts a command in a folder of the test's own, for a `with` block, and ends it after that."""

    @contextmanager
    def start(*arguments: str, **more: Any) -> Iterator[House]:
        running = House(tmp_path, *arguments, **more)
        try:
            yield running
        finally:
            running.end()

    return start

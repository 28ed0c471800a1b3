"""What several threats need: real processes, who is connected to, and how much two sets of times differ."""

from __future__ import annotations

import ast
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).parents[2]
_listeners: list[list[tuple[str, Any]]] = []


def _hear(event: str, args: tuple[Any, ...]) -> None:
    if _listeners and event in {"socket.connect", "socket.getaddrinfo"}:
        for each in _listeners:
            each.append((event, args[1] if event == "socket.connect" else args[0]))


sys.addaudithook(_hear)


@cache
def trees() -> list[tuple[str, ast.Module]]:
    """(place, syntax tree) of every file of ours that is shipped, but for the simulator, which is nobody's door."""
    files = sorted(file for room in ("receiver", "handlers") for file in (ROOT / room).rglob("*.py"))
    places = [(file.relative_to(ROOT).as_posix(), file) for file in files]
    return [
        (place, ast.parse(file.read_text()))
        for place, file in places
        if not place.startswith("receiver/simulator/")
    ]


@contextmanager
def outbound() -> Iterator[list[tuple[str, Any]]]:
    """Every address that this process connects to, and every name that it looks up, meanwhile.

    The interpreter itself tells, so that no client library can keep one from us.
    """
    heard: list[tuple[str, Any]] = []
    _listeners.append(heard)
    try:
        yield heard
    finally:
        _listeners.remove(heard)


def welch(first: Sequence[float], second: Sequence[float]) -> float:
    """Welch's t of two samples."""
    spread = statistics.variance(first) / len(first) + statistics.variance(second) / len(second)
    return abs(statistics.fmean(first) - statistics.fmean(second)) / max(spread, 1e-12) ** 0.5


class Web:
    """A running `zohook web` of its own process."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process, self.port, self.log = process, port, log
        self.url = f"http://127.0.0.1:{port}"

    def memory(self) -> int:
        """The bytes that it has in memory."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * 4096

    def lines(self) -> list[dict[str, Any]]:
        """The lines of its log, each of which is one JSON object."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def command(
    folder: Path,
    *words: str,
    log: Path,
    fds: Sequence[int] = (),
    before: Sequence[str] = (),
    **environment: str,
) -> subprocess.Popen[bytes]:
    """A started `zohook` command, whose output is in the log; `before` is a program that makes place for it, and its arguments."""
    with log.open("ab") as out:
        return subprocess.Popen(
            [*before, sys.executable, "-P", "-m", "receiver.cli", *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            pass_fds=fds,
        )


def until(true: Callable[[], Any], seconds: float = 60) -> Any:
    """What it gives once that is true."""
    limit = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < limit, f"not within {seconds} s"
        time.sleep(0.02)
    return found


@contextmanager
def web(
    folder: Path, *, log: Path | None = None, before: Sequence[str] = (), **environment: str
) -> Iterator[Web]:
    """A web process in a project's folder, once it answers."""
    log = log or folder / "web.log"
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as bound:
        fd, port = bound.fileno(), bound.getsockname()[1]
        process = command(folder, "web", "--fd", str(fd), log=log, fds=[fd], before=before, **environment)
    running = Web(process, port, log)
    try:
        until(lambda: process.poll() is not None or _answers(running.url))
        assert process.poll() is None, log.read_text()
        yield running
    finally:
        end(process)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop a process, in kindness if it lets one."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

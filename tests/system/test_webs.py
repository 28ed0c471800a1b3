"""`zohook web --workers N`: several processes on one port, that die one by one while webhooks come."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import redis as redis_py

from receiver import keys
from tests.system.conftest import ROOT, eventually, linux, table

if TYPE_CHECKING:
    from collections.abc import Callable

    Start = Callable[..., Any]

pytestmark = [linux, pytest.mark.timeout(120)]
SECRET = "a-secret-of-books-1"
TOML = '[web]\nport = {port}\nconnections = 1000\n[sources]\nbooks = {{ product = "books", events = ["invoice.paid"] }}\n'
PATH = "/in/books?event=invoice.paid"
WORKERS = 2
PLAIN = httpx.create_ssl_context(verify=False)
"""What a client has that speaks no TLS: made anew for each, the web's roots would cost more time than the delivery."""


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The address of a project with a source that signs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "zohook.toml").write_text(TOML.format(port=port))
    (tmp_path / ".env").write_text(f"ZOHOOK_SECRET_BOOKS={SECRET}\n")
    return f"http://127.0.0.1:{port}"


def webs(running: Any) -> set[int]:
    """The web processes under a supervisor."""
    found = table().items()
    return {pid for pid, (parent, words) in found if parent == running.process.pid and " web --fd " in words}


def send(url: str, number: int) -> str:
    """The id of the event that a delivery on a connection of its own became; "" where nobody answered."""
    body = json.dumps({"invoice": {"invoice_id": number}}).encode()
    signature = hmac.new(SECRET.encode(), b"eventinvoice.paid" + body, hashlib.sha256).hexdigest()
    try:
        answer = httpx.post(
            url + PATH,
            content=body,
            headers={"X-Zoho-Webhook-Signature": signature},
            trust_env=False,
            verify=PLAIN,
            timeout=20,
        )
    except httpx.HTTPError:
        return ""
    assert answer.status_code == 200, answer.text
    return str(answer.json()["events"][0])


def ledger(folder: Path) -> redis_py.Redis:
    """A client of the project's own Redis."""
    return redis_py.Redis.from_url((folder / ".zohook" / "redis" / "url").read_text())


def kept(folder: Path) -> set[str]:
    """The events in the ledger."""
    return {each.decode() for each in ledger(folder).zrange(keys.events(), 0, -1)}


def counted(url: str) -> float:
    """How many deliveries were taken, as the metrics say: into the ledger, or into the spool while Redis was slow."""
    text = httpx.get(f"{url}/metrics", trust_env=False, timeout=20).text
    found = re.findall(
        r'^zohook_door_deliveries_total\{source="books",verdict="(?:accepted|spooled)"\} (\S+)$',
        text,
        re.MULTILINE,
    )
    return sum(float(each) for each in found)


def test_all_serve_and_count_together(house: Start, url: str, tmp_path: Path) -> None:
    """Each of the processes takes deliveries, and whoever of them is asked shows the counts of all."""
    with house("web", "--workers", str(WORKERS)) as running:
        eventually(lambda: len(webs(running)) == WORKERS and send(url, 0))
        numbers = iter(range(1, 100_000))
        sent = 1
        with ThreadPoolExecutor(32) as many:
            limit = time.monotonic() + 60
            while served(running) != webs(running):
                assert time.monotonic() < limit, (served(running), webs(running))
                batch = [next(numbers) for _ in range(64)]
                assert all(many.map(lambda number: send(url, number), batch))
                sent += len(batch)
        assert [counted(url) for _ in range(6)] == [sent] * 6
        eventually(lambda: int(ledger(tmp_path).zcard(keys.events())) == sent)


def served(running: Any) -> set[int]:
    """The processes that counted a delivery."""
    told = Path(f"/proc/{min(webs(running))}/environ").read_bytes().decode().split("\0")
    (folder,) = (line.partition("=")[2] for line in told if line.startswith("PROMETHEUS_MULTIPROC_DIR="))
    files = Path(folder).glob("counter_*.db")
    return {
        int(file.stem.partition("_")[2]) for file in files if b"zohook_door_deliveries" in file.read_bytes()
    }


def test_one_that_dies_is_replaced_and_nothing_that_was_answered_is_lost(
    house: Start, url: str, tmp_path: Path
) -> None:
    """While webhooks come, each process is killed in turn: what was answered 200 is in the ledger, and the others go on meanwhile."""
    with house("web", "--workers", str(WORKERS)) as running:
        eventually(lambda: len(webs(running)) == WORKERS and send(url, 0))
        stop = threading.Event()
        answered: list[str] = []
        unanswered: list[int] = []

        def keep_sending(first: int) -> None:
            for number in range(first, first + 100_000):
                if stop.is_set():
                    return
                event = send(url, number)
                answered.append(event) if event else unanswered.append(number)

        threads = [threading.Thread(target=keep_sending, args=(10**6 * one,)) for one in range(1, 5)]
        for each in threads:
            each.start()
        first = webs(running)
        for victim in first:
            so_far = len(answered)
            os.kill(victim, signal.SIGKILL)
            eventually(lambda so_far=so_far: len(answered) > so_far + 4)
            eventually(lambda victim=victim: len(webs(running) - {victim}) == WORKERS)
        stop.set()
        for each in threads:
            each.join(30)
        assert not webs(running) & first
        assert len(unanswered) <= len(threads) * WORKERS  # what a process had in its hands when it was killed
        eventually(lambda: set(answered) <= kept(tmp_path))
        assert send(url, 1)
        log = running.err.read_text()
        assert log.count('"event":"web.replaced"') == WORKERS


def test_a_log_that_nobody_reads_holds_up_nothing(url: str, tmp_path: Path) -> None:
    """While the reader of its log has stopped, a web process takes what comes, and it ends when it is told to."""
    command = [sys.executable, "-P", "-m", "receiver.cli", "web"]
    given = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=tmp_path, env=given, stderr=subprocess.PIPE) as process:
        try:
            eventually(lambda: send(url, 0))
            with ThreadPoolExecutor(8) as many:  # a pipe holds the lines of some three hundred
                assert all(many.map(lambda number: send(url, number), range(1, 800)))
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        finally:
            process.kill()


def test_all_end_together_when_they_are_told_to(house: Start, url: str) -> None:
    """SIGTERM of the supervisor ends every process, each after what it has in its hands, with status 0."""
    with house("web", "--workers", str(WORKERS)) as running:
        eventually(lambda: len(webs(running)) == WORKERS and send(url, 0))
        with ThreadPoolExecutor(8) as many:
            sending = [many.submit(send, url, number) for number in range(1, 60)]
            eventually(lambda: sum(each.done() for each in sending) > 10)
            running.pids()
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(30) == 0
        assert running.left() == {}
        assert [line for line in running.err.read_text().splitlines() if line] == [
            line
            for line in running.err.read_text().splitlines()
            if line.startswith("{") and line.endswith("}")
        ]

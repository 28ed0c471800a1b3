"""Faults of Zoho, of its tokens, and of the way to it."""

from __future__ import annotations

import gzip
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.fernet import Fernet
from faults_rig import ROOT, eventually
from faults_verdict import job_of, judge

from receiver import keys
from receiver.errors import SettingsError, ZohoError
from receiver.ledger import read
from receiver.zoho.clients import Clients
from receiver.zoho.vault import Vault
from receiver.zoho.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from faults_load import Sent
    from faults_rig import House
    from faults_verdict import Tally

    from receiver.ledger.read import JobRow

fault = pytest.mark.fault


def brought_home(house: House, tally: Tally, sent: Sequence[Sent]) -> None:
    """The verdict, with the pauses between tries cut short."""
    began = time.monotonic()
    found = judge(house, sent, within=0.5)
    while found.wrong() and not found.double:
        house.hurry()
        found = judge(house, sent, within=0.5)
        assert time.monotonic() - began < 60, found.wrong()
    tally.recoveries.append(time.monotonic() - began)
    tally.take(sent, found)


def upserts(house: House) -> list[float]:
    """When handlers called."""
    return [each.at for each in house.simulator.journal.calls("crm", path="/Leads/upsert")]


@contextmanager
def process_of(house: House) -> Iterator[Clients]:
    """The clients of one process."""
    settings, wire = house.settings(), Wire()
    yield Clients(house.redis, settings, Vault(settings.key), wire)
    wire.close()


def tried(house: House, sent: Sequence[Sent]) -> list[JobRow]:
    """The jobs of what was sent, once each was tried and failed."""

    def found() -> list[JobRow]:
        jobs = [job for each in sent if (job := job_of(house, each, "apply"))]
        return (
            jobs
            if len(jobs) == len(sent) and all(job.attempts and job.state in {"due", "held"} for job in jobs)
            else []
        )

    jobs: list[JobRow] = eventually(found)
    return jobs


@fault("F30", "Zoho answers 500 for a while", short=1, long=5)
def test_f30_server_errors(house: House, tally: Tally, long: bool) -> None:
    """Jobs wait longer and longer, all of them once it looks like an outage, and are done when it is well again."""
    for _ in range(tally.count):
        house.simulator.faults.add("status", path="/Leads/upsert", times=10_000, status=500)
        before = len(upserts(house))
        sent = house.load.send(5)
        tally.injected += len(sent)
        jobs = tried(house, sent)
        waits = [job.due - job.attempts[-1]["ended"] for job in jobs if job.state == "due"]
        assert all(wait > 8_000 for wait in waits)
        assert len(set(waits)) == len(waits)  # spread, so that they do not march in step
        time.sleep(60 if long else 1)
        tally.notes["calls_meanwhile"] = len(upserts(house)) - before
        assert len(upserts(house)) - before <= len(sent) * 4 * (3 if long else 1)
        house.simulator.faults.clear()
        brought_home(house, tally, sent)


@fault("F31", "Zoho answers 429", short=1, long=20)
def test_f31_throttled(house: House, tally: Tally) -> None:
    """Whoever was told to wait does not call before that time, and it costs no try."""
    for _ in range(tally.count):
        house.simulator.limits.crm_concurrency = 0
        sent = house.load.send(3)
        tally.injected += len(sent)
        jobs = tried(house, sent)
        assert {job.tries for job in jobs} == {0}
        house.simulator.limits.crm_concurrency = 200
        calls = len(upserts(house))
        time.sleep(1)
        assert len(upserts(house)) == calls
        brought_home(house, tally, sent)


@fault("F32", "Zoho does it, and its answer is lost", short=3, long=200)
def test_f32_answer_lost(house: House, tally: Tally) -> None:
    """The call is made again with the same key, and there is one record."""
    sent: list[Sent] = []
    for _ in range(tally.count):
        house.simulator.faults.add("lost", path="/Leads/upsert")
        sent += house.load.send(1)
        tally.injected += 1
        if len(sent) % 20 == 0:
            brought_home(house, tally, sent[-20:])
    brought_home(house, tally, sent)
    assert max(house.applied()[each.number] for each in sent) == 1


@fault("F33", "Zoho answers what is no answer", short=1, long=20)
def test_f33_odd_answers(house: House, tally: Tally) -> None:
    """An error in a 200, HTML, nothing, half a JSON: each is classed for what it is, tried again or given up."""
    refused = {
        "data": [{"code": "INVALID_DATA", "details": {}, "message": "invalid data", "status": "error"}]
    }
    again: list[tuple[str, dict[str, Any]]] = [
        ("html", {"status": 200}),
        ("html", {"status": 503}),
        ("cut", {}),
        ("body", {"status": 204, "body": None}),
    ]
    for _ in range(tally.count):
        for kind, about in again:
            house.simulator.faults.add(kind, path="/Leads/upsert", times=4, **about)
            sent = house.load.send(1)
            tally.injected += 1
            brought_home(house, tally, sent)
            house.simulator.faults.clear()
        house.simulator.faults.add("body", path="/Leads/upsert", status=200, body=refused)
        (sent_once,) = house.load.send(1)
        tally.injected += 1
        job = eventually(
            lambda sent_once=sent_once: (
                (found := job_of(house, sent_once, "apply")) and found.state == "dead" and found
            )
        )
        assert "Zoho will not take this" in job.reason
        assert len(job.attempts) == 1


@fault("F34", "Zoho drips, sends elsewhere, or is not there", short=1, long=5)
def test_f34_on_the_wire(house: House, tally: Tally) -> None:
    """Each is an error at the deadline at the latest, and the token goes nowhere else."""
    seen: list[bytes] = []

    def drip(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(100):
            sock.sendall(b"x")
            time.sleep(0.1)

    def redirect(sock: socket.socket) -> None:
        sock.sendall(
            f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{elsewhere[0]}/\r\nContent-Length: 0\r\n\r\n".encode()
        )

    def bomb(sock: socket.socket) -> None:
        body = gzip.compress(bytes(64 * 2**20), 9)
        sock.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )

    def hang_up(_: socket.socket) -> None:
        """Nothing."""

    for _ in range(tally.count):
        with answering(
            lambda sock: sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), seen
        ) as elsewhere:
            for act in (drip, redirect, bomb, hang_up):
                with answering(act, []) as (port, wire):
                    began = time.monotonic()
                    found = wire.exchange(
                        "GET",
                        f"http://127.0.0.1:{port}/crm/v8/Leads",
                        headers={"Authorization": "Zoho-oauthtoken 1000.t"},
                        deadline=1.0,
                    )
                    tally.injected += 1
                    assert time.monotonic() - began < 2
                    assert getattr(found, "status", 0) in {0, 302}, found
        with answering(hang_up, []) as (port, wire):
            for url in (f"https://127.0.0.1:{port}/", "http://no.such.host.invalid/"):
                began = time.monotonic()
                found = wire.exchange("GET", url, deadline=1.0)
                tally.injected += 1
                assert time.monotonic() - began < 2
                assert not getattr(found, "status", 0)
    assert seen == []


@contextmanager
def answering(act: Callable[[socket.socket], Any], seen: list[bytes]) -> Iterator[tuple[int, Wire]]:
    """A server that answers each connection so, and a wire to reach it by."""
    listener, wire = socket.create_server(("127.0.0.1", 0)), Wire()

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock:
                try:
                    if data := sock.recv(65_536):
                        seen.append(data)
                    act(sock)
                except OSError:
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], wire
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        wire.close()
        thread.join(15)


@fault("F35", "token runs out while many ask for it", short=12, long=200)
def test_f35_one_refresh(house: House, tally: Tally) -> None:
    """However many ask at once: one refresh for each time that it runs out. `test_zoho_processes.py` has as many processes."""
    settings = house.settings()
    for _ in range(2):
        house.redis.hset(keys.token("acme"), "expires", 1)
        house.redis.delete(keys.token_refreshes("acme"))
        before = len(house.simulator.journal.calls("oauth", path="/token"))
        barrier = threading.Barrier(tally.count)

        def ask(_: int, barrier: threading.Barrier = barrier) -> int:
            clients = Clients(house.redis, settings, Vault(settings.key))
            barrier.wait()
            return clients.tokens.get("acme").generation

        with ThreadPoolExecutor(tally.count) as pool:
            generations = set(pool.map(ask, range(tally.count)))
        tally.injected += tally.count
        assert len(generations) == 1
        assert len(house.simulator.journal.calls("oauth", path="/token")) == before + 1


@fault("F36", "consent revoked", short=1, long=10)
def test_f36_revoked(house: House, tally: Tally) -> None:
    """Jobs wait on hold without burning tries, nothing calls, and all goes on after a new consent."""
    for _ in range(tally.count):
        for grant in list(house.simulator.accounts.grants.values()):
            house.simulator.accounts.end(grant)
        house.simulator.accounts.kill_access_tokens()
        sent = house.load.send(3)
        tally.injected += 1
        eventually(lambda: read.parked_work(house.redis).get("connection:acme", 0) == 3, 60)
        for each in sent:
            job = job_of(house, each, "apply")
            assert (job.state, job.tries) == ("held", 0)
        house.prepare()
        brought_home(house, tally, sent)


@fault("F37", "holder of the refresh lock killed", short=1, long=100)
def test_f37_holder_killed(house: House, tally: Tally) -> None:
    """Another one refreshes once the lock has run out, and no token is lost."""
    code = (
        "import sys; from receiver.settings import Settings; from receiver.ledger.connect import connect\n"
        "from receiver.zoho.tokens import Tokens; from receiver.zoho.vault import Vault\n"
        "s = Settings.load(sys.argv[1]); Tokens(connect(s), s, Vault(s.key), lease=1.5).get('acme')"
    )
    for _ in range(tally.count):
        house.redis.hset(keys.token("acme"), "expires", 1)
        house.redis.delete(keys.token_refreshes("acme"))
        house.simulator.limits.token_delay = 5
        holder = subprocess.Popen(
            [sys.executable, "-c", code, str(house.folder)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.DEVNULL,
        )
        eventually(lambda: house.redis.exists(keys.token_lock("acme")))
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        house.simulator.limits.token_delay = 0
        tally.injected += 1
        began = time.monotonic()
        with process_of(house) as clients:
            assert clients.tokens.get("acme").value
        tally.recoveries.append(time.monotonic() - began)
    assert max(tally.recoveries) < 10


@fault("F38", "encryption key rotated, missing and wrong", short=1, long=20)
def test_f38_keys(house: House, tally: Tally) -> None:
    """A new key before the old one reads everything; a wrong one is said to be wrong, and makes no call; with none, or with another
    than the ledger knows, nothing starts.
    """
    settings = house.settings()
    for _ in range(tally.count):
        rotated = Vault(f"{Fernet.generate_key().decode()},{settings.key}")
        clients = Clients(house.redis, settings, rotated)
        assert clients.tokens.get("acme").value
        calls = len(house.simulator.journal.calls("oauth"))
        wrong = Clients(house.redis, settings, Vault(Fernet.generate_key().decode()))
        with pytest.raises((ZohoError, SettingsError)) as raised:
            wrong.tokens.get("acme")
        assert "key" in str(raised.value)
        assert len(house.simulator.journal.calls("oauth")) == calls
        ended = house.command("check", ZOHOOK_KEY="no key")
        assert ended.returncode == 2
        assert "key" in ended.stderr
        starts = (("web", "--port", "0"), ("worker",), ("clock",), ("up",))
        for key in ("", Fernet.generate_key().decode()):
            for words in starts:
                ended = house.command(*words, ZOHOOK_KEY=key, ZOHOOK_WEB__PORT="0")
                assert ended.returncode == (1 if words == ("up",) else 2), ended.stderr[-2000:]
                assert "put back the key that sealed it" in ended.stderr
                assert "zohook keys anew" in ended.stderr
        assert not (house.folder / ".zohook" / "key").exists()
        tally.injected += 3 + 2 * len(starts)

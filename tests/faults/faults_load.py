"""The load: numbered, signed deliveries at a rate, sent again until they are answered; every 2xx is written down before the next."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import itertools
import json
import os
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SECRET = "throwawaybookskey01"


@dataclass
class Sent:
    """One delivery: what it was answered at last, how long that took (seconds), and what went wrong before."""

    number: int
    event: str
    status: int = 0
    verdict: str = ""
    events: tuple[str, ...] = ()
    at: float = 0.0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)

    @property
    def accepted(self) -> bool:
        """Whether somebody promised to keep it."""
        return 200 <= self.status < 300

    @property
    def perhaps_again(self) -> bool:
        """Whether it may have been kept before, unanswered: that turns out when it is drained, and it has the first one's id then."""
        return self.verdict == "spooled" and bool(self.failures)


def signed(number: int, event: str, **body: Any) -> tuple[str, bytes, dict[str, str]]:
    """(path, body, headers) of one delivery."""
    resource = event.partition(".")[0]
    text = json.dumps({"number": number, resource: {f"{resource}_id": number}, **body}).encode()
    digest = hmac.new(SECRET.encode(), f"event{event}".encode() + text, hashlib.sha256).hexdigest()
    headers = {"X-Zoho-Webhook-Signature": digest, "Content-Type": "application/json"}
    return f"/in/load?event={event}", text, headers


class Load:
    """Senders with a connection each. Numbers are never given twice in one house."""

    def __init__(self, port: int, ledger: Path) -> None:
        self._port = port
        self._numbers = itertools.count(1)
        self._ledger = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.sent: list[Sent] = []
        self.latest = ""
        """The verdict that was heard last."""

    def send(self, count: int, *, senders: int = 4, event: str = "invoice.paid", **about: Any) -> list[Sent]:
        """Send so many as fast as they are answered, and wait for the answers."""
        self.begin(0, senders=min(senders, count), event=event, most=count, **about)
        return self.end(stop=False)

    def begin(
        self,
        rate: float,
        *,
        senders: int = 4,
        event: str = "invoice.paid",
        most: int | None = None,
        again: bool = True,
        patience: float = 30,
        one_each: bool = False,
        **body: Any,
    ) -> None:
        """Send in the background until `end`, at so many a second. `again`: until answered 2xx, as long as patience lasts.

        `one_each`: a connection for each request, as Zoho has; the server closes none that is idle then.
        """
        self.sent, self._threads, self.latest = [], [], ""
        self._stop.clear()
        turns = itertools.count()
        started = time.monotonic()

        def lane() -> None:
            connection: list[http.client.HTTPConnection] = []
            try:
                turn_by_turn(connection)
            finally:
                _hang_up(connection)

        def turn_by_turn(connection: list[http.client.HTTPConnection]) -> None:
            while not self._stop.is_set():
                with self._lock:
                    turn = next(turns)
                    if most is not None and turn >= most:
                        return
                    sent = Sent(next(self._numbers), event)
                    self.sent.append(sent)
                if rate:
                    self._stop.wait(max(0.0, started + turn / rate - time.monotonic()))
                self._deliver(connection, sent, body, patience if again else 0)
                if one_each:
                    _hang_up(connection)

        for _ in range(senders):
            self._threads.append(threading.Thread(target=lane, daemon=True))
            self._threads[-1].start()

    def end(self, *, stop: bool = True) -> list[Sent]:
        """Stop sending, and what was sent, once all of it is answered or given up."""
        if stop:
            self._stop.set()
        for thread in self._threads:
            thread.join()
        return self.sent

    def post(self, number: int, event: str, **body: Any) -> Sent:
        """Send one delivery of a number of the caller's own, once."""
        sent = Sent(number, event)
        connection: list[http.client.HTTPConnection] = []
        self._deliver(connection, sent, body, 0)
        _hang_up(connection)
        return sent

    def numbers(self, count: int) -> Sequence[int]:
        """Numbers for deliveries of the caller's own."""
        return list(itertools.islice(self._numbers, count))

    def _deliver(
        self, connection: list[http.client.HTTPConnection], sent: Sent, body: dict[str, Any], patience: float
    ) -> None:
        path, text, headers = signed(sent.number, sent.event, **body)
        sent.at = time.monotonic()
        while True:
            began = time.monotonic()
            try:
                if not connection:
                    connection.append(http.client.HTTPConnection("127.0.0.1", self._port, timeout=20))
                connection[0].request("POST", path, text, headers)
                answer = connection[0].getresponse()
                said = json.loads(answer.read() or b"{}")
                sent.status, sent.seconds = answer.status, time.monotonic() - began
            except (OSError, http.client.HTTPException) as error:
                sent.failures.append(type(error).__name__)
                _hang_up(connection)
            else:
                if sent.accepted:
                    sent.verdict = said.get("verdict", "")
                    sent.events = tuple(said.get("same_as") or said.get("events", ()))
                    self._write_down(sent)
                    self.latest = sent.verdict
                    break
                sent.failures.append(str(sent.status))
            if time.monotonic() - sent.at > patience:
                break
            time.sleep(0.02)

    def _write_down(self, sent: Sent) -> None:
        os.write(self._ledger, f"{sent.number} {sent.verdict} {' '.join(sent.events)}\n".encode())
        os.fsync(self._ledger)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._ledger)


def _hang_up(connection: list[http.client.HTTPConnection]) -> None:
    while connection:
        connection.pop().close()

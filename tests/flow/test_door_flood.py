"""Bad deliveries through the door itself: an answer to each, never a 500, no secret in any, and nothing in that was not proven."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from receiver.app import build
from receiver.errors import Malformed
from receiver.event import now_ms
from receiver.intake.keyring import Keyring
from receiver.ledger import read
from receiver.sources import PRODUCTS
from receiver.zoho.vault import Vault
from tests.flow.test_door import served

sys.path.append(str(Path(__file__).parents[1] / "unit" / "sources"))
import bad_deliveries as bad

if TYPE_CHECKING:
    from redis import Redis

    from receiver.event import Delivery
    from receiver.intake.keyring import Lock
    from receiver.ledger.embedded import Embedded
    from tests.conftest import MakeSettings

EACH = 120
"""Per source, of which every third is really signed."""
SECRET = "a-secret-that-no-answer-shows"
OWN = ("jwks", "public", "told", "own")
"""Products that nobody can configure by a secret alone; the corpus of the sources covers their verifiers."""
SPECIAL = {
    "crm_workflow": 'events = ["Deals.won"]\nid = "/record_id"\nsecret_parameter = "key"',
    "projects": 'events = ["task.updated"]\nid = "/id"',
    "recruit": 'events = ["Candidates.hired"]',
    "bigin": 'events = ["Contacts.made"]',
    "sprints": 'events = ["item.moved"]',
    "forms": 'events = ["signup.sent"]',
    "custom": 'events = ["order.paid"]',
}
STATUSES = {200, 400, 401, 405, 413, 415}


class Line:
    """A connection that sends whatever bytes it is given, and reads one answer."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=10)
        self._read = self._socket.makefile("rb")

    def ask(self, delivery: Delivery) -> tuple[int, bytes]:
        """Status and body of the answer to a delivery, its headers and query byte for byte."""
        query = b"?" + delivery.query if delivery.query else b""
        head = [f"{delivery.method} {delivery.path}".encode() + query + b" HTTP/1.1", b"host: x"]
        head += [name.encode() + b": " + value.encode("latin-1") for name, value in delivery.headers]
        head += [b"content-length: %d" % len(delivery.body), b"", delivery.body]
        self._socket.sendall(b"\r\n".join(head))
        status = int(self._read.readline().split()[1])
        length = 0
        while (line := self._read.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
            if (name.lower(), value.strip().lower()) == (b"connection", b"close"):
                raise ConnectionError(status)
        return status, self._read.read(length if delivery.method != "HEAD" else 0)

    def close(self) -> None:
        """Hang up."""
        self._read.close()
        self._socket.close()


@pytest.fixture
def products(settings: MakeSettings) -> tuple[Any, dict[str, Any]]:
    """Settings with a source for each product that a secret is enough for, and the locks of them."""
    names = [name for name, source in PRODUCTS.items() if source.needs not in OWN]
    lines = [f'[sources.{name}]\nproduct = "{name}"\n{SPECIAL.get(name, "")}' for name in names]
    toml = "\n".join(lines)
    toml += "\n[web]\nunauthenticated_rate = 1000000\nunauthenticated_burst = 1000000\n"
    known = settings(toml, secrets=dict.fromkeys(names, SECRET))
    return known, Keyring(known, Vault.open_or_make(known)).locks


def test_no_bad_delivery_gets_a_500(
    products: Any, settings: MakeSettings, redis_server: Embedded, redis: Redis
) -> None:
    """Two of three prove nothing and are refused; the third is signed, and is taken, quarantined, or refused for what it says."""
    redis.config_set("appendonly", "yes")
    known, locks = products
    known = settings(
        (known.folder / "zohook.toml").read_text(), key=known.key, redis={"url": redis_server.url}
    )
    chance = random.Random(20_000)
    sent = accepted = 0
    with served(build(known)) as url:
        line = Line(url)
        for name, lock in locks.items():
            for number in range(EACH):
                delivery = _bad(chance, lock, proven=number % 3 == 0)
                try:
                    status, body = line.ask(delivery)
                except ConnectionError as error:
                    (status, body), line = (error.args[0], b""), Line(url)
                sent += 1
                assert status in STATUSES, (name, status, body)
                assert SECRET.encode() not in body
                if number % 3 and status == 200:
                    assert body in (b'{"verdict":"handshake"}', b""), (name, body, delivery)
                if status == 200 and body:
                    accepted += len(json.loads(body).get("events", ()))
        line.close()
    assert sent == EACH * len(locks) >= 1_500
    totals = read.totals(redis)
    assert totals["accepted"] == accepted > 0
    assert totals["quarantined"] > 0


def _bad(chance: random.Random, lock: Lock, *, proven: bool) -> Delivery:
    """One that can be sent as HTTP, signed where that is wanted and possible."""
    delivery = bad.delivery(chance, lock.way.name, lock.source.header or lock.way.secret_header)
    delivery = replace(
        delivery,
        method="POST" if delivery.method == "PATCH" else delivery.method,
        query=delivery.query[:4_000].replace(b" ", b"+"),
        headers=[
            (name, value) for name, value in delivery.headers if value.isascii() and value.isprintable()
        ],
        received=now_ms(),
    )
    if proven:
        with contextlib.suppress(Malformed):  # not everything can be signed
            return lock.source.sign(delivery, lock.way, SECRET)
    return delivery

"""A connection to the simulator over the real Redis, and a server that misbehaves as no simulator would."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.fernet import Fernet
from zoho_kit import Odd

from receiver.simulator import Simulator
from receiver.zoho.clients import Clients
from receiver.zoho.consent import Consent
from receiver.zoho.tokens import Tokens
from receiver.zoho.transport import Transport
from receiver.zoho.vault import Vault
from receiver.zoho.wire import Wire

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

KEY = Fernet.generate_key().decode()
TOML = """
[connections.acme]
dc = "simulator"
client = "{kind}"
client_id = "{client}"
books = {{ "" = "20061234567", de = "1" }}
desk = "54983163"
{more}
[simulator]
url = "{url}"
[redis]
url = "{redis}"
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Seen only where this folder is named on the command line; the ordinary run is the short form."""
    parser.addoption(
        "--flood", type=int, default=None, help="jobs of the flood; from 2,000 on in Zoho's own minutes"
    )


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A pool of connections that is closed with the test."""
    made = Wire()
    yield made
    made.close()


@pytest.fixture(scope="session")
def leaving() -> Iterator[list[threading.Thread]]:
    """What is still stopping: a server takes a while to, and the next test need not wait for it."""
    threads: list[threading.Thread] = []
    yield threads
    for thread in threads:
        thread.join()


@pytest.fixture
def simulator(leaving: list[threading.Thread]) -> Iterator[Simulator]:
    """A strict Zoho on a port of its own."""
    running = Simulator()
    running.start()
    yield running
    leaving.append(threading.Thread(target=running.stop))
    leaving[-1].start()


@dataclass
class House:
    """One process's side of one connection."""

    settings: Any
    tokens: Tokens
    consent: Consent
    clients: Clients
    transport: Transport
    simulator: Any
    vault: Vault
    redis: Any
    wire: Wire

    @property
    def zoho(self) -> Any:
        """What a job would get."""
        return self.clients.for_job("acme")

    def connect(self, life: int = 3600, refresh: str = "") -> None:
        """Installs the simulator's own grant as if consented, with no access token yet."""
        seal = self.vault.seal
        token = refresh or self.simulator.refresh_token
        fields = {"access": seal("acme access", "1000.dead"), "refresh": seal("acme refresh", token)}
        self.tokens.rows.install(
            "acme", {"outcome": "installed"}, 0, 0, {**fields, "life": str(life), "dc": "simulator"}
        )

    def refreshes(self) -> int:
        """Token calls that reached the simulator."""
        return len(self.simulator.journal.calls("oauth", path="/token"))


@pytest.fixture
def build(redis, redis_server, settings, wire) -> Callable[..., House]:
    """Makes houses against whatever serves at a URL; options go to Tokens."""

    def make(
        served: Any,
        *,
        kind: str = "server",
        more: str = "",
        others: str = "",
        before: str = "",
        secrets: dict[str, str] | None = None,
        **options: Any,
    ) -> House:
        toml = TOML.format(
            kind=kind, more=more, client=served.client_id, url=served.base, redis=redis_server.url
        )
        given = {"acme": served.client_secret} if secrets is None else secrets
        known = settings(before + toml.replace("[redis]", f"{others}\n[redis]"), secrets=given, key=KEY)
        vault = Vault(known.key)
        options = {"confirm": 0.05, "pause": 0.05, "patience": 10.0, **options}
        clients = Clients(redis, known, vault, wire)
        tokens = clients.tokens = Tokens(redis, known, vault, wire, **options)
        clients.consent = Consent(tokens)
        transport = clients._transport = Transport(tokens, redis, wire)
        return House(known, tokens, clients.consent, clients, transport, served, vault, redis, wire)

    return make


@pytest.fixture
def house(build, simulator) -> House:
    """A house connected to the simulator, with no access token yet."""
    made = build(simulator)
    made.connect()
    return made


@pytest.fixture
def odd() -> Iterator[Callable[..., Odd]]:
    """Makes servers of raw answers."""
    made: list[Odd] = []

    def make(say: Callable[[str, socket.socket], None]) -> Odd:
        made.append(Odd(say))
        return made[-1]

    yield make
    for each in made:
        each.stop()

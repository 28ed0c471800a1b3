"""Canaries: real processes with secrets that are looked for, after everything happened, wherever secrets do not belong (S14 to S16)."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest
from cryptography.fernet import Fernet
from security_kit import Web, command, end, until, web

from receiver.event import now_ms
from receiver.ledger import read
from receiver.ledger.embedded import Embedded
from receiver.settings import Settings
from receiver.simulator import Simulator
from receiver.sources import signing
from receiver.zoho.clients import Clients
from receiver.zoho.vault import Vault
from tests.flow.test_door_holds import signature
from tests.flow.test_kept_secrets import dump

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from redis import Redis

TOML = """
[connections.acme]
dc = "simulator"
client_id = "{client}"
client = "server"
[simulator]
url = "{url}"
[redis]
url = "{redis}"
[web]
unauthenticated_burst = 1000
rejects_per_minute = 1000
[sources]
crm = "crm_channel"
rules = {{ product = "crm_workflow", events = ["Deals.won", "Deals.lost"], secret_parameter = "key" }}
books = {{ product = "books", events = ["invoice.paid"] }}
"""
ROOM = '''
import logging
from receiver import Skip, on

@on("crm.Deals.won", retries=0)
def telling(event, zoho):
    """Fails with all that it called with in its words."""
    zoho.crm.org()
    token = zoho.tokens.get("acme").value
    secret = zoho.settings.secrets("acme")[0]
    logging.getLogger("mine").warning("calling with %s and %s", token, secret)
    refresh = zoho.tokens.vault.open("acme refresh", zoho.tokens.rows.read("acme").refresh)
    raise RuntimeError(f"called as {secret} with {token}, Authorization: Zoho-oauthtoken {token}; refresh_token={refresh}")

@on("crm.Deals.lost")
def skipping(event, zoho):
    raise Skip(f"not with {zoho.tokens.get('acme').value}")

@on("books.invoice.paid", when={"invoice": lambda invoice: broken(invoice)})
def filtered(event):
    pass

def broken(invoice):
    import os
    raise ValueError(f"the environment has {os.environ['ZOHOOK_SECRET_BOOKS']}")
'''
PAGES = ("/", "/events", "/dead", "/deliveries", "/handlers", "/connections", "/healthz", "/metrics")
VERDICTS = ("rejected", "quarantined", "duplicate", "unverified")
HOSTILE = {
    "line break": 'a\r\n{"event": "forged"}',
    "escape": "\x1b[31mred\x1b[0m",
    "separators": "\u2028forged\u2029\x85",
    "direction": "\u202etxt.exe",
    "NUL": "a\0b",
    "bell": "\x07\x08",
}


@dataclass
class Aftermath:
    """What is left when everything has happened."""

    canaries: dict[str, str] = field(default_factory=dict)
    places: dict[str, bytes] = field(default_factory=dict)
    hostile: int = 0
    states: dict[str, int] = field(default_factory=dict)

    def hits(self) -> list[str]:
        """Where a canary sings."""
        return [
            f"{name} in {place}"
            for name, canary in self.canaries.items()
            for place, found in self.places.items()
            if any(form in found for form in {canary.encode(), quote(canary, safe="").encode()})
        ]


class Scene:
    """A project, its processes, and everything that is done to them."""

    def __init__(self, folder: Path, redis: Redis, url: str, simulator: Simulator) -> None:
        self.folder, self.redis, self.simulator = folder, redis, simulator
        self.after = Aftermath()
        self.secrets = {
            "ZOHOOK_KEY": Fernet.generate_key().decode(),
            "ZOHOOK_SECRET_ACME": simulator.client_secret,
            "ZOHOOK_SECRET_RULES": "canary-of-the-rules-4711",
            "ZOHOOK_SECRET_BOOKS": "throwawaybookskey01",
            "ZOHOOK_WEB__PASSWORD": "canary password of operators",
            "ZOHOOK_WEB__VIEWER_PASSWORD": "canary password of viewers",
        }
        self.after.canaries |= self.secrets
        (folder / "handlers").mkdir()
        (folder / "handlers" / "__init__.py").write_text("")
        (folder / "handlers" / "room.py").write_text(ROOM)
        text = TOML.format(client=simulator.client_id, url=simulator.base, redis=url)
        (folder / "zohook.toml").write_text(text)

    def connect(self) -> None:
        """Put the simulator's consent in, as a consent would."""
        settings = Settings.load(self.folder, key=self.secrets["ZOHOOK_KEY"])
        clients = Clients(self.redis, settings, Vault(self.secrets["ZOHOOK_KEY"]))
        seal, refresh = clients.tokens.vault.seal, self.simulator.refresh_token
        fields = {"access": seal("acme access", "1000.dead"), "refresh": seal("acme refresh", refresh)}
        clients.tokens.rows.install("acme", {}, 0, 0, {**fields, "life": "3600", "dc": "simulator"})
        self.after.canaries["refresh token"] = refresh
        derived = clients.tokens.vault.derive("source:crm")
        channel = signing.channel_id(derived, "deals")
        self.channel = (channel, signing.channel_token(derived, channel, now_ms() // signing.DAY))
        self.after.canaries |= {"derived secret": derived, "channel token": self.channel[1]}

    def deliver(self, door: httpx.Client) -> None:
        """Good and bad deliveries of every sort of proof, at the right and at wrong places."""
        rules, books = self.secrets["ZOHOOK_SECRET_RULES"], self.secrets["ZOHOOK_SECRET_BOOKS"]
        for event in ("Deals.won", "Deals.lost"):
            header = {"X-Webhook-Token": rules}
            assert (
                door.post("/in/rules", params={"event": event}, json={"a": 1}, headers=header).status_code
                == 200
            )
            said = {"event": event, "key": rules}
            assert door.post("/in/rules", params=said, json={"b": 2}).status_code == 200
            assert (
                door.post("/in/rules", params={"event": event}, data={"key": rules, "c": "3"}).status_code
                == 200
            )
        body = b'{"invoice": {"invoice_id": 7}}'
        paid = {"X-Zoho-Webhook-Signature": signature(body)}
        assert door.post("/in/books?event=invoice.paid", content=body, headers=paid).status_code == 200
        told: dict[str, Any] = {
            "module": "Deals",
            "operation": "insert",
            "ids": ["1"],
            "channel_id": self.channel[0],
        }
        told["token"] = self.channel[1]
        for change in ({}, {"ids": []}, {"module": "?"}):
            assert door.post("/in/crm", json={**told, **change}).status_code == 200
        for path in ("/in/rules", "/in/books", "/in/nothing", f"/in/{rules}", "/in/rules/"):
            for secret in (rules, books, self.channel[1]):
                door.post(
                    path, params={"token": secret, "q": secret}, json={"token": secret, "secret": secret}
                )
                door.post(
                    path,
                    data={"password": secret, "x": secret},
                    headers={"Authorization": f"Bearer {secret}"},
                )
                door.post(
                    path,
                    files={"key": (None, secret)},
                    headers={"X-Api-Key": secret, "Cookie": f"a={secret}"},
                )
                door.get(
                    path, params={"key": secret + "x"}, headers={"Referer": f"https://x.example/?t={secret}"}
                )

    def intrude(self, door: httpx.Client) -> None:
        """What would forge a line of the log, in everything of a request that can carry it."""
        for text in HOSTILE.values():
            door.post("/in/" + quote(text, safe=""), content=b"{}")
            door.post("/in/rules", params={"event": text, "key": text}, content=text.encode())
            door.post("/in/crm", json={"token": text, "channel_id": text, "module": text, "ids": [text]})
            door.post(
                "/in/books", content=b"{}", headers={"Content-Type": quote(text), "X-Any": "\x1b[31mred"}
            )
            self.after.hostile += 4

    def look(self, running: Web) -> None:
        """Every page, as operator and as viewer; the sign-in with wrong passwords; a consent that is refused."""
        for role in ("PASSWORD", "VIEWER_PASSWORD"):
            with httpx.Client(
                base_url=running.url, trust_env=False, headers={"Origin": running.url}
            ) as client:
                wrong = "canary of a wrong password"
                assert client.post("/sign-in", data={"password": wrong}).status_code == 403
                password = self.secrets[f"ZOHOOK_WEB__{role}"]
                answer = client.post("/sign-in", data={"password": password})
                assert answer.status_code == 303
                self.after.canaries |= {
                    f"session of {role}": answer.cookies["zohook"],
                    "wrong password": wrong,
                }
                bearer = {"Authorization": f"Bearer {password}", "X-Forwarded-For": "192.0.2.1"}
                assert client.get("/metrics", headers=bearer).status_code == 200
                self._click(client, role)
                if role == "PASSWORD":
                    self._consent(client)

    def _click(self, client: httpx.Client, role: str) -> None:
        kept = [row.id for verdict in VERDICTS for row in read.deliveries(self.redis, verdict, count=500)]
        events = [row.event for row in read.page(self.redis, count=200).rows]
        paths = [*PAGES, *(f"/deliveries?verdict={verdict}" for verdict in VERDICTS)]
        paths += [f"/deliveries/{each}" for each in kept]
        paths += [f"/events/{event.id}" for event in events] + [
            f"/deliveries/{event.delivery}" for event in events
        ]
        for path in paths:
            answer = client.get(path)
            assert answer.status_code in {200, 404}, path
            self.after.places[f"{role} {path}"] = answer.content

    def _consent(self, client: httpx.Client) -> None:
        csrf = re.search(r'name="csrf" value="([^"]+)"', client.get("/connections").text)
        assert csrf
        answer = client.post("/connections/acme/connect", data={"csrf": csrf[1]})
        state = parse_qs(urlsplit(answer.headers["location"]).query)["state"][0]
        code = "1000.canarycodecanarycodecanarycode01.canarycodecanarycodecanarycode02"
        back = client.get("/connect/callback", params={"state": state, "code": code, "location": "us"})
        self.after.places["callback"] = back.content
        self.after.canaries["code"] = code

    def collect(self) -> Aftermath:
        """Everything that is left: logs, Redis, the folder's own files but for those that hold the settings."""
        for name in ("web.log", "worker.log", "clock.log", "check.log"):
            self.after.places[name] = (self.folder / name).read_bytes()
        self.after.places["Redis"] = dump(self.redis)
        for file in (self.folder / ".zohook").rglob("*"):
            if file.is_file():
                self.after.places[file.name] = file.read_bytes()
        world = self.simulator.accounts
        self.after.canaries |= {f"access token {at}": token for at, token in enumerate(world._accesses)}
        self.after.states = read.totals(self.redis)
        return self.after


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    """The aftermath of one scene."""
    folder = tmp_path_factory.mktemp("canaries")
    simulator = Simulator(redirect_uris=["http://127.0.0.1:8080/connect/callback"])
    with Embedded(tmp_path_factory.mktemp("redis"), share=False) as server, simulator:
        scene = Scene(folder, server.client(), server.url, simulator)
        scene.connect()
        others = [
            command(folder, word, log=folder / f"{word}.log", **scene.secrets)
            for word in ("worker", "clock", "check")
        ]
        try:
            with web(folder, **scene.secrets) as running:
                with httpx.Client(base_url=running.url, trust_env=False) as door:
                    scene.deliver(door)
                    scene.intrude(door)
                until(
                    lambda: read.totals(scene.redis)["dead"] == 4 and read.totals(scene.redis)["skipped"] == 3
                )
                time.sleep(0.3)  # what is noted and not waited for is written
                scene.look(running)
        finally:
            for each in others:
                end(each)
        yield scene.collect()


def test_s15_s16_no_secret_is_where_it_does_not_belong(after: Aftermath) -> None:
    """After deliveries of all sorts, failing, skipping and raising handlers, sign-ins and a consent: no secret is in a log, in Redis, on a page, in a file."""
    assert after.states["dead"] == 4
    assert after.states["rejected"] > 20
    assert len(after.canaries) > 12
    assert len([place for place in after.places if "/deliveries/" in place]) > 50
    assert after.hits() == []


def test_s16_the_canaries_would_have_been_found(after: Aftermath) -> None:
    """The processes had the secrets, and used them: what is left speaks of the very places where they were."""
    assert b"called as ***" in after.places["Redis"]
    assert b"calling with ***" in after.places["worker.log"]
    assert b"the environment has ***" in after.places["Redis"]
    assert any("access token" in name for name in after.canaries)


def test_s14_nobody_writes_the_log_but_us(after: Aftermath) -> None:
    """Line breaks, escape sequences, separators and turned text in paths, queries, headers and bodies: each request is one line of plain JSON."""
    for name in ("web.log", "worker.log", "clock.log"):
        text = after.places[name].decode()
        assert text.endswith("\n")
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202e]", text)
        lines = [json.loads(line) for line in text[:-1].split("\n")]
        assert "forged" not in {line.get("event") for line in lines}
    said = [json.loads(line) for line in after.places["web.log"].decode().splitlines()]
    assert len([line for line in said if line["event"] == "delivery"]) >= after.hostile + 60

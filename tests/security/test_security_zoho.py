"""Threats on the way to Zoho: who is talked to, with what, and what comes back (S7, S12, S20 to S22, S31)."""

from __future__ import annotations

import ast
import asyncio
import gzip
import json
import re
import time
from contextlib import suppress
from html import unescape
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric import rsa
from security_kit import outbound, trees
from zoho_kit import whole

from receiver.errors import InvalidRequest, ZohookError
from receiver.intake import jwks
from receiver.intake.keyring import Keyring
from receiver.zoho.vault import Vault

if TYPE_CHECKING:
    from redis import Redis

    from tests.conftest import MakeSettings

DESK = """
[connections.acme]
dc = "simulator"
client_id = "1000.X"
desk = "700"
[simulator]
url = "{url}"
[sources]
desk = {{ product = "desk", connection = "acme" }}
"""


def keyring(settings: MakeSettings, url: str) -> Keyring:
    """The keyring of a source whose public keys are at that URL."""
    return Keyring(settings(DESK.format(url=url)), Vault(Fernet.generate_key().decode()))


def fetched(ring: Keyring) -> bool:
    """Whether the public keys could be had."""
    return asyncio.run(ring.refresh(ring.locks["desk"]))


def test_s12_a_key_set_that_is_a_bomb_or_drips_is_given_up(
    odd: Any, settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Desk's public keys come unpacked, within their size and within seconds, or not at all."""
    monkeypatch.setattr(jwks, "PATIENCE", 30)
    key = jwt.algorithms.RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048).public_key(), as_dict=True)
    sound = json.dumps({"keys": [{**key, "kid": "k1"}]}).encode()
    bomb = gzip.compress(sound + b" " * 50_000_000)

    def drip(_path: str, sock: Any) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n")
        while True:
            sock.sendall(b" ")
            time.sleep(0.1)

    def sends(answer: bytes) -> Keyring:
        return keyring(settings, odd(lambda _, sock: sock.sendall(answer)).base)

    assert fetched(sends(whole(sound)))
    for packed in (bomb, gzip.compress(sound)):
        assert not fetched(sends(whole(packed, Content_Encoding="gzip")))
    assert not fetched(sends(whole(sound + b" " * 300_000)))
    monkeypatch.setattr(jwks, "PATIENCE", 0.5)
    started = time.monotonic()
    assert not fetched(keyring(settings, odd(drip).base))
    assert time.monotonic() - started < 10  # else it would take a quarter of an hour


def test_s22_a_consent_of_another_person_is_refused(visitor: Any) -> None:
    """Only the browser that began a consent finishes it, and it uses the state up that somebody else tried."""
    mine, other = visitor().sign_in(), visitor().sign_in()

    def state() -> str:
        to = mine.post("/connections/acme/connect").headers["location"]
        return parse_qs(urlsplit(to).query)["state"][0]

    back = "/connect/callback?error=access_denied&state="
    stolen = state()
    assert "begun in another session" in other.get(back + stolen).text
    assert "belongs to no consent under way" in mine.get(back + stolen).text
    assert "begun in another session" in visitor().get(back + state()).text
    assert "refused at Zoho" in mine.get(back + state()).text


LURES = (
    "https://accounts.zoho.com.evil.example",
    "https://accounts.zoho.com@evil.example",
    "https://evil.example#.zoho.com",
    "https://evil.example\\@accounts.zoho.com",
    "http://accounts.zoho.com",
    "https://accounts.zoho.com:8443",
    "https://user:word@accounts.zoho.com",
    "https://xn--accounts-zoho-com.evil.example",
    "https://accounts.zoh\u043e.com",
    "https://accounts.zoho.com/evil",
    "https://accounts.zoho.com?x=",
    "//accounts.zoho.com",
    "https://169.254.169.254",
    "http://2852039166",
    "http://0xA9FEA9FE",
    "http://[::ffff:169.254.169.254]",
    "http://127.0.0.1:9",
    "file:///etc/passwd",
)


def test_s20_an_answer_names_no_host_that_we_call(visitor: Any, redis: Redis) -> None:
    """Of an accounts-server that is none of the table's, however it is spelled: 400, no connection but to Redis, and not one name is looked up."""
    person = visitor().sign_in()
    for lure in LURES:
        to = person.post("/connections/acme/connect").headers["location"]
        state = parse_qs(urlsplit(to).query)["state"][0]
        back = {"state": state, "code": "1000.a.b", "location": "us", "accounts-server": lure}
        with outbound() as heard:
            answer = person.get(f"/connect/callback?{urlencode(back)}")
        assert answer.status_code == 400, lure
        assert "nothing was sent there" in unescape(answer.text), lure
        ours = redis.connection_pool.connection_kwargs["path"]
        assert {where for _, where in heard} <= {ours}, lure


def test_s21_a_token_is_sent_nowhere_that_an_answer_names(build: Any, odd: Any) -> None:
    """Whatever api_domain comes with a consent's tokens, it is not kept, and calls go to the table's hosts: the other is never connected to."""
    stolen = odd(lambda *_: None)
    for domain in (
        stolen.base,
        f"https://www.zohoapis.com@{stolen.base[7:]}",
        f"{stolen.base}/https://www.zohoapis.com",
    ):
        tokens = {
            "access_token": "1000.a",
            "refresh_token": "1000.r",
            "expires_in": 3600,
            "api_domain": domain,
        }

        def say(path: str, sock: Any, tokens: Any = tokens) -> None:
            said = tokens if path.startswith("/oauth") else {"org": [{"id": "1"}]}
            sock.sendall(whole(json.dumps(said).encode()))

        server = odd(say)
        server.tokens_too = True
        house = build(server)
        with outbound() as heard:
            house.consent.self_client("acme", "1000.code")
            house.zoho.crm.org()
        assert house.tokens.status("acme").api_domain == ""
        ports = {where[1] for _, where in heard if isinstance(where, tuple)}
        assert ports == {int(server.base.rpartition(":")[2])}
    assert stolen.paths == []


CALLERS = {
    # Who may call out, and to whom.
    "receiver/zoho/wire.py": "hosts of the table of data centres",
    "receiver/intake/jwks.py": "the same",
    "receiver/upkeep/relay.py": "the old receiver of the settings, by addresses that were looked at",
    "receiver/cli/": "this machine, or the address that a person types",
}
CONNECTS = {
    # Who opens connections by hand, beside those.
    "receiver/zoho/wire.py",
    "receiver/upkeep/relay.py",
}
CALLS = re.compile(
    r"^(Async)?(Client|HTTPTransport|ConnectionPool|HTTPConnectionPool)$|^(get|post|put|patch|delete|request|stream|urlopen)$"
)
OTHERS = {
    "requests",
    "aiohttp",
    "urllib3",
    "urllib.request",
    "http.client",
    "smtplib",
    "ftplib",
    "socketserver",
    "telnetlib",
}


def test_s31_calls_go_out_in_few_places_and_by_their_rules() -> None:
    """Only these files make HTTP clients; none of them takes a proxy from the environment or follows a redirect; no other library calls."""
    callers, guilty = set(), []
    for place, tree in trees():
        for node in ast.walk(tree):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            guilty += [f"{place}: imports {name}" for name in names if name in OTHERS]
            # Under another name a call would not be known again below.
            if isinstance(node, ast.ImportFrom) and names[0] in {"httpx", "httpcore"}:
                guilty += [f"{place}: imports {each.name}" for each in node.names if CALLS.match(each.name)]
            if isinstance(node, ast.Import):
                guilty += [
                    f"{place}: {each.name} as {each.asname}"
                    for each in node.names
                    if each.name in {"httpx", "httpcore"} and each.asname
                ]
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr in {"open_connection", "create_connection"} and place not in CONNECTS:
                guilty.append(f"{place}:{node.lineno}: {node.func.attr}")
            called = ast.unparse(node.func)
            if not called.startswith(("httpx.", "httpcore.")) or not CALLS.match(node.func.attr):
                continue
            callers.add(next((known for known in CALLERS if place.startswith(known)), place))
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if called.startswith("httpx.") and options.get("trust_env") != "False":
                guilty.append(f"{place}:{node.lineno}: {called} without trust_env=False")
            if options.get("follow_redirects", "False") != "False":
                guilty.append(f"{place}:{node.lineno}: {called} follows redirects")
    assert guilty == []
    assert callers == set(CALLERS)  # and nobody is let off who calls no more


def test_s31_a_handler_cannot_be_led_to_another_host(build: Any, odd: Any) -> None:
    """A path, an id or a table's word that came from outside stays under the product's own host: nothing else is connected to."""
    server = odd(lambda _, sock: sock.sendall(whole(b"{}")))
    house = build(server)
    house.connect()
    zoho = house.zoho
    zoho.tokens.get("acme")
    for evil in (
        "@169.254.169.254/",
        "//169.254.169.254/x",
        "/\\169.254.169.254",
        "http://169.254.169.254/",
        "/x/../../y",
        "/a?b",
        "/a#b",
        "/a\r\nHost: x",
    ):
        with outbound() as heard, pytest.raises(InvalidRequest):
            zoho.request("crm", "GET", evil)
        assert [where for _, where in heard if isinstance(where, tuple)] == []
        server.paths.clear()
        with suppress(ZohookError), outbound() as heard:
            zoho.crm.get("Leads", evil)
        ports = {where[1] for _, where in heard if isinstance(where, tuple)}
        assert ports <= {int(server.base.rpartition(":")[2])}
        assert all(re.fullmatch(r"/crm/v8/Leads/[^/?#]+", path) for path in server.paths)

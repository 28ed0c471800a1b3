"""Threats at the door: who proves what, with which bytes, and how much of them (S1 to S4, S7, S8, S13)."""

from __future__ import annotations

import gc
import json
import random
import time
from array import array
from typing import TYPE_CHECKING, Any

import httpx
import jwt
import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric import rsa
from security_kit import outbound, welch

from receiver import keys
from receiver.app import build
from receiver.dashboard import access
from receiver.errors import SettingsError
from receiver.event import now_ms
from receiver.ledger import read
from receiver.routing import run
from receiver.sources import signing
from receiver.zoho.vault import Vault
from tests.flow.conftest import house
from tests.flow.test_door_holds import BOOKS, PATH, TOML, served, signature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis import Redis

    from receiver.ledger.embedded import Embedded
    from receiver.settings import Settings
    from tests.conftest import MakeSettings
    from tests.flow.conftest import MakeHouse

__all__ = ["house"]

CALLS = 20_000
KEY = Fernet.generate_key().decode()
DESK = """
[connections.acme]
dc = "simulator"
client_id = "1000.X"
desk = "700"
[simulator]
url = "{url}"
[sources]
crm = "crm_channel"
books = {{ product = "books", events = ["invoice.paid"] }}
desk = {{ product = "desk", connection = "acme" }}
"""


@pytest.fixture
def known(settings: MakeSettings, redis_server: Embedded, redis: Redis) -> Callable[..., Settings]:
    """Makes settings with a channel, Books and Desk."""
    redis.config_set("appendonly", "yes")

    def make(url: str = "http://127.0.0.1:9", **web: Any) -> Settings:
        secrets = {"books": BOOKS}
        return settings(
            DESK.format(url=url), secrets=secrets, redis={"url": redis_server.url}, key=KEY, web=web
        )

    return make


@pytest.fixture
def door(known: Callable[..., Settings]) -> Iterator[httpx.Client]:
    """A client of the running web process."""
    with (
        served(known(unauthenticated_burst=1000)) as (host, port),
        httpx.Client(base_url=f"http://{host}:{port}", timeout=10) as client,
    ):
        yield client


def books(door: httpx.Client, body: bytes, signed: bytes | None = None, prefix: str = "") -> httpx.Response:
    """A Books delivery whose signature is over these bytes."""
    proof = prefix + signature(body if signed is None else signed)
    return door.post(PATH, content=body, headers={"X-Zoho-Webhook-Signature": proof})


# S1 -------------------------------------------------------------------------------------------------------------


def leaks(check: Callable[[str], object], right: str) -> bool:
    """Whether its time tells a proof that is wrong in its first letter from one that is wrong in its last.

    Calls of both kinds are mixed by chance, each with a text of its own in memory, and the slowest tenth, which is the machine's
    doing, is left out. A busy machine may seem to tell once; what leaks tells every time.
    """
    first = ("0" if right[0] != "0" else "1") + right[1:]
    last = right[:-1] + ("0" if right[-1] != "0" else "1")
    return all(_differs(check, first, last) for _ in range(4))


def _differs(check: Callable[[str], object], first: str, last: str) -> bool:
    kinds = [False, True] * CALLS
    random.shuffle(kinds)
    texts = [(last if kind else first).encode().decode() for kind in kinds]
    took = array("q", bytes(16 * CALLS))
    gc.disable()
    for index, text in enumerate(texts):
        began = time.perf_counter_ns()
        check(text)
        took[index] = time.perf_counter_ns() - began
    gc.enable()
    highest = sorted(took)[int(1.8 * CALLS)]
    samples = [
        [each for each, kind in zip(took, kinds, strict=True) if kind is wanted and each <= highest]
        for wanted in (False, True)
    ]
    return welch(*samples) > 4.5


def letter_by_letter(given: str) -> bool:
    """How not to compare."""
    return all(one == other for one, other in zip(given, signature(b""), strict=True))


def test_s01_the_time_of_a_comparison_tells_nothing(settings: MakeSettings) -> None:
    """20,000 proofs wrong in their first letter take as long as 20,000 wrong in their last, for each kind of proof; a naive comparison is told apart."""
    secret, channel, today = "a-static-secret-of-ours", "100000000000000001", now_ms() // signing.DAY
    password = settings(web={"password": "the dashboard's password"})
    session = access.Session("", "viewer", "x" * 43)
    assert leaks(letter_by_letter, signature(b""))
    checks: list[tuple[Callable[[str], object], str]] = [
        (
            lambda given: signing.which_hmac(signing.from_hex(given), (BOOKS,), (b"eventinvoice.paid",)),
            signature(b""),
        ),
        (lambda given: signing.which_static(given, (secret,)), secret),
        (
            lambda given: signing.which_channel(f"{today}.{given}", channel, (secret,), now_ms()),
            signing.channel_token(secret, channel, today).partition(".")[2],
        ),
        (lambda given: access.role_of(password, given), "the dashboard's password"),
        (lambda given: access.is_csrf(session, given), session.csrf),
    ]
    assert [right for check, right in checks if leaks(check, right)] == []


# S2 to S4 -------------------------------------------------------------------------------------------------------


def test_s02_the_bytes_are_verified_and_not_what_they_mean(door: httpx.Client, redis: Redis) -> None:
    """A blank more is another body; what is signed and no JSON is kept in quarantine, and no error of the server's."""
    assert books(door, b'{ "a":1}', signed=b'{"a":1}').status_code == 401
    answer = books(door, b"\xff no JSON at all {")
    assert (answer.status_code, answer.json()["verdict"]) == (200, "quarantined")
    assert read.totals(redis)["accepted"] == 0


@pytest.mark.parametrize("secret", ["", ",", " , ", "short"])
def test_s03_without_a_secret_the_door_does_not_open(
    secret: str, settings: MakeSettings, redis_server: Embedded, redis: Redis
) -> None:
    """A missing, empty or short secret stops the web process at its start and names the setting."""
    redis.config_set("appendonly", "yes")
    with pytest.raises(SettingsError, match="ZOHOOK_SECRET_BOOKS") as refused:
        build(settings(TOML, secrets={"books": secret}, redis={"url": redis_server.url}))
    assert "short" not in str(refused.value)


def test_s03_nobody_chooses_the_algorithm(door: httpx.Client) -> None:
    """A signature that names an algorithm, or none, is refused, were it right otherwise."""
    for prefix in ("sha1=", "sha256=", "md5=", "none=", "none", "t=1,v="):
        assert books(door, b"{}", prefix=prefix).status_code == 401
    assert books(door, b"{}").status_code == 200


def test_s04_a_replay_has_no_second_effect(door: httpx.Client, redis: Redis, house: MakeHouse) -> None:
    """The same bytes three times are 200 three times, one event, and one run of the handler that wants it."""
    ran = []

    def note(event: Any) -> None:
        ran.append(event.id)

    from receiver import on

    here = house(on("books.invoice.paid")(note))
    answers = [books(door, b'{"invoice": {"invoice_id": 5}}') for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert [answer.json()["verdict"] for answer in answers] == ["accepted", "duplicate", "duplicate"]
    assert read.totals(redis)["accepted"] == 1
    for kind, found, number in [slip.ids() for slip in here.slips()]:
        run.work(here.process, kind, found, number)
    here.work()
    assert ran == answers[0].json()["events"]


def test_s04_a_fact_is_known_again_for_a_week(
    door: httpx.Client, known: Callable[..., Settings], redis: Redis
) -> None:
    """Where facts have an identity its mark lives seven days, and bytes that differ around it change nothing; where there are only bytes, a minute."""
    secret = Vault.open_or_make(known()).derive("source:crm")
    channel = signing.channel_id(secret, "deals")
    told = {
        "module": "Deals",
        "operation": "insert",
        "ids": ["1"],
        "channel_id": channel,
        "server_time": now_ms(),
        "token": signing.channel_token(secret, channel, now_ms() // signing.DAY),
    }
    first = door.post("/in/crm", json=told)
    again = door.post("/in/crm", content=json.dumps(told, indent=9))
    assert (first.json()["verdict"], again.json()["verdict"]) == ("accepted", "duplicate")
    books(door, b'{"invoice": {"invoice_id": 6}}')
    week, minute = sorted((redis.pttl(key) for key in redis.scan_iter(keys.mark("*"))), reverse=True)
    assert 7 * 86_400_000 - 60_000 < week <= 7 * 86_400_000
    assert 0 < minute <= 60_000


# S7, S13 --------------------------------------------------------------------------------------------------------


def test_s07_a_token_sends_us_nowhere(known: Callable[..., Settings], odd: Any) -> None:
    """With jku, x5u, an own key or the address as its id a forged token is refused, and the only host asked is the configured one."""
    forger, configured = odd(lambda *_: None), odd(lambda *_: None)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    claims = {"iss": "orgId:700", "aud": "webhookId:9", "exp": int(time.time()) + 60}
    own = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    lures = [
        {"jku": f"{forger.base}/jwks.json", "kid": "k1"},
        {"x5u": f"{forger.base}/cert.pem", "kid": "k2"},
        {"jwk": own, "kid": "k3"},
        {"kid": f"{forger.base}/jwks.json"},
        {"kid": "../../../../dev/null"},
    ]
    event = [{"eventType": "Ticket_Add", "eventTime": "1", "orgId": "700", "payload": {"id": "5"}}]
    with served(known(configured.base)) as (host, port), outbound() as heard:
        answers = [
            httpx.post(
                f"http://{host}:{port}/in/desk",
                json=event,
                headers={"X-ZDesk-JWT": jwt.encode(claims, key, "RS256", lure)},
                trust_env=False,
            )
            for lure in lures
        ]
    assert all(answer.status_code == 401 or answer.json()["verdict"] == "unverified" for answer in answers), (
        answers
    )
    assert forger.paths == []
    assert set(configured.paths) == {"/.well-known/jwks.json"}
    ports = {
        address[1]
        for event_name, address in heard
        if event_name == "socket.connect" and isinstance(address, tuple)
    }
    assert ports <= {port, int(configured.base.rpartition(":")[2])}


HOSTILE = {
    "depth": b'{"a":' * 900 + b"1" + b"}" * 900,
    "great depth": b"[" * 100_000,
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": -Infinity}',
    "overflow": b'{"a": 1e5000}',
    "name twice": b'{"invoice": {}, "invoice": {}}',
    "5,000 digits": b'{"a": ' + b"9" * 5000 + b"}",
    "lone surrogate": b'{"a": "\\ud800"}',
    "NUL": b'{"a": "\\u0000"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "tail": b"{} {}",
    "not UTF-8": b'{"a": "\xff"}',
}


def test_s13_hostile_json_is_put_aside(door: httpx.Client, redis: Redis) -> None:
    """Signed it goes into quarantine with 200 and its reason, where the token is in it it proves nothing; never 500, never an event."""
    for name, body in HOSTILE.items():
        answer = books(door, body)
        assert (answer.status_code, answer.json()["verdict"]) == (200, "quarantined"), name
        assert len(answer.json()["reason"]) > 5
        assert door.post("/in/crm", content=body).status_code == 401, name
    assert read.totals(redis)["accepted"] == 0

"""The door over real HTTP and a real Redis: what is taken, what is refused, and with which answer."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from receiver.app import build
from receiver.event import now_ms
from receiver.ledger import accept as accepting
from receiver.ledger import read
from receiver.sources import signing
from receiver.zoho.vault import Vault
from tests.flow.kit import served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from receiver.ledger.embedded import Embedded
    from tests.conftest import MakeSettings

BOOKS = "throwawaybookskey01"
RULES = "a-static-secret-of-ours"
TOML = """
[connections.acme]
dc = "simulator"
client_id = "1000.X"
desk = "700"

[simulator]
url = "{jwks}"

[sources]
crm = "crm_channel"
rules = {{ product = "crm_workflow", id = "/record_id", events = ["Deals.won"] }}
books = {{ product = "books", events = ["invoice.paid"] }}
desk = {{ product = "desk", connection = "acme" }}
"""


@pytest.fixture(scope="module")
def desk_key() -> Any:
    """The private key of a Desk."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def jwks(desk_key: Any) -> Iterator[str]:
    """Desk's host, that serves its public keys."""
    key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(desk_key.public_key())) | {
        "kid": "k1",
        "use": "sig",
        "alg": "RS256",
    }

    async def answer(_request: Any) -> JSONResponse:
        return JSONResponse({"keys": [key]})

    with served(Starlette(routes=[Route("/.well-known/jwks.json", answer)])) as url:
        yield url


@pytest.fixture
def door(
    settings: MakeSettings, redis_server: Embedded, redis: Redis, jwks: str
) -> Iterator[tuple[httpx.Client, Any]]:
    """A client of the running web process, and its settings."""
    redis.config_set("appendonly", "yes")
    known = settings(
        TOML.format(jwks=jwks),
        secrets={"books": f"{BOOKS},theoldbookskey99", "rules": RULES},
        redis={"url": redis_server.url},
    )
    with served(build(known)) as url, httpx.Client(base_url=url, timeout=10) as client:
        yield client, known


def books_signature(body: bytes, secret: str = BOOKS) -> dict[str, str]:
    """The header of a Books delivery to `/in/books?event=invoice.paid`."""
    signed = hmac.new(secret.encode(), b"eventinvoice.paid" + body, hashlib.sha256).hexdigest()
    return {"X-Zoho-Webhook-Signature": signed, "content-type": "application/json"}


def test_a_signed_books_delivery_becomes_an_event_and_its_repetition_a_duplicate(door, redis) -> None:
    """200 with the event's id; the same bytes again are 200 and the same event; the raw bytes stay readable."""
    client, _ = door
    body = b'{"invoice": {"invoice_id": 987, "status":  "paid"}}'
    first = client.post("/in/books?event=invoice.paid", content=body, headers=books_signature(body))
    again = client.post(
        "/in/books?event=invoice.paid", content=body, headers=books_signature(body, "theoldbookskey99")
    )
    assert first.status_code == again.status_code == 200
    assert first.json()["verdict"] == "accepted"
    assert again.json()["same_as"] == first.json()["events"]
    assert "secret_number" not in first.json()
    assert again.json()["secret_number"] == 2
    row = read.event(redis, first.json()["events"][0])
    assert (row.event.type, row.event.record_id, row.event.verified_by) == (
        "books.invoice.paid",
        "987",
        "hmac",
    )
    kept = read.delivery(redis, row.event.delivery)
    assert kept.body == body


def test_a_crm_notification_proves_itself_by_its_derived_token(door, redis) -> None:
    """One event per id; the token is neither in the event nor needed from Redis."""
    client, known = door
    secret = Vault.open_or_make(known).derive("source:crm")
    channel = signing.channel_id(secret, "deals")
    token = signing.channel_token(secret, channel, now_ms() // 86_400_000)
    body = {
        "server_time": now_ms(), "query_params": {}, "module": "Deals", "resource_uri": "https://www.zohoapis.com/crm/v2/Deals",
        "ids": ["1", "2"], "affected_fields": [{"1": ["Stage"]}, {"2": ["Amount"]}], "operation": "update",
        "channel_id": channel, "token": token,
    }  # fmt: skip
    answer = client.post("/in/crm", json=body)
    assert answer.status_code == 200, answer.text
    rows = [read.event(redis, each) for each in answer.json()["events"]]
    assert [(row.event.record_id, row.event.changed) for row in rows] == [("1", {"Stage"}), ("2", {"Amount"})]
    assert token not in str([row.event.data for row in rows])
    wrong = client.post("/in/crm", json={**body, "token": token[:-1] + ("A" if token[-1] != "A" else "B")})
    assert wrong.status_code == 401


def test_desk_is_verified_with_keys_of_its_own_host(door, redis, desk_key) -> None:
    """A JWT of the right key is taken, probes are answered, and an unsigned event is refused."""
    client, _ = door
    events = [
        {
            "eventType": "Ticket_Add",
            "eventTime": str(now_ms()),
            "orgId": "700",
            "payload": {"id": "5"},
            "prevState": None,
        }
    ]
    claims = {"iss": "orgId:700", "aud": "webhookId:9", "iat": int(time.time()), "exp": int(time.time()) + 60}
    token = jwt.encode(claims, desk_key, "RS256", {"kid": "k1"})
    answer = client.post("/in/desk", json=events, headers={"X-ZDesk-JWT": token})
    assert answer.status_code == 200, answer.text
    assert read.event(redis, answer.json()["events"][0]).event.type == "desk.Ticket.created"
    assert client.get("/in/desk").status_code == 200
    assert client.post("/in/desk").status_code == 200
    assert client.post("/in/desk", json=events).status_code == 401
    foreign = jwt.encode(
        claims, rsa.generate_private_key(public_exponent=65537, key_size=2048), "RS256", {"kid": "k1"}
    )
    assert client.post("/in/desk", json=events, headers={"X-ZDesk-JWT": foreign}).status_code == 401


def test_no_product_sees_a_redirect_or_that_it_is_gone(door) -> None:
    """Desk drops a webhook at 410, and nobody follows a redirect: whatever comes to a source, at its URL with a slash behind it too."""
    client, _ = door
    signed = client.post("/in/books/?event=invoice.paid", content=b"{}", headers=books_signature(b"{}"))
    assert signed.status_code == 200
    assert client.post("/in/desk/").status_code == client.get("/in/desk/").status_code == 200
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        for path in ("/in/desk", "/in/desk/", "/in/desk?a=b", "/in/nobody/", "/in//desk", "/in/"):
            status = client.request(method, path, content=b'[{"eventType":"x"}]').status_code
            assert status != 410, (method, path)
            assert not 300 <= status < 400, (method, path, status)


@pytest.mark.parametrize(
    ("path", "headers", "body", "status", "error"),
    [
        ("/in/nothing", {}, b"{}", 404, "unknown_source"),
        ("/in/books?event=invoice.paid", {}, b"{}", 401, "unauthenticated"),
        (
            "/in/books?event=invoice.paid",
            {"X-Zoho-Webhook-Signature": "0" * 64},
            b"{}",
            401,
            "unauthenticated",
        ),
        ("/in/rules", {"X-Webhook-Token": "wrong"}, b"{}", 401, "unauthenticated"),
        ("/in/books", {"content-encoding": "gzip"}, b"\x1f\x8b", 415, "unsupported_encoding"),
        ("/in/books", {}, b"x" * (2**20 + 1), 413, "too_large"),
        ("/in/books", {"x-long": "y" * 20_000}, b"{}", 413, "too_large"),
    ],
)
def test_bad_input_gets_one_clear_json_body(door, redis, path, headers, body, status, error) -> None:
    """The status, the word for it, a sentence that says what to do, and a row for the dashboard."""
    client, _ = door
    answer = client.post(path, content=body, headers=headers)
    assert answer.status_code == status
    said = answer.json()
    assert said["error"] == error
    assert len(said["message"]) > 15
    assert BOOKS not in answer.text
    limit = time.monotonic() + 20
    while not (rows := read.deliveries(redis, "rejected")) and time.monotonic() < limit:
        time.sleep(0.02)
    assert rows[0].meta["reason"] == said["message"]
    assert rows[0].meta["path"] == path.partition("?")[0]


def test_a_chunked_body_over_the_limit_is_refused_while_it_streams(door) -> None:
    """Without a Content-Length the bytes are counted as they come."""
    client, _ = door
    answer = client.post("/in/books", content=(b"x" * 65_536 for _ in range(64)))
    assert answer.status_code == 413


def test_a_rejected_delivery_is_kept_with_its_reason_up_to_the_cap(door, redis) -> None:
    """Ten a minute are kept, the rest only counted; the reason names the product that it looks like."""
    client, _ = door
    for _ in range(15):
        client.post("/in/books?event=invoice.paid", content=b"{}", headers={"X-ZS-WEBHOOK-SIGNATURE": "abc="})
    limit = time.monotonic() + 20
    while read.totals(redis)["rejected"] < 15 and time.monotonic() < limit:
        time.sleep(0.05)
    assert read.totals(redis)["rejected"] == 15
    rows = read.deliveries(redis, "rejected")
    assert 1 <= len(rows) <= 20
    assert "Zoho Sign" in rows[0].meta["reason"]


def test_malformed_but_authenticated_is_quarantined_with_its_reason(door, redis) -> None:
    """200, since Zoho gains nothing by repeating it; nothing is lost."""
    client, _ = door
    body = b'{"invoice": '
    answer = client.post("/in/books?event=invoice.paid", content=body, headers=books_signature(body))
    assert (answer.status_code, answer.json()["verdict"]) == (200, "quarantined")
    row = read.deliveries(redis, "quarantined")[0]
    assert read.delivery(redis, row.id).body == body
    assert row.meta["reason"]


def test_a_static_secret_is_not_shown_in_what_is_kept(door, redis) -> None:
    """The header that carries the secret is masked before it is written."""
    client, _ = door
    answer = client.post("/in/rules", json={"record_id": "77"}, headers={"X-Webhook-Token": RULES})
    assert answer.status_code == 200, answer.text
    row = read.event(redis, answer.json()["events"][0])
    assert (row.event.type, row.event.record_id) == ("crm.Deals.won", "77")
    assert RULES not in str(read.delivery(redis, row.event.delivery).meta)


def test_a_hundred_at_once_share_writes_and_lose_none(door, redis) -> None:
    """Deliveries that arrive together are all accepted, each with its own answer."""
    client, _ = door

    async def flood() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=client.base_url) as many:
            bodies = [json.dumps({"invoice": {"invoice_id": index}}).encode() for index in range(100)]
            posts = [
                many.post("/in/books?event=invoice.paid", content=each, headers=books_signature(each))
                for each in bodies
            ]
            return await asyncio.gather(*posts)

    answers = asyncio.run(flood())
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["events"][0] for answer in answers}) == 100
    assert read.totals(redis)["accepted"] == 100


def test_without_redis_the_answer_is_200_soon_and_what_came_is_drained(
    settings, tmp_path_factory, jwks
) -> None:
    """While Redis is dead a delivery is spooled within its deadline; when it is back all are in the ledger, and the next is accepted."""
    from receiver.ledger.embedded import Embedded

    with Embedded(tmp_path_factory.mktemp("own"), share=False) as own:
        known = settings(
            TOML.format(jwks=jwks), secrets={"books": BOOKS, "rules": RULES}, redis={"url": own.url}
        )
        with served(build(known)) as url, httpx.Client(base_url=url, timeout=10) as client:

            def post(number: int) -> httpx.Response:
                body = json.dumps({"invoice": {"invoice_id": number}}).encode()
                return client.post(
                    "/in/books?event=invoice.paid", content=body, headers=books_signature(body)
                )

            assert post(1).json()["verdict"] == "accepted"
            own.kill()
            started = time.monotonic()
            answer = post(2)
            assert time.monotonic() - started < 4  # a second, and what a busy machine takes
            assert (answer.status_code, answer.json()["verdict"]) == (200, "spooled")
            own.start()
            number, limit = 3, time.monotonic() + 30
            while post(number).json()["verdict"] != "accepted":
                assert time.monotonic() < limit
                number += 1
                time.sleep(0.1)
            assert read.totals(own.client())["accepted"] == number


def test_desk_without_its_keys_is_kept_unverified(
    settings, redis, redis_server, desk_key, monkeypatch
) -> None:
    """While Desk's host is away a signed delivery is answered 200 and kept, and nothing is run on it; an unsigned one is refused, and
    so is one more than may wait, with 503.
    """
    redis.config_set("appendonly", "yes")
    known = settings(
        TOML.format(jwks="http://127.0.0.1:9"),
        secrets={"books": BOOKS, "rules": RULES},
        redis={"url": redis_server.url},
    )
    monkeypatch.setattr(accepting, "KEPT", 1)
    events = [{"eventType": "Ticket_Add", "eventTime": "1", "orgId": "700", "payload": {"id": "5"}}]
    token = jwt.encode({"iss": "orgId:700", "aud": "webhookId:9"}, desk_key, "RS256", {"kid": "k1"})
    with served(build(known)) as url, httpx.Client(base_url=url, timeout=10) as client:
        answer = client.post("/in/desk", json=events, headers={"X-ZDesk-JWT": token})
        assert (answer.status_code, answer.json()["verdict"]) == (200, "unverified")
        kept = [row.id for row in read.deliveries(redis, "unverified")]
        assert len(kept) == 1
        assert client.post("/in/desk", json=events).status_code == 401
        answer = client.post("/in/desk", json=events, headers={"X-ZDesk-JWT": token})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
        assert "too many deliveries wait for them; send it again" in answer.json()["message"]
        body = b"{}"
        answer = client.post("/in/books?event=invoice.paid", content=body, headers=books_signature(body))
        assert answer.status_code == 200
    assert [row.id for row in read.deliveries(redis, "unverified")] == kept
    assert read.totals(redis)["accepted"] == 1

"""The new ways in at the real door: each kind of proof, what is kept of it, duplicates as configured, and rules of CRM's own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from receiver.app import build
from receiver.ledger import read
from receiver.simulator import Simulator
from tests.flow.test_door import served

sys.path.append(str(Path(__file__).parents[1] / "unit" / "sources"))
import bad_deliveries as bad

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from receiver.ledger.embedded import Embedded
    from tests.conftest import MakeSettings

SECRET = "a-secret-of-the-operators"
TOML = """
[web]
unauthenticated_burst = 100000
[sources]
rules = { product = "crm_workflow", id = "/record_id", events = ["Deals.won", "Deals.lost"], secret_parameter = "key" }
shop  = { product = "custom", type = "/event", id = "/id", time = "/at", timezone = "Europe/Berlin", hmac = { header = "X-Signature", prefix = "sha256=" } }
pay   = { product = "custom", type = "/event", tolerance = "1m", hmac = { header = "X-Pay", part = "v1", timestamp = "t", signed = "{timestamp}.{body}" } }
leave = { product = "custom", events = ["Leave.approved"], secret_header = "Authorization", secret_prefix = "Bearer " }
desks = { product = "custom", events = ["Booking.made"], secret_user = "zoho" }
own   = { product = "custom", events = ["thing.told"], dedupe = "/id, /version" }
off   = { product = "custom", events = ["thing.told"], dedupe = false }
forms = "forms"
mails = "campaigns"
zepto = "zeptomail"
talent = { product = "recruit", events = ["Candidates.hired"], secret_header = "", secret_parameter = "token" }
bulk  = "crm_bulk"
"""
SOURCES = [
    "rules",
    "shop",
    "pay",
    "leave",
    "desks",
    "own",
    "off",
    "forms",
    "mails",
    "zepto",
    "talent",
    "bulk",
]


@pytest.fixture
def door(settings: MakeSettings, redis_server: Embedded, redis: Redis) -> Iterator[httpx.Client]:
    """A client of a web process with all of them."""
    redis.config_set("appendonly", "yes")
    secrets = {name: SECRET for name in SOURCES if name != "bulk"}
    known = settings(TOML, secrets=secrets, redis={"url": redis_server.url})
    with served(build(known)) as url, httpx.Client(base_url=url, timeout=10) as client:
        yield client


def mac(text: bytes) -> bytes:
    """HMAC-SHA256 under the secret."""
    return hmac.new(SECRET.encode(), text, hashlib.sha256).digest()


def event_of(redis: Redis, answer: httpx.Response) -> Any:
    """The one event that an answer names."""
    assert answer.status_code == 200, answer.text
    (event_id,) = answer.json()["events"]
    row = read.event(redis, event_id)
    assert row is not None
    return row.event


def test_each_kind_of_proof_opens_its_own_source(door: httpx.Client, redis: Redis) -> None:
    """HMAC with a prefix, HMAC over a time, bearer, password, parameter and header; each event says how it was verified."""
    body = json.dumps({"event": "order.paid", "id": "7", "at": "2026-07-01T10:15:30"}).encode()
    now = str(int(time.time()))
    basic = base64.b64encode(f"zoho:{SECRET}".encode()).decode()
    told = [
        ("/in/shop", {"X-Signature": "sha256=" + mac(body).hex()}, "shop.order.paid", "hmac"),
        (
            "/in/pay",
            {"X-Pay": f"t={now},v1={mac(now.encode() + b'.' + body).hex()}"},
            "pay.order.paid",
            "hmac",
        ),
        ("/in/leave", {"Authorization": f"Bearer {SECRET}"}, "leave.Leave.approved", "static"),
        ("/in/desks", {"Authorization": f"Basic {basic}"}, "desks.Booking.made", "static"),
        (f"/in/talent?token={SECRET}", {}, "recruit.Candidates.hired", "static"),
        ("/in/forms", {"X-Webhook-Token": SECRET}, "forms.entry.submitted", "static"),
    ]
    for path, headers, kind, by in told:
        event = event_of(
            redis, door.post(path, content=body, headers={"content-type": "application/json", **headers})
        )
        assert (event.type, event.verified_by) == (kind, by)
        kept = read.delivery(redis, event.delivery)
        assert SECRET not in f"{kept.meta} {kept.body!r}"
        assert basic not in str(kept.meta)
    assert (
        event_of(
            redis,
            door.post(
                "/in/shop", content=b" " + body, headers={"X-Signature": "sha256=" + mac(b" " + body).hex()}
            ),
        ).occurred
        == 1_782_893_730_000
    )


def test_a_proof_of_one_source_opens_no_other(door: httpx.Client, redis: Redis) -> None:
    """The static secret does not open a source with a recipe, nor an old signature one with a time."""
    for path, headers in [
        ("/in/shop", {"X-Webhook-Token": SECRET}),
        ("/in/desks", {"Authorization": f"Bearer {SECRET}"}),
        ("/in/desks", {"X-Webhook-Token": SECRET}),
        ("/in/leave", {"Authorization": SECRET}),
        ("/in/pay", {"X-Pay": f"t=1700000000,v1={mac(b'1700000000.{}').hex()}"}),
        ("/in/bulk?job=read&token=" + SECRET, {}),
        ("/in/talent?token=" + SECRET[:-1], {}),
    ]:
        assert door.post(path, content=b"{}", headers=headers).status_code == 401, path
    assert read.totals(redis)["accepted"] == 0


def test_duplicates_are_told_as_the_source_says(door: httpx.Client, redis: Redis) -> None:
    """By a key of its own, or not at all; else by the bytes."""
    auth = {"X-Webhook-Token": SECRET}

    def verdict(source: str, body: str) -> str:
        return str(door.post(f"/in/{source}", content=body, headers=auth).json()["verdict"])

    assert [
        verdict("own", f'{{"id": 1, "version": {version}, "n": {n}}}')
        for version, n in ((1, 1), (1, 2), (2, 1))
    ] == ["accepted", "duplicate", "accepted"]
    assert [verdict("off", '{"id": 1}') for _ in range(3)] == ["accepted"] * 3
    assert [verdict("forms", '{"id": 1}') for _ in range(2)] == ["accepted", "duplicate"]


def test_bare_requests_have_no_effect(door: httpx.Client, redis: Redis) -> None:
    """A browser, a probe and an empty POST are answered 200 wherever that is harmless, and nothing is kept of them."""
    for source in SOURCES:
        for answer in (door.get(f"/in/{source}"), door.head(f"/in/{source}"), door.post(f"/in/{source}")):
            assert answer.status_code == 200
    assert door.get("/in/rules?event=Deals.won&record_id=5").status_code == 401
    assert door.request("DELETE", "/in/forms").status_code == 405
    assert read.totals(redis)["accepted"] == 0


@pytest.mark.parametrize(
    ("method", "form"),
    [
        ("POST", "json"),
        ("PUT", "json"),
        ("POST", "form"),
        ("PUT", "form"),
        ("POST", "multipart"),
        ("GET", "none"),
        ("DELETE", "none"),
    ],
)
def test_rules_of_the_crm_in_all_their_forms(
    method: str, form: str, door: httpx.Client, redis: Redis
) -> None:
    """JSON, urlencoded, multipart and parameters: the rule's record arrives, what it could not fill is absent, the secret is not kept."""
    with Simulator() as zoho:
        params = {
            "record_id": "${Deals.Deal Id}",
            "name": "${Deals.Deal Name}",
            "odd": "${Deals.Nothing}",
            "key": SECRET,
        }
        as_json = form == "json"
        url = str(door.base_url.join("/in/rules?event=Deals.lost"))
        zoho.crm.add_webhook(
            url, method=method, format=form, on="create",
            params={} if as_json else params, headers={"X-Webhook-Token": SECRET} if as_json else {},
            body=json.dumps({name: text for name, text in params.items() if name != "key"}) if as_json else "",
        )  # fmt: skip
        deal = zoho.crm.create(
            "Deals",
            {"Deal_Name": "Roof & gutter, 100%", "Stage": "Closed Lost", "Closing_Date": "2027-01-31"},
        )
        assert zoho.drain()
        assert [sent.status for sent in zoho.journal.deliveries("crm_workflow")] == [200]
    (row,) = read.page(redis, by="type", value="crm.Deals.lost").rows
    assert row.event.record_id == deal["id"]
    assert row.event.data == {"record_id": deal["id"], "name": "Roof & gutter, 100%"}
    kept = read.delivery(redis, row.event.delivery)
    assert (kept.meta["method"], SECRET in f"{kept.meta} {kept.body!r}") == (method, False)


def test_nothing_bad_breaks_the_door(door: httpx.Client, redis: Redis) -> None:
    """Three hundred bad deliveries over real HTTP: an answer of 4xx or a harmless 200, never a 500, never a secret, nothing taken."""
    chance = random.Random(4)
    for _ in range(300):
        source = chance.choice(SOURCES)
        sent = bad.delivery(chance, source, "x-signature")
        headers = [(name, value) for name, value in sent.headers if value.isascii() and value.isprintable()]
        method = "POST" if sent.method == "PATCH" else sent.method
        query = "".join(chr(each) if 32 < each < 127 else f"%{each:02X}" for each in sent.query[:4000])
        answer = door.request(method, f"/in/{source}?{query}", content=sent.body, headers=headers)
        assert answer.status_code in {200, 400, 401, 405, 413}, answer.text
        assert answer.status_code != 200 or answer.headers["content-type"] == "application/json"
        assert SECRET not in answer.text
    assert read.totals(redis)["accepted"] == 0

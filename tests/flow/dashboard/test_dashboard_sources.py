"""The page of the ways in: addresses, proofs, secrets in use, counts, arming and relaying; nothing secret, nothing written by a look."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest
from dashboard_kit import PASSWORD, TOML, VIEWER, Visitor

from receiver import keys
from receiver.event import Delivery, now_ms
from receiver.intake import told
from receiver.intake.keyring import Keyring
from receiver.intake.uses import Labels
from receiver.ledger import forwards, runs
from receiver.ledger.accept import Record, accept
from receiver.zoho.vault import Vault

if TYPE_CHECKING:
    from dashboard_kit import Seed
    from redis import Redis

    from receiver.settings import Settings
    from tests.conftest import MakeSettings

MORE = """
mail = { product = "mail", forward = "https://old.example/hook?key=a-key-in-the-query" }
rules = { product = "crm_workflow", events = ["Deals.won", "Deals.lost"] }
desk = { product = "desk", connection = "acme" }
"""
NEW, OLD = "the-new-secret-of-books", "the-old-secret-of-books"


@pytest.fixture
def many(settings: MakeSettings) -> Settings:
    """Settings with sources of several kinds."""
    return settings(
        TOML + MORE,
        secrets={"acme": "a-client-secret", "books": f"{NEW},{OLD}", "rules": "the-secret-of-rules"},
    )


@pytest.fixture
def operator(many: Settings, redis: Redis) -> Visitor:
    """A visitor signed in as operator."""
    return Visitor(many, redis).sign_in(PASSWORD)


def text(visitor: Visitor) -> str:
    """What the page says, in one line."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", visitor.get("/sources").text)).split())


def test_each_source_shows_where_zoho_is_pointed(operator: Visitor) -> None:
    """One address for each event where the URL names it, the proof, the connection, and the steps; and no secret."""
    said = text(operator)
    for words in (
        "Sources 5", "http://hooks.test/in/books?event=invoice.paid", "http://hooks.test/in/rules?event=Deals.lost",
        "a secret of yours, in the header X-Webhook-Token", "an RS256 token of Desk", "Zoho CRM, notification channels",
        "Tick the box that secures the webhook", "zohook source show --secret", "Keys of Zoho has verified nothing in the last 90 days",
    ):  # fmt: skip
        assert words in said, words
    page = operator.get("/sources").text
    for secret in (NEW, OLD, "the-secret-of-rules", "a-client-secret", "a-key-in-the-query"):
        assert secret not in page


def test_the_counts_lead_to_what_they_count(operator: Visitor, seed: Seed, redis: Redis) -> None:
    """Events kept, and what became none, each with its link."""
    for number in range(3):
        seed.accept("books.invoice.paid", {"n": number}, source="books")
    seed.refuse(source="books")
    seed.refuse("quarantined", source="books")
    page = operator.get("/sources").text
    assert "3 kept" in page
    assert 'href="/events?source=books"' in page
    assert 'href="/deliveries?verdict=rejected&amp;source=books">1 rejected</a>' in page
    assert 'href="/deliveries?verdict=quarantined&amp;source=books">1 quarantined</a>' in page
    assert 'verdict=unverified&amp;source=books"' not in page
    delivery = Delivery.arrive("books", b"x")
    for _ in range(2):
        event = seed.accept("books.invoice.paid", {"n": 9}, source="books", identity="same", window=60)
    assert event
    assert delivery
    assert (
        'href="/deliveries?verdict=duplicate&amp;source=books">1 duplicates</a>'
        in operator.get("/sources").text
    )


def test_the_secrets_in_use_are_told(operator: Visitor, many: Settings, redis: Redis) -> None:
    """When each verified last; and once the newest has taken over, that the old one can be dropped."""
    vault = Vault.open_or_make(many)
    newest, old = Labels(vault).of(Keyring(many, vault).locks["books"])
    redis.hset(keys.secrets_used("books"), mapping={newest: now_ms() - 5_000, old: now_ms() - 10_000})
    said = text(operator)
    assert "Secret 1 verified last 5 s ago" in said
    assert "zohook source rotate" not in said
    redis.hset(keys.secrets_used("books"), old, now_ms() - 3 * 86_400_000)
    said = text(operator)
    assert "Secret 2 verified last 3 d ago" in said
    assert "zohook source rotate books --finish" in said


def test_a_source_is_armed_at_a_click(operator: Visitor, redis: Redis) -> None:
    """It says that nothing is accepted yet, then for how long it is armed; only what tells its secret has the button."""
    assert "told no secret yet" in text(operator)
    answer = operator.post("/sources/mail/arm")
    assert answer.headers["location"] == "/sources"
    assert 590 < told.armed_for(redis, "mail") <= 600
    said = text(operator)
    assert "armed for ten minutes" in said
    assert "Save the webhook in Zoho Mail now" in said
    for name in ("books", "crm", "nobody"):
        assert operator.post(f"/sources/{name}/arm").status_code == 404
        assert not redis.exists(keys.armed(name))


def test_relaying_is_shown_and_begun_again(operator: Visitor, redis: Redis) -> None:
    """How much was relayed, waits and was given up; what was given up is sent again at a click."""
    delivery = Delivery.arrive("mail", b"{}")
    accept(redis, [Record(delivery, "quarantined", "why", forward=True)])
    said = text(operator)
    assert "https://old.example/hook 0 relayed, 1 waits" in said
    (taken,) = forwards.take(redis, "mail", 1, 60)
    forwards.end(redis, taken, "failed", {"tries": 3, "last": now_ms(), "error": "it answered 503"})
    said = text(operator)
    assert "0 relayed, 0 wait" in said
    assert "Given up 1 Send again" in said
    page = operator.get(f"/deliveries/{delivery.id}").text
    assert "given up" in page
    assert "it answered 503" in page
    assert (
        "1 deliveries are sent"
        in operator.get(operator.post("/sources/mail/forward").headers["location"]).text
    )
    assert redis.zcard(keys.forwards("mail")) == 1
    assert (
        "None was given up" in operator.get(operator.post("/sources/mail/forward").headers["location"]).text
    )
    assert operator.post("/sources/nobody/forward").status_code == 404


def test_a_pause_is_shown(operator: Visitor, redis: Redis) -> None:
    """A source whose work waits says so."""
    runs.pause(redis, "source:books")
    assert "Zoho Books paused" in text(operator)


def test_a_viewer_looks_and_does_nothing(many: Settings, redis: Redis) -> None:
    """No button, and no way around it."""
    guest = Visitor(many, redis).sign_in(VIEWER)
    page = guest.get("/sources").text
    assert "/arm" not in page
    assert guest.post("/sources/mail/arm").status_code == 403
    assert guest.post("/sources/mail/forward").status_code == 403
    assert not redis.exists(keys.armed("mail"))


def test_without_a_source_the_page_says_how_to_begin(settings: MakeSettings, redis: Redis) -> None:
    """With the command that does it."""
    bare = settings(f'public_url = "http://hooks.test"\n[web]\npassword = "{PASSWORD}"\n')
    assert "zohook source add" in text(Visitor(bare, redis).sign_in(PASSWORD))


def test_what_the_page_costs_does_not_grow_with_what_came(
    operator: Visitor, seed: Seed, redis_server: Any
) -> None:
    """Round trips, and commands, are as many as with an empty ledger."""
    from test_dashboard_cost import watched

    before = len(watched(redis_server, lambda: operator.get("/sources")))
    for number in range(200):
        seed.accept("books.invoice.paid", {"n": number}, source="books")
        seed.refuse(source="books")
    assert len(watched(redis_server, lambda: operator.get("/sources"))) <= before

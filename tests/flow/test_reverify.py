"""Kept deliveries are verified again: accepted once the mistake is mended, as they would have been when they came, and only once."""

# ruff: noqa: F811 - a fixture that is imported is named again by who asks for it

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx
import jwt
import orjson
import pytest
from cryptography.fernet import Fernet
from redis.exceptions import OutOfMemoryError

from receiver import keys
from receiver.app import build
from receiver.event import Delivery, now_ms
from receiver.intake.keyring import Keyring
from receiver.intake.marks import Marks
from receiver.intake.reverify import Reverifier, Wanted, choose
from receiver.intake.seals import Seals
from receiver.ledger import read
from receiver.ledger.accept import Record, accept
from receiver.settings import RetentionSettings
from receiver.upkeep.clock import Clock
from receiver.upkeep.retention import Retention
from receiver.upkeep.unverified import Unverified
from receiver.zoho import Clients
from receiver.zoho.vault import Vault
from tests.flow.test_door import books_signature, desk_key, jwks, served  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from receiver.ledger.embedded import Embedded
    from receiver.settings import Settings
    from tests.conftest import MakeSettings

KEY = Fernet.generate_key().decode()
WRONG, RIGHT, BOOKS = "the-secret-mistyped", "the-secret-in-zoho", "throwawaybookskey01"
TOML = """
[connections.acme]
dc = "simulator"
desk = "700"
[simulator]
url = "{jwks}"
[sources]
rules = {{ product = "crm_workflow", id = "/id", events = ["Deals.won"] }}
books = {{ product = "books", events = [{events}] }}
desk = "desk"
"""
Make = Any


@pytest.fixture
def known(settings: MakeSettings, redis_server: Embedded, redis: Redis) -> Callable[..., Settings]:
    """Makes settings with this secret of `rules`, these events of `books`, Desk's keys at this address."""
    redis.config_set("appendonly", "yes")

    def make(secret: str = RIGHT, *, events: str = '"invoice.paid"', jwks: str = "http://127.0.0.1:9", key: str = KEY) -> Settings:  # fmt: skip
        return settings(
            TOML.format(jwks=jwks, events=events),
            secrets={"rules": secret, "books": BOOKS},
            redis={"url": redis_server.url},
            key=key,
        )

    return make


def keep(
    redis: Redis, settings: Settings, delivery: Delivery, verdict: str = "rejected", reason: str = "why"
) -> str:
    """Keep a delivery as the door does; its id."""
    vault = Vault.open_or_make(settings)
    lock = Keyring(settings, vault).locks.get(delivery.source)
    record = Seals(vault, settings.all_secrets()).close(Record(delivery, verdict, reason), lock)  # type: ignore[arg-type]
    accept(redis, [record], cap=10**6)
    return delivery.id


def workflow(body: bytes = b'{"id": "7"}', secret: str = RIGHT, **also: Any) -> Delivery:
    """A workflow's delivery, with the secret that Zoho has."""
    headers = {"x-webhook-token": secret, "content-length": str(len(body))}
    return Delivery.arrive("rules", body, headers=headers, **also)


def run(redis: Redis, settings: Settings, **wanted: Any) -> Counter[str]:
    """Verify again; the words of the outcomes."""
    found = Reverifier.of(redis, settings).run(choose(redis, Wanted(**wanted)))
    return Counter(outcome.word for outcome in found)


def dump(redis: Redis) -> dict[bytes, bytes]:
    """All of Redis, but for what a look may count."""
    return {key: redis.dump(key) for key in redis.keys("*")}


def test_what_a_wrong_secret_refused_is_accepted_once_it_is_mended(known: Make, redis: Redis) -> None:
    """Through the door and back: the event is due, dated when it came, and neither verdict nor secret is left behind."""
    with served(build(known(WRONG))) as url, httpx.Client(base_url=url) as client:
        for number in range(3):
            answer = client.post("/in/rules", json={"id": str(number)}, headers={"X-Webhook-Token": RIGHT})
            assert answer.status_code == 401
        other = client.post("/in/rules", json={"id": "9"}, headers={"X-Webhook-Token": "nobody-knows-this"})
        assert other.status_code == 401
    mended = known(f"{RIGHT},{WRONG}")
    before = dump(redis)
    looked = list(Reverifier.of(redis, mended).look(choose(redis, Wanted(source="rules"))))
    assert Counter(each.word for each in looked) == {"accepted": 3, "rejected": 1}
    assert dump(redis) == before
    came = {row.id: row.meta["received"] for row in read.deliveries(redis, "rejected")}
    assert run(redis, mended, source="rules") == {"accepted": 3, "rejected": 1}
    events = read.page(redis).rows
    assert sorted(row.event.record_id for row in events) == ["0", "1", "2"]
    for row in events:
        assert row.event.received == came[row.event.delivery]
        assert row.event.verified_by == "static"
        assert redis.zscore(keys.due(), f"e:{row.event.id}")
        kept = read.delivery(redis, row.event.delivery)
        assert (kept.verdict, kept.sealed, kept.meta["reason"]) == ("accepted", "", "")
    assert [row.meta["source"] for row in read.deliveries(redis, "rejected")] == ["rules"]
    assert read.totals(redis)["deliveries"] == 4
    assert RIGHT.encode() not in repr(dump(redis)).encode()


def test_whoever_does_it_twice_or_at_once_accepts_nothing_twice(known: Make, redis: Redis) -> None:
    """Two that judged the same delivery at the same time write one event, also long after its mark is gone."""
    settings = known(RIGHT)
    ids = [
        keep(redis, settings, workflow(b'{"id": "%d"}' % number, received=now_ms() - 3_600_000))
        for number in range(20)
    ]
    both = [Reverifier.of(redis, settings) for _ in range(2)]
    judged = [list(each.look(ids)) for each in both]
    words = [
        [outcome.word for outcome in each._write(batch, Marks())]
        for each, batch in zip(both, judged, strict=True)
    ]
    assert words == [["accepted"] * 20] * 2
    assert redis.zcard(keys.events()) == 20
    assert redis.zcard(keys.due()) == 20
    assert read.totals(redis)["accepted"] == 20
    assert run(redis, settings) == {}


def test_the_same_bytes_are_one_fact_if_they_came_within_a_minute_of_each_other(
    known: Make, redis: Redis
) -> None:
    """A window counts from when they came: a repetition then is one now, and what came later is another fact."""
    settings, hour = known(RIGHT), now_ms() - 3_600_000
    for second in (0, 10, 130):
        keep(redis, settings, workflow(received=hour + second * 1000))
    assert run(redis, settings) == {"accepted": 2, "duplicate": 1}
    assert len(read.deliveries(redis, "duplicate")) == 1


def test_what_could_not_be_read_is_accepted_once_it_can_be(known: Make, redis: Redis) -> None:
    """An event that zohook.toml did not list; what still cannot be read stays in quarantine, with its reason."""
    body = b'{"invoice": {"invoice_id": "5"}}'
    with served(build(known(events='"invoice.made"'))) as url, httpx.Client(base_url=url) as client:
        for raw in (body, b"{"):
            answer = client.post("/in/books?event=invoice.paid", content=raw, headers=books_signature(raw))
            assert answer.json()["verdict"] == "quarantined"
    assert run(redis, known(), verdicts=("quarantined",)) == {"accepted": 1, "quarantined": 1}
    assert [row.event.type for row in read.page(redis).rows] == ["books.invoice.paid"]
    (left,) = read.deliveries(redis, "quarantined")
    assert left.meta["reason"].startswith("not JSON")


def test_a_refused_one_that_proves_itself_and_cannot_be_read_moves_to_quarantine(
    known: Make, redis: Redis
) -> None:
    """It is the sender's; its bytes stay."""
    settings = known(RIGHT)
    delivery = keep(redis, settings, workflow(b"{"))
    assert run(redis, settings) == {"quarantined": 1}
    row = read.delivery(redis, delivery)
    assert (row.verdict, row.body) == ("quarantined", b"{")
    assert redis.zcard(keys.deliveries("rejected")) == 0
    assert run(redis, settings) == {"quarantined": 1}


def test_what_was_never_read_is_not_taken_for_what_it_was(known: Make, redis: Redis) -> None:
    """A body that was too large has a good secret in its head, and would be an empty event."""
    with served(build(known(RIGHT))) as url, httpx.Client(base_url=url) as client:
        headers = {"X-Webhook-Token": RIGHT}
        assert client.post("/in/rules", content=b"x" * (2**20 + 1), headers=headers).status_code == 413
        assert client.post("/in/nobody", json={"id": "1"}, headers=headers).status_code == 404
    found = list(Reverifier.of(redis, known(RIGHT)).run(choose(redis, Wanted())))
    assert {each.word for each in found} == {"rejected"}
    assert {each.reason for each in found} == {
        "it was refused before its body was read",
        "its source is not in zohook.toml",
    }
    assert redis.zcard(keys.events()) == 0


def test_a_lost_key_or_a_probe_changes_nothing(known: Make, redis: Redis) -> None:
    """Each says why it stays."""
    keep(redis, known(RIGHT), workflow())
    keep(redis, known(RIGHT), Delivery.arrive("books", b"", method="GET"))
    other = known(RIGHT, key=Fernet.generate_key().decode())
    reasons = [each.reason for each in Reverifier.of(redis, other).run(choose(redis, Wanted()))]
    assert any("put back the key" in reason for reason in reasons)
    assert any("probe" in reason for reason in reasons)
    assert redis.zcard(keys.events()) == 0


def test_the_filters_choose(known: Make, redis: Redis) -> None:
    """By source, verdict, part of the reason, time and id; oldest first."""
    settings, now = known(RIGHT), now_ms()
    old = keep(redis, settings, workflow(received=now - 7_200_000), reason="the Secret is wrong")
    new = keep(redis, settings, workflow(received=now - 60_000), reason="no secret came")
    books = keep(redis, settings, Delivery.arrive("books", b"{}"), "quarantined", "it tells no event")
    accept(redis, [Record(gone := workflow(), "rejected")], cap=100)
    redis.delete(keys.delivery(gone.id))
    assert choose(redis, Wanted()) == [old, new, books]
    assert choose(redis, Wanted(source="books")) == [books]
    assert choose(redis, Wanted(verdicts=("rejected",))) == [old, new]
    assert choose(redis, Wanted(reason="secret IS")) == [old]
    assert choose(redis, Wanted(since=now - 3_600_000)) == [new, books]
    assert choose(redis, Wanted(until=now - 3_600_000)) == [old]
    assert choose(redis, Wanted(ids=(new, old, "nothing"))) == [old, new]
    assert choose(redis, Wanted(ids=(new,), source="books")) == []


def token(key: Any, at: int, **changed: Any) -> str:
    """A token of Desk's, good for five minutes from that time (ms)."""
    seconds = at // 1000
    claims = {"iss": "orgId:700", "aud": "webhookId:1", "iat": seconds, "exp": seconds + 300, **changed}
    return jwt.encode(claims, key, "RS256", headers={"kid": "k1"})


def desk(key: Any, at: int, **changed: Any) -> Delivery:
    """A delivery of Desk's that came at that time."""
    told = {"eventType": "Ticket_Add", "payload": {"id": str(at)}, "eventTime": str(at), "orgId": "700"}
    return Delivery.arrive(
        "desk", orjson.dumps([told]), headers={"x-zdesk-jwt": token(key, at, **changed)}, received=at
    )


def test_what_waits_for_keys_is_verified_by_itself(
    known: Make, redis: Redis, jwks: str, desk_key: Any
) -> None:
    """Kept and answered 200 while Desk's host is away; accepted when its keys can be had, in the order it came, though its token
    has run out since; forged ones are refused then, and nothing waits any more.
    """
    from cryptography.hazmat.primitives.asymmetric import rsa

    away, hour = known(), now_ms() - 3_600_000
    forger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    with served(build(away)) as url, httpx.Client(base_url=url) as client:
        live = desk(desk_key, now_ms())
        answer = client.post("/in/desk", content=live.body, headers=dict(live.headers))
        assert (answer.status_code, answer.json()["verdict"]) == (200, "unverified")
    for number in range(12):
        keep(redis, away, desk(desk_key, hour + number * 1000), "unverified")
    forged = [keep(redis, away, desk(forger, hour), "unverified") for _ in range(12)]
    late = keep(redis, away, desk(desk_key, hour, exp=hour // 1000 - 400), "unverified")
    assert Unverified(redis, away).verify() == 0
    assert redis.zcard(keys.deliveries("unverified")) == 26
    clock = Unverified(redis, known(jwks=jwks))
    assert clock.verify() == 26
    assert clock.verify() == 0
    rows = read.page(redis).rows
    assert len(rows) == 13
    times = [row.event.occurred for row in sorted(rows, key=lambda row: row.event.seq)]
    assert times == sorted(times)
    assert {row.event.verified_by for row in rows} == {"jwt"}
    assert {row.id for row in read.deliveries(redis, "rejected")} == {*forged, late}
    assert redis.zcard(keys.deliveries("unverified")) == 0


def test_the_clock_does_not_try_for_ever_at_once(known: Make, redis: Redis, desk_key: Any) -> None:
    """Where nothing gets further it waits a minute; where nothing waits it asks one question."""
    clock = Unverified(redis, known())
    assert clock.verify() == 0
    keep(redis, known(), desk(desk_key, now_ms()), "unverified")
    assert clock.verify() == 0
    redis.config_resetstat()
    assert clock.verify() == 0
    assert "cmdstat_zcard" not in redis.info("commandstats")


def test_the_clock_verifies_before_it_forgets(known: Make, redis: Redis, monkeypatch) -> None:
    """What can be verified by now is not given up; and where that fails, as in a full Redis, the same round still makes room."""
    settings, done = known(), []
    clock = Clock(settings, redis, Clients(redis, settings, Vault.open_or_make(settings)))

    def verify(_: Unverified) -> int:
        done.append("verify")
        raise OutOfMemoryError("no room")

    def trim(_: Retention) -> int:
        done.append("trim")
        clock.stopping.set()
        return 0

    monkeypatch.setattr(Unverified, "verify", verify)
    monkeypatch.setattr(Retention, "trim", trim)
    clock.run()
    assert done == ["verify", "trim"]


def test_what_is_kept_is_bounded_by_rate_count_and_age(known: Make, redis: Redis) -> None:
    """Ten a minute and source of what is rejected, five thousand of each verdict, and none over the retention's age."""
    settings = known()
    for number in range(30):
        accept(
            redis, [Record(workflow(b"%d" % number), "rejected", "why")], cap=settings.web.rejects_per_minute
        )
    assert 10 <= redis.zcard(keys.deliveries("rejected")) <= 20  # the minute may have turned
    assert read.totals(redis)["rejected"] == 30
    records = [Record(workflow(b"%d" % number), "quarantined", "why") for number in range(5_100)]
    for start in range(0, len(records), 300):
        accept(redis, records[start : start + 300])
    assert redis.zcard(keys.deliveries("quarantined")) == 5_000
    times: dict[bool, list[int]] = {True: [], False: []}
    for record in records:
        kept = bool(redis.exists(keys.delivery(record.delivery.id)))
        times[kept].append(record.delivery.received)
    assert len(times[False]) == 100
    assert max(times[False]) <= min(times[True])  # many are of one millisecond
    while redis.zcard(keys.deliveries("quarantined")):
        Retention(redis, RetentionSettings(days=-0.001, size=10**12)).trim()
    assert not redis.keys(keys.delivery("*"))

"""What Redis and the spool's file hold of the secrets that deliveries bring: nothing that opens a door, and enough to verify again."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from cryptography.fernet import Fernet

from receiver.app import build
from receiver.errors import SettingsError, Unauthenticated
from receiver.event import Delivery, now_ms
from receiver.intake.keyring import Keyring
from receiver.intake.packing import unpack_record
from receiver.intake.seals import Seals
from receiver.intake.spool import Spool
from receiver.ledger import read, rows
from receiver.ledger.accept import Record
from receiver.sources import signing
from receiver.zoho.vault import Vault
from tests.flow.test_door import served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis import Redis

    from receiver.ledger.embedded import Embedded
    from receiver.settings import Settings
    from tests.conftest import MakeSettings

RIGHT, TYPED = "the-static-secret-in-zoho", "the-static-secret-mistyped"
KEY = Fernet.generate_key().decode()
TOML = """
[sources]
crm = "crm_channel"
rules = { product = "crm_workflow", id = "/record_id", events = ["Deals.won"], secret_parameter = "key" }
"""


@pytest.fixture
def known(settings: MakeSettings, redis_server: Embedded, redis: Redis) -> Callable[..., Settings]:
    """Makes settings with this secret of `rules`."""
    redis.config_set("appendonly", "yes")

    def make(secret: str, key: str = KEY) -> Settings:
        return settings(TOML, secrets={"rules": secret}, redis={"url": redis_server.url}, key=key)

    return make


@pytest.fixture
def client(known: Callable[..., Settings]) -> Iterator[httpx.Client]:
    """A client of a door whose own secret of `rules` was typed wrong."""
    with served(build(known(TYPED))) as url, httpx.Client(base_url=url, timeout=10) as each:
        yield each


def dump(redis: Redis) -> bytes:
    """All keys and values of Redis."""
    found: list[Any] = []
    for key in redis.scan_iter(count=1000):
        kind = redis.type(key)
        if kind == b"hash":
            found.append((key, redis.hgetall(key)))
        elif kind == b"string":
            found.append((key, redis.get(key)))
        elif kind == b"list":
            found.append((key, redis.lrange(key, 0, -1)))
        else:
            found.append(key)
    return repr(found).encode()


def rejected(redis: Redis) -> Any:
    """The one rejected delivery, once it is written."""
    for _ in range(200):
        if rows := read.deliveries(redis, "rejected"):
            return read.delivery(redis, rows[0].id)
        asyncio.run(asyncio.sleep(0.01))
    raise AssertionError("nothing was kept")


def seals(known: Settings) -> Seals:
    """The seals of a project."""
    return Seals(Vault.open_or_make(known), known.all_secrets())


@pytest.mark.parametrize(
    "sent",
    [
        {"headers": {"X-Webhook-Token": RIGHT}, "json": {"record_id": "7"}},
        {"params": {"key": RIGHT}, "json": {"record_id": "7"}},
        {"data": {"key": RIGHT, "record_id": "7"}},
        {"files": {"key": (None, RIGHT), "record_id": (None, "7")}},
    ],
    ids=["header", "query", "form", "multipart"],
)
def test_a_rejected_delivery_holds_no_secret_and_verifies_once_the_settings_are_right(
    client, known, redis, sent
) -> None:
    """A static secret is only kept encrypted; with the settings mended the delivery is proven, and tells its event."""
    assert client.post("/in/rules", **sent).status_code == 401
    row = rejected(redis)
    assert RIGHT.encode() not in dump(redis)
    mended = known(f"{RIGHT},{TYPED}")
    lock = Keyring(mended, Vault.open_or_make(mended)).locks["rules"]
    with pytest.raises(Unauthenticated):
        lock.source.verify(row.delivery(), lock.way, lock.keys)
    whole = seals(mended).whole(row)
    verified = lock.source.verify(whole, lock.way, lock.keys)
    assert lock.source.parse(whole, lock.way, verified).events[0].record_id == "7"


def test_a_channels_token_is_nowhere_in_redis(client, known, redis) -> None:
    """Of an accepted callback it is taken out, of a malformed one and of one at the wrong source it is encrypted."""
    secret = Vault.open_or_make(known(TYPED)).derive("source:crm")
    channel = signing.channel_id(secret, "deals")
    token = signing.channel_token(secret, channel, now_ms() // signing.DAY)
    told = {"module": "Deals", "operation": "insert", "ids": ["1"], "channel_id": channel, "token": token}
    assert client.post("/in/crm", json=told).json()["verdict"] == "accepted"
    assert client.post("/in/crm", json={**told, "ids": []}).json()["verdict"] == "quarantined"
    assert client.post("/in/crm", json={**told, "ids": ["2", None]}).json()["bad"] == 1
    assert client.post("/in/rules", json=told).status_code == 401
    rejected(redis)
    assert token.encode() not in dump(redis)
    row = read.delivery(redis, read.deliveries(redis, "quarantined")[0].id)
    assert json.loads(seals(known(TYPED)).whole(row).body)["token"] == token


def test_a_secret_of_ours_in_any_place_or_path_is_not_kept_in_clear(client, redis) -> None:
    """Also what came to an unknown source, whose name is a secret that somebody put into the path."""
    client.post(f"/in/{TYPED}", params={"q": TYPED}, headers={"X-Any": TYPED})
    assert rejected(redis).meta["path"] == "/in/***"
    assert TYPED.encode() not in dump(redis)


def test_the_spool_holds_no_secret_either(known, tmp_path) -> None:
    """What waits on disk was covered before, and can be verified after it was drained."""
    settings = known(TYPED)
    vault = Vault.open_or_make(settings)
    lock = Keyring(settings, vault).locks["rules"]
    delivery = Delivery.arrive("rules", b"{", query=b"key=" + RIGHT.encode(), headers={"cookie": "a=secret"})
    closed = seals(settings).close(Record(delivery, "quarantined", "why"), lock)

    async def keep() -> None:
        spool = Spool(tmp_path / "spool" / "s", 10**6)
        spool.open()
        await spool.put(closed)
        with spool.file() as file:
            record = unpack_record(file.oldest(1, 1)[0].head, file.oldest(1, 1)[0].body)
        row = rows.DeliveryRow(delivery.id, "quarantined", record.meta(), b"{", sealed=record.sealed)
        assert seals(settings).whole(row) == delivery
        await spool.close()

    asyncio.run(keep())
    for file in (tmp_path / "spool").iterdir():
        assert RIGHT.encode() not in file.read_bytes()
        assert b"a=secret" not in file.read_bytes()


def test_seals_of_another_delivery_or_key_do_not_open(known) -> None:
    """Whoever can write to Redis cannot lend one delivery's proof to another; a key that is gone is named with the cure."""
    settings = known(TYPED)
    lock = Keyring(settings, Vault.open_or_make(settings)).locks["rules"]
    first, second = (
        Delivery.arrive("rules", body, headers={"x-webhook-token": RIGHT}) for body in (b"1", b"2")
    )
    closed, other = (seals(settings).close(Record(each, "rejected", "why"), lock) for each in (first, second))
    row = rows.DeliveryRow(first.id, "rejected", closed.meta(), closed.delivery.body, sealed=closed.sealed)
    assert row.delivery().header("x-webhook-token") == "***"
    assert seals(settings).whole(row) == first
    with pytest.raises(SettingsError, match="sealed for something else"):
        seals(settings).whole(replace(row, sealed=other.sealed))
    fresh = known(TYPED, key=Fernet.generate_key().decode())
    with pytest.raises(SettingsError, match="put back the key that sealed it") as refused:
        seals(fresh).whole(row)
    assert RIGHT not in str(refused.value)
    both = known(TYPED, key=f"{Fernet.generate_key().decode()},{KEY}")
    assert seals(both).whole(row).header("x-webhook-token") == RIGHT

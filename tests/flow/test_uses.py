"""Which secret verified, and when: noted beside the door, shown by the command, and what lets an old one be dropped."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from cryptography.fernet import Fernet
from redis.exceptions import ConnectionError as NoRedis

from receiver import keys
from receiver.app import build
from receiver.cli import secrets as rotating
from receiver.cli import showing
from receiver.cli.sources import Place
from receiver.errors import SettingsError
from receiver.event import now_ms
from receiver.intake import told, uses
from receiver.intake.keyring import Keyring
from receiver.intake.uses import Labels, Uses
from receiver.ledger.connect import connect_door
from receiver.zoho.vault import Vault
from tests.flow.test_door import books_signature, served

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from redis import Redis

    from receiver.ledger.embedded import Embedded
    from receiver.settings import Settings
    from tests.conftest import MakeSettings

NEW, OLD = "throwawaybookskey01", "theoldbookskey99"
KEY = "bm90IGEgc2VjcmV0LCBidXQgb2YgMzIgYnl0ZXMgISE="
TOML = """
[redis]
url = "{url}"
[connections.acme]
dc = "eu"
desk = "700"
[sources]
books = {{ product = "books", events = ["invoice.paid"] }}
desk = "desk"
mail = {{ product = "mail", forward = "https://old.example/hook?key=geheim-geheim" }}
"""
Make = Any


@pytest.fixture
def known(
    settings: MakeSettings, redis_server: Embedded, redis: Redis, tmp_path: Path
) -> Callable[..., Settings]:
    """Makes settings with these secrets of `books` in .env."""
    redis.config_set("appendonly", "yes")

    def make(secrets: str) -> Settings:
        (tmp_path / ".env").write_text(f"ZOHOOK_KEY={KEY}\n")
        return settings(TOML.format(url=redis_server.url), secrets={"books": secrets}, key=KEY)

    return make


def lock_of(settings: Settings, name: str = "books") -> tuple[Any, Labels]:
    """The lock of a source, and the labels."""
    vault = Vault.open_or_make(settings)
    return Keyring(settings, vault).locks[name], Labels(vault)


def test_the_door_notes_which_secret_verified(
    known: Make, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A moment later it is in Redis, under a label that is no part of the secret and stays when the secrets change places."""
    monkeypatch.setattr(uses, "EVERY", 0.05)
    settings = known(f"{NEW},{OLD}")
    body = b'{"invoice": {"invoice_id": "1"}}'
    with served(build(settings)) as url, httpx.Client(base_url=url) as client:
        for secret in (OLD, "nobody-knows-this"):
            client.post("/in/books?event=invoice.paid", content=body, headers=books_signature(body, secret))
        limit = time.monotonic() + 20
        while not redis.exists(keys.secrets_used("books")) and time.monotonic() < limit:
            time.sleep(0.02)
    lock, labels = lock_of(settings)
    newest, old = uses.uses(redis, [lock], labels)["books"]
    assert (newest.last, newest.idle, old.idle) == (0, False, False)
    assert abs(old.last - now_ms()) < 10_000
    assert 0 < redis.ttl(keys.secrets_used("books")) <= uses.KEPT
    kept = repr(redis.hgetall(keys.secrets_used("books")))
    assert NEW not in kept
    assert OLD not in kept
    lock, labels = lock_of(known(f"{OLD},{NEW}"))
    assert uses.uses(redis, [lock], labels)["books"][0].last == old.last


def test_what_was_seen_last_is_written_at_the_end(known: Make, redis: Redis) -> None:
    """A web process that is told to stop writes before it goes."""
    body = b'{"invoice": {"invoice_id": "1"}}'
    with served(build(known(NEW))) as url, httpx.Client(base_url=url) as client:
        client.post("/in/books?event=invoice.paid", content=body, headers=books_signature(body))
    assert redis.exists(keys.secrets_used("books"))


def test_it_ends_at_whatever_moment_it_is_told_to(
    known: Make, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while it sends: a stop of the process must not wait for ever."""
    monkeypatch.setattr(uses, "EVERY", 0)
    settings = known(NEW)
    lock, labels = lock_of(settings)

    async def rounds() -> None:
        at_the_door = connect_door(settings)
        for turns in range(200):
            seen, over = Uses(labels), asyncio.Event()
            writing = asyncio.create_task(seen.write_until(over, at_the_door))
            for at in range(turns % 40):
                seen.saw(lock, 0, 1_000 + at)
                await asyncio.sleep(0)
            over.set()
            async with asyncio.timeout(10):
                await writing
        await at_the_door.aclose()

    asyncio.run(rounds())


def test_what_redis_does_not_take_is_written_later(known: Make) -> None:
    """The newest of both wins."""

    class Away:
        """A Redis that is not there."""

        def pipeline(self, **_: Any) -> Any:
            raise NoRedis("away")

    lock, labels = lock_of(known(f"{NEW},{OLD}"))
    seen = Uses(labels)
    seen.saw(lock, 0, 1_000)
    asyncio.run(seen.write(Away()))  # type: ignore[arg-type]
    seen.saw(lock, 0, 2_000)
    seen.saw(lock, 7, 3_000)
    asyncio.run(seen.write(Away()))  # type: ignore[arg-type]
    newest, _ = labels.of(lock)
    assert seen._seen == {"books": {newest: 2_000}}


def test_an_old_secret_is_idle_once_the_new_one_has_come_into_use(known: Make, redis: Redis) -> None:
    """An hour after its last delivery; never as long as the new one has verified nothing."""
    settings, now = known(f"{NEW},{OLD}"), now_ms()
    lock, labels = lock_of(settings)
    newest, old = labels.of(lock)
    for times, idle in (
        ({}, False),
        ({old: now}, False),
        ({newest: now}, True),
        ({newest: now, old: now - 1_800_000}, False),
        ({newest: now, old: now - 7_200_000}, True),
        ({newest: now - 7_200_000, old: now}, False),
    ):
        redis.delete(keys.secrets_used("books"))
        if times:
            redis.hset(keys.secrets_used("books"), mapping=times)
        assert [use.idle for use in uses.uses(redis, [lock], labels)["books"]] == [False, idle], times


def test_the_commands_go_by_it(known: Make, redis: Redis, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """`show` tells when each verified and that the old one is idle, and then `rotate --finish` drops it without a word."""
    settings = known(f"{NEW},{OLD}")
    lock, labels = lock_of(settings)
    newest, old = labels.of(lock)
    redis.hset(
        keys.secrets_used("books"), mapping={newest: now_ms() - 61_000, old: now_ms() - 3 * 86_400_000}
    )
    monkeypatch.delenv("ZOHOOK_SECRET_BOOKS")
    env = f"ZOHOOK_KEY={KEY}\nZOHOOK_SECRET_BOOKS={NEW},{OLD}\n"
    (tmp_path / ".env").write_text(env)
    showing.show(Place.of(tmp_path), "books", with_steps=False, secret=False)
    said = capsys.readouterr().out
    assert "the newest verified last 1 min ago" in said
    assert "no. 2 verified last 3 d ago" in said
    assert "zohook source rotate books --finish" in said
    monkeypatch.delenv("ZOHOOK_SECRET_BOOKS")
    rotating.finish(Place.of(tmp_path), "books", sure=False)
    assert (tmp_path / ".env").read_text() == env.replace(f",{OLD}", "")


def test_keys_that_a_host_shows_have_one_label(known: Make, redis: Redis) -> None:
    """Desk's are Desk's business; that one verified is worth knowing."""
    lock, labels = lock_of(known(NEW), "desk")
    seen = Uses(labels)
    seen.saw(lock, 0, 5_000)
    assert seen._seen == {"desk": {uses.ONLY: 5_000}}


def test_arming_is_shown_and_ends(
    known: Make, redis: Redis, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command arms, `show` says for how long, and --forget drops what was told before."""
    known(NEW)
    redis.lpush(keys.source_secret("mail"), Vault(KEY).seal("source:mail:told", "told-by-mail-123"))
    showing.show(Place.of(tmp_path), "mail", with_steps=False, secret=False)
    said = capsys.readouterr().out
    assert "no; zohook source arm mail" in said
    assert "told-by-mail-123" not in said
    rotating.arm(Place.of(tmp_path), "mail", forget=True)
    assert "armed for 10 minutes" in capsys.readouterr().out
    assert 590 < told.armed_for(redis, "mail") <= 600
    assert not redis.exists(keys.source_secret("mail"))
    showing.show(Place.of(tmp_path), "mail", with_steps=False, secret=True)
    said = capsys.readouterr().out
    assert "seconds still" in said
    assert "https://old.example/hook: 0 relayed, 0 wait, 0 given up" in said
    assert "geheim" not in said
    assert "none was told yet" in said
    with pytest.raises(SettingsError, match="no source"):
        rotating.arm(Place.of(tmp_path), "male", forget=False)


def test_a_rotated_key_of_the_project_forgets_no_use(known: Make, redis: Redis) -> None:
    """What the door noted under the old one is found as long as that one is kept beside the new."""
    lock, labels = lock_of(known(f"{NEW},{OLD}"))
    redis.hset(keys.secrets_used("books"), labels.of(lock)[1], 7_000)
    both = Labels(Vault(f"{Fernet.generate_key().decode()},{KEY}"))
    assert [use.last for use in uses.uses(redis, [lock], both)["books"]] == [0, 7_000]
    assert both.of(lock) != labels.of(lock)

"""The project's ledger for the length of one command."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from redis import Redis

    from receiver.settings import Settings
    from receiver.zoho import Clients


@contextmanager
def ledger(folder: Path | None) -> Iterator[tuple[Settings, Redis]]:
    """The settings of a project's folder and its Redis, started if it does not run. Raises SettingsError or LedgerUnavailable."""
    from receiver import logs
    from receiver.cli.processes import with_redis
    from receiver.ledger.connect import check, connect
    from receiver.settings import Settings

    with with_redis(Settings.load(folder)) as settings:
        logs.setup(settings)
        redis = connect(settings)
        try:
            check(redis)
            yield settings, redis
        finally:
            redis.close()


@contextmanager
def glance(settings: Settings) -> Iterator[Redis | None]:
    """The Redis that zohook.toml names, for a short look at what is there: nothing is started, and nobody waits long for it. None
    where it names none.
    """
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    from receiver.ledger.connect import connect

    if not settings.redis.url:
        yield None
        return
    once = {"retry": Retry(NoBackoff(), 0), "retry_on_error": []}
    redis = connect(settings, socket_timeout=2, socket_connect_timeout=1, **once)
    try:
        yield redis
    finally:
        redis.close()


@contextmanager
def clients(folder: Path | None) -> Iterator[tuple[Settings, Redis, Clients]]:
    """The same with the clients for Zoho."""
    from receiver.zoho import Clients
    from receiver.zoho.vault import Vault

    with ledger(folder) as (settings, redis):
        yield settings, redis, Clients(redis, settings, Vault.open_or_make(settings))

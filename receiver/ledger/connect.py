"""Connections to the Redis that holds the ledger, and whether it is fit to hold it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.retry import Retry

from receiver.errors import LedgerUnavailable, SettingsError

if TYPE_CHECKING:
    from receiver.settings import Settings

OLDEST = (6, 2)


def _url(settings: Settings) -> str:
    if not settings.redis.url:
        raise SettingsError(
            'no Redis is configured: set [redis] url = "redis://..." in zohook.toml or ZOHOOK_REDIS__URL, '
            "or let `zohook up` start the embedded one"
        )
    return settings.redis.url


def connect(settings: Settings, **options: Any) -> redis.Redis:
    """A client for workers, the clock and the pages: patient, since a worker must outlive a restart of Redis."""
    given = {
        "socket_connect_timeout": 2,
        "socket_timeout": 30,
        "health_check_interval": 30,
        "retry": Retry(ExponentialBackoff(cap=1, base=0.05), 6),
        "retry_on_error": [redis.exceptions.ConnectionError, redis.exceptions.TimeoutError],
        **options,
    }
    return redis.Redis.from_url(_url(settings), **given)


def connect_door(settings: Settings) -> redis.asyncio.Redis:
    """A client for the door: it has a second, and then the sender must hear that we could not keep it."""
    deadline = settings.redis.deadline
    return redis.asyncio.Redis.from_url(
        _url(settings),
        socket_connect_timeout=min(0.5, deadline),
        socket_timeout=deadline,
        retry=AsyncRetry(NoBackoff(), 0),
    )


def impatient(client: redis.Redis, deadline: float) -> redis.Redis:
    """A client for the same Redis that asks once, and has its answer or an error within `deadline` seconds."""
    pool = client.connection_pool
    options = {
        **pool.connection_kwargs,
        "socket_connect_timeout": min(0.5, deadline),
        "socket_timeout": deadline,
        "health_check_interval": 0,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
    }
    made = redis.ConnectionPool(connection_class=pool.connection_class, **options)
    return redis.Redis(connection_pool=made)


def check(client: redis.Redis) -> None:
    """Refuse a Redis that would lose events: too old, evicting, or without an append-only file."""
    try:
        server = client.info("server")
        version = tuple(int(part) for part in str(server["redis_version"]).split(".")[:2])
    except redis.exceptions.RedisError as error:
        raise LedgerUnavailable(f"Redis does not answer: {error}") from error
    if version < OLDEST:
        raise SettingsError(f"Redis {server['redis_version']} is too old; Zohook needs 6.2 or newer")
    for name, wanted, danger in (
        ("maxmemory-policy", "noeviction", "Redis would throw away accepted events when it is full"),
        ("appendonly", "yes", "Redis would lose every accepted event when it dies"),
    ):
        try:
            found = cast("dict[str, str]", client.config_get(name)).get(name)
        except (
            redis.exceptions.ResponseError
        ):  # CONFIG is forbidden to us: the operator of that Redis answers for it
            return
        if found is not None and found != wanted:
            raise SettingsError(f"Redis has {name} {found}: {danger}. Set   {name} {wanted}   in redis.conf")

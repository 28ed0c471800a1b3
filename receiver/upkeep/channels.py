"""CRM notification channels: made, read back, and renewed long before they end, for an ended one gives no notice.

https://www.zoho.com/crm/developer/docs/api/v8/notifications/enable.html: a channel lives a week at most; asked for more, Zoho
gives an hour and says so only in `channel_expiry`, which is therefore read back.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

from receiver import keys, logs
from receiver.errors import ZohoError
from receiver.event import now_ms
from receiver.sources import signing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from receiver.settings import ChannelSettings, Settings
    from receiver.zoho import Clients

log = logs.get("channels")
DAY = 86_400_000


def ensure(settings: Settings, redis: Redis, clients: Clients) -> int:
    """Make the channels that are missing and renew those past half their life; how many calls for it succeeded.

    A connection that cannot be used is left for the next round; it has a message of its own.
    """
    made = 0
    for name, connection, wanted in _all(settings, clients):
        row = cast("dict[bytes, bytes]", redis.hgetall(keys.channel(name)))
        end, life = int(row.get(b"ends", 0)), int(row.get(b"life", 0))
        same = row.get(b"about", b"").decode() == _about(settings, clients, wanted)
        if row.get(b"id") and same and end - now_ms() > life / 2:
            continue
        try:
            made += _enable(settings, redis, clients, name, connection, wanted, alive=end > now_ms())
        except ZohoError as error:
            log.warning("channel.not_enabled", channel=name, error=str(error))
            redis.hset(keys.channel(name), "error", str(error)[:300])
    return made


def _all(settings: Settings, clients: Clients) -> Iterator[tuple[str, str, ChannelSettings]]:
    """(name, connection, settings) of each channel that there is to be: one for each customer, where a connection has them."""
    for name, wanted in settings.channels.items():
        connection = wanted.connection or settings.connection_of(wanted.source)
        if connection in settings.connections and settings.connections[connection].customers:
            for customer in clients.tokens.customers.of(connection):
                yield f"{name}.{customer.name}", customer.name, wanted
        else:
            yield name, connection, wanted


def _about(settings: Settings, clients: Clients, wanted: ChannelSettings) -> str:
    """What the channel was made with: a change of it, the keys among it, makes the channel anew."""
    token = hashlib.sha256(_secret(settings, clients, wanted).encode()).hexdigest()[:8]
    return f"{token}|{settings.public_url}|{wanted.source}|{','.join(wanted.events)}|{wanted.values}|{wanted.related}"


def _secret(settings: Settings, clients: Clients, wanted: ChannelSettings) -> str:
    """What the tokens of the channels of a source are derived from."""
    own = settings.secrets(wanted.source)
    return own[0] if own else clients.tokens.vault.derive(f"source:{wanted.source}")


def _enable(
    settings: Settings,
    redis: Redis,
    clients: Clients,
    name: str,
    connection: str,
    wanted: ChannelSettings,
    *,
    alive: bool,
) -> bool:
    derived = clients.tokens.vault.derive_all(f"source:{wanted.source}")
    secret = _secret(settings, clients, wanted)
    known = cast("bytes | None", redis.hget(keys.channel(name), "id"))
    # The id stays when the key is rotated: the channel is renewed then, and no second one is made beside it.
    channel = known.decode() if known else signing.channel_id(derived[-1], name)
    ends = datetime.now(UTC) + timedelta(seconds=wanted.life)
    asked = {
        "channel_id": channel,
        "events": list(wanted.events),
        "notify_url": f"{settings.public_url}/in/{wanted.source}",
        "token": signing.channel_token(secret, channel, now_ms() // DAY),
        "channel_expiry": ends.isoformat(timespec="seconds"),
        "return_affected_field_values": wanted.values,
        "notify_on_related_action": wanted.related,
    }
    if connection not in settings.connections:
        clients.tokens.customers.owns(channel, connection)
    calls = clients.for_job(connection).crm.channels
    result = calls.renew([asked])[0] if alive else calls.watch([asked])[0]
    if alive and not result.ok and result.error is not None and result.error.code == "NOT_SUBSCRIBED":
        result = calls.watch([asked])[0]  # it lapsed all the same
    if not result.ok:
        log.error("channel.refused", channel=name, error=str(result.error))
        redis.hset(keys.channel(name), "error", str(result.error)[:300])
        return False
    given = result.expires or now_ms() + 3_600_000
    about = {
        "id": channel,
        "ends": given,
        "life": given - now_ms(),
        "about": _about(settings, clients, wanted),
        "made": now_ms(),
    }
    pipe = redis.pipeline()
    pipe.hset(keys.channel(name), mapping=about)  # type: ignore[arg-type]
    pipe.hdel(keys.channel(name), "error")
    pipe.sadd(keys.channels(), name)
    pipe.execute()
    log.info(
        "channel.enabled",
        channel=name,
        events=wanted.events,
        ends=datetime.fromtimestamp(given / 1000, UTC).isoformat(),
    )
    return True

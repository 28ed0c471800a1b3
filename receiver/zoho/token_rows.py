"""Token rows in Redis: each method is one script, and so one step that no other process can come between."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from redis.exceptions import RedisError

from receiver import keys
from receiver.errors import LedgerUnavailable
from receiver.zoho import token_scripts
from receiver.zoho.token_row import Row, Status, from_fields, number, row_of, text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from redis import Redis

BUDGET = 8
"""Token calls in ten minutes over all processes: Zoho refuses the eleventh token of one refresh token
(https://www.zoho.com/accounts/protocol/oauth/web-apps/access-token-expiry.html), and a call whose answer was
lost counts too.
"""
WINDOW = 600_000


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of asking for the lock. `wait` is in seconds; `verdict` is one of
    yours, newer, state, cooldown, pause, busy, budget.
    """

    verdict: str
    wait: float
    row: Row


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a token call taught, as it is to be stored. Seconds; `age` is how long ago the call began."""

    entry: Mapping[str, Any]
    fields: Mapping[str, str | int]
    age: float = 0.0
    life: int = 0
    cooldown: float = 0.0
    pause: float = 0.0
    refreshed: bool = False


class Rows:
    """The rows of all connections. Every method raises LedgerUnavailable where Redis does not answer."""

    def __init__(self, redis: Redis, lease: float) -> None:
        self._redis = redis
        self._lease = int(lease * 1000)
        self._scripts = {
            name: redis.register_script(token_scripts.source(name)) for name in token_scripts.NAMES
        }

    def _run(self, name: str, *args: object) -> Any:
        try:
            return self._scripts[name](args=[text(arg) for arg in args])
        except RedisError as error:
            raise LedgerUnavailable(f"Redis does not keep the token row: {error}") from error

    def read(self, connection: str) -> Row:
        """The row as it is now."""
        began = time.monotonic()
        now, flat = self._run("read", connection)
        return row_of(connection, flat, number(now), began)

    def take(self, connection: str, fence: str, seen: int, client: str, *, own: bool = False) -> Taken:
        """Asks for the right to make a token call, for a caller that saw generation `seen`. `own`: a client
        that needs nobody's consent.
        """
        began = time.monotonic()
        said = self._run("take", connection, fence, self._lease, BUDGET, WINDOW, seen, client, int(own))
        verdict, wait, now, flat = said
        return Taken(text(verdict), max(0, number(wait)) / 1000, row_of(connection, flat, number(now), began))

    def again(self, connection: str, fence: str) -> bool:
        """Whether the holder may make one more call: it still holds the lock, and the budget has room."""
        return bool(self._run("again", connection, fence, self._lease, BUDGET, WINDOW))

    def settle(self, connection: str, fence: str, seen: int, learnt: Learnt) -> Row:
        """Stores what was learnt if the row is still of generation `seen`, and gives the lock back. The row
        as it then is.
        """
        began = time.monotonic()
        pairs = [part for pair in learnt.fields.items() for part in pair]
        times = [int(value * 1000) for value in (learnt.age, learnt.cooldown, learnt.pause)]
        said = self._run(
            *("settle", connection, fence, seen, orjson.dumps(learnt.entry).decode(), int(learnt.refreshed)),
            *(times[0], learnt.life, times[1], times[2], *pairs),
        )
        return row_of(connection, said[2], number(said[1]), began)

    def invalidate(self, connection: str, generation: int, reason: str, clears: float) -> bool:
        """Marks the token of that generation dead; False where a fresh one was refused for the same reason
        lately.
        """
        return bool(self._run("invalidate", connection, generation, reason, int(clears * 1000)))

    def clear(self, connection: str, generation: int, reason: str) -> None:
        """Notes that a token just made was refused for that reason too."""
        self._run("clear", connection, generation, reason)

    def install(
        self, connection: str, entry: Mapping[str, Any], age: float, life: int, fields: Mapping[str, str]
    ) -> int:
        """Puts a new consent in place of the old one; its generation."""
        pairs = [part for pair in fields.items() for part in pair]
        return number(
            self._run("install", connection, orjson.dumps(entry).decode(), int(age * 1000), life, *pairs)
        )

    def mark_stale(self, connection: str) -> bool:
        """Has the token renewed at its next use, while it goes on being used; False where there is none."""
        return bool(self._run("stale", connection))

    def count_call(self) -> None:
        """Counts a token call that is not a refresh."""
        self._safely(lambda: self._redis.hincrby(keys.counts(), "token_calls", 1))

    def keep_state(self, state: str, value: bytes) -> None:
        """Keeps a consent under way for ten minutes."""
        self._safely(lambda: self._redis.set(keys.consent_state(state), value, ex=600))

    def take_state(self, state: str) -> bytes | None:
        """The consent under way, once; None where it is unknown, used or late."""
        found = self._safely(lambda: self._redis.getdel(keys.consent_state(state)))
        return None if found is None else text(found).encode()

    def remove(self, connection: str) -> None:
        """Forgets the row, its lock and its budget; the history stays."""
        self._safely(
            lambda: self._redis.delete(
                keys.token(connection), keys.token_lock(connection), keys.token_refreshes(connection)
            )
        )

    def count_consent(self, client: str, customer: str, digest: str) -> int:
        """Notes a refresh token of a client; how many of it are alive, as far as we know."""
        key = keys.consents(client, customer)
        pipe = self._redis.pipeline()
        pipe.zadd(key, {digest: time.time_ns() // 1_000_000})
        pipe.zcard(key)
        return int(self._safely(pipe.execute)[1])

    def consents(self, client: str, customer: str) -> int:
        """How many refresh tokens of a client are alive, as far as we know."""
        return int(self._safely(lambda: self._redis.zcard(keys.consents(client, customer))))

    def forget_consent(self, client: str, customer: str, digest: str) -> None:
        """Notes that a refresh token is revoked."""
        self._safely(lambda: self._redis.zrem(keys.consents(client, customer), digest))

    def status(self, connection: str) -> Status:
        """Everything about a connection that a person may see."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.hgetall(keys.token(connection))
        pipe.zcount(keys.token_refreshes(connection), time.time_ns() // 1_000_000 - WINDOW, "+inf")
        pipe.lrange(keys.token_history(connection), 0, -1)
        fields, calls, log = self._safely(pipe.execute)
        row = from_fields(connection, {text(k): text(v) for k, v in fields.items()}, 0, 0.0)
        return Status(
            connection=connection,
            state=row.state,
            why=row.why,
            generation=row.generation,
            expires_at=row.expires,
            cooldown_until=row.cooldown,
            scopes=row.scopes,
            dc=row.dc,
            api_domain=row.api_domain,
            last_outcome=row.outcome,
            last_outcome_at=row.outcome_at,
            grant=row.grant,
            calls=int(calls),
            history=tuple(entry for line in log if isinstance(entry := _loads(line), dict)),
        )

    def _safely(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except RedisError as error:
            raise LedgerUnavailable(f"Redis does not answer: {error}") from error


def _loads(line: bytes | str) -> object:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None

"""Who may look in: passwords, sessions, and the limit on failed sign-ins. The only part that writes to Redis for itself.

A session is a random token in a cookie and its role in Redis, under the token's hash: a dump of Redis opens no session. It is
bound to the password that made it, so that changing the password ends it.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import orjson

from receiver import keys
from receiver.event import now_ms

if TYPE_CHECKING:
    from redis import Redis

    from receiver.settings import Settings

Role = Literal["viewer", "operator"]

LIFE = 12 * 3600
FAILURES_BY_ADDRESS, FAILURES = 10, 100
"""Wrong passwords in a minute, of one address and of all."""


@dataclass(frozen=True, slots=True)
class Session:
    """One signed-in browser."""

    token: str
    role: Role
    csrf: str

    @property
    def operator(self) -> bool:
        """Whether it may change anything."""
        return self.role == "operator"


def cookie(settings: Settings) -> str:
    """The name of the session cookie; `__Host-` makes browsers hold it to this host and to https."""
    return "__Host-zohook" if settings.public_url.startswith("https://") else "zohook"


def passwords(settings: Settings) -> dict[Role, str]:
    """The passwords that open the dashboard, by role; empty where it is closed."""
    both: dict[Role, str] = {"operator": settings.web.password, "viewer": settings.web.viewer_password}
    return {role: password for role, password in both.items() if password}


def role_of(settings: Settings, given: str) -> Role | None:
    """The role that a password opens. Every password is compared, in the same time wherever they differ."""
    found: Role | None = None
    for role, password in passwords(settings).items():
        if hmac.compare_digest(_digest(given), _digest(password)) and found is None:
            found = role
    return found


def sign_in(
    redis: Redis, settings: Settings, given: str, address: str
) -> Session | Literal["wrong", "later"]:
    """A new session, or why not. A failure is counted before it is known to be one, so that no burst gets past the limit."""
    counters = _counters(address)
    pipe = redis.pipeline()
    for counter in counters:
        pipe.incr(counter)
        pipe.expire(counter, 120)
    of_address, of_all = pipe.execute()[::2]
    if of_address > FAILURES_BY_ADDRESS or of_all > FAILURES:
        return "later"
    role = role_of(settings, given)
    if role is None:
        return "wrong"
    session = Session(secrets.token_urlsafe(32), role, secrets.token_urlsafe(32))
    kept = {"role": role, "csrf": session.csrf, "seal": _seal(settings, session.token, role)}
    for counter in counters:
        pipe.decr(counter)
    pipe.set(_key(session.token), orjson.dumps(kept), ex=LIFE)
    pipe.execute()
    return session


def load(redis: Redis, settings: Settings, token: str) -> Session | None:
    """The session of a cookie, or None where there is none, it is over, or its password is no longer the same."""
    if not 20 <= len(token) <= 100:
        return None
    found = cast("bytes | None", redis.get(_key(token)))
    if found is None:
        return None
    try:
        kept = orjson.loads(found)
        role, csrf, seal = kept["role"], kept["csrf"], kept["seal"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    if role not in passwords(settings) or not hmac.compare_digest(seal, _seal(settings, token, role)):
        return None
    return Session(token, role, csrf)


def sign_out(redis: Redis, session: Session) -> None:
    """End a session."""
    redis.delete(_key(session.token))


def is_csrf(session: Session, given: str) -> bool:
    """Whether a form came from one of our own pages."""
    return hmac.compare_digest(_digest(session.csrf), _digest(given))


def bearer_role(redis: Redis, settings: Settings, header: str, address: str) -> Role | None:
    """The role that an Authorization header opens with a password as its bearer token; failures are limited as at the sign-in."""
    scheme, _, given = header.partition(" ")
    if scheme.lower() != "bearer":
        return None
    counters = _counters(address)
    if any(int(count or 0) >= limit for count, limit in zip(_read(redis, counters), _LIMITS, strict=True)):
        return None
    if role := role_of(settings, given.strip()):
        return role
    pipe = redis.pipeline()
    for counter in counters:
        pipe.incr(counter)
        pipe.expire(counter, 120)
    pipe.execute()
    return None


def is_loopback(address: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


_LIMITS = (FAILURES_BY_ADDRESS, FAILURES)


def _read(redis: Redis, counters: tuple[str, str]) -> list[bytes | None]:
    return cast("list[bytes | None]", redis.mget(counters))


def _counters(address: str) -> tuple[str, str]:
    minute = now_ms() // 60_000
    return keys.sign_ins_failed(minute, _block(address)), keys.sign_ins_failed(minute, "")


def _block(address: str) -> str:
    """An address as it is counted: an IPv6 customer has a whole /64 to come from."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    return (
        str(found)
        if found.version == 4
        else str(ipaddress.ip_network((found, 64), strict=False).network_address)
    )


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _key(token: str) -> str:
    return keys.session(hashlib.sha256(token.encode()).hexdigest())


def _seal(settings: Settings, token: str, role: Role) -> str:
    return hmac.new(token.encode(), _digest(passwords(settings)[role]), hashlib.sha256).hexdigest()

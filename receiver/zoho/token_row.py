"""The token row: what Redis knows of one connection's consent and its access token, read back into values."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

State = Literal["ok", "revoked", "misconfigured", "not_connected"]

EARLY = 600.0
"""Seconds before its end at which a token is renewed, for tokens that live an hour."""


@dataclass(frozen=True, slots=True)
class Token:
    """An access token. `generation` names it when it is refused; `expires_at` is milliseconds since 1970, by
    Redis's clock.
    """

    value: str = field(repr=False)
    generation: int
    expires_at: int
    dc: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One connection's row as it was read, with sealed tokens. Times are milliseconds by Redis's clock."""

    connection: str
    state: State = "not_connected"
    generation: int = 0
    access: str = field(default="", repr=False)
    refresh: str = field(default="", repr=False)
    expires: int = 0
    life: int = 3600
    stale: bool = False
    cooldown: int = 0
    pause: int = 0
    dc: str = ""
    api_domain: str = ""
    scopes: tuple[str, ...] = ()
    client: str = ""
    grant: str = ""
    """`handed` where somebody handed in an access token that nobody can renew."""
    outcome: str = ""
    outcome_at: int = 0
    why: str = ""
    now: int = 0
    read_at: float = 0.0
    """This process's monotonic clock at the reading: what is left is counted from it, whatever the wall clock
    does.
    """

    def left(self) -> float:
        """Seconds that the access token still lives; nought or less where there is none."""
        if not self.access or self.state in {"revoked", "not_connected"}:
            return 0.0
        return (self.expires - self.now) / 1000 - (time.monotonic() - self.read_at)

    def margin(self, jitter: float) -> float:
        """Seconds before its end at which the token counts as stale: ten minutes, less for short lives."""
        return float("inf") if self.stale else min(EARLY, self.life / 6) * jitter


@dataclass(frozen=True, slots=True)
class Status:
    """A connection for people to look at; no token in it. Times are milliseconds since 1970, nought where
    never.
    """

    connection: str
    state: State
    why: str
    generation: int
    expires_at: int
    cooldown_until: int
    scopes: tuple[str, ...]
    dc: str
    api_domain: str
    last_outcome: str
    last_outcome_at: int
    grant: str
    calls: int
    """Token calls in the last ten minutes, of a budget of eight."""
    history: tuple[dict[str, Any], ...]


def text(value: object) -> str:
    """A string, whether the Redis client decodes or not; bytes that are no text become nothing."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return "" if value is None else str(value)


def number(value: object) -> int:
    """A whole number, or nought where the field is damaged."""
    try:
        found = int(text(value)[:30] or 0)
    except ValueError:
        return 0
    return found if 0 <= found <= 2**53 else 0


def row_of(connection: str, flat: Sequence[object], now: int, read_at: float) -> Row:
    """The row of a flat HGETALL answer; an empty one is a connection that nobody consented for."""
    return from_fields(
        connection, dict(zip(map(text, flat[::2]), map(text, flat[1::2]), strict=False)), now, read_at
    )


def from_fields(connection: str, fields: Mapping[str, str], now: int, read_at: float) -> Row:
    """The row of a hash's fields; whatever is missing or damaged reads as absent."""
    state = fields.get("state", "")
    return Row(
        connection=connection,
        state=state if state in {"ok", "revoked", "misconfigured"} else "not_connected",  # type: ignore[arg-type]
        generation=number(fields.get("generation")),
        access=fields.get("access", ""),
        refresh=fields.get("refresh", ""),
        expires=number(fields.get("expires")),
        life=max(1, number(fields.get("life")) or 3600),
        stale=fields.get("stale") == "1",
        cooldown=number(fields.get("cooldown")),
        pause=number(fields.get("pause")),
        dc=fields.get("dc", ""),
        api_domain=fields.get("api_domain", ""),
        scopes=tuple(fields.get("scopes", "").split()),
        client=fields.get("client", ""),
        grant=fields.get("grant", ""),
        outcome=fields.get("outcome", ""),
        outcome_at=number(fields.get("outcome_at")),
        why=fields.get("why", ""),
        now=now,
        read_at=read_at,
    )

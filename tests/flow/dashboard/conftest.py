"""The dashboard over a real Redis, and visitors to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest
from dashboard_kit import TOML, Seed, Visitor

if TYPE_CHECKING:
    from redis import Redis

    from receiver.settings import Settings
    from tests.conftest import MakeSettings


class MakeVisitor(Protocol):
    """What the fixture `visitor` is."""

    def __call__(self, **given: Any) -> Visitor:
        """A visitor who has not signed in."""


@pytest.fixture
def seed(redis: Redis) -> Seed:
    """Writes into the ledger."""
    return Seed(redis)


@pytest.fixture
def known(settings: MakeSettings) -> Settings:
    """Settings with two passwords, a connection and two sources."""
    return settings(TOML, secrets={"acme": "a-client-secret", "books": "books-secret-0001"})


@pytest.fixture
def visitor(known: Settings, redis: Redis) -> MakeVisitor:
    """Makes visitors, each with cookies of its own."""

    def make(**given: Any) -> Visitor:
        return Visitor(given.pop("settings", known), redis, **given)

    return make


@pytest.fixture
def operator(visitor: MakeVisitor) -> Visitor:
    """A visitor signed in as operator."""
    return visitor().sign_in()

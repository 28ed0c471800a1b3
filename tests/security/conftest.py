"""What the threats are tried against: the door, the dashboard and the connections of the other rooms' tests, and real processes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.append(str(Path(__file__).parents[1] / "flow" / "dashboard"))
sys.path.append(str(Path(__file__).parents[1] / "flow" / "zoho"))

from dashboard_kit import TOML as DASHBOARD
from dashboard_kit import Seed, Visitor

from tests.flow.zoho.conftest import build, leaving, odd, simulator, wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from tests.conftest import MakeSettings

__all__ = ["build", "leaving", "odd", "simulator", "wire"]


@pytest.fixture
def visitor(settings: MakeSettings, redis: Redis) -> Callable[..., Visitor]:
    """Makes visitors of one dashboard, each with cookies of its own."""
    known = settings(DASHBOARD, secrets={"acme": "a-client-secret", "books": "books-secret-0001"})
    return lambda **given: Visitor(known, redis, **given)


@pytest.fixture
def seed(redis: Redis) -> Seed:
    """Writes into the ledger."""
    return Seed(redis)

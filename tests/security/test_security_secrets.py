"""Threats to secrets: in logs, in Redis, on pages, in tracebacks, and when keys change (S16)."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet

from receiver import logs
from receiver.errors import ConnectionUnusable
from receiver.routing import policy
from receiver.routing.options import Options

NEWER = Fernet.generate_key().decode()


@pytest.mark.parametrize(
    "error",
    [
        ValueError("called with a-canary-at-run-time"),
        ConnectionUnusable("a-canary-at-run-time is gone"),
    ],
)
def test_s16_the_reason_of_a_failure_holds_no_secret(error: Exception) -> None:
    """What a handler raises is kept without the secrets that this process knows."""
    logs.hide("a-canary-at-run-time")
    for tries in (0, 99):
        decision = policy.decide(error, tries=tries, options=Options(retries=5), now=1, made=1, chance=0.5)
        assert "canary" not in decision.reason
    assert "canary" not in str(policy.shown(error))

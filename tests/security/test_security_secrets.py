"""Threats to secrets: in logs, in Redis, on pages, in tracebacks, and when keys change (S14 to S16, S19)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.fernet import Fernet

from receiver import keys, logs
from receiver.errors import ConnectionUnusable, SettingsError
from receiver.routing import policy
from receiver.routing.options import Options
from receiver.zoho import sealed
from receiver.zoho.clients import Clients
from receiver.zoho.vault import Vault

if TYPE_CHECKING:
    from redis import Redis

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


def test_s19_a_new_key_takes_over_while_tokens_are_in_use(build: Any, simulator: Any, redis: Redis) -> None:
    """With `new,old` what is stored is sealed anew while 4 threads read it without one failure; then the old key may go.

    A blob put into another one's place is refused, and without a key that fits the error says what to do.
    """
    house = build(simulator)
    house.connect()
    first = house.tokens.get("acme").value

    def process(key: str) -> Clients:
        settings = house.settings.model_copy(update={"key": key})
        return Clients(redis, settings, Vault(key), house.wire)

    old = house.settings.key
    both, failed, over = process(f"{NEWER},{old}"), [], threading.Event()

    def read() -> None:
        while not over.is_set():
            try:
                assert process(f"{NEWER},{old}").tokens.get("acme").value == first
            except Exception as error:  # noqa: BLE001 - any failure counts
                failed.append(error)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for each in readers:
        each.start()
    before = redis.hgetall(keys.token("acme"))
    assert sealed.reseal(redis, both.tokens.vault) == 2
    over.set()
    for each in readers:
        each.join()
    assert failed == []
    after = redis.hgetall(keys.token("acme"))
    assert {name for name in after if after[name] != before[name]} == {b"access", b"refresh"}
    assert process(NEWER).tokens.get("acme").value == first
    with pytest.raises(SettingsError, match="put back the key that sealed it"):
        process(old).tokens.get("acme")
    redis.hset(keys.token("acme"), "access", after[b"refresh"])
    redis.hset(keys.token("acme"), "generation", 9)
    with pytest.raises(SettingsError, match="sealed for something else"):
        process(NEWER).tokens.get("acme")

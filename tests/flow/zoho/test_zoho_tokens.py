"""Tokens over the real Redis and a strict Zoho: how often it is asked, and what each refusal does."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisGone

from receiver import keys
from receiver.errors import (
    ConnectionMisconfigured,
    ConnectionRevoked,
    LedgerUnavailable,
    NotConnected,
    SettingsError,
    TokenThrottled,
    Unavailable,
    ZohookError,
)
from receiver.zoho.tokens import Tokens
from receiver.zoho.vault import Vault


def row(house, field):
    return (house.redis.hget(keys.token("acme"), field) or b"").decode()


def age(house, left):
    """Makes the token one that ends in `left` seconds, as far as Redis knows."""
    house.redis.hset(keys.token("acme"), "expires", int((time.time() + left) * 1000))
    house.tokens._slot("acme").checked = float("-inf")


def wait_until(true, seconds=20.0):
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_forty_cold_threads_make_one_refresh(house):
    """Forty threads that start with no token share the one that one of them asks for."""
    barrier = threading.Barrier(40)

    def run(_):
        barrier.wait()
        return house.tokens.get("acme")

    with ThreadPoolExecutor(40) as pool:
        got = list(pool.map(run, range(40)))
    assert len({token.value for token in got}) == 1
    assert house.refreshes() == 1
    assert int(house.redis.hget(keys.counts(), "token_refreshes")) == 1
    assert int(house.redis.hget(keys.counts(), "token_calls")) == 1


def test_a_fresh_token_costs_one_reading_a_second(house):
    """A thousand uses within a second read Redis once."""
    house.tokens.get("acme")
    before = house.redis.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0)
    for _ in range(1000):
        house.tokens.get("acme")
    assert house.redis.info("commandstats")["cmdstat_evalsha"]["calls"] - before <= 2


def test_a_stale_token_is_used_while_one_renews_it(house):
    """With five minutes left everybody goes on at once, and one call is made behind them."""
    first = house.tokens.get("acme")
    age(house, 300)
    house.simulator.limits.token_delay = 1.5
    began = time.monotonic()
    with ThreadPoolExecutor(20) as pool:
        got = {token.value for token in pool.map(lambda _: house.tokens.get("acme"), range(60))}
    assert got == {first.value}
    assert time.monotonic() - began < 1.2
    wait_until(lambda: house.tokens.get("acme").generation == first.generation + 1)
    assert house.refreshes() == 2


def test_mark_stale_renews_at_the_next_use(house):
    """A token marked stale is used once more and renewed behind it; the mark goes with it."""
    first = house.tokens.get("acme")
    assert house.tokens.mark_stale("acme")
    assert house.tokens.get("acme").value == first.value
    wait_until(lambda: house.tokens.get("acme").generation == first.generation + 1)
    assert row(house, "stale") == ""
    assert not house.tokens.mark_stale("nobody")


def test_a_short_life_is_not_always_stale(build, simulator):
    """A token that lives five seconds is not renewed at each use."""
    simulator.limits.access_life = 5
    house = build(simulator)
    house.connect()
    for _ in range(20):
        house.tokens.get("acme")
    assert house.refreshes() == 1


def test_a_refused_generation_is_renewed_once(house):
    """Forty threads that all saw a 401 with one generation make one refresh; an older generation makes none."""
    old = house.tokens.get("acme")
    barrier = threading.Barrier(40)

    def run(_):
        barrier.wait()
        assert house.tokens.invalidate("acme", old.generation, "crm:INVALID_TOKEN")
        return house.tokens.get("acme").generation

    with ThreadPoolExecutor(40) as pool:
        assert set(pool.map(run, range(40))) == {old.generation + 1}
    assert house.refreshes() == 2
    assert house.tokens.invalidate("acme", old.generation, "crm:INVALID_TOKEN")
    assert house.tokens.get("acme").generation == old.generation + 1
    assert house.refreshes() == 2


def test_another_process_sees_the_invalidation(house, build, simulator):
    """What one process learnt of a dead token the next one knows within a second, without asking Zoho twice."""
    other = build(simulator)
    token = other.tokens.get("acme")
    house.tokens.invalidate("acme", token.generation)
    renewed = house.tokens.get("acme")
    wait_until(lambda: other.tokens.get("acme").generation == renewed.generation, 5)
    assert house.refreshes() == 2


def test_eight_calls_in_ten_minutes_are_the_most(house):
    """A storm of refusals stops at eight token calls, and says when the next one may be made."""
    for _ in range(8):
        house.tokens.invalidate("acme", house.tokens.get("acme").generation)
    with pytest.raises(TokenThrottled) as told:
        house.tokens.get("acme")
    assert house.refreshes() == 8
    assert 590 < told.value.retry_after <= 600
    assert house.tokens.status("acme").calls == 8


def test_a_spent_budget_leaves_living_tokens_in_use(house):
    """With the budget gone a stale token is still handed out."""
    for _ in range(7):
        house.tokens.invalidate("acme", house.tokens.get("acme").generation)
    token = house.tokens.get("acme")
    age(house, 100)
    assert house.tokens.get("acme").value == token.value
    time.sleep(0.1)
    assert house.tokens.get("acme").generation == token.generation
    assert house.refreshes() == 8


@pytest.mark.parametrize("status", [200, 400])
def test_a_throttle_cools_down_and_leaves_the_connection_healthy(house, status):
    """Zoho's "Access Denied" with either status: no second call for ten minutes, state ok, hold with retry_after."""
    body = {"error": "Access Denied", "error_description": "You have made too many requests continuously."}
    house.simulator.faults.add("body", product="oauth", status=status, body=body)
    with pytest.raises(TokenThrottled) as told:
        house.tokens.get("acme")
    assert 600 <= told.value.retry_after <= 660
    with pytest.raises(TokenThrottled):
        house.tokens.get("acme")
    assert house.refreshes() == 1
    assert house.tokens.status("acme").state == "ok"
    house.redis.hset(keys.token("acme"), "cooldown", 0)
    assert house.tokens.get("acme")


def test_a_throttle_behind_a_living_token_disturbs_nobody(house):
    """A stale token is used all through a cool-down, and Zoho is asked once."""
    first = house.tokens.get("acme")
    age(house, 300)
    house.simulator.faults.add(
        "body", product="oauth", body={"error": "Access Denied", "error_description": "too many requests"}
    )
    house.tokens.get("acme")
    wait_until(lambda: house.tokens.status("acme").cooldown_until)
    house.tokens._slot("acme").behind = float("-inf")
    assert house.tokens.get("acme").value == first.value
    time.sleep(0.1)
    assert house.refreshes() == 2


def test_a_dead_consent_is_confirmed_once(house):
    """invalid_code is asked again after a pause before the connection is marked revoked; then Zoho is left alone."""
    house.simulator.accounts.revoke(house.simulator.refresh_token)
    with pytest.raises(ConnectionRevoked, match="connect it again"):
        house.tokens.get("acme")
    with pytest.raises(ConnectionRevoked):
        house.tokens.get("acme")
    assert house.refreshes() == 2
    assert house.tokens.status("acme").state == "revoked"
    assert [line["outcome"] for line in house.tokens.status("acme").history][:1] == ["revoked"]


def test_one_false_invalid_code_revokes_nothing(house):
    """A single invalid_code that is gone at the second look leaves a working connection."""
    house.simulator.faults.add("body", product="oauth", body={"error": "invalid_code"})
    assert house.tokens.get("acme").generation == 2
    assert house.tokens.status("acme").state == "ok"
    assert house.refreshes() == 2


def test_a_wrong_secret_is_a_configuration_fault_until_it_changes(house, build, simulator):
    """invalid_client_secret holds the connection without further calls; the right secret ends that at once."""
    right = simulator.client.secret
    simulator.client.secret = "another-secret-at-zoho"
    with pytest.raises(ConnectionMisconfigured, match="ZOHOOK_SECRET_ACME"):
        house.tokens.get("acme")
    with pytest.raises(ConnectionMisconfigured):
        house.tokens.get("acme")
    assert house.refreshes() == 1
    mended = build(simulator)
    mended.connect()
    assert mended.tokens.get("acme")
    simulator.client.secret = right


def test_a_new_secret_is_taken_without_a_new_consent(settings, redis, redis_server, simulator, wire, house):
    """After a refusal of the secret, a process that has another one tries it at once."""
    simulator.client.secret = "another-secret-at-zoho"
    with pytest.raises(ConnectionMisconfigured):
        house.tokens.get("acme")
    toml = (house.settings.folder / "zohook.toml").read_text()
    known = settings(toml, secrets={"acme": "another-secret-at-zoho"})
    assert Tokens(redis, known, house.vault, wire).get("acme")


def test_the_second_secret_is_tried_while_they_rotate(settings, redis, wire, house):
    """With `new,old` set, and Zoho still on the old one, the old one is tried within the same refresh."""
    toml = (house.settings.folder / "zohook.toml").read_text()
    known = settings(toml, secrets={"acme": f"not-yet-at-zoho,{house.simulator.client_secret}"})
    assert Tokens(redis, known, house.vault, wire).get("acme")
    assert house.refreshes() == 2


@pytest.mark.parametrize(
    "fault",
    [
        ("status", {"status": 503}),
        ("html", {"status": 200}),
        ("html", {"status": 502}),
        ("cut", {}),
        ("body", {"body": {"error": "general_error"}}),
    ],
    ids=lambda fault: f"{fault[0]}-{fault[1].get('status', '')}",
)
def test_a_passing_fault_is_waited_out(house, fault):
    """One bad answer of the accounts host costs a second and a second call, and stores nothing about the consent."""
    house.simulator.faults.add(fault[0], product="oauth", **fault[1])
    assert house.tokens.get("acme").generation == 2
    assert house.refreshes() == 2
    assert house.tokens.status("acme").state == "ok"


def test_an_outage_of_the_accounts_host_is_shared(build, simulator):
    """While the accounts host is down, waiting processes do not each ask it: a pause that grows is kept in the row."""
    house = build(simulator, pause=1.0)
    house.connect()
    house.simulator.faults.add("status", product="oauth", status=503, times=100)
    with pytest.raises(Unavailable) as told:
        house.tokens.get("acme")
    assert told.value.retry_after > 1
    calls = house.refreshes()
    assert calls <= 3
    for _ in range(5):
        with pytest.raises(Unavailable):
            house.tokens.get("acme")
    assert house.refreshes() == calls


def test_nobody_consented(build, simulator):
    """A connection without a consent, and a name that is no connection, say so; nothing is sent."""
    house = build(simulator)
    with pytest.raises(NotConnected, match="connect it first"):
        house.tokens.get("acme")
    with pytest.raises(NotConnected, match="no connection 'globex'"):
        house.tokens.get("globex")
    assert house.refreshes() == 0
    assert [status.state for status in house.tokens.connections()] == ["not_connected"]


def test_a_consent_of_another_house_is_never_used(house):
    """A row of a real data centre under a simulated connection is not sent to the simulator."""
    house.redis.hset(keys.token("acme"), "dc", "eu")
    with pytest.raises(NotConnected, match="connect it again"):
        house.tokens.get("acme")
    assert house.refreshes() == 0


def test_no_token_is_readable_in_redis(house):
    """A dump of Redis holds neither the access token, nor the refresh token, nor the client secret."""
    token = house.tokens.get("acme")
    dump = b"".join(house.redis.dump(key) for key in house.redis.scan_iter())
    for secret in (token.value, house.simulator.refresh_token, house.simulator.client_secret):
        assert secret.encode() not in dump
        assert secret not in repr(token)
        assert secret not in repr(house.tokens.status("acme"))


def test_another_key_is_said_plainly(house, redis, wire):
    """With another ZOHOOK_KEY the error names the cure, gives the lock back, and asks Zoho nothing."""
    stranger = Vault.open_or_make(house.settings.model_copy(update={"key": ""}))
    for _ in range(2):
        with pytest.raises(SettingsError, match="put back the key"):
            Tokens(redis, house.settings, stranger, wire).get("acme")
        assert not redis.exists(keys.token_lock("acme"))
        redis.hset(keys.token("acme"), "pause", 0)
    assert house.refreshes() == 0


def test_a_damaged_row_is_one_of_our_errors(house):
    """Random bytes in any field of the row end in a token or in an error of the tree, and a new consent mends it."""
    fields = ("generation", "expires", "life", "cooldown", "pause", "state", "access", "refresh", "dc")
    for field, value in product(fields, (b"", b"\xff\xfe", b"-1", b"9" * 23, b"1e400", b"nan", b"x")):
        house.redis.delete(keys.token_refreshes("acme"))
        house.tokens._slot("acme").checked = float("-inf")
        house.redis.hset(keys.token("acme"), field, value)
        with contextlib.suppress(ZohookError):
            assert house.tokens.get("acme").value
        house.connect()
        house.tokens._slot("acme").checked = float("-inf")
        house.simulator.accounts.grants[house.simulator.refresh_token].minted.clear()
        house.redis.delete(keys.token_refreshes("acme"))
        assert house.tokens.get("acme").value, field
        house.simulator.accounts.grants[house.simulator.refresh_token].minted.clear()


def test_a_living_token_outlasts_redis(house, monkeypatch):
    """While Redis is away a token that still lives goes on being used; without one the ledger is unavailable."""
    token = house.tokens.get("acme")

    def gone(*_args, **_options):
        raise RedisGone("away")

    monkeypatch.setattr(Redis, "execute_command", gone)
    house.tokens._slot("acme").checked = float("-inf")
    assert house.tokens.get("acme").value == token.value
    with pytest.raises(LedgerUnavailable):
        Tokens(house.redis, house.settings, house.vault, house.wire).get("acme")


def test_every_refresh_is_in_the_history(house):
    """The history says when, which process, what came of it and how long it took, newest first."""
    house.tokens.get("acme")
    house.simulator.faults.add("status", product="oauth", status=503)
    house.tokens.invalidate("acme", 2)
    house.tokens.get("acme")
    lines = house.tokens.status("acme").history
    assert [line.get("outcome") for line in lines[:3]] == ["ok", "transient", "ok"]
    assert set(lines[0]) == {"at", "process", "grant", "outcome", "code", "ms", "generation"}
    assert lines[0]["process"].endswith(f":{os.getpid()}")


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_an_hour_off_costs_no_token_call(house, monkeypatch, hours):
    """What is left of a token is counted by Redis's clock and our monotonic one: the wall clock of this machine has no say."""
    first = house.tokens.get("acme")
    real, real_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: real() + hours * 3600)
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + hours * 3600 * 10**9)
    house.tokens._slot("acme").checked = float("-inf")
    assert house.tokens.get("acme") == first
    assert house.refreshes() == 1

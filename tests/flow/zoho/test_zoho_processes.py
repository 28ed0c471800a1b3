"""Many processes and one token: a cold start together, and a holder that dies."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from receiver import keys

CHILD = Path(__file__).with_name("zoho_child.py")
ROOT = Path(__file__).parents[3]


def wait_until(true, seconds=20.0):
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


def children(house, count, lease=30.0):
    environment = {
        **os.environ,
        "ZOHOOK_KEY": house.settings.key,
        "ZOHOOK_SECRET_ACME": house.simulator.client_secret,
        "PYTHONPATH": str(ROOT),
    }
    made = subprocess.Popen(
        [sys.executable, str(CHILD), str(house.settings.folder), str(lease), str(count)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: int(house.redis.get("ready") or 0) == count, 60)
    return made


def test_sixteen_cold_processes_make_one_refresh(house):
    """Sixteen processes that start at one moment spend one token call between them, and one more when the token ends under load."""
    house.simulator.limits.token_delay = 0.2
    house.redis.set("stay", 1)
    started = children(house, 16)
    house.redis.set("go", 1)
    wait_until(lambda: int(house.redis.get("staying") or 0) == 16, 60)
    assert house.refreshes() == 1
    house.redis.hset(keys.token("acme"), "expires", 1)
    told, errors = started.communicate(timeout=60)
    assert (started.returncode, told.splitlines()) == (0, ["2 3"] * 16), errors
    assert house.refreshes() == 2


def test_a_holder_killed_in_mid_call_costs_one_more_call(build, simulator):
    """The lease of a process that was SIGKILLed while it asked ends, another one asks, and everybody is served."""
    house = build(simulator, lease=1.5)
    house.connect()
    simulator.limits.token_delay = 0.6
    victim = children(house, 1, lease=1.5)
    house.redis.set("go", 1)
    wait_until(lambda: house.redis.exists(keys.token_lock("acme")))
    victim.kill()
    victim.communicate()
    with ThreadPoolExecutor(8) as pool:
        got = set(pool.map(lambda _: house.tokens.get("acme").generation, range(8)))
    assert got == {2}
    assert house.refreshes() <= 2
    assert int(house.redis.hget(keys.counts(), "token_calls")) == 2

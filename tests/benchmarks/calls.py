"""What a call through `zoho` costs over the bare httpx call, against the same simulator; and what importing it costs.

Zoho's own Python SDK reads the same record beside it, where pip can install it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import rig

from receiver.settings import Settings
from receiver.zoho.clients import Clients
from receiver.zoho.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from receiver.zoho import Zoho

BARS = {"call_vs_httpx": 1.5, "import_ms": 150}
SDK = "zohocrmsdk8-0"
THREADS = 8
TOML = """
[connections.acme]
dc = "simulator"
client = "server"
client_id = "{client_id}"
[simulator]
url = "{api}"
"""
IMPORTS = {
    "import_ms": "import receiver.zoho",
    "import_all_that_a_call_needs_ms": "import receiver.zoho.clients, receiver.zoho.crm, receiver.zoho.shelf, receiver.zoho.crm_ensure",
}
TIMED = "import resource, time; began = time.perf_counter(); {}; print((time.perf_counter() - began) * 1000, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"


@contextmanager
def simulator(where: rig.Ground) -> Iterator[dict[str, Any]]:
    """A simulator on the core of load and Redis; how to reach it."""
    with rig.on(where.load):
        process = subprocess.Popen(
            [sys.executable, "-m", "receiver.simulator"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


def connected(where: rig.Ground, said: dict[str, Any]) -> Zoho:
    """Zoho as a job has it, with the simulator's own grant."""
    (where.folder / "zohook.toml").write_text(TOML.format(**said))
    os.environ["ZOHOOK_SECRET_ACME"] = said["client_secret"]
    settings = Settings.load(where.folder, redis={"url": where.url})
    vault = Vault.open_or_make(settings)
    clients = Clients(where.redis, settings, vault)
    fields = {
        "access": vault.seal("acme access", "1000.none"),
        "refresh": vault.seal("acme refresh", said["refresh_token"]),
        "life": "3600", "dc": "simulator",
    }  # fmt: skip
    clients.tokens.rows.install("acme", {"outcome": "installed"}, 0, 0, fields)
    return clients.for_job("acme", job="benchmark:benchmark")


def by_turns(calls: dict[str, Callable[[], Any]], count: int) -> dict[str, float]:
    """Milliseconds of one call of each, the median; ten of one after ten of the other, so that what else the machine does slows both."""
    took: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(count // 10 + 1):
        for name, call in calls.items():
            for _ in range(10):
                began = time.perf_counter()
                call()
                if number:  # the first ten pay for connections
                    took[name].append((time.perf_counter() - began) * 1000)
    return {name: statistics.median(values) for name, values in took.items()}


def by_many(calls: dict[str, Callable[[], Any]], count: int) -> dict[str, float]:
    """Milliseconds of several threads together over the number of their calls, for each, by turns of a hundred."""
    took = dict.fromkeys(calls, 0.0)
    with ThreadPoolExecutor(THREADS) as pool:
        for number in range(count // 100 + 1):
            for name, call in calls.items():
                began = time.perf_counter()
                for done in [pool.submit(call) for _ in range(100)]:
                    done.result()
                took[name] += (time.perf_counter() - began) * 1000 if number else 0.0
    return {name: value / (count // 100 * 100) for name, value in took.items()}


def official(
    where: rig.Ground, said: dict[str, Any], record: str, count: int, python: str
) -> dict[str, float]:
    """The same with Zoho's SDK, in an environment of its own."""
    env = {**os.environ, "SIMULATOR": json.dumps(said), "PYTHONPATH": str(rig.HERE.parent / "outside")}
    command = [python, str(rig.PEERS / "with_zoho_sdk.py"), record, str(count)]
    with rig.on(where.server):
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{SDK}:\n{done.stderr[-1500:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def imports(count: int) -> dict[str, float]:
    """Milliseconds of each import in a new interpreter, the median, and the memory after the last."""
    found: dict[str, float] = {}
    for name, statement in IMPORTS.items():
        said = [
            subprocess.run(
                [sys.executable, "-c", TIMED.format(statement)], capture_output=True, text=True, check=True
            ).stdout.split()
            for _ in range(count)
        ]
        found[name] = round(statistics.median(float(each[0]) for each in said), 1)
        found["rss_mib"] = round(statistics.median(float(each[1]) for each in said), 1)
    return found


def install() -> tuple[str, str]:
    """(the interpreter that has the SDK, why there is none)."""
    try:
        return rig._environment(rig.CACHE / "peers-zoho-sdk", (SDK,)), ""
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        return "", f"no SDK: {error}"


def rounds(where: rig.Ground, given: Any, python: str) -> dict[str, list[float | None]]:
    """Every contender in every round, in milliseconds a call."""
    count = 100 if given.quick else 1_000
    found: dict[str, list[float | None]] = {
        "httpx": [],
        "ours": [],
        "httpx_threads": [],
        "ours_threads": [],
        "sdk": [],
    }
    with simulator(where) as said:
        zoho = connected(where, said)
        record = next(iter(zoho.crm.list("Leads", fields=["id"])))["id"]
        headers = {"Authorization": f"Zoho-oauthtoken {zoho.tokens.get('acme').value}"}
        url = f"{said['api']}/crm/v8/Leads/{record}"
        with httpx.Client(trust_env=False) as client, rig.on(where.server):

            def bare() -> Any:
                return client.get(url, headers=headers).raise_for_status().json()

            def ours() -> Any:
                zoho.calls.clear()
                return zoho.request("crm", "GET", f"/crm/v8/Leads/{record}")

            for number in range(given.runs):
                rig.say(f"round {number + 1} of {given.runs}")
                for name, value in by_turns({"httpx": bare, "ours": ours}, count).items():
                    found[name].append(value)
                for name, value in by_many({"httpx_threads": bare, "ours_threads": ours}, count).items():
                    found[name].append(value)
                if python:
                    told = official(where, said, record, count // 5, python)
                    found["sdk"].append(told["call_ms"])
                    found.setdefault("sdk_import", []).append(told["import_ms"])
                    found.setdefault("sdk_rss", []).append(told["rss_mib"])
                rig.say(
                    "  "
                    + ", ".join(f"{name} {values[-1]:.2f} ms" for name, values in found.items() if values)
                )
    return found


def main() -> None:
    """Measure and print."""
    given = rig.options(__doc__ or "")
    python, why = install()
    if why:
        rig.say(why)
    source = rig.source()
    with rig.ground() as where:
        found = rounds(where, given, python)
        result: dict[str, Any] = {
            "call_vs_httpx": rig.ratio(found["ours"], found["httpx"]),
            "call_vs_httpx_8_threads": rig.ratio(found["ours_threads"], found["httpx_threads"]),
            "call_ms": rig.median(found["ours"]),
            "httpx_call_ms": rig.median(found["httpx"]),
            "zoho_sdk": {
                "call_vs_httpx": rig.ratio(found["sdk"], found["httpx"]),
                "call_ms": rig.median(found["sdk"]),
                "import_ms": rig.median(found["sdk_import"]),
                "rss_mib": rig.median(found["sdk_rss"]),
            }
            if python
            else None,
            **imports(3 if given.quick else 9),
            "bars": BARS,
            "runs": {name: [value and round(value, 3) for value in values] for name, values in found.items()},
            "machine": rig.machine(where),
            "source": source,
            "source_changed": rig.source() != source,
            "versions": rig.versions("zohook", "httpx", "redis", "hiredis"),
        }
        if why:
            result["why_no_sdk"] = why
        rig.print_result(result)


if __name__ == "__main__":
    main()

"""How many signed deliveries a second our door makes durable on one core, beside a bare route and two common ways of doing it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import rig

from receiver.ledger import read

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

BARS = {"door_vs_bare": 0.45, "door_vs_fastapi_arq": 4, "door_vs_fastapi_celery": 8}
CONNECTIONS = 64
MOST = 10_000
"""Requests a second for which there are bodies enough: a contender that keeps them must meet each of them once."""
UVICORN = (
    "--loop", "uvloop", "--http", "httptools", "--ws", "none", "--no-access-log", "--log-level", "warning", "--backlog", "2048",
)  # fmt: skip
PATH = f"/in/books?event={rig.EVENT}"


@dataclass(frozen=True)
class Answered:
    """What the load met."""

    rps: float
    requests: int
    p50: float
    p99: float


@dataclass(frozen=True)
class Contender:
    """One door: its command, its environment, and how many deliveries it has kept (None: it keeps nothing)."""

    command: Callable[[int], Sequence[str]]
    env: Mapping[str, str]
    kept: Callable[[], int] | None


def contenders(where: rig.Ground, theirs: rig.Peers) -> dict[str, Contender]:
    """Who is measured."""

    def uvicorn(python: str, app: str) -> Callable[[int], Sequence[str]]:
        return lambda port: (python, "-m", "uvicorn", app, "--port", str(port), *UVICORN)

    def ours(port: int) -> Sequence[str]:
        return (sys.executable, "-m", "receiver.cli", "web", "--port", str(port))

    env = where.environment() | {"BENCH_DOOR": "1"}
    found = {
        "door": Contender(ours, where.project({}), lambda: read.totals(where.redis)["accepted"]),
        "bare": Contender(uvicorn(sys.executable, "bare:app"), env, None),
    }
    if theirs.why:
        return found
    celery = uvicorn(theirs.others, "fastapi_celery:app")
    length = lambda: int(where.redis.llen("celery"))  # noqa: E731
    return found | {
        "fastapi_arq": Contender(
            uvicorn(theirs.arq, "fastapi_arq:app"), env, lambda: int(where.redis.zcard("arq:queue"))
        ),
        "fastapi_celery_threads": Contender(celery, env, length),
        "fastapi_celery_inline": Contender(celery, env | {"BENCH_INLINE": "1"}, length),
    }


def write_deliveries(where: rig.Ground, name: str, start: int, count: int) -> str:
    """A file of signed bodies, no two alike."""
    path = where.folder / name
    with path.open("wb") as file:
        for number in range(start, start + count):
            text = rig.body(number)
            file.write(b"%b %b\n" % (rig.signature(text).encode(), text))
    return str(path)


def load(where: rig.Ground, port: int, file: str, seconds: int) -> Answered:
    """Send deliveries for so long over 64 connections."""
    url = f"http://127.0.0.1:{port}"
    if wrk := shutil.which("wrk"):
        command = [
            wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", "-s", str(rig.HERE / "load.lua"), url,
            "--", file, PATH,
        ]  # fmt: skip
    else:
        script = str(rig.HERE / "load.py")
        command = [sys.executable, script, file, url + PATH, str(CONNECTIONS), str(seconds)]
    with rig.on(where.load):
        said = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    found = json.loads(said.strip().splitlines()[-1])
    if found["not_2xx"] or found["broken"]:
        raise RuntimeError(f"not every delivery was answered 200: {found}\n{rig.tail(where)}")
    return Answered(found["requests"] / found["seconds"], found["requests"], found["p50"], found["p99"])


def measure(where: rig.Ground, door: Contender, files: tuple[str, str], seconds: int) -> Answered:
    """One run of one door: warm, then measured, then asked if it has all that it said 200 to."""
    port = rig.free_port()
    with rig.running(door.command(port), where, door.env, rig.PEERS) as process:
        rig.wait_for_port(port, process, where)
        load(where, port, files[0], 1)
        settled(door)  # what was under way when the load hung up must not be counted with the next
        where.clear()
        answered = load(where, port, files[1], seconds)
        if door.kept is not None:
            _check(settled(door), answered, seconds)
    return answered


def settled(door: Contender) -> int:
    """How many deliveries it has kept, once that has not changed for half a second."""
    had = -1
    while door.kept is not None and had != (had := door.kept()):
        time.sleep(0.5)
    return had


def _check(kept: int, answered: Answered, seconds: int) -> None:
    """Kept is what was answered, and at most one more for each connection that was cut off while it waited."""
    if answered.requests > seconds * MOST:
        raise RuntimeError(f"{answered.requests} requests: raise MOST, or they count as duplicates")
    if not answered.requests <= kept <= answered.requests + CONNECTIONS:
        raise RuntimeError(f"{answered.requests} were answered 200 and {kept} were kept")


def rounds(where: rig.Ground, theirs: rig.Peers, given: Any) -> dict[str, list[Answered | None]]:
    """Every contender in every round."""
    seconds = 2 if given.quick else 8
    rig.say("signing deliveries")
    files = (
        write_deliveries(where, "warm", 500_000_000, MOST),
        write_deliveries(where, "deliveries", 0, seconds * MOST),
    )
    doors = contenders(where, theirs)
    wanted = [name for name in given.only.split(",") if name] or list(doors)
    found: dict[str, list[Answered | None]] = {name: [] for name in doors}
    for number in range(given.runs):
        rig.say(f"round {number + 1} of {given.runs}")
        for name in [each for each in doors if each in wanted]:
            try:
                answered = measure(where, doors[name], files, seconds)
            except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                rig.say(f"  {name}: {error}")
                found[name].append(None)
                continue
            rig.say(f"  {name}: {answered.rps:,.0f}/s, p50 {answered.p50:.1f} ms, p99 {answered.p99:.1f} ms")
            found[name].append(answered)
    return found


def main() -> None:
    """Measure and print."""
    given = rig.options(__doc__ or "")
    theirs = rig.peers()
    if theirs.why:
        rig.say(theirs.why)
    source = rig.source()
    with rig.ground() as where:
        found = rounds(where, theirs, given)
        rates = {name: [each and each.rps for each in runs] for name, runs in found.items()}
        ways = [name for name in rates if name.startswith("fastapi_celery")]
        best = max(ways, key=lambda name: rig.median(rates[name]) or 0, default="")
        against = {"bare": "bare", "fastapi_arq": "fastapi_arq", "fastapi_celery": best}
        result: dict[str, Any] = {"door_rps": rig.median(rates["door"])}
        result |= {f"{name}_rps": rig.median(rates.get(key, [])) for name, key in against.items()}
        result |= {
            f"door_vs_{name}": rig.ratio(rates["door"], rates[key]) if rates.get(key) else None
            for name, key in against.items()
        }
        result["latency_ms"] = {
            name: {
                "p50": rig.median([each and each.p50 for each in runs]),
                "p99": rig.median([each and each.p99 for each in runs]),
            }
            for name, runs in found.items()
        }
        result["bars"] = BARS
        result["runs"] = {name: [value and round(value) for value in runs] for name, runs in rates.items()}
        result["load"] = "wrk" if shutil.which("wrk") else "load.py"
        result["machine"] = rig.machine(where)
        result["source"] = source
        result["source_changed"] = rig.source() != source
        ours = ("zohook", "starlette", "uvicorn", "uvloop", "httptools", "redis", "hiredis", "orjson")
        result["versions"] = rig.versions(*ours) | {"peers": theirs.versions()}
        if theirs.why:
            result["why_no_peers"] = theirs.why
        rig.print_result(result)


if __name__ == "__main__":
    main()

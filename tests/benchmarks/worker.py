"""How many no-op jobs a second our worker does on one core with every record kept, beside RQ and the other queues.

Also what an event costs in Redis, what forty waiting handlers cost in memory, and how soon a handler starts.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import rig

from receiver.event import Delivery
from receiver.ledger import read
from receiver.ledger.accept import Record, accept
from receiver.sources import PRODUCTS
from receiver.sources.source import Verified, Way

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

BARS = {
    "worker_vs_rq_simple": 20,
    "worker_vs_best_peer": 1.5,
    "redis_bytes_per_event": 2048,
    "waits_40_x_200ms_rss_mib": 150,
    "webhook_to_handler_start_ms": {"p50": 15, "p99": 50},
}
WAY = Way("books", "books", events=(rig.EVENT,))
NOTHING = f"""
import sys
sys.path.append({str(rig.PEERS)!r})
from marks import mark
from receiver import on

@on("books.invoice.paid")
def nothing(event):
    mark()
"""
WAITS = """
import os
import httpx
from receiver import on, resource

@resource
def http():
    with httpx.Client(limits=httpx.Limits(max_connections=64), timeout=10, trust_env=False) as client:
        yield client

@on("books.invoice.paid")
def waits(event, http):
    http.get(os.environ["BENCH_URL"]).raise_for_status()
"""
STARTS = """
import os, time
from receiver import on

FILE = os.open(os.environ["BENCH_STARTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

@on("books.invoice.paid")
def starts(event):
    os.write(FILE, f"{event.record_id} {time.time()}\\n".encode())
"""
WORKERS: dict[str, tuple[str, Sequence[str]]] = {
    "celery_threads": ("celery", ("celery", "-A", "with_celery", "worker", "-P", "threads", "-c", "8")),
    "celery_prefork": ("celery", ("celery", "-A", "with_celery", "worker", "-P", "prefork", "-c", "2")),
    "dramatiq": ("dramatiq", ("dramatiq", "with_dramatiq", "--processes", "1", "--threads", "8")),
    "arq": ("arq", ("arq", "with_arq.WorkerSettings")),
    "saq": ("saq", ("saq", "with_saq.settings")),
    "taskiq": (
        "taskiq",
        ("taskiq", "worker", "with_taskiq:broker", "--workers", "1", "--max-async-tasks", "100"),
    ),
    "huey": ("huey", ("huey.bin.huey_consumer", "with_huey.huey", "-k", "thread", "-w", "8")),
}
CELERY_QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "ERROR")


def preload(where: rig.Ground, count: int) -> int:
    """Accept events as the door does, from deliveries as Books sends them; the bytes of their bodies."""
    sent = 0
    with where.careless():
        for start in range(0, count, 128):
            records = []
            for number in range(start, min(start + 128, count)):
                delivery = Delivery.arrive(
                    "books", rig.body(number), query=f"event={rig.EVENT}".encode(), headers={
                        **rig.HEADERS, "content-length": "800", "x-zoho-webhook-signature": "0" * 64,
                    }, remote="127.0.0.1",
                )  # fmt: skip
                events = PRODUCTS["books"].parse(delivery, WAY, Verified("hmac")).events
                records.append(
                    Record(delivery, "accepted", events=events, window=PRODUCTS["books"].window(WAY))
                )
                sent += len(delivery.body)
            accept(where.redis, records, again=600)
    return sent


def ours(where: rig.Ground, marks: rig.Marks, count: int) -> tuple[float, float]:
    """(jobs a second, bytes of Redis that each event took beside its body); every record is looked for."""
    where.clear()
    env = where.project({"nothing": NOTHING}) | {"BENCH_MARKS": str(marks.path)}
    before = where.redis.info("memory")["used_memory"]
    sent = preload(where, count)
    command = [sys.executable, "-m", "receiver.cli", "worker", "--burst"]
    with rig.running(command, where, env) as process:
        rate = marks.rate(count, process, where)
        status = process.wait(60)
    kept = where.redis.info("memory")["used_memory"] - before
    totals = read.totals(where.redis)
    left = int(where.redis.llen("rq:queue:zohook"))
    if status or totals["done"] != count or totals["routed"] != count or left:
        raise RuntimeError(
            f"status {status}, {left} slips left, not all of {count} done: {totals}\n{rig.tail(where)}"
        )
    return rate, (kept - sent) / count


def rq_simple(where: rig.Ground, marks: rig.Marks, count: int) -> float:
    """Jobs a second of RQ's own SimpleWorker."""
    where.clear()
    script = [sys.executable, str(rig.PEERS / "with_rq.py")]
    env = where.environment()
    with where.careless():
        subprocess.run([*script, str(count)], env=env, check=True)
    with rig.running([*script, "work"], where, env, rig.PEERS) as process:
        return marks.rate(count, process, where)


def peer(where: rig.Ground, marks: rig.Marks, count: int, python: str, name: str) -> float:
    """Jobs a second of one of the others."""
    where.clear()
    module, command = WORKERS[name]
    env = where.environment()
    with where.careless():
        filled = subprocess.run(
            [python, f"with_{module}.py", str(count)], env=env, cwd=rig.PEERS, check=False,
            capture_output=True, text=True,
        )  # fmt: skip
    if filled.returncode:
        raise RuntimeError(f"{name} cannot enqueue:\n{filled.stderr[-1500:]}")
    quiet = CELERY_QUIET if module == "celery" else ()
    with rig.running([python, "-m", *command, *quiet], where, env, rig.PEERS) as process:
        return marks.rate(count, process, where)


def tried(name: str, measure: Callable[[], Any], marks: rig.Marks) -> Any:
    """The measurement, or None with the reason on stderr."""
    marks.clear()
    try:
        found = measure()
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        rig.say(f"  {name}: {error}")
        return None
    shown = f"{found[0]:,.0f}" if isinstance(found, tuple) else f"{found:,.0f}"
    rig.say(f"  {name}: {shown} jobs/s")
    return found


class Slow:
    """A web server that answers after 200 ms, and knows how many waited for it at once."""

    def __init__(self) -> None:
        self.port = rig.free_port()
        self.now = self.most = self.answered = 0
        self._ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True).start()
        self._ready.wait(10)

    async def _serve(self) -> None:
        async with await asyncio.start_server(self._answer, "127.0.0.1", self.port, backlog=256) as server:
            self._ready.set()
            await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                return writer.close()
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.2)
            self.now -= 1
            self.answered += 1
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


def waits(where: rig.Ground, count: int) -> dict[str, Any]:
    """What a worker of 40 threads weighs while its handlers wait on HTTP."""
    where.clear()
    slow = Slow()
    url = f"http://127.0.0.1:{slow.port}/"
    env = where.project({"waits": WAITS}, ZOHOOK_WORKER__THREADS="40") | {"BENCH_URL": url}
    preload(where, count)
    began = time.monotonic()
    with rig.running([sys.executable, "-m", "receiver.cli", "worker"], where, env) as process:
        done = rig.until(lambda: read.totals(where.redis)["done"] >= count, 60)
        took = time.monotonic() - began
        lines = Path(f"/proc/{process.pid}/status")
        peak = lines.read_text().split("VmHWM:")[1].split()[0] if lines.exists() else None
    if not done:
        raise RuntimeError(f"{slow.answered} of {count} waits ended:\n{rig.tail(where)}")
    rig.say(f"  waits: {slow.most} at once, {count} in {took:.1f} s")
    return {
        "waits_40_x_200ms_rss_mib": round(int(peak) / 1024, 1) if peak else None,
        "waits_at_once": slow.most,
    }


def latency(where: rig.Ground, count: int) -> dict[str, Any]:
    """From the first byte of a webhook sent to its handler's first line, with nothing else to do."""
    where.clear()
    file = where.folder / "starts"
    file.unlink(missing_ok=True)
    env = where.project({"starts": STARTS}) | {"BENCH_STARTS": str(file)}
    port = rig.free_port()
    chance = random.Random(1)
    sent: dict[str, float] = {}
    ours = [sys.executable, "-m", "receiver.cli"]
    with (
        rig.running([*ours, "web", "--port", str(port)], where, env) as web,
        rig.running([*ours, "worker"], where, env),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        rig.wait_for_port(port, web, where)
        rig.until(lambda: bool(where.redis.smembers("rq:workers")))
        for number in range(count + 10):
            time.sleep(chance.uniform(0.01, 0.06))
            text = rig.body(number)
            headers = {**rig.HEADERS, "x-zoho-webhook-signature": rig.signature(text)}
            began = time.time()
            answer = client.post(f"/in/books?event={rig.EVENT}", content=text, headers=headers)
            answer.raise_for_status()
            if number >= 10:  # the first ones pay for connections and imports
                sent[f"98200000{number:09d}"] = began
        rig.until(lambda: file.exists() and len(file.read_text().splitlines()) >= count + 10, 20)
    started = dict(line.split() for line in file.read_text().splitlines())
    took = sorted((float(started[each]) - at) * 1000 for each, at in sent.items())
    return {"p50": round(took[len(took) // 2], 1), "p99": round(took[int(len(took) * 0.99)], 1)}


def alone(name: str, measure: Callable[[], Any]) -> Any:
    """One of the measurements that no peer has; None with the reason on stderr where it fails."""
    rig.say(name)
    try:
        return measure()
    except (RuntimeError, OSError, httpx.HTTPError, KeyError) as error:
        rig.say(f"  {name}: {type(error).__name__}: {error}")
        return None


def rounds(
    where: rig.Ground, given: Any, theirs: rig.Peers
) -> tuple[Mapping[str, list[float | None]], list[float | None]]:
    """Every contender's rate in every round, and our bytes per event."""
    count, others, slower = (1000, 1000, 200) if given.quick else (10_000, 5_000, 1_000)
    wanted = [name for name in given.only.split(",") if name]
    marks = rig.Marks(where)
    found: dict[str, list[float | None]] = {"ours": [], "rq_simple": []}
    bytes_each: list[float | None] = []
    for number in range(given.runs):
        rig.say(f"round {number + 1} of {given.runs}")
        if not wanted or "ours" in wanted:
            answer = tried("ours", lambda: ours(where, marks, count), marks)
            found["ours"].append(answer and answer[0])
            bytes_each.append(answer and answer[1])
        if not wanted or "rq_simple" in wanted:
            found["rq_simple"].append(tried("rq_simple", lambda: rq_simple(where, marks, slower), marks))
        for name in WORKERS if not theirs.why else ():
            python = theirs.arq if name == "arq" else theirs.others
            if not wanted or name in wanted:
                rate = tried(
                    name, lambda name=name, python=python: peer(where, marks, others, python, name), marks
                )
                found.setdefault(name, []).append(rate)
    return found, bytes_each


def main() -> None:
    """Measure and print."""
    given = rig.options(__doc__ or "")
    theirs = rig.peers()
    if theirs.why:
        rig.say(theirs.why)
    source = rig.source()
    with rig.ground() as where:
        found, bytes_each = rounds(where, given, theirs)
        rates = {name: rig.median(values) for name, values in found.items()}
        peers = {name: rates.get(name) for name in WORKERS}
        celery = [peers.pop("celery_threads"), peers.pop("celery_prefork")]
        best = max(
            (name for name in WORKERS if rates.get(name)), key=lambda name: rates[name] or 0, default=None
        )
        result: dict[str, Any] = {
            "worker_jps": rates["ours"],
            "rq_simple_jps": rates["rq_simple"],
            "peers": {"celery": max((rate for rate in celery if rate), default=None), **peers}
            if not theirs.why
            else None,
            "best_peer": best,
            "worker_vs_rq_simple": rig.ratio(found["ours"], found["rq_simple"]),
            "worker_vs_best_peer": rig.ratio(found["ours"], found[best]) if best else None,
            "redis_bytes_per_event": rig.median(bytes_each),
        }
        if not given.only:
            waited = alone("40 waits of 200 ms", lambda: waits(where, 80 if given.quick else 400))
            result |= waited or {"waits_40_x_200ms_rss_mib": None}
            result["webhook_to_handler_start_ms"] = alone(
                "webhook to handler", lambda: latency(where, 40 if given.quick else 300)
            )
        result["bars"] = BARS
        result["runs"] = {name: [value and round(value) for value in each] for name, each in found.items()}
        result["machine"] = rig.machine(where)
        result["source"] = source
        result["source_changed"] = rig.source() != source
        result["versions"] = rig.versions("zohook", "rq", "redis", "hiredis") | {"peers": theirs.versions()}
        if theirs.why:
            result["why_no_peers"] = theirs.why
        rig.print_result(result)


if __name__ == "__main__":
    main()

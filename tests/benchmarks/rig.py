"""What the benchmarks share: cores, a strict Redis, processes, deliveries to send, the peers' environment, medians."""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import mmap
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from cryptography.fernet import Fernet

import receiver
from receiver.ledger.embedded import Embedded
from receiver.ledger.server import find_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from redis import Redis

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zohook-benchmarks"
"""On a disk: in a /tmp that is memory an fsync would cost nothing, and the results would mean nothing."""
SECRET = "a-throwaway-books-secret"
EVENT = "invoice.paid"
WEB = ("fastapi", "uvicorn", "uvloop", "httptools", "redis", "hiredis")
PACKAGES = {
    "arq": (*WEB, "arq"),  # holds redis-py back, so it has an environment of its own
    "others": (*WEB, "celery", "packaging", "dramatiq", "saq", "taskiq", "taskiq-redis", "huey"),
}
SLOTS = 512
TOML = f"""
[sources]
books = {{ product = "books", events = ["{EVENT}"] }}
"""


def say(text: str) -> None:
    """Progress, for whoever watches."""
    print(text, file=sys.stderr, flush=True)


def options(description: str) -> argparse.Namespace:
    """What both benchmarks take on the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--runs", type=int, default=3, help="rounds; the medians count (3)")
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it works")
    parser.add_argument("--only", default="", help="measure these contenders only, with commas")
    given = parser.parse_args()
    given.runs = 1 if given.quick else given.runs
    return given


# Cores -------------------------------------------------------------------------------------------------------


def cores() -> tuple[int | None, int | None]:
    """(the server's core, that of load and Redis); the same where there is one, None where none can be chosen."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    found = sorted(os.sched_getaffinity(0))
    return found[-1], found[0]


@contextmanager
def on(core: int | None) -> Iterator[None]:
    """Whatever is started within runs on that core."""
    if core is None:
        yield
        return
    had = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, had)


# Redis -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ground:
    """Where one benchmark stands: its folder, its Redis and its two cores."""

    folder: Path
    redis: Redis
    url: str
    server: int | None
    load: int | None
    key: str = field(default_factory=lambda: Fernet.generate_key().decode())
    """Of all its projects: one Redis is one project's."""

    def clear(self) -> None:
        """An empty Redis with an empty append-only file."""
        self.redis.flushall()
        while self.redis.info("persistence")["aof_rewrite_in_progress"]:
            time.sleep(0.02)
        self.redis.bgrewriteaof()
        while self.redis.info("persistence")["aof_rewrite_in_progress"]:
            time.sleep(0.02)

    @contextmanager
    def careless(self) -> Iterator[None]:
        """No fsync within: for filling queues, which nobody measures."""
        self.redis.config_set("appendfsync", "no")
        try:
            yield
        finally:
            self.redis.config_set("appendfsync", "always")

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Nothing is under way within that falls due whenever what is kept has doubled: a rewrite of the append-only file, and the move to
        a larger table of keys, of which every look at one does a step.
        """
        for _ in range(2 * self.redis.dbsize() // 1000 + 1):
            self.redis.exists(*["nothing"] * 1000)
        before = self.redis.config_get("auto-aof-rewrite-percentage")
        self.redis.config_set("auto-aof-rewrite-percentage", 0)
        while self.redis.info("persistence")["aof_rewrite_in_progress"]:
            time.sleep(0.1)
        try:
            yield
        finally:
            self.redis.config_set("auto-aof-rewrite-percentage", next(iter(before.values())))

    def project(self, handlers: Mapping[str, str], **settings: str) -> dict[str, str]:
        """A user's project with these modules of handlers; the environment that its processes need."""
        place = self.folder / "project"
        shutil.rmtree(place, ignore_errors=True)
        (place / "handlers").mkdir(parents=True)
        (place / "zohook.toml").write_text(TOML)
        (place / "handlers" / "__init__.py").write_text("")
        for name, text in handlers.items():
            (place / "handlers" / f"{name}.py").write_text(text)
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("ZOHOOK_")},
            "ZOHOOK_FOLDER": str(place),
            "ZOHOOK_REDIS__URL": self.url,
            "ZOHOOK_KEY": self.key,
            "ZOHOOK_SECRET_BOOKS": SECRET,
            **settings,
        }

    def environment(self) -> dict[str, str]:
        """What the scripts in `peers/` read."""
        celery = (
            f"redis+socket://{unquote(self.url.removeprefix('unix://'))}"
            if self.url.startswith("unix:")
            else self.url
        )
        return {
            **os.environ,
            "BENCH_REDIS": self.url,
            "BENCH_CELERY": celery,
            "BENCH_SECRET": SECRET,
            "BENCH_MARKS": str(self.folder / "marks"),
            "PYTHONPATH": str(PEERS),
        }


@contextmanager
def ground() -> Iterator[Ground]:
    """A Redis with `appendfsync always` on the load's core, in a folder that is thrown away."""
    server, load = cores()
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=CACHE, prefix="run-"))
    had = os.sched_getaffinity(0) if load is not None else None
    try:
        with on(load), Embedded(folder, share=False) as embedded, embedded.client() as redis:
            # A rewrite of the file in the middle of one contender's run would be that one's bad luck.
            redis.config_set("auto-aof-rewrite-percentage", 0)
            yield Ground(folder, redis, embedded.url, server, load)
    finally:
        if had is not None:
            os.sched_setaffinity(0, had)
        shutil.rmtree(folder, ignore_errors=True)


def fsync_us(folder: Path) -> int:
    """What one fsync costs here, in microseconds: the floor under everything that is durable."""
    took = []
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(200):
            file.write(b"x" * 512)
            began = time.perf_counter()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    return round(statistics.median(took) * 1e6)


# Processes ---------------------------------------------------------------------------------------------------


@contextmanager
def running(
    command: Sequence[str], where: Ground, env: Mapping[str, str], cwd: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process, with its children, on the server's core; its output goes to a file, and it is gone afterwards."""
    log = where.folder / "process.log"
    with log.open("wb") as out, on(where.server):
        process = subprocess.Popen(
            command, env=dict(env), cwd=cwd or where.folder, stdout=out, stderr=out, start_new_session=True
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    for signum, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
        if process.poll() is not None:
            break
        process.send_signal(signum)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
    try:  # children that a killed parent left
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def tail(where: Ground) -> str:
    """The last words of the process that was started last."""
    return "\n".join((where.folder / "process.log").read_text(errors="replace").splitlines()[-15:])


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes], where: Ground) -> None:
    """Until somebody answers there."""
    limit = time.monotonic() + 30
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as found:
                # The kernel may give a port that nobody has to who asks for it.
                if found.getsockname() == found.getpeername():
                    raise ConnectionRefusedError
        except OSError:
            if process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"{process.args} does not listen:\n{tail(where)}") from None
            time.sleep(0.05)
        else:
            return


def until(true: Callable[[], bool], seconds: float = 60) -> bool:
    """Wait until something is so; False if it never was."""
    limit = time.monotonic() + seconds
    while not true():
        if time.monotonic() > limit:
            return False
        time.sleep(0.01)
    return True


# Deliveries --------------------------------------------------------------------------------------------------


def body(number: int) -> bytes:
    """An invoice as Books sends it, no two alike."""
    return _BODY % (number, number, number)


_BODY = json.dumps(
    {
        "organization_id": "60069194202",
        "event_time": "2025-03-01T10:00:00+0000",
        "invoice": {
            "invoice_id": "98200000%09d",
            "invoice_number": "INV-%09d",
            "reference_number": "%09d",
            "status": "paid",
            "date": "2025-02-24",
            "due_date": "2025-03-10",
            "last_payment_date": "2025-03-01",
            "customer_id": "982000000567001",
            "customer_name": "Lanco Norte GmbH & Co. KG",
            "email": "accounts@lanco-norte.example",
            "currency_code": "EUR",
            "exchange_rate": 1.0,
            "sub_total": 1180.5,
            "tax_total": 224.3,
            "total": 1404.8,
            "balance": 0,
            "payment_made": 1404.8,
            "line_items": [
                {"line_item_id": "982000000567021", "name": "Hard drive", "rate": 590.25, "quantity": 2.0}
            ],
        },
    }
).encode()
HEADERS = {
    "host": "hooks.example.com",
    "user-agent": "ZohoBooks",
    "accept": "*/*",
    "content-type": "application/json",
    "x-com-zoho-organizationid": "60069194202",
    "x-forwarded-for": "136.143.188.1",
}


def signature(text: bytes) -> str:
    """What Books puts into X-Zoho-Webhook-Signature: the pairs of the query, then the body."""
    return hmac.new(SECRET.encode(), f"event{EVENT}".encode() + text, hashlib.sha256).hexdigest()


# Jobs done ---------------------------------------------------------------------------------------------------


class Marks:
    """Counts what no-op jobs did, in whatever process they ran: a word of shared memory for each process.

    A counter in Redis or in a file would cost more than the job.
    """

    def __init__(self, where: Ground) -> None:
        self.path = where.folder / "marks"
        self.clear()

    def clear(self) -> None:
        """Begin again."""
        self.path.write_bytes(bytes(8 * SLOTS))
        with self.path.open("r+b") as file:
            self._words = memoryview(mmap.mmap(file.fileno(), 8 * SLOTS)).cast("Q")

    def count(self) -> int:
        """How many jobs ran."""
        return sum(self._words)

    def rate(self, wanted: int, process: subprocess.Popen[bytes], where: Ground, limit: float = 90) -> float:
        """Jobs a second between the first and the last of them. Raises RuntimeError where they do not come."""
        ends = time.monotonic() + limit
        began, at_first = 0.0, 0
        while True:
            now, found = time.perf_counter(), self.count()
            if found and not began:
                began, at_first = now, found
            if found >= wanted:
                return (found - at_first) / max(now - began, 1e-9)
            if time.monotonic() > ends or (process.poll() is not None and self.count() < wanted):
                raise RuntimeError(f"{found} of {wanted} jobs ran:\n{tail(where)}")
            time.sleep(0.002)


# Peers -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Peers:
    """The Python that has arq, the one that has the others, or why there are none."""

    arq: str = ""
    others: str = ""
    why: str = ""

    def versions(self) -> dict[str, str]:
        """What is installed there."""
        found = {}
        asked = "import importlib.metadata as m, json, sys; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
        for python, packages in ((self.arq, ("arq",)), (self.others, PACKAGES["others"])):
            if python:
                said = subprocess.run([python, "-c", asked, *packages], capture_output=True, check=True)
                found |= json.loads(said.stdout)
        return found


def peers() -> Peers:
    """The peers' virtual environments, made once and kept in the cache: nothing of theirs gets into ours."""
    found = {}
    for name, packages in PACKAGES.items():
        digest = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:8]
        place = CACHE / f"{name}-{platform.python_version()}-{digest}"
        try:
            found[name] = _environment(place, packages)
        except (OSError, subprocess.SubprocessError) as error:
            words = str(getattr(error, "stderr", "") or error).strip().splitlines()
            return Peers(why=f"the peers could not be installed: {words[-1] if words else error}")
    return Peers(**found)


def _environment(place: Path, packages: Sequence[str]) -> str:
    python = str(place / "bin" / "python")
    if (place / "ready").exists():
        return python
    say(f"installing into {place}: {', '.join(packages)}")
    shutil.rmtree(place, ignore_errors=True)
    for command in (
        [sys.executable, "-m", "venv", str(place)],
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
    ):
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    (place / "ready").touch()
    return python


# Results -----------------------------------------------------------------------------------------------------


def median(found: Sequence[float | None]) -> float | None:
    """The median of what was measured; None of nothing."""
    values = [value for value in found if value is not None]
    return round(statistics.median(values), 2) if values else None


def ratio(ours: Sequence[float | None], theirs: Sequence[float | None]) -> float | None:
    """The median of the rounds' own ratios, for what else the machine did in a round slowed both."""
    return median([a / b for a, b in zip(ours, theirs, strict=False) if a and b])


def machine(where: Ground) -> dict[str, Any]:
    """What the numbers stand on."""
    return {
        "cores": os.cpu_count(),
        "pinned": where.server is not None and where.server != where.load,
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "fsync_us": fsync_us(where.folder),
        "redis_server": find_server(),
    }


def source() -> str:
    """Which code of ours is measured: it must not change between the first round and the last."""
    digest = hashlib.sha256()
    for path in sorted(Path(receiver.__file__).parent.rglob("*")):
        if path.suffix in {".py", ".lua"}:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def versions(*names: str) -> dict[str, str]:
    """Of Python, Redis' client and what else is named, as we run them."""
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def print_result(result: Mapping[str, Any]) -> None:
    """The one line."""
    print(json.dumps(result), flush=True)

"""The rig: a house of real processes (`zohook web`, `worker`, `clock`) over a real Redis and the simulated Zoho, to be broken."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis as redis_py
from cryptography.fernet import Fernet
from faults_load import SECRET, Load

from receiver import keys
from receiver.ledger import read, runs, script
from receiver.ledger.embedded import Embedded
from receiver.settings import Settings
from receiver.simulator import Simulator
from receiver.simulator.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROOT = Path(__file__).parents[2]
ROOMS = Path(__file__).with_name("rooms")
LEASE, TICK, AGAIN = 1.5, 0.1, 0.5
WITHIN = 40.0
"""Seconds within which everything must be well again. With these leases it takes a few; the rest is for a busy machine."""
EVENTS = (
    *("invoice.paid", "contact.created", "bill.created", "expense.created", "item.created"),
    *("estimate.created", "transfer_order.created", "vendorpayment.created"),
)
RULES = "a secret of the workflow rules"
TOML = """
public_url = "http://127.0.0.1:{port}"
[redis]
url = "{redis}"
[connections.acme]
dc = "simulator"
client_id = "{client}"
crm = "{crm}"
[simulator]
url = "{simulator}"
[sources]
load = {{ product = "books", dedupe = "/number", dedupe_for = "7d", events = {events} }}
rules = {{ product = "crm_workflow", id = "/record_id", time = "/at", events = ["Deals.edited"] }}
[spool]
tick = "0.1s"
[worker]
lease = "{lease}s"
tick = "{tick}s"
again = "{again}s"
threads = 4
"""


class Process:
    """One process of the house, with its log."""

    def __init__(
        self, words: tuple[str, ...], house: House, environment: Mapping[str, str], **more: Any
    ) -> None:
        self.name = words[0]
        self.plain = not environment
        self.log = house.folder / f"{self.name}.log"
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-P", "-m", "receiver.cli", *words],
                **{"cwd": house.folder, "stdout": log, "stderr": log, "start_new_session": True, **more},
                env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            )
        self.pid = self.popen.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.popen.poll() is None

    def kill(self) -> None:
        """As when the host loses it: no goodbye, and its own children with it."""
        for pid in [*children(self.pid), self.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.popen.wait()

    def tell(self, what: signal.Signals) -> None:
        """Send a signal."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, what)

    def end(self, seconds: float = 30) -> int:
        """Ask it to stop; its status, or an AssertionError where it does not."""
        self.tell(signal.SIGCONT)
        self.tell(signal.SIGTERM)
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} ignored SIGTERM for {seconds} s") from None

    def said(self) -> str:
        """Its log."""
        return self.log.read_text(errors="replace")

    def rss(self) -> int:
        """Bytes of memory that it has."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024
        return 0


class House:
    """One project with everything around it."""

    def __init__(
        self, folder: Path, *, lease: float = LEASE, tick: float = TICK, again: float = AGAIN
    ) -> None:
        self.folder = folder
        self.settings_given = {"lease": lease, "tick": tick, "again": again}
        self.processes: list[Process] = []
        self.more: list[Any] = []
        shutil.copytree(ROOMS, folder / "handlers", dirs_exist_ok=True)
        (folder / "handlers" / "__init__.py").write_text("")
        self.server = Embedded(folder / "own", share=False).start()
        self.socket = str(self.server.place / "redis.sock")
        self.simulator = Simulator(limits=unbounded())
        self.simulator.start()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self.listener.getsockname()[1]
        self._write()
        self.redis = redis_py.Redis.from_url(self.server.url, socket_timeout=30)
        self.load = Load(self.port, folder / "answered.txt")
        self.prepare()

    def _write(self) -> None:
        text = TOML.format(
            port=self.port, redis=self.server.url, client=self.simulator.self_client.id,
            events=list(EVENTS), crm=self.simulator.org_ids["crm"], simulator=self.simulator.base, **self.settings_given,
        )  # fmt: skip
        (self.folder / "zohook.toml").write_text(text)
        self.key = Fernet.generate_key().decode()
        given = {
            "ZOHOOK_KEY": self.key,
            "ZOHOOK_SECRET_LOAD": SECRET,
            "ZOHOOK_SECRET_ACME": self.simulator.self_client.secret,
            "ZOHOOK_SECRET_RULES": RULES,
            "ZOHOOK_WEB__PASSWORD": "a password of the tests",
        }
        (self.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in given.items()))

    def settings(self) -> Settings:
        """The settings of the project."""
        return Settings.load(self.folder)

    @property
    def spool(self) -> Path:
        """The file of the spool."""
        return self.folder / ".zohook" / "spool" / "spool.sqlite3"

    def prepare(self) -> None:
        """What a new Redis needs: the consent, and the scripts, so that a proxy knows their calls."""
        self.command("connect", "--code", self.simulator.self_client_code(minutes=10))
        for name in ("accept", "turn", "claim", "finish", "route"):
            self.redis.script_load(script.text_of(name)[0])

    def command(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run one of our commands to its end."""
        return subprocess.run(
            [sys.executable, "-P", "-m", "receiver.cli", *words],
            cwd=self.folder, env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    # Processes ---------------------------------------------------------------------------------------------------

    def start(
        self, *words: str, ready: bool = True, environment: Mapping[str, str] | None = None, **more: Any
    ) -> Process:
        """Start one of our commands; `ready` waits until it does its work."""
        if words == ("web",):
            words = ("web", "--fd", str(self.listener.fileno()))
            more = {**more, "pass_fds": (self.listener.fileno(),)}
        started = Process(words, self, environment or {}, **more)
        self.processes.append(started)
        if ready:
            sign = {
                "web": "Application startup complete",
                "worker": "worker.started",
                "clock": "clock.started",
            }[started.name]
            count = started.said().count(sign)
            eventually(lambda: started.said().count(sign) > count or not started.alive, 60)
            assert started.alive, started.said()[-2000:]
        return started

    def living(self, name: str) -> list[Process]:
        """The processes of a name that run."""
        return [each for each in self.processes if each.name == name and each.alive]

    def with_only(self, **counts: int) -> None:
        """See to it that so many webs, workers and clocks run, and no others; plain ones, as the rows share them."""
        for each in [each for each in self.processes if each.alive]:
            if not each.plain or not counts.get(each.name):
                each.end()
        for name, count in counts.items():
            running = self.living(name)
            for _ in range(count - len(running)):
                self.start(name)
            for each in running[count:]:
                each.end()

    def mend(self) -> None:
        """Redis as it should be, whatever a row that failed left of it."""
        if self.server.pid:
            with suppress(ProcessLookupError):
                os.kill(self.server.pid, signal.SIGCONT)
        if not self.server.alive():
            self.server.start()
        for name, value in {
            "maxmemory": 0,
            "maxmemory-policy": "noeviction",
            "appendfsync": "always",
            "appendonly": "yes",
        }.items():
            self.redis.config_set(name, value)

    def close(self) -> None:
        """End everything."""
        for each in self.processes:
            each.tell(signal.SIGCONT)
            if each.alive:
                each.tell(signal.SIGTERM)
        for each in self.processes:
            with suppress(subprocess.TimeoutExpired):
                each.popen.wait(10)
            each.kill()
        self.load.close()
        self.listener.close()
        self.redis.close()
        self.simulator.stop()
        self.server.stop()

    # What happened -----------------------------------------------------------------------------------------------

    def seen(self) -> list[list[str]]:
        """What the handlers wrote: [handler, number, key, process, seconds]."""
        file = self.folder / "seen.txt"
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []

    def ran(self, handler: str) -> Counter[int]:
        """How often a handler got so far for each number."""
        return Counter(int(number) for word, number, *_ in self.seen() if word == handler)

    def applied(self) -> Counter[int]:
        """How many records there are at Zoho for each number: more than one is a double effect."""
        return Counter(
            int(lead["Last_Name"])
            for lead in self.simulator.crm.all("Leads")
            if lead["Last_Name"].isdecimal()
        )

    def hurry(self) -> None:
        """Let the pauses between tries be over, and those that Zoho was given."""
        for reason in read.parked_work(self.redis):
            kind, _, name = reason.partition(":")
            if kind == "limit":
                self.redis.delete(keys.calls_blocked(name))
                runs.release(self.redis, reason)
        for each in self.redis.zrange(keys.due(), 0, -1):
            kind, _, name = each.decode().partition(":")
            key = keys.event(name) if kind == "e" else keys.job(name)
            if self.redis.hget(key, "state") == b"due":
                self.redis.hset(key, mapping={"due": 0, "given": 0})
                self.redis.zadd(keys.due(), {each: 0}, xx=True)


def unbounded() -> Limits:
    """Zoho without the limits that the rows are not about."""
    tokens = ("access_per_window", "access_live", "refresh_live", "refresh_per_window", "codes_per_window")
    return Limits(crm_credits=10**9, crm_concurrency=200, **dict.fromkeys(tokens, 10**6))


def children(pid: int) -> list[int]:
    """The processes that a process started, and theirs."""
    found = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                for child in (task / "children").read_text().split():
                    found += [int(child), *children(int(child))]
    return found


def control_group(controller: str, pid: int) -> Path:
    """Where a control group of our own may be made: of version 1, each controller has a tree of its own, of version 2 all share one."""
    tree = Path("/sys/fs/cgroup")
    own = tree / controller
    return (own if own.is_dir() else tree) / f"zohook-faults-{pid}"


@contextmanager
def memory_of(process: Process, limit: int) -> Iterator[str]:
    """Hold a process, and what it starts from now on, to so many bytes; by what: a control group, else a limit of its data."""
    group, file = control_group("memory", process.pid), "memory.limit_in_bytes"
    try:
        group.mkdir()
        if not (group / file).exists():
            file = "memory.max"
        (group / file).write_text(str(limit))
        (group / "cgroup.procs").write_text(str(process.pid))
    except OSError:
        with suppress(OSError):
            group.rmdir()
        resource.prlimit(process.pid, resource.RLIMIT_DATA, (limit, limit))
        yield "rlimit"
        return
    try:
        yield "cgroup"
    finally:
        process.kill()
        eventually(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


@contextmanager
def no_more_processes(process: Process) -> Iterator[bool]:
    """Let a process start no further thread or process within; False where no control group can be made that sees to it."""
    group = control_group("pids", process.pid)
    try:
        group.mkdir()
        (group / "cgroup.procs").write_text(str(process.pid))
        (group / "pids.max").write_text((group / "pids.current").read_text())
    except OSError:
        with suppress(OSError):
            (group.parent / "cgroup.procs").write_text(str(process.pid))
            group.rmdir()
        yield False
        return
    try:
        yield True
    finally:
        (group / "pids.max").write_text("max")
        parent = group.parent / "cgroup.procs"
        for each in (group / "cgroup.procs").read_text().split():
            with suppress(OSError):
                parent.write_text(each)
        eventually(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


def eventually(true: Callable[[], Any], seconds: float = WITHIN) -> Any:
    """What it gives once that is true; an AssertionError after so many seconds."""
    limit = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < limit, f"not within {seconds} s"
        time.sleep(0.02)
    return found

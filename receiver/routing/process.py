"""What one worker process has once: its ledger, handlers, resources, leases and clients."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, cast

from receiver import keys, logs
from receiver.event import new_id
from receiver.ledger import runs
from receiver.ledger.connect import check, connect
from receiver.ledger.witness import Witness
from receiver.routing import echoes, plugins, stops
from receiver.routing.catalogue import Catalogue
from receiver.routing.finisher import Endings, finish_now
from receiver.routing.leases import Leases
from receiver.routing.resources import Resources
from receiver.routing.router import Router
from receiver.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis import Redis

    from receiver.ledger.runs import Claim, Ending, Kind
    from receiver.routing.plugins import Plugins
    from receiver.zoho import Clients, Zoho

log = logs.get("process")


class Process:
    """Everything a run needs. One per process; safe from many threads."""

    def __init__(
        self, settings: Settings, redis: Redis | None = None, found: Plugins | None = None, name: str = ""
    ) -> None:
        self.settings = settings
        self.redis = redis or connect(settings)
        self.plugins = found or plugins.load(settings)
        self.router = Router(self.plugins.handlers.values())
        self.resources = Resources(self.plugins.resources, settings)
        self.catalogue = Catalogue(self.redis, self.plugins.handlers.values())
        self.name = name or f"{os.uname().nodename[:24]}-{os.getpid()}-{new_id()[-6:]}"
        self.leases = Leases(self.redis, settings.worker.lease)
        self.endings: Endings | None = None
        """What a worker writes with its next turn; without it endings are written at once."""
        self.draining = False
        self._pauses: frozenset[str] = frozenset()
        self._pauses_until = 0.0

    @cached_property
    def clients(self) -> Clients:
        """The Zoho clients of this process, made when the first handler wants them."""
        from receiver.zoho import Clients  # noqa: PLC0415 - httpx takes 100 ms to import and not every handler calls Zoho
        from receiver.zoho.vault import Vault  # noqa: PLC0415

        return Clients(self.redis, self.settings, Vault.open_or_make(self.settings))

    @cached_property
    def witness(self) -> Witness:
        """What this host remembers of the ledger, made when the worker looks or the first handler emits."""
        return Witness.of(self.settings)

    def zoho(
        self,
        claim: Claim,
        connection: str,
        fence: Callable[[], None],
        calls: list[dict[str, Any]],
        batch: Sequence[Claim] = (),
    ) -> Zoho:
        """Zoho as one run sees it: its connection, its organisation, its fence, its record of calls and of writes.

        In a batch it is the lead's, and a write belongs to the one of them whose record it is.
        """
        event, handler = claim.event, self.plugins.find(runs.split_job(claim.id)[1])
        shadow = handler is not None and (
            handler.options.mode == "shadow"
            or not set(handler.names).isdisjoint(self.settings.handlers.shadow)
        )
        wanted = connection or event.connection or self.settings.connection_of(event.source)
        return self.clients.for_job(
            wanted,
            organisation=event.organisation,
            product=event.product,
            channel=str(event.data.get("channel_id", "")) if isinstance(event.data, dict) else "",
            fence=fence,
            calls=calls,
            behind=bool(claim.lane),
            shadow=shadow,
            job=claim.id,
            since=max(each.event.received for each in batch or [claim]),
            on_write=partial(echoes.remember, self.redis, batch or [claim]),
        )

    def paused(self) -> frozenset[str]:
        """What is paused; asked of the ledger once a second at most."""
        if time.monotonic() > self._pauses_until:
            found = cast("set[bytes]", self.redis.smembers(keys.paused()))
            self._pauses = frozenset(each.decode() for each in found)
            self._pauses_until = time.monotonic() + 1
        return self._pauses

    def holding(self, *ways: str) -> str:
        """Which of these is paused and holds work; "" where none is. One that was resumed a moment ago is not."""
        if self.paused().isdisjoint(ways):
            return ""
        self.forget_pauses()
        return next((each for each in ways if each in self.paused()), "")

    def forget_pauses(self) -> None:
        """Ask again at the next run."""
        self._pauses_until = 0.0

    def run_alone(
        self,
        kind: Kind,
        found_id: str,
        run: int,
        begun: Callable[[subprocess.Popen[bytes]], None] = lambda _: None,
    ) -> str:
        """Run a suspect in a process of its own, which it may kill without harm to others; its end is told to the sweep."""
        name = f"{self.name}-alone-{new_id()[-6:]}"
        limit = self.time_alone(kind, found_id)
        command = [sys.executable, "-m", "receiver.worker", "--alone", kind, found_id, str(run), name]
        with stops.unheard():
            child = subprocess.Popen(command, start_new_session=True)
        begun(child)
        try:
            code: int | None = child.wait(limit)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            code = None
        # Status 0 is no proof: a handler may end its process, too. Of a run that has ended nothing lapses.
        how, blamed = _ending(code), self._to_blame(code)
        lapsed = runs.lapse(self.redis, kind, found_id, run, name, how, blamed=blamed)
        if code == 0 and not lapsed:
            return "ran alone"
        log.warning("suspect.died", id=found_id, run=run, how=how, counts=blamed)
        return "died alone"

    def time_alone(self, kind: Kind, found_id: str) -> float:
        """Seconds after which a process that runs this alone is ended, whatever it does."""
        handler = self.plugins.find(runs.split_job(found_id)[1]) if kind == "j" else None
        return (handler.options.timeout if handler else 60.0) + 15

    def _to_blame(self, code: int | None) -> bool:
        """Whether a death says something about what was run. Who stops a host asks its processes first, and then kills them."""
        if code in {-signal.SIGTERM, -signal.SIGINT}:
            return False
        return not (code == -signal.SIGKILL and self.draining)

    def finish(self, claim: Claim, ending: Ending, said: Callable[[bool], None]) -> None:
        """End a run; `said` hears whether it was still ours, maybe later and in another thread."""
        if self.endings is not None:
            self.endings.put(claim, ending, said)
        else:
            said(finish_now(self.redis, self.settings.worker.lease, [(claim, ending)])[0])

    def close(self) -> None:
        """Let go of everything."""
        self.leases.close()
        self.resources.close()


def _ending(code: int | None) -> str:
    """How a process ended, for people: `killed by SIGKILL`, `exit status 3`."""
    if code is None:
        return "ended by us, past its time limit"
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


_process: Process | None = None
_lock = threading.Lock()


def this() -> Process:
    """The process that we are: made once, from the settings of the folder we run in."""
    global _process  # noqa: PLW0603 - RQ calls a plain function, so what it needs must be found from nowhere
    with _lock:
        if _process is None or _process.name.split("-")[-2] != str(os.getpid()):
            settings = Settings.load()
            logs.setup(settings)
            made = Process(settings)
            check(made.redis)
            made.catalogue.publish(born=True)
            _process = made
        return _process


def become(process: Process) -> None:
    """Make this the process that `this` finds."""
    global _process  # noqa: PLW0603
    _process = process

"""The supervisor: one tree of our own processes, restarted when they die and stopped in order; it does no work of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import groupby
from typing import IO, TYPE_CHECKING, Self

from receiver.bell import Bell
from receiver.errors import ZohookError
from receiver.ledger.server import tied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from receiver.ledger.embedded import Embedded

GRACE = 15.0
"""Seconds that a process gets to finish what it does."""
WRONG_SETTINGS = 2
"""The exit status of a command whose settings or handlers are wrong: starting it again helps nobody."""
LOG_LIMIT = 20 * 10**6
WIDEST = 600
STOPPED_FIRST = ("web", "worker", "clock", "simulator")
"""First nothing comes in, then what is under way is finished; what it calls goes last, and Redis after all of them."""


class ChildFailed(ZohookError):
    """A process that everything rests on will not run; the message holds its last words."""


class Stopped(Exception):
    """Somebody asked the whole tree to stop."""


def ours(*arguments: str) -> list[str]:
    """The command line of one of our own commands. `-P`: a file of the user's never shadows a module of Python's."""
    return [sys.executable, "-P", "-m", "receiver.cli", *arguments]


@dataclass
class Child:
    """One process of the tree; `vital` means that the tree cannot go on if it refuses its settings.

    Without a `log` of its own it writes where the supervisor writes.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path | None
    cwd: Path
    vital: bool = True
    once: bool = False
    ends_well: bool = False
    """It may end by itself: with status 0 it is done and not started again."""
    ended_well: bool = False
    grace: float = GRACE
    pass_fds: tuple[int, ...] = ()
    said: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    restarts: int = 0
    epitaph: str = ""
    _failures: int = 0
    _started: float = 0.0
    _again_at: float = 0.0

    @property
    def pid(self) -> int:
        """The process's id, 0 while there is none."""
        return self.process.pid if self.process is not None and self.process.poll() is None else 0

    def start(self, *, listen: bool = False) -> None:
        """Start the process in a group of its own: Ctrl-C reaches the supervisor only, which stops things in order."""
        with self._open_log() as log:
            self.process = subprocess.Popen(
                tied(self.command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if listen else log,
                stderr=log,
                env=dict(self.environment),
                cwd=self.cwd,
                process_group=0,
                pass_fds=self.pass_fds,
            )
        self._started = time.monotonic()

    @contextmanager
    def _open_log(self) -> Iterator[IO[bytes] | None]:
        if self.log is None:
            yield None
            return
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".old.log"))
        with self.log.open("ab") as log:
            self.said = log.tell()
            yield log

    def last_words(self, lines: int = 12) -> str:
        """The end of what it wrote since it was started last; empty where it has no log of its own."""
        if self.log is None:
            return ""
        try:
            with self.log.open("rb") as log:
                log.seek(self.said)
                text = log.read(200_000).decode("utf-8", "replace")
        except OSError:
            return ""
        return "\n".join(line[:WIDEST] for line in text.strip().splitlines()[-lines:])

    def look(self) -> None:
        """Start it again if it died: at once the first time, later and later while it keeps dying at its start."""
        if self.process is None:
            if time.monotonic() >= self._again_at and not self.ended_well:
                self._start_again()
            return
        code = self.process.poll()
        if code is None:
            return
        self._end_group(signal.SIGKILL)  # what it left behind must not run beside its successor
        self.ended_well = self.ends_well and code == 0
        self.epitaph = self.last_words(10) or f"it ended with status {code}"
        if self.once or (code == WRONG_SETTINGS and self.vital and not self.restarts):
            where = f"; the last of {self.log}:\n{self.last_words()}" if self.log else ""
            raise ChildFailed(f"{self.name} ended with status {code}{where}")
        lived = time.monotonic() - self._started
        self._failures = 0 if lived > (1 if code < 0 else 10) else self._failures + 1
        self._again_at = time.monotonic() + min(10.0, 0.1 * 2**self._failures)
        self._close()

    def _start_again(self) -> None:
        """What hinders a start, a full disk or too many processes, may end; nobody else has to end of it."""
        try:
            self.start()
        except OSError as error:
            self.epitaph = f"it could not be started: {error}"
            self._failures += 1
            self._again_at = time.monotonic() + min(10.0, 0.1 * 2**self._failures)
        else:
            self.restarts += 1

    def ask_to_stop(self) -> None:
        """Tell it to finish what it does and end."""
        if self.pid:
            os.kill(self.pid, signal.SIGTERM)

    def wait_for_end(self, seconds: float) -> bool:
        """Whether it has ended within that time; what it leaves behind is ended then too."""
        if self.process is None:
            return True
        try:
            self.process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            return False
        self._end_group(signal.SIGKILL)
        self._close()
        return True

    def kill(self) -> None:
        """End it and all that it started, now."""
        if self.process is not None:
            self._end_group(signal.SIGKILL)
            self.process.wait()
            self._close()

    def _end_group(self, how: signal.Signals) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError, PermissionError):  # nobody is left in it
                os.killpg(self.process.pid, how)

    def _close(self) -> None:
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None


class Tree:
    """The processes of one `zohook up`, `zohook demo` or `zohook web`. The Redis is the caller's, but started again here if it dies."""

    def __init__(
        self,
        environment: Mapping[str, str],
        folder: Path,
        redis: Embedded | None = None,
        *,
        own_logs: bool = True,
    ) -> None:
        self.environment = environment
        self.folder = folder
        self.redis = redis
        self.own_logs = own_logs
        self.redis_restarts = 0
        self.children: list[Child] = []
        self._asked = Bell()
        self._signals = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if each != signal.SIGHUP or signal.getsignal(each) != signal.SIG_IGN:  # nohup means it
                self._before[each] = signal.signal(each, self._signalled)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            for each, handler in self._before.items():
                signal.signal(each, handler)  # type: ignore[arg-type]

    def __getitem__(self, name: str) -> Child:
        return next(child for child in self.children if child.name == name)

    def add(
        self,
        name: str,
        *arguments: str,
        vital: bool = True,
        fds: Sequence[int] = (),
        more: Mapping[str, str] | None = None,
    ) -> Child:
        """Start one of our own commands and keep it running. `more`: what only it has in its environment."""
        child = self._child(name, arguments, vital=vital, fds=fds, more=more)
        child.start()
        return child

    def add_speaker(
        self, name: str, *arguments: str, seconds: float = 30.0, grace: float = GRACE
    ) -> tuple[Child, str]:
        """Start one that says a line first, which is returned. It is not started again: what it said would be wrong."""
        child = self._child(name, arguments, once=True)
        child.grace = grace
        child.start(listen=True)
        return child, self._first_line(child, seconds)

    def _child(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        vital: bool = True,
        once: bool = False,
        fds: Sequence[int] = (),
        more: Mapping[str, str] | None = None,
    ) -> Child:
        log = self.folder / ".zohook" / "log" / f"{name}.log" if self.own_logs else None
        given = {**self.environment, **(more or {})}
        child = Child(
            name, ours(*arguments), given, log, self.folder, vital=vital, once=once, pass_fds=tuple(fds)
        )
        self.children.append(child)
        return child

    def _first_line(self, child: Child, seconds: float) -> str:
        found: list[bytes] = []
        out = child.process.stdout if child.process else None
        reader = threading.Thread(target=lambda: found.append(out.readline() if out else b""), daemon=True)
        reader.start()
        self.wait(lambda: not reader.is_alive(), seconds, f"{child.name} to say where it is")
        if not found or not found[0]:
            if child.process is not None:
                child.process.wait(5)
            raise ChildFailed(f"{child.name} did not start; the last of {child.log}:\n{child.last_words()}")
        return found[0].decode()

    def watch(self) -> None:
        """Look after the children once. Raises Stopped when the tree was asked to stop."""
        if self._asked.is_set():
            raise Stopped
        if self.redis is not None and self.redis.owned and not self.redis.alive():
            self.redis_restarts += 1
            self.redis.start()
        for child in self.children:
            child.look()

    def wait(self, until: Callable[[], object], seconds: float, what: str, *, every: float = 0.05) -> None:
        """Look after the children until `until()` is true. Raises ChildFailed, naming `what`, when the time is over."""
        limit = time.monotonic() + seconds
        while not until():
            self.watch()
            if time.monotonic() > limit:
                words = "\n".join(f"[{child.name}] {child.last_words(4)}" for child in self.children)
                raise ChildFailed(f"waited {seconds:.0f} s for {what}; the last words:\n{words}")
            self.pause(every)

    def pause(self, seconds: float) -> None:
        """Sleep, but no longer than until somebody asks to stop."""
        self._asked.wait(seconds)

    def stop(self) -> None:
        """Stop all, in their order, those of one place together; what does not end in time, or at a further Ctrl-C, is killed."""
        patient_until = self._signals
        for _, group in groupby(sorted(self.children, key=_place), _place):
            together = list(group)
            began = time.monotonic()
            for child in together:
                child.ask_to_stop()
            for child in together:
                while not child.wait_for_end(0.1):
                    if time.monotonic() > began + child.grace or self._signals > patient_until:
                        child.kill()

    def _signalled(self, *_: object) -> None:
        self._signals += 1
        self._asked.set()


def _place(child: Child) -> int:
    """When it is stopped: what is not listed first, since nothing needs it. `web-2` is one of several webs."""
    kind = child.name.partition("-")[0]
    return STOPPED_FIRST.index(kind) if kind in STOPPED_FIRST else -1

"""Stopping what runs because somebody said so, by RQ's commands: one run, or all that a worker has under way."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from receiver import logs
from receiver.errors import KilledByOperator, StoppedByOperator

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping

    from receiver.ledger.turns import Slip
    from receiver.routing.leases import Leases

log = logs.get("stops")
STOP, FAIL = signal.SIGUSR1, signal.SIGUSR2
"""What a run in a process of its own is told by: to be dead, or to have failed. SIGTERM may come of whoever ends all processes."""
ENDS = signal.SIGTERM, signal.SIGINT

STOPPED = "stopped by an operator"
KILLED = "ended by an operator, with all that its worker ran"


class Stops:
    """What is told to stop: a run under way, one that has not begun, one in a process of its own."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._lock = threading.Lock()
        self._begun: dict[str, str | subprocess.Popen[bytes]] = {}
        self._asked: set[str] = set()

    def begin(self, slip: Slip, run: str | subprocess.Popen[bytes]) -> bool:
        """Note the run that a slip led to, by the token of its claim or its process; False where it was told to stop before."""
        with self._lock:
            self._begun[slip.id] = run
            return slip.id not in self._asked

    def begin_apart(self, slip: Slip, child: subprocess.Popen[bytes]) -> None:
        """Note a run in a process of its own, which hears at once what was told before."""
        if not self.begin(slip, child):
            _tell(child, STOP)

    def end(self, slip: Slip) -> None:
        """It is over."""
        with self._lock:
            run = self._begun.pop(slip.id, None)
            self._asked.discard(slip.id)
        if isinstance(run, str):
            self._leases.forget(run)

    def obey(self, told: Mapping[str, Any], under_way: Mapping[str, Slip]) -> bool:
        """Do one of RQ's commands, where it is one to stop what runs here. `under_way`: the slips of this worker."""
        command, job = told.get("command"), str(told.get("job_id", ""))
        if command == "kill-horse":
            self._fail_all()
        elif command in {"stop-job", "stop-execution"}:
            slip = under_way.get(job)
            if slip is None or (command == "stop-execution" and slip.execution != told.get("execution_id")):
                log.warning("stop.unknown", slip=job)
            else:
                self._stop(slip)
        else:
            return False
        return True

    def _stop(self, slip: Slip) -> None:
        with self._lock:
            run = self._begun.get(slip.id)
            if run is None:
                self._asked.add(slip.id)
        log.warning("stop.asked", slip=slip.id, begun=run is not None)
        if isinstance(run, str):
            self._leases.stop(StoppedByOperator(STOPPED), run)
        elif run is not None:
            _tell(run, STOP)

    def _fail_all(self) -> None:
        count = self._leases.stop(KilledByOperator(KILLED))
        with self._lock:
            apart = [each for each in self._begun.values() if not isinstance(each, str)]
        for each in apart:
            _tell(each, FAIL)
        log.warning("stop.all", runs=count + len(apart))


def _tell(child: subprocess.Popen[bytes], what: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        child.send_signal(what)


@contextmanager
def unheard() -> Iterator[None]:
    """A process that is started within keeps what it is told until it is ready to hear it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (STOP, FAIL, *ENDS))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def deafen() -> None:
    """In a process of its own: keep what it is told until it listens, and leave it to its worker when to end. Called before there is
    any other thread.

    Whoever stops a host tells all processes of a group, and the worker lets finish what it has begun. (Functions and not SIG_IGN, which
    the programs that a handler starts would inherit.)
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, (STOP, FAIL))
    for each in ENDS:
        signal.signal(each, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)


def listen(leases: Leases) -> None:
    """In a process of its own: do what it is told. It is not the handler's thread that waits for that."""

    def wait() -> None:
        while True:
            told = signal.sigwait((STOP, FAIL))
            leases.stop(StoppedByOperator(STOPPED) if told == STOP else KilledByOperator(KILLED))

    threading.Thread(target=wait, name="stops", daemon=True).start()

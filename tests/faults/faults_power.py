"""A power cut: every file of Redis is cut to what was synced of it, as a library that is loaded before it has noted."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from faults_rig import House


def compiled(name: str, folder: Path) -> Path:
    """One of our small libraries, to be loaded before a process."""
    library = folder / f"{name}.so"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler to make the library with that this is injected by")
    source = Path(__file__).with_name(f"{name}.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


def restart(house: House, environment: dict[str, str]) -> None:
    """Start Redis anew, with something in its environment."""
    house.server.stop()
    os.environ.update(environment)
    try:
        house.server.start()
    finally:
        for name in environment:
            del os.environ[name]


def cut_to_what_was_synced(log: Path) -> None:
    """What a power cut may leave: each file up to its last sync."""
    synced: dict[str, int] = {}
    for line in log.read_text().splitlines():
        size, _, path = line.partition(" ")
        synced[path] = int(size)
    files = {path: size for path, size in synced.items() if path.endswith(".aof")}
    assert files
    for path, size in files.items():
        os.truncate(path, size)

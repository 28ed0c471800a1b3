"""A power cut: every file of Redis or of a spool becomes what was synced of it, as a library that is loaded before has noted."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

PAGE = 4096

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


class Disk:
    """The disk under a folder: what is sure to be on it is each file as of its last sync, under a name that was synced as well.

    What is in the folder at the beginning is on the disk, all of it.
    """

    def __init__(self, folder: Path, library: Path, images: Path) -> None:
        self._folder, self._images = folder.resolve(), images
        self.environment = {"LD_PRELOAD": str(library), "FSYNC_IMAGES": str(images)}
        images.mkdir()
        self._names = {path.name for path in self._folder.iterdir()}
        for name in self._names:
            shutil.copyfile(self._folder / name, self._image(self._folder / name))

    def _image(self, path: Path) -> Path:
        return self._images / str(path).replace("/", "%")

    def _named(self) -> set[str]:
        """The names that are sure to be on the disk."""
        listing = self._image(self._folder)
        return self._names | set(listing.read_text().splitlines() if listing.exists() else ())

    def synced(self, name: str) -> bytes | None:
        """A file as of its last sync; None where it, or its name, has none."""
        image = self._image(self._folder / name)
        return image.read_bytes() if name in self._named() and image.exists() else None

    def cut(self, survive: float = 0.0) -> None:
        """The power goes: of the pages that were written after the last sync that share may be on the disk, too."""
        there = {path.name for path in self._folder.iterdir()} | self._named()
        for path in [self._folder / name for name in there - {".", ".."}]:
            kept = self.synced(path.name)
            if path.name.endswith("-shm") or (kept is None and random.random() >= survive):
                path.unlink(missing_ok=True)
            else:
                written = path.read_bytes() if path.exists() else b""
                path.write_bytes(_torn(kept or b"", written, survive))


def _torn(kept: bytes, written: bytes, survive: float) -> bytes:
    """Of each page what was synced or what was written later."""
    size = len(written if random.random() < survive else kept)
    found = bytearray(size)
    for at in range(0, size, PAGE):
        later = written[at : at + PAGE] if random.random() < survive else b""
        found[at : at + PAGE] = (later or kept[at : at + PAGE] or bytes(PAGE)).ljust(PAGE, b"\0")
    return bytes(found[:size])

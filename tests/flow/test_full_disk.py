"""A disk without room below `.zohook` while Redis is well: web processes start, serve and keep what comes."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from receiver.cli import counts
from receiver.intake.spoolfile import Flag
from receiver.ledger.witness import Witness
from receiver.reserve import reserve
from tests.flow.kit import free_port
from tests.flow.test_spool import BOOKS, TOML, own, signed, wait  # noqa: F401

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """The folder `.zohook` of a project, as a small file system of its own."""
    place = tmp_path / ".zohook"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"a small file system cannot be mounted: {error}")
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=False)


def fill(place: Path) -> None:
    """Leave no byte free."""
    with (place / "filler").open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)


@pytest.fixture
def web(tmp_path: Path, own: Any, settings: Any) -> Callable[..., Any]:  # noqa: F811
    """Runs the real command in the project's folder for a `with` block; it gives (the process, a client, its log)."""
    known = settings(TOML, secrets={"books": BOOKS})
    port, log = free_port(), tmp_path / "web.log"
    given = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "ZOHOOK_REDIS__URL": own.url,
        "ZOHOOK_KEY": known.key,
        "ZOHOOK_SECRET_BOOKS": BOOKS,
    }

    @contextmanager
    def run(*words: str, **more: str) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client, Path]]:
        command = [sys.executable, "-P", "-m", "receiver.cli", "web", "--port", str(port), *words]
        with log.open("ab") as out:
            process = subprocess.Popen(
                command, cwd=known.folder, env={**given, **more}, stdout=out, stderr=out
            )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
                yield process, client, log
        finally:
            process.terminate()
            process.wait(30)

    return run


def takes(process: subprocess.Popen[bytes], client: httpx.Client, log: Path, number: int) -> bool:
    """Whether a delivery is accepted; the process must run."""
    assert process.poll() is None, (process.poll(), log.read_text()[-2000:])
    try:
        answer = client.post(**signed(number))
    except httpx.HTTPError:
        return False
    return bool(answer.status_code == 200 and answer.json()["verdict"] == "accepted")


@pytest.mark.parametrize("words", [(), ("--workers", "2")], ids=["one", "two"])
@pytest.mark.parametrize("first", [True, False], ids=["first start", "restart"])
def test_a_web_process_serves_over_a_full_disk(disk, web, words, first) -> None:
    """It starts there for the first time, or again, and accepts; none of its processes dies meanwhile."""
    if not first:
        with web(*words) as running:
            wait(lambda: takes(*running, 1))
    fill(disk)
    with web(*words) as running:
        numbers = iter(range(2, 100_000))
        wait(lambda: takes(*running, next(numbers)))
        assert all(takes(*running, next(numbers)) for _ in range(20))
        said = running[2].read_text()
        assert "web.replaced" not in said
        assert "ledger.not_remembered" in said or not first


def test_counts_that_cannot_be_shared_are_counted_alone(disk, web) -> None:
    """Where the files of the shared counts find no room the process serves all the same, and says so in one line."""
    folder = disk / "metrics"
    folder.mkdir()
    fill(disk)
    with web(**{counts.VARIABLE: str(folder)}) as running:
        wait(lambda: takes(*running, 1))
        process, client, log = running
        assert (
            'zohook_door_deliveries_total{source="books",verdict="accepted"} 1.0'
            in client.get("/metrics").text
        )
        lines = [line for line in log.read_text().splitlines() if "metrics.not_shared" in line]
        assert [json.loads(line)["event"] for line in lines] == ["metrics.not_shared"]
        assert list(folder.iterdir()) == []
        assert process.poll() is None


def test_health_is_bad_while_the_disk_of_the_spool_is_full(disk, web, own) -> None:  # noqa: F811
    """With Redis away and no room for the spool it is 503; with room again it is well, before anything is delivered."""
    with web() as (process, client, log):
        wait(lambda: takes(process, client, log, 1))
        own.kill()
        wait(lambda: client.get("/healthz").json() == {"status": "spooling", "redis": "down"})
        fill(disk)
        wait(lambda: client.post(**signed(2, 20_000)).status_code == 503)
        health = client.get("/healthz")
        assert (health.status_code, health.json()) == (503, {"status": "refusing", "redis": "down"})
        (disk / "filler").unlink()
        wait(lambda: client.get("/healthz").json() == {"status": "spooling", "redis": "down"})
        assert client.post(**signed(3)).json()["verdict"] == "spooled"


def test_bytes_are_reserved_once_and_kept(tmp_path) -> None:
    """What a file holds stays; one with a hole gets its bytes; over the limit of a file it is an OSError."""
    path = tmp_path / "file"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    os.ftruncate(descriptor, 100)
    assert os.fstat(descriptor).st_blocks == 0
    reserve(descriptor, 100)
    assert os.fstat(descriptor).st_blocks > 0
    os.pwrite(descriptor, b"kept", 10)
    reserve(descriptor, 5_000)
    assert path.read_bytes() == b"\0" * 10 + b"kept" + b"\0" * 4_986
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            reserve(descriptor, 7_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        os.close(descriptor)


def test_bytes_are_written_where_a_file_system_cannot_reserve(tmp_path, monkeypatch) -> None:
    """The same length, and what was there before."""

    def refuse(*_: int) -> None:
        raise OSError(95, os.strerror(95))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    path = tmp_path / "file"
    path.write_bytes(b"kept")
    with path.open("r+b") as file:
        reserve(file.fileno(), 10)
    assert path.read_bytes() == b"kept" + b"\0" * 6


def test_what_is_mapped_is_no_hole(tmp_path) -> None:
    """The flag of the spool and the witness's memory have their bytes of the disk from the start."""
    Flag(tmp_path / "spool.flag")
    Witness(tmp_path / "spool.ledger")
    assert all((tmp_path / name).stat().st_blocks for name in ("spool.flag", "spool.ledger"))


@pytest.mark.parametrize(
    ("memory", "disk_room", "where"), [(10**9, 0, "memory"), (0, 10**9, "disk"), (0, 0, "")]
)
def test_shared_counts_are_in_memory_else_on_the_disk_else_nowhere(
    tmp_path, monkeypatch, capsys, memory, disk_room, where
) -> None:
    """As there is room; without any they are not shared, which is said."""
    place = tmp_path / "shm"
    place.mkdir()
    monkeypatch.setattr(counts, "MEMORY", place)
    monkeypatch.setattr(counts, "MOUNTS", tmp_path / "mounts")
    (tmp_path / "mounts").write_text(f"shm {place} tmpfs rw 0 0\n")
    monkeypatch.setattr(counts, "_room", lambda at: memory if at == place else disk_room)
    with counts.shared_counts(tmp_path, 2) as given:
        found = given.get(counts.VARIABLE, "")
        parents = {"memory": [place], "disk": [tmp_path / ".zohook"], "": []}
        assert [Path(found).parent for _ in range(bool(found))] == parents[where]
    assert not found or not Path(found).exists()
    said = capsys.readouterr()
    assert ("metrics.not_shared" in said.out + said.err) == (where == "")


def test_one_process_needs_no_shared_counts(tmp_path) -> None:
    """Nothing is made for it."""
    with counts.shared_counts(tmp_path, 1) as given:
        assert given == {}
    assert list(tmp_path.iterdir()) == []

"""Threats from what we are made of and run in (S32 to S34): packages, the container, and what the server leaves on."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from security_kit import ROOT, until, web

from receiver.app import build
from receiver.cli.processes import serving
from receiver.intake.protocol import DoorProtocol
from receiver.ledger.embedded import Embedded
from tests.flow.test_door_holds import BOOKS, PATH, TOML, signature

if TYPE_CHECKING:
    from redis import Redis

    from tests.conftest import MakeSettings

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
REQUIRED = [Requirement(each) for each in PROJECT["project"]["dependencies"]]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = (ROOT / "deploy" / "compose.yml").read_text()

FLOORS = {
    # The oldest release without a known hole that we would be open to.
    "starlette": "1.3.1",  # CVE-2026-48710, PYSEC-2026-248, and form limits that hold
    "h11": "0.16.0",  # CVE-2025-43859
    "httptools": "0.6.3",  # CVE-2023-30589
    "redis": "4.5.5",  # CVE-2023-28859
    "pyjwt": "2.15.0",  # CVE-2026-102275 and its forerunners
    "anyio": "4.14.2",
    "rq": "3.0.0",
}
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^ \\]+)(?: ; ([^\\]+?))? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")


def locked(name: str) -> dict[str, tuple[Version, int]]:
    """Package -> (release, number of hashes) of a lock file, each of whose lines is one of the three that there may be."""
    found: dict[str, tuple[Version, int]] = {}
    last = ""
    for line in (ROOT / "deploy" / name).read_text().splitlines():
        if pinned := PINNED.match(line):
            last = canonicalize_name(pinned[1])
            found[last] = (Version(pinned[2]), 0)
        elif HASH.match(line):
            found[last] = (found[last][0], found[last][1] + 1)
        else:
            assert line.lstrip().startswith("#"), line
    return found


def test_s32_what_the_image_installs_is_pinned_with_hashes() -> None:
    """Both lock files name one release and at least one hash for each package, and are what pyproject.toml asks for."""
    packages, build = locked("requirements.lock"), locked("build.lock")
    assert len(packages) > len(REQUIRED)
    assert {name for name, (_, hashes) in {**packages, **build}.items() if not hashes} == set()
    for wanted in REQUIRED:
        release, _ = packages[canonicalize_name(wanted.name)]
        assert wanted.specifier.contains(release), f"{wanted}: {release} is locked; run deploy/lock.sh"
    for wanted in map(Requirement, PROJECT["build-system"]["requires"]):
        assert wanted.specifier.contains(build[canonicalize_name(wanted.name)][0])


def test_s32_nothing_below_a_known_floor_is_allowed() -> None:
    """For each package with known holes the oldest release that pyproject.toml takes, and the one that is locked, are without them."""
    packages = locked("requirements.lock")
    for name, floor in FLOORS.items():
        wanted = next(each for each in REQUIRED if canonicalize_name(each.name) == name)
        lowest = min(Version(each.version) for each in wanted.specifier if each.operator in {">=", "=="})
        assert lowest >= Version(floor), name
        assert packages[name][0] >= Version(floor)


def test_s32_the_image_installs_nothing_else() -> None:
    """Each pip of the Dockerfile checks hashes, or takes our own wheel and no dependency; nothing is fetched by another way."""
    installs = re.findall(r"pip (?:install|wheel) [^&\n]*", DOCKERFILE)
    assert len(installs) == 4
    for line in installs:
        assert "--require-hashes" in line or (
            "--no-deps" in line and ("--no-index" in line or "--no-build-isolation" in line)
        ), line
    assert not re.search(r"\b(curl|wget|apt-get|git clone|ADD)\b", DOCKERFILE)
    assert "deploy/audit.sh" in (ROOT / ".ci" / "run").read_text()


def test_s32_the_wheel_is_the_same_each_time(tmp_path: Path) -> None:
    """Built twice from the same tree it has the same digest, and holds only our package and the shipped handlers."""
    digests = set()
    for number in ("1", "2"):
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / number)]
        subprocess.run(
            command,
            cwd=ROOT,
            check=True,
            capture_output=True,
            env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"},
        )
        (wheel,) = (tmp_path / number).glob("*.whl")
        digests.add(hashlib.sha256(wheel.read_bytes()).hexdigest())
    assert len(digests) == 1
    names = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", str(wheel)], check=True, capture_output=True, text=True
    ).stdout
    tops = {line.split("/")[0] for line in names.splitlines()[1:]}
    assert {top for top in tops if not top.startswith("zohook-")} == {"receiver"}


def test_s33_the_container_may_do_as_little_as_it_can() -> None:
    """No root, no shell to log in with, a read-only root, no capabilities and no new privileges; one volume and a small tmpfs to write to."""
    last = DOCKERFILE.rsplit("\nFROM ", 1)[1]
    assert re.search(r"^USER 65532$", last, re.MULTILINE)
    assert "/usr/sbin/nologin" in last
    assert re.search(r'^ENTRYPOINT \["zohook"\]$', last, re.MULTILINE)
    assert re.search(r"^VOLUME /app/\.zohook$", last, re.MULTILINE)
    assert "pip uninstall" in DOCKERFILE
    shared = COMPOSE[COMPOSE.index("x-zohook:") : COMPOSE.index("services:")]
    for line in (
        "read_only: true", "cap_drop: [ALL]", "security_opt: [no-new-privileges:true]", 'user: "65532:65532"', "- state:/app/.zohook",
        'tmpfs: ["/tmp:noexec,nosuid,size=64m"]',
    ):  # fmt: skip
        assert line in shared, line
    for name in ("web", "worker", "clock"):
        service = re.search(rf"^  {name}:\n((?:    .*\n)+)", COMPOSE, re.MULTILINE)
        assert service
        assert "<<: *zohook" in service[1]
    assert not re.search(r"privileged: *true|docker\.sock|network_mode|pid: *host|cap_add", COMPOSE)
    published = re.findall(r'ports: \["([^"]+)"', COMPOSE)
    assert published
    assert all(each.startswith("127.0.0.1:") for each in published)
    assert not re.search(r"(password|secret|key): *[A-Za-z0-9]{8,}", COMPOSE, re.IGNORECASE)


POWERLESS = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
for capability in range(64):
    libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP, which does nothing for those who have none
libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Gives up every capability for good, so that permissions hold for root as well, and becomes the program that is named."""


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities are Linux's")
def test_s33_it_runs_where_nothing_else_can_be_written(
    settings: MakeSettings, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Without capabilities, in a folder that is read-only but for `.zohook`: a delivery is accepted, while Redis is dead it is spooled, and nothing
    else on disk has changed.
    """
    folder = tmp_path / "app"
    (folder / "handlers").mkdir(parents=True)
    (folder / "handlers" / "__init__.py").write_text("")
    (folder / "zohook.toml").write_text(TOML)
    (folder / ".zohook").mkdir(mode=0o700)
    log, temporary = tmp_path / "log", tmp_path / "tmp"
    log.mkdir()
    temporary.mkdir()
    before = sorted(each.relative_to(folder) for each in folder.rglob("*"))
    for each in (folder / "handlers", folder):
        each.chmod(0o555)
    given = {
        "ZOHOOK_KEY": settings().key, "ZOHOOK_SECRET_BOOKS": BOOKS, "HOME": "/nonexistent", "TMPDIR": str(temporary),
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip

    def deliver(url: str, number: int) -> str:
        body = b'{"invoice": {"invoice_id": %d}}' % number
        answer = httpx.post(
            url + PATH,
            content=body,
            headers={"X-Zoho-Webhook-Signature": signature(body)},
            trust_env=False,
            timeout=10,
        )
        return str(answer.json()["verdict"])

    try:
        with Embedded(tmp_path_factory.mktemp("own"), share=False) as server:
            given["ZOHOOK_REDIS__URL"] = server.url
            with web(
                folder, log=log / "web.log", before=[sys.executable, "-c", POWERLESS], **given
            ) as running:
                capabilities = re.search(
                    r"CapEff:\s*(\w+)", Path(f"/proc/{running.process.pid}/status").read_text()
                )
                assert capabilities
                assert int(capabilities[1], 16) == 0
                assert deliver(running.url, 1) == "accepted"
                server.kill()
                assert until(lambda: deliver(running.url, 2)) == "spooled"
        after = sorted(each.relative_to(folder) for each in folder.rglob("*"))
        assert [each for each in after if each.parts[0] != ".zohook"] == [
            each for each in before if each.parts[0] != ".zohook"
        ]
        assert any(each.name == "spool.sqlite3" for each in after)
        assert list(temporary.iterdir()) == []
    finally:
        folder.chmod(0o755)
        (folder / "handlers").chmod(0o755)
        shutil.rmtree(folder)


def test_s34_nothing_is_left_on(settings: MakeSettings, redis_server: Embedded, redis: Redis) -> None:
    """The server speaks HTTP/1.1 by our own protocol and nothing else: no websockets, no HTTP/2, no access log, no name of its own."""
    redis.config_set("appendonly", "yes")
    config: Any = serving(build(settings(redis={"url": redis_server.url})))
    config.load()
    assert issubclass(config.http_protocol_class, DoorProtocol)
    assert (config.ws, config.ws_protocol_class) == ("none", None)
    assert (config.server_header, config.access_log, config.proxy_headers) == (False, False, False)

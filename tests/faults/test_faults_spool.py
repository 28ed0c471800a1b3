"""Faults of the spool: the disk of a host on which deliveries wait while Redis is away."""

from __future__ import annotations

import os
import random
import resource
import secrets
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from faults_power import Disk, compiled
from faults_rig import ROOT, eventually
from faults_verdict import judge

from receiver.intake.spoolfile import Flag, Row, SpoolFile

if TYPE_CHECKING:
    from pathlib import Path

    from faults_rig import House
    from faults_verdict import Tally

fault = pytest.mark.fault
WRITER = """
import os, sys
from pathlib import Path
from receiver.intake.spoolfile import Flag, Row, SpoolFile
path = Path(sys.argv[1])
file = SpoolFile(path, Flag(path.with_suffix(".flag")))
file._connection.execute(f"PRAGMA synchronous = {sys.argv[2]}")
file.insert([Row(1, b"head", b"body")], 10**6)
os.kill(os.getpid(), 9)
"""


def made_anew(house: House) -> Path:
    """The file of the spool, which the next web process makes; there is none just now."""
    house.with_only(worker=1)
    spool = house.spool
    for file in spool.parent.glob(f"{spool.name}*"):
        file.unlink()
    return spool


@fault("F7 spool", "power cut: what was not synced of the spool is gone", short=1, long=50)
def test_f7_spool_power_cut(house: House, tally: Tally, tmp_path: Path, long: bool) -> None:
    """Nothing that was answered 200 with Redis away is lost, whatever reached the disk of what was not synced.

    In the long form also with a spool that is written back into its file, that is drained just then, and whose pages of later
    are there in part.
    """
    library, spool = compiled("fsyncs", tmp_path), house.spool
    for turn in range(tally.count):
        if turn % 5:
            house.with_only(worker=1)
        else:
            made_anew(house)
        disk = Disk(spool.parent, library, tmp_path / f"images{turn}")
        web = house.start("web", environment=disk.environment)
        house.server.kill()
        pad = secrets.token_hex(random.choice((0, 30_000)) if long else 0)
        house.load.begin(150, event="contact.created", pad=pad)
        eventually(lambda: len(house.load.sent) > 60 and house.load.sent[40].verdict == "spooled")
        if turn % 2:
            house.server.start()
            time.sleep(random.uniform(0, 1.5))
        elif long:
            time.sleep(random.uniform(0, 2))
        web.kill()
        assert disk.synced(f"{spool.name}-wal"), "the library saw no sync"
        disk.cut(survive=random.choice((0, 0.1, 0.5, 0.9)) if long else 0)
        tally.injected += 1
        if not house.server.alive():
            house.server.start()
        began = time.monotonic()
        house.start("web")
        sent = house.load.end()
        assert {each.status for each in sent} == {200}
        tally.take(sent, judge(house, sent))
        tally.recoveries.append(time.monotonic() - began)


@fault("F14 spool", "disk full under the spool", short=1, long=10)
def test_f14_spool_disk_full(house: House, tally: Tally) -> None:
    """With Redis away it is 503 then, and no promise; with room again deliveries wait there as before, and are handled.

    Twice: with room first, and with Redis back first, which takes them while the spool cannot.
    """
    for first, second in (("room", "redis"), ("redis", "room")) * tally.count:
        spool = made_anew(house)
        house.with_only(web=1, worker=1)
        (web,) = house.living("web")
        house.server.kill()
        house.load.begin(60, event="contact.created")
        eventually(lambda: house.load.latest == "spooled")
        size = spool.with_name(f"{spool.name}-wal").stat().st_size
        resource.prlimit(web.pid, resource.RLIMIT_FSIZE, (size + 2_000, -1))  # less than a page
        tally.injected += 1
        eventually(lambda: len([each for each in house.load.sent if "503" in each.failures]) > 3)
        refused = [each for each in house.load.sent if "503" in each.failures]
        time.sleep(0.3)
        assert not any(each.accepted for each in refused)
        for back in (first, second):
            if back == "redis":
                house.server.start()
            else:
                resource.prlimit(web.pid, resource.RLIMIT_FSIZE, (-1, -1))
            began = time.monotonic()
            eventually(lambda refused=refused: all(each.accepted for each in refused))
            if back == first:
                tally.recoveries.append(time.monotonic() - began)
        if first == "room":
            assert {each.verdict for each in refused} == {"spooled"}
        eventually(lambda: house.load.latest == "accepted")
        sent = house.load.end()
        assert web.alive
        assert {each.status for each in sent} == {200}
        assert {failure for each in sent for failure in each.failures} == {"503"}
        tally.take(sent, judge(house, sent))


@pytest.mark.parametrize(("synchronous", "left"), [("FULL", 1), ("NORMAL", 0), ("OFF", 0)])
def test_a_spool_that_does_not_sync_loses_what_it_was_told(
    tmp_path: Path, synchronous: str, left: int
) -> None:
    """Without it the power cut of the spool would prove nothing."""
    spool = tmp_path / "spool" / "spool.sqlite3"
    spool.parent.mkdir()
    disk = Disk(spool.parent, compiled("fsyncs", tmp_path), tmp_path / "images")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **disk.environment}
    words = [sys.executable, "-P", "-c", WRITER, str(spool), synchronous]
    assert subprocess.run(words, env=environment, check=False).returncode == -signal.SIGKILL
    disk.cut()
    with SpoolFile(spool, Flag(spool.with_suffix(".flag"))) as file:
        assert file.depth().depth == left


def test_the_verdict_sees_what_waits_in_the_spool(house: House) -> None:
    """Without it no row would prove that the spool is drained: a delivery that waits there is open, and so is a quarantined one."""
    house.with_only(worker=1)
    assert not judge(house, []).wrong()
    with SpoolFile(house.spool, Flag(house.spool.with_suffix(".flag"))) as file:
        file.insert([Row(1, b"head", b"body")], 10**6)
        assert judge(house, [], within=0).wrong() == {"open": ["1 wait in the spool"]}
        assert not judge(house, [], within=0, busy=True).wrong()
        (row,) = file.oldest(1, 1)
        file.failed(row, "it cannot be read", 1)
        assert judge(house, [], within=0).wrong() == {"open": ["1 are quarantined in the spool"]}
        file.release()
        file.done(file.oldest(1, 1))
    assert not judge(house, []).wrong()

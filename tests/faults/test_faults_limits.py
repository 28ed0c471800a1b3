"""What the machine refuses: a worker that may start nothing more."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from faults_rig import eventually, no_more_processes
from faults_verdict import begun, judge

from receiver.ledger import read

if TYPE_CHECKING:
    from faults_rig import House
    from faults_verdict import Tally

fault = pytest.mark.fault


@fault("F24", "no more threads and processes for a worker", short=1, long=20)
def test_f24_no_more_processes(house: House, tally: Tally) -> None:
    """What needs one is kept, and run once there is one; no death is counted that was none."""
    for _ in range(tally.count):
        house.with_only(web=1, worker=1)
        (worker,) = house.living("worker")
        first = house.load.send(2)
        tally.take(first, judge(house, first))
        with no_more_processes(worker) as held:
            if not held:
                pytest.skip("no control group for processes can be made here")
            tally.injected += 1
            apart = house.load.send(3, event="vendorpayment.created", **{"for": 0.05})
            plain = house.load.send(5)
            time.sleep(2)
            assert not any(begun(house, "begin_alone", each) for each in apart)
        began = time.monotonic()
        if not worker.alive:
            house.start("worker")
        tally.take(plain, judge(house, plain))
        eventually(lambda apart=apart: all(begun(house, "alone", each) for each in apart), 60)
        tally.recoveries.append(time.monotonic() - began)
        assert read.states(house.redis)["dead"] == 0
        assert all(len(begun(house, "alone", each)) == 1 for each in apart)

"""The witness: a ledger that was emptied, exchanged or set back is found out, counted exactly once, and goes on by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import orjson
import pytest

from receiver import keys, metrics
from receiver.dashboard import queries
from receiver.event import Delivery, Event, new_id, now_ms
from receiver.ledger import condition, read
from receiver.ledger.accept import Record, accept
from receiver.ledger.witness import EPOCH, Witness

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis


@pytest.fixture
def witness(tmp_path: Path, redis: Redis) -> Witness:
    """The witness of a host that has met its ledger."""
    made = Witness(tmp_path / "spool" / "spool.ledger")
    assert made.look(redis) == ""
    return made


def take(redis: Redis, witness: Witness | None, count: int) -> list[str]:
    """Accept so many events; their ids."""
    ids = []
    for _ in range(count):
        event = Event(id=new_id(), type="crm.Deals.updated", source="crm", data={}, received=now_ms())
        accept(redis, [Record(Delivery.arrive("crm", b"{}"), "accepted", events=[event])], witness=witness)
        ids.append(event.id)
    return ids


def sequences(redis: Redis) -> list[int]:
    """The sequences of all events that are there."""
    return sorted(
        int(redis.hget(keys.event(each.decode()), "seq")) for each in redis.zrange(keys.events(), 0, -1)
    )


def breaks_counted(kind: str) -> float:
    """What this process's metric says."""
    return metrics.LEDGER_BREAKS.labels(kind)._value.get()


def test_an_untouched_ledger_gives_no_alarm(redis, witness) -> None:
    """The epoch is made once and stays, and the highest sequence is remembered."""
    take(redis, witness, 3)
    epoch = redis.get(keys.epoch())
    assert len(epoch) == EPOCH
    assert witness.look(redis) == ""
    assert (witness.epoch, witness.told) == (epoch.decode(), 3)
    assert condition.breaks(redis) == []
    assert queries.alarm(redis) == ""


@pytest.mark.parametrize("first", ["look", "accept"])
def test_an_emptied_redis_is_found_out_and_goes_on(redis, witness, first) -> None:
    """FLUSHALL is told once, whatever comes first after it; the next event has a sequence that was never given."""
    take(redis, witness, 5)
    old = witness.epoch
    redis.flushall()
    if first == "accept":
        take(redis, witness, 1)
        assert witness.look(redis) == ""
    else:
        assert witness.look(redis) == "emptied"
        take(redis, witness, 1)
    assert witness.epoch not in {"", old}
    assert sequences(redis) == [6]
    (found,) = condition.breaks(redis)
    assert (found.kind, found.missing) == ("emptied", 0)
    assert "emptied" in queries.alarm(redis)


def test_a_ledger_set_back_counts_what_is_missing_exactly(redis, witness, tmp_path, capsys) -> None:
    """Two processes of one host, four events lost: counted once, by the accept that comes first, and no number is given twice."""
    other = Witness(tmp_path / "spool" / "spool.ledger")
    take(redis, witness, 6)
    lost = take(redis, other, 3) + take(redis, witness, 1)
    for each in lost:
        redis.zrem(keys.events(), each)
        redis.delete(keys.event(each))
    redis.set(keys.sequence(), 6)
    before = breaks_counted("behind")
    take(redis, other, 1)
    take(redis, witness, 1)
    assert (witness.look(redis), other.look(redis)) == ("", "")
    assert sequences(redis) == [1, 2, 3, 4, 5, 6, 11, 12]
    (found,) = condition.breaks(redis)
    assert (found.kind, found.missing) == ("behind", 4)
    assert read.totals(redis)["missing"] == 4
    assert breaks_counted("behind") == before + 1
    assert "4 accepted events are missing" in queries.alarm(redis)


def test_another_ledger_is_no_loss_of_numbers(redis, witness) -> None:
    """A Redis with a ledger of its own is told as another one; a host that comes later and knew the first is not counted again."""
    take(redis, witness, 9)
    redis.flushall()
    redis.set(keys.epoch(), "f" * EPOCH)
    redis.set(keys.sequence(), 4)
    assert witness.look(redis) == "other"
    assert witness.look(redis) == ""
    take(redis, witness, 1)
    assert sequences(redis) == [10]
    assert [(each.kind, each.missing) for each in condition.breaks(redis)] == [("other", 0)]


def test_the_memory_outlives_every_process_of_the_host(redis, witness, tmp_path) -> None:
    """A new process knows what one that was killed had been told."""
    path = tmp_path / "spool" / "spool.ledger"
    code = (
        "import os, signal, sys; from pathlib import Path; from receiver.ledger.witness import Witness\n"
        "Witness(Path(sys.argv[1])).note(4711); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False, env={**os.environ})
    assert witness.told == 4711
    assert Witness(path).told == 4711
    assert witness.look(redis) == "behind"
    assert condition.breaks(redis)[0].missing == 4711


def test_two_processes_never_write_one_place(tmp_path) -> None:
    """Each has a slot of its own while it lives, so that neither takes the other's number back."""
    path = tmp_path / "spool.ledger"
    code = (
        "import sys; from pathlib import Path; from receiver.ledger.witness import Witness\n"
        "one = Witness(Path(sys.argv[1])); print(one._place, flush=True); sys.stdin.read()"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(3)
    ]
    places = {each.stdout.readline() for each in running}
    for each in running:
        each.communicate()
    assert len(places) == 3


@pytest.mark.parametrize("harm", ["garbage", "folder", "read-only"])
def test_a_damaged_or_missing_memory_stops_nothing(redis, tmp_path, harm) -> None:
    """The ledger takes events as before; a number that cannot be is not believed."""
    path = tmp_path / "spool.ledger"
    if harm == "garbage":
        path.write_bytes(b"\xff" * 1000)
    elif harm == "folder":
        path.mkdir()
    else:
        path = tmp_path / "file" / "spool.ledger"
        path.parent.write_bytes(b"")
    made = Witness(path)
    made.look(redis)
    take(redis, made, 2)
    assert made.look(redis) == ""
    assert sequences(redis) == [1, 2]


def test_breaks_are_few_whatever_happens(redis, witness) -> None:
    """Two ledgers behind one address would fill Redis with news of it; a thousand are enough."""
    redis.hset(keys.breaks(), mapping={f"x{each}": orjson.dumps({}) for each in range(1000)})
    redis.delete(keys.epoch())
    assert witness.look(redis) == "emptied"
    assert redis.hlen(keys.breaks()) == 1000

"""The door's own connection to Redis: as redis-py would connect, and no answer is ever taken for another call's; and how many go together."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import redis.exceptions

from receiver.event import Delivery, Event, new_id
from receiver.intake import committer
from receiver.intake.committer import Committer
from receiver.intake.spool import Spool
from receiver.ledger.accept import Answer, Record
from receiver.ledger.connect import connect_door
from receiver.ledger.embedded import Embedded
from receiver.ledger.line import Line, Packed
from receiver.ledger.witness import Witness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from tests.conftest import MakeSettings


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A Redis that a test may freeze and lock."""
    with Embedded(tmp_path_factory.mktemp("own"), share=False) as server:
        yield server


def packed() -> Packed:
    """A delivery with one event, as it is sent."""
    delivery = Delivery.arrive("crm", b'{"\xc3\xa4": 1}')
    event = Event(id=new_id(), type="crm.Deals.updated", source="crm", data={"ä": 1}, received=1)
    return Packed.of(Record(delivery, "accepted", events=[event]))


@asynccontextmanager
async def line(settings: MakeSettings, url: str, deadline: float = 2) -> AsyncIterator[Line]:
    """A line to that Redis."""
    known = settings("", redis={"url": url, "deadline": deadline})
    made = Line(connect_door(known), Witness.of(known), again=30, cap=10, deadline=deadline)
    try:
        yield made
    finally:
        await made.close()


def new(batch: list[Packed]) -> list[Answer]:
    """The answers to a batch that was not there before."""
    return [Answer((each.record.events[0].id,), ()) for each in batch]


def test_it_connects_as_the_url_says(settings: MakeSettings, own: Embedded) -> None:
    """Password and database of the URL count, and so does losing either."""

    async def said() -> None:
        locked = f"{own.url}{'&' if '?' in own.url else '?'}db=3&password=sesame"
        async with line(settings, locked) as ours:
            batch = [packed(), packed()]
            assert await ours.accept(batch) == new(batch)
        async with line(settings, own.url) as ours:
            with pytest.raises(redis.exceptions.ConnectionError):
                await ours.accept([packed()])

    with own.client() as client:
        client.config_set("requirepass", "sesame")
        try:
            asyncio.run(said())
            client.select(3)
            assert client.dbsize() > 0
        finally:
            client.config_set("requirepass", "")


def test_a_connection_that_died_and_a_script_that_is_gone_cost_no_delivery(
    settings: MakeSettings, own: Embedded
) -> None:
    """Redis may have been started again since: the next call connects anew and loads the script."""

    async def said() -> None:
        async with line(settings, own.url) as ours:
            for _ in range(3):
                batch = [packed()]
                assert await ours.accept(batch) == new(batch)
                own.kill()
                await asyncio.to_thread(own.start)

    asyncio.run(said())


def test_a_late_answer_is_never_the_next_calls(settings: MakeSettings, own: Embedded) -> None:
    """What misses its deadline is told so in time, and its answer, when it comes, is nobody's."""

    async def said() -> None:
        async with line(settings, own.url, deadline=0.3) as ours:
            first, second = [packed(), packed()], [packed()]
            assert await ours.accept([packed()])
            os.kill(own.pid, signal.SIGSTOP)
            try:
                started = asyncio.get_running_loop().time()
                with pytest.raises(TimeoutError):
                    await ours.accept(first)
                assert asyncio.get_running_loop().time() - started < 1
            finally:
                os.kill(own.pid, signal.SIGCONT)
            assert await ours.accept(second) == new(second)
            assert await ours.accept(first) == new(first)

    asyncio.run(said())


def test_a_refusal_is_an_answer_and_costs_no_connection(settings: MakeSettings, own: Embedded) -> None:
    """While Redis is full each call is refused in words; afterwards it goes on over the same connection."""

    async def said(client: Any) -> None:
        async with line(settings, own.url) as ours:
            await ours.accept([packed()])
            connected = client.info("stats")["total_connections_received"]
            client.config_set("maxmemory", 1)
            with pytest.raises(redis.exceptions.ResponseError):
                await ours.accept([packed()])
            client.config_set("maxmemory", 0)
            batch = [packed()]
            assert await ours.accept(batch) == new(batch)
            assert client.info("stats")["total_connections_received"] == connected

    with own.client() as client:
        asyncio.run(said(client))


class Told(Line):
    """A line that remembers how many came together."""

    sizes: tuple[int, ...] = ()

    async def accept(self, batch: Sequence[Packed]) -> list[Answer]:
        self.sizes += (len(batch),)
        return await super().accept(batch)


@pytest.mark.parametrize(("quick", "sizes"), [(60, (64, *[32] * 18)), (-60, (64,) * 10)])
def test_while_redis_is_quick_half_of_what_is_under_way_is_written_at_a_time(
    settings: MakeSettings,
    own: Embedded,
    monkeypatch: pytest.MonkeyPatch,
    quick: float,
    sizes: tuple[int, ...],
) -> None:
    """Of 64 senders that ask on as soon as they are answered; where Redis is slow all go together, for then its fsync counts."""
    monkeypatch.setattr(committer, "QUICK", quick)

    async def sends(ours: Committer) -> None:
        for _ in range(10):
            answer = await ours.commit(packed().record)
            assert answer
            assert answer.new

    async def said() -> Told:
        known = settings("", redis={"url": own.url})
        told = Told(connect_door(known), Witness.of(known), again=30, cap=10, deadline=10)
        ours = Committer(told, Spool.of(known))
        await asyncio.gather(*(sends(ours) for _ in range(64)))
        await ours.close()
        return told

    assert asyncio.run(said()).sizes == sizes

"""Group commit: deliveries that arrive while a write is under way share the next one, or where Redis is quick the next two, and with each
one fsync.

What Redis does not take goes to the spool, and so does everything behind it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

from redis.exceptions import RedisError, ResponseError

from receiver import logs
from receiver.errors import LedgerUnavailable
from receiver.intake.faults import is_everyones
from receiver.ledger.line import Packed

if TYPE_CHECKING:
    from receiver.intake.spool import Spool
    from receiver.ledger.accept import Answer, Record
    from receiver.ledger.line import Line

log = logs.get("committer")
MOST, LARGEST = 128, 4 * 2**20
FEW = 16
"""So many are written together in any case."""
QUICK, EACH = 0.005, 0.0001
"""A write is quick that takes no longer than so many seconds, and so many more for each record. Where it is not, its fsync is slow, and
counts for more than what can be done meanwhile.
"""
WAITING = 10_000
"""How many records may wait for a write: what comes beyond it goes to the spool rather than let the process grow without bound."""
QUIET = 1.0
"""For how long after a failure nothing is written that nobody waits for."""
Waiting = tuple[Packed, "asyncio.Future[Answer] | None"]


class Committer:
    """Writes records into the ledger, in batches of at most 128 or 4 MiB, or into the spool."""

    def __init__(self, line: Line, spool: Spool) -> None:
        self._line, self._spool = line, spool
        self._waiting: deque[Waiting] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._failed = 0.0
        self._at_a_time = MOST

    async def commit(self, record: Record) -> Answer | None:
        """Keep a record. What became of it in the ledger; None where it is in the spool. Raises LedgerUnavailable where neither took it."""
        spool = self._spool
        if not spool.first:
            try:
                return await self._to_ledger(record)
            except LedgerUnavailable:
                await spool.put(record)
                return None
        try:
            await spool.put(record)
        except LedgerUnavailable:
            if spool.divert:
                raise
            # Better out of its order than not kept: Redis may be back already and the spool only be full.
            return await self._to_ledger(record)
        return None

    def _to_ledger(self, record: Record) -> asyncio.Future[Answer]:
        if len(self._waiting) >= WAITING:
            raise LedgerUnavailable("too many deliveries wait for Redis")
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._put(record, future)
        return future

    def note(self, record: Record) -> None:
        """Keep a record if it can be had; nobody waits for it, and it is never spooled."""
        if len(self._waiting) < WAITING // 10 and time.monotonic() - self._failed > QUIET:
            self._put(record, None)

    def _put(self, record: Record, future: asyncio.Future[Answer] | None) -> None:
        self._waiting.append((Packed.of(record), future))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._waiting:
                began = time.monotonic()
                batch = self._batch()
                await self._write_batch(batch)
                self._at_a_time = self._half(len(batch), time.monotonic() - began)
        finally:
            self._writer = None

    def _half(self, answered: int, took: float) -> int:
        """How many to write next: while Redis is quick, half of what is under way, answered just now or waiting. So Redis has one half
        while this process is at work for the other; with a larger part Redis would be waited for, and then wait itself.
        """
        if took > QUICK + EACH * answered:
            return MOST
        return min(MOST, max(FEW, (answered + len(self._waiting) + 1) // 2))

    def _batch(self) -> list[Waiting]:
        batch = [self._waiting.popleft()]
        size = len(batch[0][0].raw)
        while self._waiting and len(batch) < self._at_a_time:
            size += len(self._waiting[0][0].raw)
            if size > LARGEST:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _write_batch(self, batch: list[Waiting]) -> None:
        try:
            answers = await self._line.accept([packed for packed, _ in batch])
        except ResponseError as error:
            if is_everyones(error):
                self._away(batch, error)
            elif len(batch) > 1:  # one bad record must not fail the others
                for each in batch:
                    await self._write_batch([each])
            else:
                self._fail(batch, error)
        except (RedisError, OSError, TimeoutError) as error:
            self._away(batch, error)
        except BaseException as error:
            self._fail(batch, error)
            raise
        else:
            for (_, future), answer in zip(batch, answers, strict=True):
                if future is not None and not future.done():
                    future.set_result(answer)

    def _away(self, batch: list[Waiting], error: Exception) -> None:
        """Redis takes nothing now. Whoever waits behind this batch has waited long enough, too."""
        self._failed = time.monotonic()
        behind = list(self._waiting)
        self._waiting.clear()
        self._fail(batch + behind, error)

    def _fail(self, batch: list[Waiting], error: BaseException) -> None:
        log.error("ledger.unavailable", deliveries=len(batch), error=f"{type(error).__name__}: {error}")
        for _, future in batch:
            if future is not None and not future.done():
                future.set_exception(
                    LedgerUnavailable(f"Redis did not keep the delivery: {type(error).__name__}")
                )

    async def close(self) -> None:
        """Write what waits, then let go of the connection."""
        if self._writer is not None:
            await asyncio.wait({self._writer}, timeout=self._line.deadline * 2)
        await self._line.close()

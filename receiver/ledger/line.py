"""The door's own connection to Redis: batches packed by hand, one call at a time, and closed rather than given up half way."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import hiredis
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import NoScriptError, ResponseError

from receiver.ledger.accept import BEHIND, SLIPS, answers, head
from receiver.ledger.script import text_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from redis.asyncio import Redis

    from receiver.ledger.accept import Answer, Record
    from receiver.ledger.script import Argument
    from receiver.ledger.witness import Witness


class Packed(NamedTuple):
    """A record with its arguments as Redis reads them, made while another batch is under way."""

    record: Record
    size: int
    raw: bytes

    @classmethod
    def of(cls, record: Record) -> Packed:
        """Pack a record."""
        args = record.args()
        return cls(record, len(args), _packed(args))


class Line:
    """Calls `accept.lua`. It has redis-py's own way of connecting; only what is sent and read is ours.

    `deadline` in seconds is for a whole call, connecting included. The `witness` hears the sequence, and counts what is missing
    before a ledger that is behind takes anything.
    """

    def __init__(
        self, redis: Redis, witness: Witness, *, again: float, cap: int, deadline: float, slips: int = SLIPS
    ) -> None:
        self._redis, self._witness, self.deadline = redis, witness, deadline
        self._head = partial(head, again=again, cap=cap, slips=slips)
        pool = redis.connection_pool
        # `deadline` is over all; redis-py's own time-out would make a task of each write.
        self._connection = pool.connection_class(**{**pool.connection_kwargs, "socket_timeout": None})

    async def accept(self, batch: Sequence[Packed]) -> list[Answer]:
        """What became of each record: all are kept, or none. Raises RedisError, OSError or TimeoutError."""
        records = [packed.record for packed in batch]
        async with asyncio.timeout(self.deadline):
            found = await self._call(batch, self._head(records, self._witness.told))
            if found == BEHIND:
                await self._witness.alook(self._redis)
                found = await self._call(batch, self._head(records, 0))
        self._witness.note(int(found[-1]))
        return answers(records, found)

    async def _call(self, batch: Sequence[Packed], args: Sequence[Argument]) -> Any:
        count = len(args) + sum(packed.size for packed in batch)
        raw = b"".join([_packed(args), *(packed.raw for packed in batch)])
        text, digest = text_of("accept")
        try:
            return await self._again_if_cut(count, "EVALSHA", digest, raw)
        except NoScriptError:
            return await self._again_if_cut(count, "EVAL", text, raw)

    async def _again_if_cut(self, count: int, command: str, script: str, raw: bytes) -> Any:
        """An answer, asked for once more where the connection turns out to be dead: the script does nothing twice."""
        said = b"*%d\r\n%b%b" % (count + 3, _packed([command, script, 0]), raw)
        had = self._connection.is_connected
        try:
            return await self._ask(said)
        except ConnectionLost:
            if not had:
                raise
            return await self._ask(said)

    async def _ask(self, said: bytes) -> Any:
        connection = self._connection
        try:
            await connection.send_packed_command(said, check_health=False)
            return await connection.read_response()
        except ResponseError:  # an answer, too
            raise
        except BaseException:
            # Its deadline is over, or the process stops: a late answer must not be read as that of the next call.
            await connection.disconnect(nowait=True)
            raise

    async def close(self) -> None:
        """Let go of the connection."""
        await self._connection.disconnect()
        await self._redis.aclose()


def _packed(args: Sequence[Argument]) -> bytes:
    """The arguments without the line that says how many they are."""
    packed: bytes = hiredis.pack_command(tuple(args))  # type: ignore[arg-type] # its own annotation is of a tuple of one
    return packed[packed.index(b"\n") + 1 :]

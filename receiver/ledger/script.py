"""The Lua scripts: one file each, loaded once, called by their digest; the keys come from `receiver.keys`."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError

from receiver import keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

Argument = str | bytes | int | float


@cache
def _text(name: str) -> tuple[str, str]:
    folder = files("receiver.ledger") / "scripts"
    body = (folder / "common.lua").read_text() + (folder / f"{name}.lua").read_text()
    text = keys.lua_prelude(set(re.findall(r"\bK\.(\w+)", body))) + body
    return text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def call(redis: Redis, name: str, *args: Argument) -> Any:
    """The answer of the script `scripts/NAME.lua`, loaded into Redis when it is not there."""
    text, digest = _text(name)
    try:
        return redis.evalsha(digest, 0, *args)
    except NoScriptError:
        return redis.eval(text, 0, *args)


def call_many(redis: Redis, name: str, batch: Sequence[Sequence[Argument]]) -> list[Any]:
    """The answers of one script for many sets of arguments, in one round trip and so with one fsync.

    An error of one is its answer, so that it does not take the others with it.
    """
    if len(batch) == 1:
        return [call(redis, name, *batch[0])]
    _, digest = _text(name)
    pipe = redis.pipeline(transaction=False)
    for args in batch:
        pipe.evalsha(digest, 0, *args)
    found = pipe.execute(raise_on_error=False)
    return [
        call(redis, name, *args) if isinstance(answer, NoScriptError) else answer
        for args, answer in zip(batch, found, strict=True)
    ]


async def acall(redis: AsyncRedis, name: str, *args: Argument) -> Any:
    """`call` for the door."""
    text, digest = _text(name)
    try:
        return await redis.evalsha(digest, 0, *args)
    except NoScriptError:
        return await redis.eval(text, 0, *args)


def iso() -> str:
    """Now as RQ writes times: scripts in Redis 6.2 have no calendar of their own."""
    return f"{datetime.now(UTC).isoformat(timespec='microseconds')[:-6]}Z"

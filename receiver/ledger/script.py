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
END = """
local answer = script()
write_indexes()
flush_counts()
return answer
"""


@cache
def text_of(name: str) -> tuple[str, str]:
    """A script and its digest: what all of them share, what its first comment says that it uses, and itself as a function, for
    the indexes and counters are written when it is over.
    """
    folder = files("receiver.ledger") / "scripts"
    own = (folder / f"{name}.lua").read_text()
    shared = [
        (folder / f"{each}.lua").read_text()
        for each in ("common", *re.findall(r"^-- .*\bUses (\w+)\.lua", own, re.MULTILINE))
    ]
    body = "\n".join([*shared, "local function script()", own, "end", END])
    text = keys.lua_prelude(set(re.findall(r"\bK\.(\w+)", body))) + body
    return text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def call(redis: Redis, name: str, *args: Argument) -> Any:
    """The answer of the script `scripts/NAME.lua`, loaded into Redis when it is not there."""
    text, digest = text_of(name)
    try:
        return redis.evalsha(digest, 0, *args)
    except NoScriptError:
        return redis.eval(text, 0, *args)


def call_together(redis: Redis, calls: Sequence[tuple[str, Sequence[Argument]]]) -> list[Any]:
    """The answers of several scripts in one round trip and so with one fsync; an error of one is its answer."""
    pipe = redis.pipeline(transaction=False)
    for name, args in calls:
        pipe.evalsha(text_of(name)[1], 0, *args)
    found = pipe.execute(raise_on_error=False)
    return [
        call(redis, name, *args) if isinstance(answer, NoScriptError) else answer
        for (name, args), answer in zip(calls, found, strict=True)
    ]


async def acall(redis: AsyncRedis, name: str, *args: Argument) -> Any:
    """`call` for the door."""
    text, digest = text_of(name)
    try:
        return await redis.evalsha(digest, 0, *args)
    except NoScriptError:
        return await redis.eval(text, 0, *args)


def iso() -> str:
    """Now as RQ writes times: scripts in Redis 6.2 have no calendar of their own."""
    return f"{datetime.now(UTC).isoformat(timespec='microseconds')[:-6]}Z"

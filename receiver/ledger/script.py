"""The Lua scripts: one file each, loaded once, called by their digest; the keys come from `receiver.keys`."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import NoScriptError, ResponseError
from redis.exceptions import TimeoutError as TookTooLong

from receiver import keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

Argument = str | bytes | int | float
ALONE = "local answers = scripts[1](ARGV)"
TOGETHER = """
local answers, at = {}, 1
for place, script in ipairs(scripts) do
  local size, args = tonumber(ARGV[at]), {}
  for index = 1, size do args[index] = ARGV[at + index] end
  at = at + size + 1
  local answer = each(script, args)
  answers[place] = type(answer) == 'table' and answer or { answer }
end
"""
SHARED = ("common", "slips", "jobs")
END = "write_indexes() write_slips() flush_counts() return answers"


@cache
def text_of(*names: str) -> tuple[str, str]:
    """The text and digest of a script, or of several as one: what they share, then each as a function of its arguments.

    They share SHARED, and what their first comments say that they use. Indexes and counters are written when all are over.
    """
    folder = files("receiver.ledger") / "scripts"
    own = [(folder / f"{name}.lua").read_text() for name in names]
    used = [each for text in own for each in re.findall(r"^-- .*\bUses (\w+)\.lua", text, re.MULTILINE)]
    shared = [(folder / f"{each}.lua").read_text() for each in dict.fromkeys([*SHARED, *used])]
    functions = ",\n".join(f"function(ARGV)\n{text}\nend" for text in own)
    how = ALONE if len(names) == 1 else TOGETHER
    body = "\n".join([*shared, "local scripts = {", functions, "}", how, END])
    text = keys.lua_prelude(set(re.findall(r"\bK\.(\w+)", body))) + body
    return text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def call(redis: Redis, name: str, *args: Argument) -> Any:
    """The answer of the script `scripts/NAME.lua`, loaded into Redis when it is not there."""
    return _run(redis, text_of(name), args)


def send_as_one(
    redis: Redis, calls: Sequence[tuple[str, Sequence[Argument]]]
) -> Callable[[], list[list[Any]]]:
    """Send some scripts, to be run as one, each with its own arguments. What is returned waits for their answers, flat lists, and
    must be called once.

    It raises ResponseError where one of them failed; what the others wrote is written.
    """
    script = text_of(*(name for name, _ in calls))
    if len(calls) == 1:
        alone = _send(redis, script, calls[0][1])
        return lambda: [alone()]
    together = _send(redis, script, [arg for _, own in calls for arg in (len(own), *own)])

    def heard() -> list[list[Any]]:
        answers: list[list[Any]] = together()
        for (name, _), answer in zip(calls, answers, strict=True):
            if len(answer) == 1 and str(answer[0]).startswith("b'error: "):
                raise ResponseError(f"{name}: {answer[0].decode('utf-8', 'replace')}")
        return answers

    return heard


def _send(redis: Redis, script: tuple[str, str], args: Sequence[Argument]) -> Callable[[], Any]:
    """Like `_run`, but its answer is waited for later. Where the connection fails it is asked again, as patiently as ever."""
    pool = redis.connection_pool
    connection = pool.get_connection()
    try:
        connection.send_command("EVALSHA", script[1], 0, *args)  # type: ignore[no-untyped-call]
    except (ConnectionLost, TookTooLong):
        pool.release(connection)
        return lambda: _run(redis, script, args)

    def heard() -> Any:
        try:
            return connection.read_response()
        except (ConnectionLost, TookTooLong, NoScriptError):
            return _run(redis, script, args)
        finally:
            pool.release(connection)

    return heard


def lists(flat: Sequence[Any]) -> Iterator[list[Any]]:
    """The lists that a script tells flat, each after its length."""
    at = 0
    while at < len(flat):
        end = at + 1 + flat[at]
        yield list(flat[at + 1 : end])
        at = end


def _run(redis: Redis, script: tuple[str, str], args: Sequence[Argument]) -> Any:
    text, digest = script
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

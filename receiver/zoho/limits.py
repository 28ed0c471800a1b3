"""The limits that Zoho sets, kept by all processes together: calls in flight, calls a minute, credits a day, and a brake.

A place is a connection, a product and, where Zoho counts by it, an organisation. A call takes a lease there, so that a process that dies
gives its places back. What Zoho refuses for long, a day's limit or an outage, blocks the place for everybody: due jobs wait on hold.
"""

from __future__ import annotations

import atexit
import random
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import orjson
from redis.exceptions import RedisError

from receiver import keys, logs
from receiver.errors import RateLimited, Unavailable
from receiver.event import new_id
from receiver.zoho import costs, token_scripts
from receiver.zoho.ask import request_of, shortened
from receiver.zoho.token_row import number, text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from redis import Redis
    from redis.commands.core import Script

    from receiver.settings_tables import ConnectionSettings
    from receiver.zoho.ask import Ask
    from receiver.zoho.outcomes import Verdict

log = logs.get("limits")
FAILURES = 10
"""Calls in a row that Zoho does not answer until a place counts as out of order."""
LONG = 5.0
"""Seconds of waiting from which a limit is a block for all: shorter ones are waited out by the call."""
BEHIND = "#behind"
"""What is added to the name of a place where it holds replays and backfills only."""
PAUSE = 0.005
"""Seconds after which the place of a call that is over is free."""
NOTED = 0.1
"""Seconds for which what is kept of good calls waits for company: it is written to disk, and whoever asks Redis meanwhile waits too."""
TOGETHER = 100
WAYS = {"44": "blocked for some time: too many calls a minute", "45": "day limit"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a limit is counted."""

    name: str
    lease: float
    allowed: costs.Allowed


@dataclass(frozen=True, slots=True)
class Use:
    """One place as it is now, for people. Credits are of the last 24 hours, `pace` of the last one; `left` is what Zoho said last, or
    None. Where only replays and backfills are held, `kept` says why.
    """

    place: str
    in_flight: int
    lately: int
    spent: int
    left: int | None
    blocked: str
    blocked_for: float
    pace: float = 0.0
    kept: str = ""
    kept_for: float = 0.0

    def lasts(self, allowed: int) -> float | None:
        """Seconds until the day's credits are spent if it goes on as in the last hour; None where that is more than a day, or unknown.

        `allowed` is how many there are, for where Zoho has not said what is left.
        """
        left = self.left if self.left is not None else allowed - self.spent if allowed else None
        if left is None or not self.pace:
            return None
        seconds = max(0.0, left / self.pace * 3600)
        return seconds if seconds < 86_400 else None


class Limits:
    """Admits calls. Without an answer of Redis a call is made: its run could not be ended anyway."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._admit = redis.register_script(token_scripts.source("admit"))
        self._leave = redis.register_script(token_scripts.source("leave"))
        self._note = redis.register_script(token_scripts.source("note"))
        self._lock, self._telling, self._any = threading.Lock(), threading.Lock(), threading.Event()
        self._left: list[tuple[Any, ...]] = []
        self._notes: list[tuple[Any, ...]] = []
        self._teller: threading.Thread | None = None
        atexit.register(self.flush)

    def enter(
        self, place: Place, ask: Ask, *, patience: float, behind: bool, fence: Callable[[], None]
    ) -> str:
        """A call's lease, once there is room for it. Raises RateLimited where that takes longer than `patience` seconds.

        `behind`: the work of replays and backfills, which leaves half of the room to live events.
        """
        call, heavy = new_id(), costs.heavy(ask)
        until = time.monotonic() + patience
        most = place.allowed
        while True:
            given = [
                place.name, call, int(place.lease * 1000), most.in_flight, most.heavy if heavy else 0, most.per_minute, most.credits,
                costs.cost(ask), int(behind), int(most.window * 1000),
            ]  # fmt: skip
            with self._lock:  # whoever is over gives its place to us
                over, self._left = self._left[:TOGETHER], self._left[TOGETHER:]
            given += [each for one in over for each in one]
            try:
                said = self._admit(args=[text(each) for each in given])
            except RedisError:
                return ""
            wait = number(said[0]) / 1000
            if not wait:
                return call
            why, blocked = text(said[1]), len(said) > 2
            nap = wait if wait > 0.1 else wait * random.uniform(0.5, 1.5)  # noqa: S311 - spreads load
            if blocked or time.monotonic() + nap > until:
                of = text(said[3]) if len(said) > 3 else ""
                raise full(place.name + of, ask, why, wait, blocked=blocked)
            time.sleep(nap)
            fence()

    def leave(self, place: Place, call: str, ask: Ask, verdict: Verdict, line: Mapping[str, Any]) -> None:
        """A call is over: its place is free, what it taught is known to all, and it stands in the record of all calls.

        That of a good call is told by a thread of its own, many together: its place is free within milliseconds, its record is
        there within a tenth of a second. A process that is killed takes the records of that long with it, and no more.
        """
        wait = verdict.retry_after or 0.0
        block = wait if verdict.error is RateLimited and wait >= LONG else 0.0
        unanswered = verdict.error is Unavailable and verdict.code != "too_large"
        why = WAYS.get(verdict.code, "Zoho asks for a pause") if block else "an outage"
        left = line["credits"]
        of = ":".join(place.name.split(":")[:2])
        kept = {**shortened(line), "connection": of.partition(":")[0]}
        day = datetime.fromtimestamp(line["at"] / 1000, UTC).date().isoformat()
        failed = verdict.error is not None
        told = (
            place.name,
            call,
            "" if left is None else left,
            int(block * 1000),
            why,
            int(unanswered),
            FAILURES,
        )
        note = (
            place.name, call, day, of, orjson.dumps(kept).decode(), int(failed), line["ms"], costs.cost(ask),
        )  # fmt: skip
        with self._lock:
            self._left.append(told)
            self._notes.append(note)
            if self._teller is None or not self._teller.is_alive():
                self._teller = threading.Thread(target=self._tell, name="zohook-calls", daemon=True)
                self._teller.start()
        self._any.set()
        if failed or left is not None:  # the next call is to know
            self.flush(notes=failed)

    def flush(self, *, notes: bool = True) -> None:
        """Tell at once of all calls that are over; without `notes` only what others must know."""
        with self._telling:
            with self._lock:
                left, self._left = self._left, []
                kept = self._notes if notes else []
                self._notes = [] if notes else self._notes
            self._say(self._leave, left)
            self._say(self._note, kept)

    def _tell(self) -> None:
        noted = time.monotonic()
        while True:
            self._any.wait(max(0.0, noted + NOTED - time.monotonic()) if self._notes else None)
            time.sleep(PAUSE)
            self._any.clear()
            due = time.monotonic() - noted >= NOTED
            try:
                self.flush(notes=due)
            except Exception as error:  # noqa: BLE001 - a client that is closed under it raises what it likes, and the next call needs us
                log.warning("calls.not_told", error=f"{type(error).__name__}: {error}")
            if due:
                noted = time.monotonic()

    def _say(self, script: Script, given: Sequence[tuple[Any, ...]]) -> None:
        for start in range(0, len(given), TOGETHER):
            args = [text(each) for one in given[start : start + TOGETHER] for each in one]
            with suppress(RedisError):  # their leases end by themselves
                script(args=args)


def full(place: str, ask: Ask, why: str, wait: float, *, blocked: bool) -> RateLimited:
    """The error of a call that was not made; `place` names the hold where it is one."""
    error = RateLimited(
        f"{ask.product} {ask.method} {ask.path}: not sent, {why}",
        code="not_sent",
        request=request_of(ask, ask.path),
        retry_after=max(wait, 1.0),
    )
    error.hold = place if blocked else ""
    return error


def place_of(connection: str, ask: Ask, organisation: str, settings: ConnectionSettings) -> Place:
    """Where a call is counted: CRM's limits are the client's at one organisation, those of Books and Desk the organisation's own."""
    name = f"{connection}:{ask.product}" + (f":{organisation}" if organisation else "")
    return Place(name, ask.deadline + 5.0, costs.allowed(ask.product, settings))


def uses(redis: Redis, most: int = 100) -> list[Use]:
    """The places called at lately, as they are now. Reads only."""
    now = time.time_ns() // 1_000_000
    found = cast(
        "list[bytes]", redis.zrevrangebyscore(keys.calls_places(), "+inf", now - 7 * 86_400_000, 0, most)
    )
    names = [text(each) for each in found]
    pipe = redis.pipeline(transaction=False)
    for name in names:
        pipe.zcount(keys.calls_in_flight(name), now, "+inf")
        pipe.zcount(keys.calls_lately(name), now - 60_000, "+inf")
        pipe.hgetall(keys.calls_credits(name))
        pipe.get(keys.calls_blocked(name))
        pipe.pttl(keys.calls_blocked(name))
        pipe.get(keys.calls_blocked(name + BEHIND))
        pipe.pttl(keys.calls_blocked(name + BEHIND))
    answers = pipe.execute()
    return [_use(name, answers[7 * index : 7 * index + 7], now) for index, name in enumerate(names)]


def _use(name: str, said: list[Any], now: int) -> Use:
    book = {text(key): number(value) for key, value in said[2].items()}
    hour, gone = divmod(now, 3_600_000)
    spent = sum(value for key, value in book.items() if key.isdecimal() and int(key) > hour - 24)
    return Use(
        name,
        int(said[0]),
        int(said[1]),
        spent,
        book.get("left"),
        text(said[3] or ""),
        max(0, int(said[4])) / 1000,
        book.get(str(hour), 0) + book.get(str(hour - 1), 0) * (1 - gone / 3_600_000),
        text(said[5] or ""),
        max(0, int(said[6])) / 1000,
    )

"""A house in one process: the ledger on the real Redis, handlers given by the test, and the worker's own code to run them.

And a project: a user's folder, with real processes in it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from receiver.event import Delivery, Event, new_id, now_ms
from receiver.ledger.accept import Answer, Record, accept
from receiver.ledger.turns import turn
from receiver.routing import plugins, run
from receiver.routing.process import Process
from receiver.routing.sweep import Sweeper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from redis import Redis

    from receiver.ledger.embedded import Embedded
    from receiver.settings import Settings
    from tests.conftest import MakeSettings

QUEUES = ("zohook_recovered", "zohook", "zohook_slow", "zohook_replay")


class House:
    """Accepts events and works slips off one by one, as a worker of one thread would."""

    def __init__(self, redis: Redis, process: Process) -> None:
        self.redis = redis
        self.process = process
        self.sweeper = Sweeper(process)

    def accept(self, event_type: str = "crm.Deals.updated", data: Any = None, **fields: Any) -> Event:
        """Accept one event through the real script."""
        event, _ = self.deliver(event_type, data, **fields)
        return event

    def deliver(
        self, event_type: str = "crm.Deals.updated", data: Any = None, *, window: float = 60, **fields: Any
    ) -> tuple[Event, Answer]:
        """Accept one event and tell what became of it."""
        delivery = Delivery.arrive(fields.get("source", "crm"), b"{}")
        event = Event(
            id=new_id(),
            type=event_type,
            data={} if data is None else data,
            delivery=delivery.id,
            **{"source": "crm", "received": now_ms(), **fields},
        )
        again = self.process.settings.worker.again
        return event, accept(
            self.redis, [Record(delivery, "accepted", events=[event], window=window)], again=again
        )[0]

    def slips(self, want: int = 100) -> list[Any]:
        """Take slips from the queues."""
        return turn(self.redis, "test", QUEUES, want, [])

    def work(self) -> list[str]:
        """Work off what is queued until nothing is left; the word of each slip."""
        words = []
        while taken := self.slips(1):
            kind, found, number = taken[0].ids()
            words.append(run.work(self.process, kind, found, number))
            turn(self.redis, "test", QUEUES, 0, taken)
        return words


class MakeHouse(Protocol):
    """What the fixture `house` is."""

    def __call__(self, *functions: Callable[..., Any], **worker: Any) -> House:
        """A house with these handlers and resources."""


def plugged(*functions: Callable[..., Any]) -> plugins.Plugins:
    """The plugins of a module that defines just these functions."""
    module = ModuleType("rooms")
    for function in functions:
        function.__module__ = "rooms"
        setattr(module, function.__name__, function)
    return plugins.collect([("rooms", module)])


@pytest.fixture
def house(redis: Redis, redis_server: Embedded, settings: MakeSettings) -> Iterator[MakeHouse]:
    """Makes houses."""
    made: list[House] = []

    def make(*functions: Callable[..., Any], **worker: Any) -> House:
        given = {"lease": 1, "tick": 0.05, "again": 0.1, **worker}
        known = settings('[sources]\ncrm = "crm_channel"\n', redis={"url": redis_server.url}, worker=given)
        process = Process(known, redis, plugged(*functions))
        process.catalogue.publish(born=True)
        made.append(House(redis, process))
        return made[-1]

    yield make
    for each in made:
        each.process.close()
    sys.modules.pop("rooms", None)


@pytest.fixture
def project(
    request: pytest.FixtureRequest,
    settings: MakeSettings,
    redis_server: Embedded,
    redis: Redis,
    tmp_path: Path,
) -> Settings:
    """A user's folder on the test's Redis, with the handlers of the test module's ROOM and as many threads as its THREADS."""
    (tmp_path / "handlers").mkdir()
    (tmp_path / "handlers" / "__init__.py").write_text("")
    (tmp_path / "handlers" / "room.py").write_text(request.module.ROOM)
    redis.config_set("appendonly", "yes")
    worker = {"lease": 2, "tick": 0.1, "again": 1, "threads": getattr(request.module, "THREADS", 4)}
    return settings('[sources]\ncrm = "crm_channel"\n', redis={"url": redis_server.url}, worker=worker)


@pytest.fixture
def environment(project: Settings) -> dict[str, str]:
    """What a process of the project is started with."""
    worker = project.worker
    return {
        **os.environ,
        "ZOHOOK_FOLDER": str(project.folder),
        "ZOHOOK_KEY": project.key,
        "ZOHOOK_REDIS__URL": project.redis.url,
        "ZOHOOK_WORKER__LEASE": str(worker.lease),
        "ZOHOOK_WORKER__TICK": str(worker.tick),
        "ZOHOOK_WORKER__AGAIN": str(worker.again),
        "ZOHOOK_WORKER__THREADS": str(worker.threads),
    }


@pytest.fixture
def start(project: Settings, environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts processes in the project's folder, and ends them."""
    begun: list[subprocess.Popen[bytes]] = []

    def begin(*command: str) -> subprocess.Popen[bytes]:
        begun.append(subprocess.Popen([sys.executable, "-m", *command], env=environment, cwd=project.folder))
        return begun[-1]

    yield begin
    for each in begun:
        if each.poll() is None:
            each.kill()
        each.wait()

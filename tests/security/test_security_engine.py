"""Threats from whoever can write to Redis (S17, S18): what he puts there is never imported, unpickled, called or fetched."""

from __future__ import annotations

import ast
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from rq.job import Job
from rq.serializers import JSONSerializer
from security_kit import trees

from receiver.ledger import read, turns
from receiver.routing.slips import ForgedSlip, Slip

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from redis import Redis

GOOD = ["receiver.routing.slips.work", None, ["e", "nothing", 1], {}]
"""What is no call of `work` with a kind, an id and a number."""
FORGED = {
    "another function": ["os.system", None, ["touch {target}"], {}],
    "a builtin": ["builtins.eval", None, ["open('{target}', 'w')"], {}],
    "ours by another name": ["receiver.routing.slips.run.work", None, ["e", "x", 1], {}],
    "ours with a blank": ["receiver.routing.slips.work ", None, ["e", "x", 1], {}],
    "an instance": [GOOD[0], {"py/object": "os.system"}, ["e", "x", 1], {}],
    "named arguments": [GOOD[0], None, ["e", "x", 1], {"kind": "j"}],
    "another kind": [GOOD[0], None, ["x", "y", 1], {}],
    "a number that is true": [GOOD[0], None, ["e", "x", True], {}],
    "an id that is a list": [GOOD[0], None, ["e", ["x"], 1], {}],
    "too many arguments": [GOOD[0], None, ["e", "x", 1, 2], {}],
    "no arguments": [GOOD[0], None, [], {}],
    "no list": {"function": "os.system"},
    "nothing": None,
}


def pickled(target: Path) -> bytes:
    """What runs a command when it is unpickled."""
    return b"cos\nsystem\n(S'touch %b'\ntR." % str(target).encode()


@pytest.mark.parametrize("name", FORGED)
def test_s17_what_is_no_slip_is_refused(name: str, redis: Redis, tmp_path: Path) -> None:
    """Every other call than ours is refused by the job class and by the worker's own reading, and nothing of it happens."""
    target = tmp_path / "owned"
    data = json.dumps(FORGED[name]).replace("{target}", str(target)).encode()
    assert turns.Slip("x", "zohook", "", data).ids() is None
    redis.hset(
        "rq:job:forged",
        mapping={"data": data, "created_at": "2026-01-01T00:00:00.000000Z", "status": "queued"},
    )
    slip = Slip.fetch("forged", connection=redis)
    with pytest.raises(ForgedSlip):
        slip.perform()
    assert read.totals(redis)["forged"] == 1
    assert not target.exists()


def test_s17_our_own_slip_is_read(redis: Redis) -> None:
    """The one call that there is passes both."""
    data = json.dumps(GOOD).encode()
    assert turns.Slip("x", "zohook", "", data).ids() == ("e", "nothing", 1)
    redis.hset(
        "rq:job:good", mapping={"data": data, "created_at": "2026-01-01T00:00:00.000000Z", "status": "queued"}
    )
    assert Slip.fetch("good", connection=redis).args == ("e", "nothing", 1)


def test_s17_s18_whatever_else_a_job_carries_is_left_alone(redis: Redis, tmp_path: Path) -> None:
    """Callbacks, webhooks and metadata of a forged job are neither read nor called; RQ's own class would have taken them."""
    target = tmp_path / "owned"
    forged = {
        "data": json.dumps(GOOD),
        "created_at": "2026-01-01T00:00:00.000000Z",
        "status": "queued",
        "meta": pickled(target),
        "success_callback_name": "os.system",
        "failure_callback_name": "os.system",
        "stopped_callback_name": "os.system",
        "webhooks": json.dumps([{"url": "http://169.254.169.254/", "statuses": ["finished"]}]),
    }
    redis.hset("rq:job:forged", mapping=forged)
    slip = Slip.fetch("forged", connection=redis)
    assert slip.meta == {}
    assert (slip.success_callback, slip.failure_callback, slip.stopped_callback) == (None, None, None)
    assert not slip.webhooks
    assert not target.exists()
    assert Job.fetch("forged", connection=redis, serializer=JSONSerializer).success_callback is not None


def test_s18_the_dashboard_reads_no_jobs(visitor: Callable[..., Any], redis: Redis, tmp_path: Path) -> None:
    """With pickles in every field of RQ's hashes each page is drawn, and none of them is run."""
    target = tmp_path / "owned"
    evil = pickled(target)
    for key in ("rq:job:forged", "rq:worker:evil", "rq:execution:forged:1"):
        redis.hset(
            key,
            mapping=dict.fromkeys(
                ("data", "meta", "exc_info", "result", "hostname", "state", "pid", "birth"), evil
            ),
        )
    redis.sadd("rq:workers", "rq:worker:evil")
    redis.sadd("rq:queues", "rq:queue:zohook")
    redis.rpush("rq:queue:zohook", "forged")
    for registry in ("wip", "failed", "finished", "scheduled"):
        redis.zadd(f"rq:{registry}:zohook", {"forged": 1})
    operator = visitor().sign_in()
    for page in ("/", "/events", "/dead", "/handlers", "/deliveries", "/connections", "/healthz", "/metrics"):
        assert (
            operator.get(page, headers={"authorization": "Bearer correct horse battery"}).status_code == 200
        ), page
    assert not target.exists()


UNSAFE = re.compile(
    r"^(pickle|cPickle|dill|cloudpickle|marshal|shelve|PickleSerializer|DefaultSerializer|WorkerPool|jsonpickle|unsafe_load|full_load)$"
)
CALLED = {"eval", "exec", "compile", "__import__"}
IMPORTERS = {
    # Names of modules that come from the user's own settings and packages, or from this very file.
    "receiver/__init__.py",
    "receiver/zoho/__init__.py",
    "receiver/routing/plugins.py",
}


def test_s18_nothing_turns_bytes_into_code() -> None:
    """No pickle under any name, no RQ serializer or pool that brings it back, no eval; modules are imported by name in few places."""
    guilty = []
    for place, tree in trees():
        for node in ast.walk(tree):
            names = [alias.name.split(".")[0] for alias in node.names] if isinstance(node, ast.Import) else []
            names += (
                [node.module or "", *(alias.name for alias in node.names)]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            names += [node.attr] if isinstance(node, ast.Attribute) else []
            called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
            found = [name for name in names if UNSAFE.match(name)]
            found += [called] if called in CALLED else []
            if "import_module" in {called, *names} and place not in IMPORTERS:
                found.append("import_module")
            guilty += [f"{place}:{getattr(node, 'lineno', 0)}: {name}" for name in found]
    assert guilty == []

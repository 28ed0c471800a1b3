"""A ledger whose every field holds the same hostile string."""

from __future__ import annotations

import orjson
from dashboard_kit import HANDLER, Seed

from receiver import keys
from receiver.event import Delivery, Event, now_ms
from receiver.ledger.accept import Record, accept


def hostile_ledger(seed: Seed, text: str) -> tuple[Event, str]:
    """An event, its jobs and a delivery with the text in every field that can hold one."""
    redis = seed.redis
    event = seed.accept(
        f"crm.{text}.updated", {text: text, "list": [text]}, source=text, record_id=text, native=text, organisation=text,
        changed=frozenset({text}), previous={text: "before" + text}, headers={"x-note": text}, remote=text,
        body=text.encode("utf-8", "surrogatepass"), cause=text,
    )  # fmt: skip
    seed.route(event, f"{text}.handler", HANDLER)
    error = {"type": text, "message": text, "traceback": text, "code": text}
    call = {
        "at": now_ms(),
        "product": text,
        "method": text,
        "path": text,
        "status": 400,
        "code": text,
        "ms": 3,
        "json": {text: text},
    }
    seed.run(event, f"{text}.handler", "dead", reason=text, error=error, calls=[call], tries=3)
    seed.run(event, HANDLER, "held", reason=text, parked=f"connection:{text}")
    _around(seed, text)
    delivery = Delivery.arrive(
        text, text.encode("utf-8", "surrogatepass"), headers={text: text}, query=text.encode(), remote=text
    )
    accept(redis, [Record(delivery, "rejected", text, verified_by=text)])
    return event, delivery.id


def _around(seed: Seed, text: str) -> None:
    """The same in what workers and tokens say of themselves."""
    redis = seed.redis
    seed.catalogue(
        {
            "id": f"{text}.handler",
            "doc": text,
            "patterns": [text],
            "options": {text: text, "when": {text: text}},
        }
    )
    redis.sadd("rq:workers", keys.rq_worker(text))
    redis.hset(
        keys.rq_worker(text), mapping={"hostname": text, "pid": text, "state": text, "last_heartbeat": text}
    )
    redis.sadd(keys.rq_queues(), keys.rq_queue(text))
    fields = {
        "state": "revoked",
        "why": text,
        "scopes": text,
        "dc": text,
        "outcome": text,
        "outcome_at": 1,
        "expires": 1,
    }
    redis.hset(keys.token("acme"), mapping=fields)
    redis.rpush(
        keys.token_history("acme"),
        orjson.dumps({"at": 1, "process": text, "grant": text, "outcome": text, "code": text}),
    )

"""Health, metrics, and Redis going away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest
import redis as redis_py
from dashboard_kit import PASSWORD, VIEWER, Visitor
from dashboard_scene import scene
from redis.backoff import NoBackoff
from redis.retry import Retry

from receiver import keys
from receiver.dashboard import live
from receiver.event import now_ms

if TYPE_CHECKING:
    from conftest import MakeVisitor
    from dashboard_kit import Seed
    from redis import Redis

    from receiver.settings import Settings


@pytest.fixture
def nowhere() -> Redis:
    """A client of a Redis that is not there."""
    return redis_py.Redis(port=1, socket_connect_timeout=0.2, retry=Retry(NoBackoff(), 0))


def test_health_is_open_and_says_little(visitor: MakeVisitor) -> None:
    """Anybody may ask whether it is well, and learns nothing else."""
    answer = visitor().get("/healthz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "redis": "ok"}


def test_health_without_redis_is_503(known: Settings, nowhere: Redis) -> None:
    """A web process that cannot reach the ledger is not well."""
    answer = Visitor(known, nowhere).get("/healthz")
    assert answer.status_code == 503
    assert answer.json() == {"status": "down", "redis": "down"}


def test_pages_without_redis_say_so(known: Settings, nowhere: Redis, visitor: MakeVisitor) -> None:
    """Every page is a page even then: 503, with the reason in words."""
    guest = Visitor(known, nowhere)
    guest.cookies = visitor().sign_in().cookies
    for path in ("/", "/events", "/dead"):
        answer = guest.get(path)
        assert answer.status_code == 503
        assert "Redis does not answer" in answer.text
    assert guest.post("/sign-in", {"password": PASSWORD}).status_code == 503
    assert guest.get("/static/zohook.css").status_code == 200


def test_metrics_are_open_to_this_machine_only(visitor: MakeVisitor) -> None:
    """Others need a password as bearer token; a proxy's word that somebody is elsewhere counts as elsewhere."""
    assert visitor(address="127.0.0.1").get("/metrics").status_code == 200
    assert visitor(address="::1").get("/metrics").status_code == 200
    assert (
        visitor(address="127.0.0.1").get("/metrics", headers={"x-forwarded-for": "192.0.2.1"}).status_code
        == 401
    )
    guest = visitor()
    assert guest.get("/metrics").status_code == 401
    for wrong in ("Bearer", "Bearer x", f"Basic {PASSWORD}", PASSWORD, "Bearer "):
        assert guest.get("/metrics", headers={"authorization": wrong}).status_code == 401
    for right in (PASSWORD, VIEWER):
        assert guest.get("/metrics", headers={"authorization": f"Bearer {right}"}).status_code == 200


def test_guessing_at_the_metrics_is_limited_like_the_sign_in(visitor: MakeVisitor) -> None:
    """Ten wrong tokens in a minute close both doors to that address."""
    guest = visitor()
    for _ in range(11):
        guest.get("/metrics", headers={"authorization": "Bearer wrong"})
    assert guest.get("/metrics", headers={"authorization": f"Bearer {PASSWORD}"}).status_code == 401
    assert guest.post("/sign-in", {"password": PASSWORD}).status_code == 429


def test_metrics_count_what_the_ledger_counts(visitor: MakeVisitor, redis: Redis, seed: Seed) -> None:
    """Totals, states, queues, workers, latencies and what each handler did, with hostile names escaped."""
    scene(redis)
    seed.handled(handler='a"b\\c\nd')
    text = visitor(address="127.0.0.1").get("/metrics").text
    assert 'zohook_jobs{state="held"} 1.0' in text
    assert 'zohook_parked{reason="connection:acme"} 1.0' in text
    assert "zohook_accepted_total" in text
    assert 'zohook_handler_jobs_total{handler="mirror.records",outcome="dead"} 3.0' in text
    assert 'zohook_handler_jobs_total{handler="a\\"b\\\\c\\nd",outcome="done"} 1.0' in text
    assert 'zohook_source_deliveries_total{source="books",verdict="rejected"} 4.0' in text
    assert "zohook_workers 2.0" in text
    assert 'zohook_latency_seconds{quantile="0.99"}' in text


def test_health_tells_when_redis_is_full(visitor: MakeVisitor, redis: Redis) -> None:
    """Redis over 85 % of its limit is not called well, and the process is not restarted for it."""
    redis.config_set("maxmemory", redis.info("memory")["used_memory"])
    try:
        answer = visitor().get("/healthz")
    finally:
        redis.config_set("maxmemory", 0)
    assert answer.status_code == 200
    assert answer.json() == {"status": "full", "redis": "full"}


def test_the_overview_shows_spools_and_losses(visitor: MakeVisitor, redis: Redis) -> None:
    """What waits on each host's disk, what was quarantined there, and on every page what the ledger was found to have lost."""
    redis.hset(
        keys.spool("web-1"),
        mapping={"depth": 12, "bytes": 4096, "oldest": now_ms() - 90_000, "quarantined": 3, "seen": now_ms()},
    )
    redis.zadd(keys.spools(), {"web-1": now_ms()})
    operator = visitor().sign_in()
    page = operator.get("/").text
    assert "web-1" in page
    assert "4.0 KiB, the oldest 1 min ago" in page
    assert "zohook spool" in page
    assert "accepted events are missing" not in page
    assert "not heard of" not in page
    redis.hset(keys.spool("web-1"), "seen", now_ms() - 600_000)
    page = operator.get("/").text
    assert "not heard of since" in page
    assert "--forget-host" in page
    text = visitor(address="127.0.0.1").get("/metrics").text
    assert 'zohook_host_spool_depth{host="web-1"} 12.0' in text
    assert 'zohook_host_spool_quarantined{host="web-1"} 3.0' in text
    heard = text.partition('zohook_host_spool_heard_seconds{host="web-1"} ')[2].split()[0]
    assert 600 <= float(heard) < 700
    lost = {"kind": "behind", "at": now_ms(), "missing": 7, "host": "web-1"}
    redis.hset(keys.breaks(), "behind 1 8", orjson.dumps(lost))
    for path in ("/", "/dead"):
        assert "7 accepted events are missing" in operator.get(path).text
    assert "7 accepted events are missing" in live.fragments_of(redis, "nav")["trouble"]
    assert (
        'zohook_ledger_breaks_found{kind="behind"} 1.0' in visitor(address="127.0.0.1").get("/metrics").text
    )

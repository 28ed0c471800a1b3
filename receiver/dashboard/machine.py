"""What machines ask: is it well, and how much of everything. JSON and Prometheus text; no page."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from redis.exceptions import RedisError
from starlette.responses import JSONResponse, PlainTextResponse, Response

from receiver import metrics as process
from receiver.dashboard import access, queries
from receiver.dashboard.house import house
from receiver.ledger import condition, forwards, read, spools
from receiver.ledger.condition import memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from prometheus_client.core import Metric
    from redis import Redis
    from starlette.requests import Request

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")


def healthz(request: Request) -> Response:
    """200 while deliveries are kept, be it in the spool; 503 where Redis takes none and no spool stands in for it.

    Says no more than that, since it asks for no password. `full`: deliveries are spooled, since Redis is short of memory;
    `refusing`: the spool has no room for them either.
    """
    spool = request.scope["state"].get("spool")
    try:
        word = memory(house(request).prompt).word
    except RedisError:
        word = "down"
    if spool is None or (word == "down" and spool.broken):
        status = word
    elif (word == "down" or spool.divert) and not spool.keeps:
        status = "refusing"
    else:
        status = "spooling" if word == "down" else word
    return JSONResponse({"status": status, "redis": word}, 503 if status in {"down", "refusing"} else 200)


def metrics(request: Request) -> Response:
    """The counts of the web processes and of the ledger for Prometheus; without those of the ledger while Redis is away.

    Open to this very machine, to others with a password as bearer token.
    """
    here = house(request)
    address = request.client.host if request.client else ""
    direct = access.is_loopback(address) and not any(name in request.headers for name in _FORWARDED)
    if not direct and not access.bearer_role(
        here.redis, here.settings, request.headers.get("authorization", ""), address
    ):
        return PlainTextResponse(
            "a password is needed as bearer token\n", 401, {"www-authenticate": "Bearer"}
        )
    own = generate_latest(process.of_all_processes())
    registry = CollectorRegistry(auto_describe=False)
    forwarding = [name for name, source in here.settings.sources.items() if source.forward]
    registry.register(_Ledger(here.redis, forwarding))
    try:
        ledger = generate_latest(registry) + _up(1)
    except RedisError:
        ledger = _up(0)
    return Response(own + ledger, media_type="text/plain; version=0.0.4; charset=utf-8")


def _up(value: int) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    Gauge("zohook_redis_up", "1 while Redis answers this process", registry=registry).set(value)
    return generate_latest(registry)


class _Ledger:
    """The ledger as a collector, read at each scrape."""

    def __init__(self, redis: Redis, forwarding: Sequence[str]) -> None:
        self._redis, self._forwarding = redis, forwarding

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand: registering must not read."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Totals, counts by handler and source, and how things are now."""
        yield from self._totals()
        states = read.states(self._redis)
        yield _gauge("zohook_jobs", "Jobs by state", "state", {name: states[name] for name in read.STATES})
        yield _gauge("zohook_parked", "Work on hold by reason", "reason", read.parked_work(self._redis))
        yield _gauge("zohook_queue_slips", "Slips that wait, by RQ queue", "queue", read.queues(self._redis))
        waiting: dict[str, float] = {}
        for (source, _), count in read.waiting(self._redis).items():
            waiting[source] = waiting.get(source, 0) + count
        yield _gauge("zohook_waiting", "Work that is due and waits for room for a slip", "source", waiting)
        rows = [queries.worker(each) for each in read.workers(self._redis)]
        living = [each for each in rows if each["state"] != "silent"]
        yield GaugeMetricFamily("zohook_workers", "Living workers", value=len(living))
        yield GaugeMetricFamily(
            "zohook_workers_busy", "Jobs under way in them", value=sum(each["busy"] for each in living)
        )
        yield GaugeMetricFamily("zohook_events_kept", "Events in the ledger", value=states["events"])
        room = memory(self._redis)
        yield GaugeMetricFamily("zohook_redis_memory_bytes", "Memory that Redis uses", value=room.used)
        yield GaugeMetricFamily(
            "zohook_redis_memory_limit_bytes",
            "Memory that Redis may use, 0 for no limit",
            value=room.maxmemory,
        )
        told = spools.rows(self._redis)
        yield _gauge(
            "zohook_host_spool_depth", "Deliveries that wait on the disk of a host, as it told last", "host",
            {row.host: row.depth for row in told},
        )  # fmt: skip
        yield _gauge(
            "zohook_host_spool_quarantined", "Deliveries of a host that the ledger refuses, as it told last", "host",
            {row.host: row.quarantined for row in told},
        )  # fmt: skip
        yield _gauge(
            "zohook_host_spool_heard_seconds", "Since when a host has told nothing of its spool", "host",
            {row.host: row.silent / 1000 for row in told},
        )  # fmt: skip
        broken = Counter(each.kind for each in condition.breaks(self._redis))
        yield _gauge(
            "zohook_ledger_breaks_found", "Times that the ledger was found to have lost something, by kind", "kind",
            {kind: broken[kind] for kind in queries.BROKE},
        )  # fmt: skip
        waiting = {name: row.waiting for name, row in forwards.rows(self._redis, self._forwarding).items()}
        yield _gauge("zohook_forwards_waiting", "Deliveries that wait to be relayed", "source", waiting)
        latencies = sorted(read.latencies(self._redis))
        yield _gauge(
            "zohook_latency_seconds", "Webhook in to job ended, of the last 1,000 jobs", "quantile",
            {name: queries.percentile(latencies, float(name)) / 1000 for name in ("0.5", "0.9", "0.99")},
        )  # fmt: skip

    def _totals(self) -> Iterable[Metric]:
        counted = read.counted(self._redis)
        for name in read.COUNTED:
            yield CounterMetricFamily(
                f"zohook_{name}", f"{name.replace('_', ' ')} since the ledger began", counted.get(name, 0)
            )
        by_handler = CounterMetricFamily(
            "zohook_handler_jobs",
            "Ends of runs by handler, and events that its filters dropped",
            labels=["handler", "outcome"],
        )
        by_source = CounterMetricFamily(
            "zohook_source_deliveries", "Deliveries refused", labels=["source", "verdict"]
        )
        relayed = CounterMetricFamily(
            "zohook_forwards",
            "Deliveries relayed to old receivers, by what came of it",
            labels=["source", "outcome"],
        )
        for name, count in counted.items():
            word, _, of = name.partition(":")
            if of and word in queries.COUNTED:
                by_handler.add_metric([of, "retried" if word == "due" else word], count)
            elif of and word in {"rejected", "quarantined", "unverified"}:
                by_source.add_metric([of, word], count)
            elif of and word.startswith("forwards_"):
                relayed.add_metric([of, word.removeprefix("forwards_")], count)
        yield by_handler
        yield by_source
        yield relayed


def _gauge(name: str, about: str, label: str, values: dict[str, int] | dict[str, float]) -> GaugeMetricFamily:
    found = GaugeMetricFamily(name, about, labels=[label])
    for key, value in values.items():
        found.add_metric([key], value)
    return found

"""The counters and gauges of a process, all declared in one place; what is counted in the ledger is read from there instead.

A web process serves its own at /metrics, also while Redis is away; where several share a port, the sums of all of them.
"""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge
from prometheus_client.multiprocess import MultiProcessCollector


def _gauge(name: str, about: str) -> Gauge:
    """A gauge of the host or of Redis, which every process finds to be the same: what was seen last is shown."""
    return Gauge(name, about, multiprocess_mode="mostrecent")


DELIVERIES = Counter("zohook_door_deliveries", "HTTP deliveries by source and verdict", ["source", "verdict"])
CUT = Counter("zohook_connections_cut", "Connections that the door closed on a client, by reason", ["reason"])

SPOOL_DEPTH = _gauge("zohook_spool_depth", "Deliveries of this host that wait for Redis")
SPOOL_BYTES = _gauge("zohook_spool_bytes", "Bytes that the spool of this host holds")
SPOOL_OLDEST = _gauge("zohook_spool_oldest_seconds", "Age of the oldest delivery in the spool of this host")
SPOOL_QUARANTINED = _gauge(
    "zohook_spool_quarantined", "Deliveries of this host that the ledger refuses one by one"
)
SPOOL_BROKEN = _gauge("zohook_spool_broken", "1 while the spool of this host cannot be used")

KEY_WRONG = _gauge(
    "zohook_key_wrong", "1 while this host's key is not the one that sealed what lies in Redis"
)
REDIS_MEMORY_SHARE = _gauge("zohook_redis_memory_share", "Used part of the memory that Redis may use, 0 to 1")
LEDGER_BREAKS = Counter(
    "zohook_ledger_breaks",
    "Times that this process found the ledger emptied, exchanged (other) or behind what it had said",
    ["kind"],
)
for _kind in ("emptied", "other", "behind"):
    LEDGER_BREAKS.labels(
        _kind
    )  # shown from the start, since an alarm cannot see the rise of what is not there


@lru_cache(1024)
def delivered(source: str, verdict: str) -> Counter:
    """The counter of one verdict at one source: to look it up would cost more than to count."""
    return DELIVERIES.labels(source, verdict)


def of_all_processes() -> CollectorRegistry:
    """What is to be shown: the counters of all web processes of a supervisor added up, those that died included."""
    registry = CollectorRegistry()
    try:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    except ValueError:  # this is the only one: it was given no folder to share with others
        return REGISTRY
    return registry

"""The counters and gauges of a process, all declared in one place; what is counted in the ledger is read from there instead.

A web process serves its own at /metrics, also while Redis is away.
"""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import Counter, Gauge

DELIVERIES = Counter("zohook_door_deliveries", "HTTP deliveries by source and verdict", ["source", "verdict"])
CUT = Counter("zohook_connections_cut", "Connections that the door closed on a client, by reason", ["reason"])

SPOOL_DEPTH = Gauge("zohook_spool_depth", "Deliveries of this host that wait for Redis")
SPOOL_BYTES = Gauge("zohook_spool_bytes", "Bytes that the spool of this host holds")
SPOOL_OLDEST = Gauge("zohook_spool_oldest_seconds", "Age of the oldest delivery in the spool of this host")
SPOOL_QUARANTINED = Gauge(
    "zohook_spool_quarantined", "Deliveries of this host that the ledger refuses one by one"
)
SPOOL_BROKEN = Gauge("zohook_spool_broken", "1 while the spool of this host cannot be used")

REDIS_MEMORY_SHARE = Gauge("zohook_redis_memory_share", "Used part of the memory that Redis may use, 0 to 1")
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

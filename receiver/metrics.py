"""The counters and gauges of a process, all declared in one place; what is counted in the ledger is read from there instead."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

DELIVERIES = Counter("zohook_deliveries", "HTTP deliveries by source and verdict", ["source", "verdict"])
CUT = Counter("zohook_connections_cut", "Connections that the door closed on a client, by reason", ["reason"])

SPOOL_DEPTH = Gauge("zohook_spool_depth", "Deliveries of this host that wait for Redis")
SPOOL_BYTES = Gauge("zohook_spool_bytes", "Bytes that the spool of this host holds")
SPOOL_OLDEST = Gauge("zohook_spool_oldest_seconds", "Age of the oldest delivery in the spool of this host")
SPOOL_QUARANTINED = Gauge(
    "zohook_spool_quarantined", "Deliveries of this host that the ledger refuses one by one"
)
SPOOL_BROKEN = Gauge("zohook_spool_broken", "1 while the spool of this host cannot be used")

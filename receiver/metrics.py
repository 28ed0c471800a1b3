"""The counters of a process, all declared in one place; what is counted in the ledger is read from there instead."""

from __future__ import annotations

from prometheus_client import Counter

DELIVERIES = Counter("zohook_deliveries", "HTTP deliveries by source and verdict", ["source", "verdict"])

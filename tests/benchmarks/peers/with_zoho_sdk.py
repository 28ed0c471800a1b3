"""One record read again and again with Zoho's own Python SDK. Ends with one JSON line: ms of its import, of each call, and its memory."""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time

from official_sdk import HeaderMap, ParameterMap, imported, leads_of


def main() -> None:
    """Read it so many times, after a few that pay for the token and the connection."""
    record, count = int(sys.argv[1]), int(sys.argv[2])
    leads = leads_of()
    took = []
    for number in range(count + 5):
        at = time.perf_counter()
        leads.get_record(record, ParameterMap(), HeaderMap()).get_object().get_data()
        if number >= 5:
            took.append((time.perf_counter() - at) * 1000)
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"import_ms": imported * 1000, "call_ms": statistics.median(took), "rss_mib": rss}))


if __name__ == "__main__":
    main()

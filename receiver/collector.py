"""Python's collector of garbage, in processes that live for long."""

from __future__ import annotations

import gc

SELDOM = 20_000
"""How many more objects are made than freed until the young ones are looked at. Little of what a request or a job makes is in cycles."""


def spare_what_is_there() -> None:
    """What is loaded now stays, so the collector need not look at it again. Looking at all of it takes some 70 ms, and nothing else is
    done in that time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(SELDOM)

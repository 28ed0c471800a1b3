"""Python's collector of garbage, in processes that live for long."""

from __future__ import annotations

import gc


def spare_what_is_there(seldom: int) -> None:
    """What is loaded now stays, so the collector need not look at it again: looking at all of it takes some 70 ms, and nothing else is
    done in that time. It looks for rings among new objects once there are `seldom` more of those than before.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(seldom)

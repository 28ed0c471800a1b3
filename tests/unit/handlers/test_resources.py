"""Resources: made once per process, when first asked for, and closed at its end."""

from __future__ import annotations

import threading
import time

import pytest

from receiver.errors import HandlerError
from receiver.routing.resources import Resources


def test_a_resource_is_made_once_whoever_asks_first(settings):
    """Two threads that ask at once get the same one; it may ask for settings and other resources."""
    made = []

    def slow(settings):
        time.sleep(0.05)
        made.append(settings)
        return object()

    def user(slow, settings):
        return slow

    known = settings()
    held = Resources({"slow": slow, "user": user}, known)
    got = []
    threads = [
        threading.Thread(target=lambda name=name: got.append(held.get(name))) for name in ("slow", "user") * 4
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [known]
    assert len(got) == 8
    assert len(set(map(id, got))) == 1
    assert sorted(held) == ["slow", "user"]


def test_resources_are_closed_last_first(settings):
    """What was never asked for is not made, so there is nothing to close."""
    told = []

    def maker(name):
        def make():
            told.append(f"open {name}")
            yield name
            told.append(f"close {name}")

        return make

    held = Resources({name: maker(name) for name in "abc"}, settings())
    assert (held.get("a"), held.get("b")) == ("a", "b")
    held.close()
    assert told == ["open a", "open b", "close b", "close a"]


def test_resources_that_need_each_other_are_a_ring(settings):
    """It is drawn in the message; one that cannot be made is tried again by the next job."""
    held = Resources({"a": lambda b: b, "b": lambda c: c, "c": lambda a: a}, settings())
    for _ in range(2):
        with pytest.raises(HandlerError, match="a -> b -> c -> a"):
            held.get("a")

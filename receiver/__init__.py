"""Zohook: the words that a handler's author needs. Lazy, so that importing one room does not load all of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from receiver.errors import RetryLater, Skip
    from receiver.event import Event
    from receiver.routing.plugins import on
    from receiver.routing.resources import resource
    from receiver.zoho import Zoho

__version__ = "0.1.0"
__all__ = ["Event", "RetryLater", "Skip", "Zoho", "on", "resource"]

_ROOMS = {
    "Event": "receiver.event",
    "RetryLater": "receiver.errors",
    "Skip": "receiver.errors",
    "Zoho": "receiver.zoho",
    "on": "receiver.routing.plugins",
    "resource": "receiver.routing.resources",
}


def __getattr__(name: str) -> object:
    if name in _ROOMS:
        return getattr(import_module(_ROOMS[name]), name)
    raise AttributeError(f"module 'receiver' has no attribute {name!r}")

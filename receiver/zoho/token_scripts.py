"""The Lua scripts that read and write token rows, one file each. Each is one step that no other process can
come between.
"""

from __future__ import annotations

from importlib.resources import files

from receiver import keys

NAMES = ("read", "take", "again", "settle", "invalidate", "clear", "install", "stale")


def source(name: str) -> str:
    """The whole text of one script, with the keys and what the scripts share in front of it."""
    room = files("receiver.zoho") / "scripts"
    return "\n".join(
        (keys.lua_prelude(), (room / "shared.lua").read_text(), (room / f"{name}.lua").read_text())
    )

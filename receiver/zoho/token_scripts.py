"""The Lua scripts that read and write token rows, one file each. Each is one step that no other process can
come between.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from receiver import keys

NAMES = ("read", "take", "again", "settle", "invalidate", "clear", "install", "stale")


@cache
def source(name: str) -> str:
    """The whole text of one script, with the keys that it uses and what the scripts share in front of it."""
    room = files("receiver.zoho") / "scripts"
    own = (room / f"{name}.lua").read_text()
    used = ["shared", *re.findall(r"\bUses (\w+)\.lua", own)]
    body = "\n".join([*((room / f"{each}.lua").read_text() for each in used), own])
    return "\n".join((keys.lua_prelude(set(re.findall(r"\bK\.(\w+)", body))), body))

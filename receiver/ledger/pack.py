"""How bytes are kept: as they are up to 1 KiB, deflated beyond it; the first byte tells which."""

from __future__ import annotations

import zlib

PLAIN, DEFLATED = b"-", b"z"
WORTH_IT = 1024


def pack(raw: bytes) -> bytes:
    """The bytes to keep; never larger than what came by more than one."""
    if len(raw) > WORTH_IT:
        squeezed = zlib.compress(raw, 3)
        if len(squeezed) < len(raw):
            return DEFLATED + squeezed
    return PLAIN + raw


def unpack(kept: bytes) -> bytes:
    """What `pack` was given."""
    return zlib.decompress(kept[1:]) if kept[:1] == DEFLATED else kept[1:]

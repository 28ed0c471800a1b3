"""Deliveries as they come from Zoho, a folder a product: `zohook send` sends them, and the tests read them.

`CASE.json` is a body, byte for byte (or another ending, for what is no JSON); `CASE.headers.json` holds the headers that came with it
and are no proof. SOURCES.md says where each is from.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from receiver.sources.fingerprints import family

FOLDER = Path(__file__).parent
_HEADERS = ".headers.json"


@cache
def _bodies(product: str) -> dict[str, Path]:
    """Case -> its body. The finance family shares what Books has, but for products with samples of their own."""
    for folder in (FOLDER / product, FOLDER / family(product)):
        if folder.is_dir():
            return {file.stem: file for file in sorted(folder.iterdir()) if not file.name.endswith(_HEADERS)}
    return {}


def cases(product: str) -> list[str]:
    """The cases that there are of a product."""
    return list(_bodies(product))


def body(product: str, case: str) -> bytes:
    """The bytes of one case; KeyError where there is none."""
    return _bodies(product)[case].read_bytes()


def headers(product: str, case: str) -> dict[str, str]:
    """The headers of one case, as far as they are known; KeyError where there is no such case."""
    file = _bodies(product)[case].with_name(case + _HEADERS)
    return json.loads(file.read_bytes()) if file.exists() else {}

"""The table of kits, one for each product: what the shared cases run over. A product without one is not taken in."""

from __future__ import annotations

from kits_signed import KITS as SIGNED
from kits_written import KITS as WRITTEN
from signed_deliveries import FIRST, Kit

KITS: dict[str, Kit] = {**FIRST, **SIGNED, **WRITTEN}

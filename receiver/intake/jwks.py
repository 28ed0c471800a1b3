"""Fetching the public keys that a product's host shows."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from jwt import PyJWKSet, PyJWKSetError

PATIENCE = 3.0
LARGEST = 256 * 1024
FAILURES = (httpx.HTTPError, TimeoutError, ValueError, KeyError, TypeError, PyJWKSetError)
"""What `fetch` raises."""


async def fetch(url: str) -> dict[str, Any]:
    """Key id -> public key, from the one URL that the table of data centres gives; RSA keys only, no redirects."""
    async with (
        asyncio.timeout(
            PATIENCE
        ),  # httpx's own limits are per read: a host that drips would hold us for hours
        httpx.AsyncClient(timeout=PATIENCE, trust_env=False, follow_redirects=False) as client,
        client.stream("GET", url, headers={"accept-encoding": "identity"}) as answer,
    ):
        answer.raise_for_status()
        raw = b""
        async for chunk in answer.aiter_raw():  # never inflated: a bomb is kilobytes here and gigabytes there
            raw += chunk
            if len(raw) > LARGEST:
                raise ValueError("the key set is too large")
    return {
        key.key_id: key.key
        for key in PyJWKSet.from_json(raw.decode()).keys
        if key.key_id and key.key_type == "RSA"
    }

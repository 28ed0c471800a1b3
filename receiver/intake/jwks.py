"""Fetching the public keys that a product's host shows."""

from __future__ import annotations

from typing import Any

import httpx
from jwt import PyJWKSet, PyJWKSetError

LARGEST = 256 * 1024
FAILURES = (httpx.HTTPError, ValueError, KeyError, TypeError, PyJWKSetError)
"""What `fetch` raises."""


async def fetch(url: str) -> dict[str, Any]:
    """Key id -> public key, from the one URL that the table of data centres gives; RSA keys only, no redirects."""
    async with (
        httpx.AsyncClient(timeout=3, trust_env=False, follow_redirects=False) as client,
        client.stream("GET", url) as answer,
    ):
        answer.raise_for_status()
        raw = b""
        async for chunk in answer.aiter_bytes():
            raw += chunk
            if len(raw) > LARGEST:
                raise ValueError("the key set is too large")
    return {
        key.key_id: key.key
        for key in PyJWKSet.from_json(raw.decode()).keys
        if key.key_id and key.key_type == "RSA"
    }

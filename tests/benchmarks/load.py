"""Load where wrk is not installed: the same requests over as many connections, from one process. Says the same JSON as `load.lua`.

python load.py FILE URL CONNECTIONS SECONDS
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import uvloop

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = (
    b"POST %b HTTP/1.1\r\nHost: hooks.example.com\r\nUser-Agent: ZohoBooks\r\nAccept: */*\r\n"
    b"Content-Type: application/json\r\nX-Com-Zoho-Organizationid: 60069194202\r\nX-Forwarded-For: 136.143.188.1\r\n"
    b"X-Zoho-Webhook-Signature: %b\r\nContent-Length: %d\r\n\r\n%b"
)


class Load:
    """What is sent and what came back."""

    def __init__(self, file: str, path: str) -> None:
        self._path = path.encode()
        self._lines = self._read(file)
        self.took: list[float] = []
        self.not_2xx = self.broken = 0

    @staticmethod
    def _read(file: str) -> Iterator[bytes]:
        while True:
            with Path(file).open("rb") as lines:
                yield from lines

    def request(self) -> bytes:
        """The next one."""
        signature, _, body = next(self._lines).rstrip(b"\n").partition(b" ")
        return HEAD % (self._path, signature, len(body), body)


class Connection(asyncio.Protocol):
    """Sends the next request when the last one is answered. Answers come with a Content-Length."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._began = time.perf_counter()
        self._transport.write(self._load.request())  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Once the answer is whole, go on."""
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        if len(body) < length:
            return
        self._buffer = b""
        self._load.took.append(time.perf_counter() - self._began)
        self._load.not_2xx += head[9:10] != b"2"
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        """The server must not hang up while we send."""
        self._load.broken += error is not None


async def main(file: str, url: str, connections: int, seconds: float) -> None:
    """Send for so long, and say what came back."""
    parts = urlsplit(url)
    load = Load(file, f"{parts.path}?{parts.query}")
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    made = [
        await loop.create_connection(lambda: Connection(load), parts.hostname, parts.port)
        for _ in range(connections)
    ]
    await asyncio.sleep(seconds)
    took, spent = sorted(load.took), time.perf_counter() - began
    said = {"requests": len(took), "seconds": spent, "not_2xx": load.not_2xx, "broken": load.broken}
    for transport, _ in made:
        transport.abort()
    said |= {"p50": took[len(took) // 2] * 1000, "p99": took[int(len(took) * 0.99)] * 1000}
    print(json.dumps(said))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))

"""saq: a no-op job, without results."""

import asyncio
import os
import sys

from marks import mark
from redis.asyncio import Redis
from saq.queue.redis import RedisQueue

queue = RedisQueue(Redis.from_url(os.environ["BENCH_REDIS"], max_connections=1000))


async def nothing(_):
    """Count itself."""
    mark()


settings = {"queue": queue, "functions": [nothing], "concurrency": 100}


async def _put(count):
    for _ in range(count // 100):
        await asyncio.gather(*(queue.enqueue("nothing", ttl=-1) for _ in range(100)))


if __name__ == "__main__":
    asyncio.run(_put(int(sys.argv[1])))

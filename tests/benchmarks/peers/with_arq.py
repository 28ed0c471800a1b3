"""arq: a no-op job, without results, asking for more as fast as it can."""

import asyncio
import os
import sys

from arq import create_pool
from arq.connections import RedisSettings
from marks import mark

SETTINGS = RedisSettings.from_dsn(os.environ["BENCH_REDIS"])


async def nothing(_):
    """Count itself."""
    mark()


class WorkerSettings:
    """What `arq with_arq.WorkerSettings` runs."""

    functions = [nothing]  # noqa: RUF012
    redis_settings = SETTINGS
    max_jobs = 100
    keep_result = 0
    poll_delay = 0.01


async def _put(count):
    pool = await create_pool(SETTINGS)
    for _ in range(count // 100):
        await asyncio.gather(*(pool.enqueue_job("nothing") for _ in range(100)))


if __name__ == "__main__":
    asyncio.run(_put(int(sys.argv[1])))

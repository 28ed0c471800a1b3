"""taskiq over a Redis list, its fastest broker: a no-op task, without results."""

import asyncio
import os
import sys

from marks import mark
from taskiq_redis import ListQueueBroker

broker = ListQueueBroker(os.environ["BENCH_REDIS"])


@broker.task
async def nothing():
    """Count itself."""
    mark()


async def _put(count):
    from with_taskiq import broker as known
    from with_taskiq import nothing as task

    await known.startup()
    for _ in range(count // 100):
        await asyncio.gather(*(task.kiq() for _ in range(100)))
    await known.shutdown()


if __name__ == "__main__":
    asyncio.run(_put(int(sys.argv[1])))

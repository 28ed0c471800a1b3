"""dramatiq: a no-op actor, without results."""

import os
import sys

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from marks import mark

dramatiq.set_broker(RedisBroker(client=redis.Redis.from_url(os.environ["BENCH_REDIS"])))


@dramatiq.actor
def nothing():
    """Count itself."""
    mark()


if __name__ == "__main__":
    for _ in range(int(sys.argv[1])):
        nothing.send_with_options(args=())

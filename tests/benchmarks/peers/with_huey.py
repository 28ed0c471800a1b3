"""huey: a no-op task, without results."""

import os
import sys

from huey import RedisHuey
from marks import mark

huey = RedisHuey("bench", url=os.environ["BENCH_REDIS"], results=False)


@huey.task()
def nothing():
    """Count itself."""
    mark()


if __name__ == "__main__":
    from with_huey import nothing as task  # by its own name, not __main__'s

    for _ in range(int(sys.argv[1])):
        task()

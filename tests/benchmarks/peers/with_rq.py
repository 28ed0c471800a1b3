"""RQ as it comes: the SimpleWorker in a burst, JSON, quiet logs. Runs in Zohook's own environment."""

import os
import sys

from redis import Redis
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer


def nothing():
    """Count itself."""
    from marks import mark

    mark()


if __name__ == "__main__":
    connection = Redis.from_url(os.environ["BENCH_REDIS"])
    queue = Queue("bench", connection=connection, serializer=JSONSerializer)
    if sys.argv[1] == "work":
        worker = SimpleWorker([queue], connection=connection, serializer=JSONSerializer)
        worker.work(burst=True, logging_level="WARNING")
    else:
        data = [Queue.prepare_data("with_rq.nothing") for _ in range(int(sys.argv[1]))]
        queue.enqueue_many(data)

"""Celery: a no-op task, without results."""

import os
import sys

from celery import Celery

app = Celery("with_celery", broker=os.environ["BENCH_CELERY"])
app.conf.update(
    task_ignore_result=True, broker_connection_retry_on_startup=True, worker_prefetch_multiplier=64
)


@app.task
def nothing():
    """Count itself."""
    mark()


@app.task
def handle(source, data):
    """What the door enqueues; never run."""


if __name__ == "__main__":
    for _ in range(int(sys.argv[1])):
        nothing.delay()
elif not os.environ.get("BENCH_DOOR"):
    from marks import mark

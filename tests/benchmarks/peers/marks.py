"""What every no-op job does: count itself, in shared memory, without letting go of the interpreter."""

import mmap
import os

with open(os.environ["BENCH_MARKS"], "r+b") as file:  # noqa: PTH123 - imported by every contender, so imports nothing
    _WORDS = memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")


def mark():
    """One more job ran in this process."""
    _WORDS[os.getpid() % 512] += 1

"""Where the log's lines go: at once, or by a thread that holds nobody up."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from contextlib import suppress

from receiver.lines import MOST, Lines


def lost(count: int) -> str:
    """The line about lines that found no room."""
    return f"{count} lost\n"


def soon(true, seconds: float = 20) -> bool:
    """Whether something becomes so."""
    limit = time.monotonic() + seconds
    while not true() and time.monotonic() < limit:
        time.sleep(0.01)
    return true()


def test_without_a_thread_a_line_is_written_at_once():
    """Whoever reads the stream after a line was said has it."""
    out = io.StringIO()
    lines = Lines(lost)
    lines.turn_to(out)
    lines.write("one\n")
    assert out.getvalue() == "one\n"


def test_a_thread_writes_all_lines_whole_and_each_speakers_in_order():
    """Nothing is lost at the end, whatever number of threads speak; it does not wait for the end, either."""
    out = io.StringIO()
    lines = Lines(lost)
    lines.turn_to(out)
    lines.begin()
    lines.write("first\n")
    assert soon(lambda: out.getvalue() == "first\n")
    speakers = [
        threading.Thread(target=lambda who=who: [lines.write(f"{who} {n}\n") for n in range(1000)])
        for who in range(4)
    ]
    for each in speakers:
        each.start()
    for each in speakers:
        each.join()
    lines.end()
    said = [line.split() for line in out.getvalue().splitlines()[1:]]
    for who in range(4):
        assert [int(number) for speaker, number in said if speaker == str(who)] == list(range(1000))
    lines.write("last\n")
    assert out.getvalue().endswith("\nlast\n")


def test_a_reader_that_has_stopped_holds_nobody_up():
    """What does not fit into the pipe waits up to a bound, the rest is counted, and both are told once somebody reads again."""
    reading, writing = os.pipe()
    out = os.fdopen(writing, "w")
    lines = Lines(lost)
    lines.turn_to(out)
    lines.begin()
    lines.begin()
    try:
        started = time.monotonic()
        for number in range(MOST + 20_000):
            lines.write(f"{number:>60}\n")
        lines.end()
        took = time.monotonic() - started
        threading.Thread(target=lines.end).start()
        found = b""
        while piece := os.read(reading, 2**20):
            found += piece
            if accounted(found) == MOST + 20_000:
                break
    finally:
        os.close(reading)  # first: who still writes is told so
        with suppress(BrokenPipeError):
            out.close()
    assert took < 5
    numbers = [int(line) for line in found.decode().splitlines() if "lost" not in line]
    assert numbers[:100] == list(range(100))
    assert numbers == sorted(set(numbers))
    assert len(numbers) < MOST + 20_000


def accounted(found: bytes) -> int:
    """How many lines were written, or counted as lost."""
    whole = found.decode().rpartition("\n")[0].splitlines()
    return sum(int(line.split()[0]) if "lost" in line else 1 for line in whole)


def test_a_stream_that_cannot_be_written_costs_its_lines_only():
    """A log on a full disk, or closed, stops no work, and the next stream gets the next line."""
    out, then = io.StringIO(), io.StringIO()
    lines = Lines(lost)
    lines.turn_to(out)
    out.close()
    lines.write("gone\n")
    lines.turn_to(then)
    lines.write(json.dumps({"a": 1}) + "\n")
    assert then.getvalue() == '{"a": 1}\n'

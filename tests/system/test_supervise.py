"""The supervisor on its own, with small programs in place of ours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from receiver.cli import supervise
from receiver.cli.supervise import ChildFailed, Stopped, Tree
from tests.system.conftest import eventually, linux, table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = linux
SLEEPS = "import time; time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
BREEDS = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(61)']); time.sleep(60)"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tree]:
    """A tree whose commands are Python programs given as text."""
    monkeypatch.setattr(supervise, "ours", lambda *arguments: [sys.executable, "-c", *arguments])
    with Tree(dict(os.environ), tmp_path) as found:
        yield found


def test_a_killed_child_is_back_within_a_second(tree: Tree) -> None:
    """SIGKILL of a child that worked costs less than a second, and is counted."""
    child = tree.add("worker", SLEEPS)
    time.sleep(1.1)
    first = child.pid
    os.kill(first, signal.SIGKILL)
    began = time.monotonic()
    tree.wait(lambda: child.pid not in {0, first}, 5, "the child")
    assert time.monotonic() - began < 1
    assert child.restarts == 1


def test_a_child_that_keeps_dying_is_started_less_and_less_often(tree: Tree) -> None:
    """A child that ends at once is not started in a tight loop."""
    child = tree.add("worker", "raise SystemExit(1)", vital=False)
    began = time.monotonic()
    tree.wait(lambda: child.restarts == 3, 30, "the third start after the first", every=0.01)
    assert time.monotonic() - began > 0.2 + 0.4 + 0.8


def test_a_start_that_fails_is_tried_again(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """No room for another process, once: the others go on, and it is back as soon as it can."""
    child, other = tree.add("worker", SLEEPS), tree.add("clock", SLEEPS)
    others, real, failed = other.pid, subprocess.Popen, []

    def none_yet(*args: Any, **more: Any) -> Any:
        if len(failed) < 2:
            failed.append(1)
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return real(*args, **more)

    monkeypatch.setattr(subprocess, "Popen", none_yet)
    os.kill(child.pid, signal.SIGKILL)
    tree.wait(lambda: child.restarts == 1 and child.pid, 10, "the child")
    assert len(failed) == 2
    assert other.pid == others


def test_wrong_settings_are_not_tried_again(tree: Tree) -> None:
    """A vital child that refuses its settings ends the tree with what it said."""
    tree.add("web", "import sys; print('zohook: web.port is wrong', file=sys.stderr); sys.exit(2)")
    with pytest.raises(ChildFailed, match=r"web\.port is wrong"):
        tree.wait(lambda: False, 10, "nothing")


def test_a_child_that_is_not_vital_may_refuse_its_settings(tree: Tree) -> None:
    """A worker whose handlers are broken is tried again, and the others stay up."""
    child = tree.add("worker", "raise SystemExit(2)", vital=False)
    eventually(lambda: tree.watch() or child.restarts >= 2, 30)


def test_what_does_not_come_in_time_is_told_with_the_last_words(tree: Tree) -> None:
    """A wait that takes too long says for what, and what the children said last."""
    tree.add("web", "print('still looking', flush=True); import time; time.sleep(60)")
    time.sleep(0.3)
    with pytest.raises(ChildFailed, match="moon") as caught:
        tree.wait(lambda: False, 0.5, "the moon")
    assert "still looking" in str(caught.value)


def test_the_first_line_is_heard_and_a_silent_child_is_told(tree: Tree) -> None:
    """A child that introduces itself is heard; one that ends without a word is an error with what it wrote."""
    child, line = tree.add_speaker("simulator", "print('hello', flush=True); import time; time.sleep(60)")
    assert (line, child.pid > 0) == ("hello\n", True)
    with pytest.raises(ChildFailed, match="no port"):
        tree.add_speaker("other", "import sys; sys.exit('no port')")


def test_all_are_stopped_in_order_and_with_what_they_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The door closes first and what is called goes last; a child's own children go with it."""
    monkeypatch.setattr(supervise, "ours", lambda *arguments: [sys.executable, "-c", *arguments])
    order = []
    stop = supervise.Child.ask_to_stop
    monkeypatch.setattr(supervise.Child, "ask_to_stop", lambda child: (order.append(child.name), stop(child)))
    with Tree(dict(os.environ), tmp_path) as tree:
        for name in ("simulator", "clock", "worker", "web"):
            tree.add(name, BREEDS)
        groups = {child.pid for child in tree.children}
        time.sleep(0.5)
    assert order == ["web", "worker", "clock", "simulator"]
    # The last may not be reaped yet.
    eventually(lambda: not [pid for pid in table() if _group(pid) in groups], 5)


def test_who_does_not_stop_is_killed(tree: Tree) -> None:
    """After the grace a child that ignores SIGTERM is killed."""
    child, _ = tree.add_speaker("web", STUBBORN, grace=0.5)
    pid = child.pid
    began = time.monotonic()
    tree.stop()
    assert time.monotonic() - began < 3
    assert pid not in table()


def test_a_second_ctrl_c_ends_the_patience(tree: Tree) -> None:
    """Somebody who presses Ctrl-C again need not wait for the grace to end."""
    child, _ = tree.add_speaker("web", STUBBORN, grace=30)
    pid = child.pid
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    before = signal.signal(signal.SIGALRM, tree._signalled)
    began = time.monotonic()
    tree.stop()
    signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - began < 5
    assert pid not in table()


def test_a_signal_stops_the_tree_and_no_exception_comes_out_of_nowhere(tree: Tree) -> None:
    """A signal is only noted; the next look at the tree says that it is to stop."""
    tree.add("web", SLEEPS)
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Stopped):
        tree.wait(lambda: False, 10, "nothing")


def test_a_log_that_grew_too_long_is_put_aside(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a start a log over its limit becomes the old one, and a new one is begun."""
    monkeypatch.setattr(supervise, "LOG_LIMIT", 10)
    place = tree.folder / ".zohook" / "log"
    place.mkdir(parents=True)
    (place / "web.log").write_text("x" * 11)
    tree.add("web", SLEEPS)
    assert (place / "web.old.log").read_text() == "x" * 11
    assert (place / "web.log").read_text() == ""


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0

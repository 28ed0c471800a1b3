"""The worker processes of a project: one, or several that share the work, each started again when it dies."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from receiver import logs
from receiver.cli.processes import environment
from receiver.cli.replacing import look_after
from receiver.cli.supervise import Stopped, Tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.settings import Settings


def add_workers(tree: Tree, processes: int, *arguments: str, vital: bool = True) -> None:
    """Start them, each with a name of its own. Nothing is shared: whoever has an idle thread takes the next slip.

    Told to stop, each finishes what it runs, however long that takes; told again, they are ended.
    """
    for number in range(1, processes + 1):
        name = "worker" if processes == 1 else f"worker-{number}"
        child = tree.add(name, "worker", "--processes", "1", *arguments, vital=vital)
        child.grace = math.inf


def run(settings: Settings, processes: int, *, burst: bool = False, queues: Sequence[str] = ()) -> int:
    """Work by several processes until told to stop, or in a burst until each has found nothing left; they log where this one does.

    Raises ChildFailed where they cannot run.
    """
    logs.setup(settings)
    log = logs.get("workers")
    given = environment(settings.folder, settings.redis.url)
    arguments = [part for queue in queues for part in ("--queue", queue)]
    with Tree(given, settings.folder, own_logs=False) as tree:
        add_workers(tree, processes, *arguments, *(("--burst",) if burst else ()))
        for child in tree.children:
            child.ends_well = burst
        try:
            look_after(tree, "worker", lambda: all(child.ended_well for child in tree.children))
        except Stopped:
            log.info("workers.stopping", processes=processes)
    return 0

"""The web processes of a project: one, or several on one listening socket, each started again when it dies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver import logs
from receiver.cli.counts import shared_counts
from receiver.cli.processes import environment
from receiver.cli.replacing import look_after
from receiver.cli.supervise import Stopped, Tree

if TYPE_CHECKING:
    from collections.abc import Mapping
    from socket import socket

    from receiver.settings import Settings


def add_webs(tree: Tree, workers: int, bound: socket, counts: Mapping[str, str]) -> None:
    """Start them. They share the socket: a connection that waits in it while one of them dies is taken by another."""
    for number in range(1, workers + 1):
        name = "web" if workers == 1 else f"web-{number}"
        tree.add(name, "web", "--fd", str(bound.fileno()), fds=[bound.fileno()], more=counts)


def run(settings: Settings, bound: socket, workers: int) -> int:
    """Serve by several processes until told to stop; they log where this one does. Raises ChildFailed where they cannot run."""
    logs.setup(settings)
    log = logs.get("webs")
    given = environment(settings.folder, settings.redis.url)
    with (
        shared_counts(settings.folder, workers) as counts,
        Tree(given, settings.folder, own_logs=False) as tree,
    ):
        add_webs(tree, workers, bound, counts)
        try:
            look_after(tree, "web")
        except Stopped:
            log.info("webs.stopping", workers=workers)
    return 0

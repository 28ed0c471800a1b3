"""Looking after several processes of one kind until somebody stops them: who dies is replaced, and the log says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver import logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from receiver.cli.supervise import Tree

LOOK_EVERY = 0.1


def look_after(tree: Tree, kind: str, over: Callable[[], bool] = lambda: False) -> None:
    """Replace those who die, until `over` says that there is nothing more to do. Raises Stopped, and ChildFailed where they cannot run."""
    log = logs.get(f"{kind}s")
    seen: dict[str, int] = {}
    replaced = f"{kind}.replaced"
    while not over():
        tree.watch()
        for child in tree.children:
            if child.restarts != seen.get(child.name, 0):
                seen[child.name] = child.restarts
                log.warning(replaced, name=child.name, restarts=child.restarts, why=child.epitaph)
        tree.pause(LOOK_EVERY)

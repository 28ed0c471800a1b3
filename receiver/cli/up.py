"""`zohook up`: the user's project in one process tree, from its zohook.toml."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import typer

from receiver.cli.counts import shared_counts
from receiver.cli.processes import environment, listen, local_address
from receiver.cli.supervise import Stopped, Tree
from receiver.cli.webs import add_webs
from receiver.cli.workers import add_workers
from receiver.errors import SettingsError
from receiver.ledger.embedded import Embedded
from receiver.settings import FILE, Settings

if TYPE_CHECKING:
    from pathlib import Path
    from socket import socket

START_WITHIN = 60.0
LOOK_EVERY = 0.1


def address(bound: socket, host: str) -> str:
    """The URL of a listening socket, as a browser on this machine opens it."""
    return local_address(host, bound.getsockname()[1])


def answers(url: str) -> bool:
    """Whether a web process answers there at all."""
    import httpx

    try:
        httpx.get(url, timeout=2, trust_env=False)
    except httpx.HTTPError:
        return False
    return True


def run(folder: Path | None) -> int:
    """Run until told to stop. Raises SettingsError or ChildFailed where it cannot run."""
    settings = Settings.load(folder)
    if not (settings.folder / FILE).exists():
        raise SettingsError(
            f"there is no {settings.folder / FILE}; `zohook init` makes one, `zohook demo` needs none"
        )
    with ExitStack() as stack:
        redis = None if settings.redis.url else stack.enter_context(Embedded(settings.folder))
        bound = stack.enter_context(listen(settings.web.host, settings.web.port))
        url = address(bound, settings.web.host)
        given = environment(settings.folder, redis.url if redis else settings.redis.url)
        counts = stack.enter_context(shared_counts(settings.folder, settings.web.workers))
        tree = stack.enter_context(Tree(given, settings.folder, redis))
        try:
            add_webs(tree, settings.web.workers, bound, counts)
            tree.wait(lambda: answers(url), START_WITHIN, "the web process to answer")
            add_workers(
                tree, settings.worker.processes, vital=False
            )  # a broken handler must not shut the door
            tree.add("clock", "clock")
            _say(settings, url)
            _watch(tree)
        except Stopped:
            typer.echo("stopping", err=True)
    return 0


def _say(settings: Settings, url: str) -> None:
    typer.echo(f"dashboard  {url}/")
    if not settings.web.password:
        typer.echo("           closed, until ZOHOOK_WEB__PASSWORD is set")
    for name in settings.sources:
        typer.echo(f"way in     {settings.public_url}/in/{name}")
    typer.echo(f"logs       {settings.folder / '.zohook' / 'log'}")
    sys.stdout.flush()


def _watch(tree: Tree) -> None:
    """Look after the processes for ever, and say when one was started again."""
    seen: dict[str, int] = {}
    while True:
        tree.watch()
        for child in tree.children:
            if child.restarts != seen.get(child.name, 0):
                seen[child.name] = child.restarts
                typer.echo(f"{child.name} was started again ({child.restarts}): {child.epitaph}", err=True)
        tree.pause(LOOK_EVERY)

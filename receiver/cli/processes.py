"""What a single process of ours needs around it: its Redis, its socket, its server."""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

from receiver.cli import counts, starter
from receiver.collector import spare_what_is_there
from receiver.errors import SettingsError
from receiver.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import uvicorn
    from redis import Redis

    from receiver.app import Web

BACKLOG = 2048
SELDOM = 20_000
"""New objects until the collector looks for rings: little of what a request makes is in one."""


@contextmanager
def with_redis(settings: Settings) -> Iterator[Settings]:
    """The settings with a Redis in them: the configured one, else the folder's own, started unless it runs already."""
    if settings.redis.url:
        yield settings
        return
    from receiver.ledger.embedded import Embedded

    with Embedded(settings.folder) as server:
        os.environ["ZOHOOK_REDIS__URL"] = server.url
        try:
            yield Settings.load(settings.folder)
        finally:
            os.environ.pop("ZOHOOK_REDIS__URL", None)


@contextmanager
def ledger_if_any(settings: Settings) -> Iterator[Redis | None]:
    """A client of the project's Redis where one answers now, else None; nothing is started and nobody waits long."""
    from redis import Redis
    from redis.exceptions import RedisError

    from receiver.ledger.embedded import Embedded

    url = settings.redis.url or Embedded(settings.folder).find()
    if not url:
        yield None
        return
    with Redis.from_url(url, socket_timeout=5, socket_connect_timeout=1) as client:
        try:
            answers = bool(client.ping())
        except (RedisError, OSError):
            answers = False
        yield client if answers else None


def local_address(host: str, port: int) -> str:
    """The URL of a web process, as this machine reaches it; `host` is what it listens on."""
    any_of_ours = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104
    shown = any_of_ours.get(host, host)
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def environment(folder: Path, redis_url: str, **more: str) -> dict[str, str]:
    """What the processes of a tree are told: everything by the environment, since command lines can be read by all."""
    given = {
        **os.environ,
        "ZOHOOK_FOLDER": str(folder),
        "ZOHOOK_REDIS__URL": redis_url,
        "PYTHONUNBUFFERED": "1",
        **more,
    }
    root = starter.checkout()
    if root is not None:  # run from a checkout, perhaps without being installed
        given["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), given.get("PYTHONPATH")]))
    return given


def listen(host: str, port: int, *, or_any: bool = False) -> socket.socket:
    """A listening socket. With `or_any` a free port is taken where that one is not; else SettingsError says so."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        try:
            bound.bind((host, port))
        except OSError:
            if not or_any:
                raise
            bound.bind((host, 0))
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise SettingsError(
            f"web.port: cannot listen on {host}:{port}: {error.strerror or error}; "
            "set another [web] host or port in zohook.toml, or ZOHOOK_WEB__PORT"
        ) from None
    return bound


def serving(web: Web) -> uvicorn.Config:
    """How the web process serves: plain HTTP/1.1, by a protocol with limits."""
    import uvicorn

    from receiver.intake.protocol import NEVER, guarded

    return uvicorn.Config(
        web.pages,
        loop="uvloop",
        http=guarded(web.settings.web, web.door, web.stopping),
        ws="none",
        lifespan="on",
        server_header=False,
        access_log=False,
        log_config=None,
        proxy_headers=False,  # who the caller is, is what the socket says, or a proxy of `web.trusted_proxies`
        backlog=BACKLOG,
        timeout_keep_alive=NEVER,
        timeout_graceful_shutdown=5,  # a live page never ends by itself
    )


def web(
    settings: Settings, *, port: int | None = None, fd: int | None = None, workers: int | None = None
) -> int:
    """Serve the door and the dashboard until told to stop; the exit status. With `fd`, a listening socket, by this process alone."""
    if fd is not None:
        return _serve(settings, socket.socket(fileno=fd))
    from receiver.cli import webs

    workers = settings.web.workers if workers is None else workers
    with listen(settings.web.host, settings.web.port if port is None else port) as bound:
        return _serve(settings, bound) if workers == 1 else webs.run(settings, bound, workers)


def _serve(settings: Settings, bound: socket.socket) -> int:
    import uvicorn

    alone = counts.take_part()
    from receiver.app import build

    servers: list[uvicorn.Server] = []
    built = build(settings, stopping=lambda: any(server.should_exit for server in servers))
    if alone:
        counts.say_alone(alone)
    server = uvicorn.Server(serving(built))
    servers.append(server)
    spare_what_is_there(SELDOM)
    try:
        server.run(sockets=[bound])
    finally:
        bound.close()
    return 0 if server.started else 1

"""The web process: the door and the dashboard. Wiring only; it never imports a handler."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.routing import Route

from receiver import logs
from receiver.dashboard import routes
from receiver.intake.committer import Committer
from receiver.intake.endpoint import Door
from receiver.intake.keyring import Keyring
from receiver.ledger.connect import check, connect, connect_door
from receiver.zoho.vault import Vault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from receiver.settings import Settings

METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE"]


def build(settings: Settings, stopping: Callable[[], bool] = lambda: False) -> Starlette:
    """The web application of one process; open live pages end when it is `stopping`. Raises SettingsError or LedgerUnavailable before it listens."""
    logs.setup(settings)
    redis = connect(settings)
    check(redis)
    keyring = Keyring(settings, Vault.open_or_make(settings))
    committer = Committer(
        connect_door(settings),
        again=settings.worker.again,
        cap=settings.web.rejects_per_minute,
        deadline=settings.redis.deadline,
    )
    door = Door(keyring, committer, header_limit=settings.web.header_limit)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        preparing = asyncio.create_task(keyring.prepare())
        yield
        preparing.cancel()
        await committer.close()
        redis.close()

    return Starlette(
        routes=[Route("/in/{source}", door.receive, methods=METHODS), *routes(settings, redis, stopping)],
        lifespan=lifespan,
    )

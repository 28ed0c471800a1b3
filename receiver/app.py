"""The web process: the door and the dashboard. Wiring only; it never imports a handler."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.exceptions import RedisError
from starlette.applications import Starlette

from receiver import logs
from receiver.dashboard import routes
from receiver.errors import LedgerUnavailable
from receiver.intake.committer import Committer
from receiver.intake.drain import Drain
from receiver.intake.endpoint import Door
from receiver.intake.keyring import Keyring
from receiver.intake.limits import Buckets
from receiver.intake.seals import Seals
from receiver.intake.spool import Spool
from receiver.intake.uses import Labels, Uses
from receiver.ledger.connect import check, connect, connect_door, impatient
from receiver.ledger.line import Line
from receiver.ledger.witness import Witness
from receiver.zoho import probe
from receiver.zoho.vault import Vault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import Any

    from starlette.types import ASGIApp

    from receiver.settings import Settings


@dataclass(frozen=True, slots=True)
class Web:
    """What a web process serves: the door, which the server calls without ASGI, and the pages, whose start and end are the door's too."""

    settings: Settings
    door: Door
    pages: ASGIApp
    stopping: Callable[[], bool] = lambda: False


def build(settings: Settings, stopping: Callable[[], bool] = lambda: False) -> Web:
    """What one web process serves; open live pages end when it is `stopping`, `request.state.spool` is its spool.

    Raises SettingsError or LedgerUnavailable before it listens.
    """
    logs.setup(settings)
    redis = connect(settings)
    spool, witness = Spool.of(settings), Witness.of(settings)
    vault, drain = _drain(settings, spool, witness)
    at_the_door = connect_door(settings)
    keyring = Keyring(settings, vault, at_the_door)
    line = Line(
        at_the_door,
        witness,
        again=settings.worker.again,
        slips=settings.worker.slips,
        cap=settings.web.rejects_per_minute,
        deadline=settings.redis.deadline,
    )
    committer = Committer(line, spool)
    buckets = Buckets(settings.web.unauthenticated_rate, settings.web.unauthenticated_burst)
    seals = Seals(vault, settings.all_secrets())
    uses = Uses(Labels(vault))
    door = Door(keyring, committer, buckets, seals, uses, header_limit=settings.web.header_limit)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
        preparing = asyncio.create_task(keyring.keep())
        over = asyncio.Event()
        writing = asyncio.create_task(uses.write_until(over, at_the_door))
        drain.start()
        with logs.in_background():
            yield {"spool": spool}
            preparing.cancel()
            over.set()
            await asyncio.wait({writing}, timeout=2 * settings.redis.deadline)
            await committer.close()
            await asyncio.to_thread(drain.stop)
            await spool.close()
            redis.close()

    pages = Starlette(routes=routes(settings, redis, stopping, keyring=keyring), lifespan=lifespan)

    return Web(settings, door, pages, stopping)


def _drain(settings: Settings, spool: Spool, witness: Witness) -> tuple[Vault, Drain]:
    """The vault and the drain, with a Redis that is fit or, where the spool can stand in for it, one that does not answer.

    Raises SettingsError where Redis has sealed what this vault does not open; where it does not answer the drain says so later.
    """
    redis = impatient(connect(settings), settings.redis.deadline)
    try:
        check(redis)
        vault = probe.vault(settings, redis)
    except (LedgerUnavailable, RedisError, OSError) as error:
        if spool.broken:
            raise
        logs.get("spool").error("redis.away", error=str(error), effect="deliveries go to the spool")
        vault = Vault.open_or_make(settings)
        return vault, Drain(spool, redis, settings, witness, vault, fit=False)
    return vault, Drain(spool, redis, settings, witness, vault, fit=True)

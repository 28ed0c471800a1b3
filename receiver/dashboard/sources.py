"""The page of the ways in: where Zoho is to be pointed, what came of it, and which secrets are in use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException

from receiver import keys, logs
from receiver.dashboard import queries
from receiver.dashboard.house import back, house, page
from receiver.intake import told
from receiver.intake.pointing import addresses, steps, title, words
from receiver.intake.uses import Labels, uses
from receiver.ledger import forwards
from receiver.ledger import sources as ledger
from receiver.sources import guide
from receiver.zoho.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from receiver.dashboard.house import House
    from receiver.intake.keyring import Lock
    from receiver.intake.uses import Use
    from receiver.ledger.forwards import ForwardRow
    from receiver.ledger.sources import SourceRow

log = logs.get("dashboard")
MOST = 200
"""Sources on the page; whoever has more looks at the command line."""
UNSAID = "(your secret: zohook source show --secret)"


@dataclass(frozen=True, slots=True)
class Row:
    """One source as the page shows it. `armed` is for how many seconds still; None where nothing is ever armed."""

    name: str
    product: str
    title: str
    connection: str
    addresses: list[tuple[str, str]]
    proof: str
    steps: str
    secrets: tuple[Use, ...]
    unit: str
    known: SourceRow
    forward: str
    relayed: ForwardRow
    armed: int | None
    paused: bool

    @property
    def idle(self) -> bool:
        """Whether an old secret can be dropped."""
        return any(use.idle for use in self.secrets)


def sources(request: Request) -> Response:
    """Each way in, in the order of zohook.toml."""
    here = house(request)
    rows = _rows(here, list(here.keyring.locks.values())[:MOST])
    return page(request, "sources.html", rows=rows, live="/live/nav", nav=queries.nav(here.redis))


def _rows(here: House, locks: Sequence[Lock]) -> list[Row]:
    """All of them in a few round trips, however many there are."""
    names = [lock.way.name for lock in locks]
    known, relayed = ledger.rows(here.redis, names), forwards.rows(here.redis, names)
    used = uses(here.redis, locks, Labels(Vault.open_or_make(here.settings)))
    pipe = here.redis.pipeline(transaction=False)
    pipe.smembers(keys.paused())
    for name in names:
        pipe.ttl(keys.armed(name))
    paused, *armed = pipe.execute()
    rows = []
    for lock, left in zip(locks, armed, strict=True):
        name, url = lock.way.name, urlsplit(here.settings.sources[lock.way.name].forward)
        rows.append(
            Row(
                name,
                lock.way.product,
                title(lock),
                lock.way.connection,
                addresses(here.settings, lock),
                guide.filled(lock.source.guided(lock.way).proof, **words(lock)),
                steps(here.settings, lock, UNSAID),
                used[name] if lock.keys.secrets or lock.keys.public or lock.source.needs == "jwks" else (),
                "Public key"
                if lock.keys.public
                else "Keys of Zoho"
                if lock.source.needs == "jwks"
                else "Secret",
                known[name],
                f"{url.scheme}://{url.netloc}{url.path}" if url.netloc else "",  # its query may be a secret
                relayed[name],
                max(0, left) if lock.source.needs == "told" else None,
                f"source:{name}".encode() in paused,
            )
        )
    return rows


def arm(request: Request) -> Response:
    """Take the next secret that the product tells, for ten minutes."""
    here, lock = _asked(request)
    if lock.source.needs != "told":
        raise HTTPException(404)
    told.arm(here.redis, lock.way.name)
    log.info("source.armed", source=lock.way.name)
    return back("/sources", "armed")


def forward_again(request: Request) -> Response:
    """Relay again what was given up."""
    here, lock = _asked(request)
    count = forwards.again(here.redis, lock.way.name)
    log.info("forwards.again", source=lock.way.name, count=count)
    return back("/sources", "forwards" if count else "forwards_none", count)


def _asked(request: Request) -> tuple[House, Lock]:
    here = house(request)
    lock = here.keyring.locks.get(request.path_params["name"])
    if lock is None:
        raise HTTPException(404)
    return here, lock

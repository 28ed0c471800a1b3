"""Looking in: pages drawn on the server, live by server-sent events, behind a password. It reads; only its forms change anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route

from receiver.dashboard import (
    actions,
    api,
    calls,
    connections,
    dead,
    deliveries,
    machine,
    pauses,
    sources,
    views,
)
from receiver.dashboard.errors import HANDLERS
from receiver.dashboard.guard import Guard
from receiver.dashboard.house import House
from receiver.dashboard.live import Live
from receiver.intake.keyring import Keyring
from receiver.ledger.connect import impatient
from receiver.zoho.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from receiver.settings import Settings

PAGES: list[BaseRoute] = [
    Route("/", views.overview),
    Route("/events", views.events),
    Route("/events/{id}", views.event),
    Route("/dead", dead.dead),
    Route("/deliveries", deliveries.deliveries),
    Route("/deliveries/{id}", deliveries.delivery),
    Route("/handlers", pauses.handlers),
    Route("/sources", sources.sources),
    Route("/connections", connections.connections),
    Route("/calls", calls.calls),
    Route("/connect/callback", connections.callback, methods=["GET"]),
    Route("/live/events/{id}", views.live, methods=["GET"]),
    Route("/live/{topic}", views.live, methods=["GET"]),
    Route("/static/{name}", views.file),
    Route("/sign-in", actions.sign_in_page),
    Route("/healthz", machine.healthz),
    Route("/metrics", machine.metrics),
]
ACTIONS: list[BaseRoute] = [
    Route("/sign-in", actions.sign_in, methods=["POST"]),
    Route("/sign-out", actions.sign_out, methods=["POST"]),
    Route("/jobs", actions.run_jobs, methods=["POST"]),
    Route("/dead", dead.replay, methods=["POST"]),
    Route("/replays/{id}/cancel", dead.cancel, methods=["POST"]),
    Route("/pause", pauses.pause, methods=["POST"]),
    Route("/resume", pauses.resume, methods=["POST"]),
    Route("/events/{id}/route", actions.route_again, methods=["POST"]),
    Route("/deliveries", deliveries.verify_deliveries, methods=["POST"]),
    Route("/deliveries/{id}/run", deliveries.run_delivery, methods=["POST"]),
    Route("/deliveries/{id}/verify", deliveries.verify_delivery, methods=["POST"]),
    Route("/sources/{name}/arm", sources.arm, methods=["POST"]),
    Route("/sources/{name}/forward", sources.forward_again, methods=["POST"]),
    Route("/connections/{name}/connect", connections.connect, methods=["POST"]),
    Route("/connections/{name}/invite", connections.invite, methods=["POST"]),
]
OTHERS: list[BaseRoute] = [
    Route("/consent/{token}", connections.invited),
    Route("/consent/{token}", connections.accept_invitation, methods=["POST"]),
    Route("/api/connections/{name}/token", api.hand_in, methods=["POST"]),
]
"""Not for whoever signs in: a customer comes with the token of his link, a program with a bearer token."""


def never() -> bool:
    """Nobody stops."""
    return False


def routes(
    settings: Settings, redis: Redis, stopping: Callable[[], bool] = never, *, keyring: Keyring | None = None
) -> list[BaseRoute]:
    """The dashboard, to be put behind every other route: what it does not know is a page that says so.

    `keyring` is the door's, and made anew where it is left out.

    `stopping` is asked once a second by open streams, which end when it says so (`lambda: server.should_exit`): a server
    waits for its connections before it stops.
    """
    ring = keyring or Keyring(settings, Vault.open_or_make(settings))
    here = House(settings, redis, impatient(redis, settings.redis.deadline), Live(redis, stopping), ring)
    app = Starlette(routes=[*PAGES, *ACTIONS, *OTHERS], exception_handlers=HANDLERS)
    return [Mount("/", app=Guard(app, here))]

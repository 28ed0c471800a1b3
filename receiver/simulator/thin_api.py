"""What the APIs of Mail, Sign and Projects share here: a token is looked at, a scope is asked for, a body is read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from receiver.simulator.oauth_scopes import covers

if TYPE_CHECKING:
    from receiver.simulator.oauth import Accounts
    from receiver.simulator.wire import Answer, Call, Json, Refused
    from receiver.simulator.world import World

OPERATIONS = {"GET": "READ", "POST": "CREATE", "PUT": "UPDATE", "PATCH": "UPDATE", "DELETE": "DELETE"}


class ThinApi(ABC):
    """One product's API. Each says its refusals in its own words."""

    service: ClassVar[str]

    def __init__(self, world: World, accounts: Accounts) -> None:
        self.world = world
        self.accounts = accounts

    def enter(self, call: Call) -> bool:
        """Lets a call in, or raises Refused."""
        token = self.accounts.bearer(call)
        call.token = self.accounts.live(token) if token else None
        if call.token is None:
            raise self.dead(given=token is not None)
        return False

    def leave(self, *, heavy: bool) -> None:
        """Nothing is counted."""
        del heavy

    def headers(self) -> dict[str, str]:
        """None of these products tells what is left."""
        return {}

    def need(self, call: Call, word: str) -> None:
        """Raises Refused where the consent does not reach."""
        granted = call.token.scopes if call.token else ()
        if not covers(granted, f"{self.service}.{word}.{OPERATIONS[call.method]}"):
            raise self.unscoped()

    @abstractmethod
    def dead(self, *, given: bool) -> Refused:
        """A token that is dead, or none."""

    @abstractmethod
    def unscoped(self) -> Refused:
        """A consent that lacks a scope."""

    @abstractmethod
    def handle(self, call: Call) -> Answer: ...


def body_of(call: Call) -> Json | None:
    """The JSON object that was sent as such, else None."""
    body = call.json()
    if not call.headers.get("content-type", "").startswith("application/json") or not isinstance(body, dict):
        return None
    return body

"""Products of which only the webhooks are played: who listens, and what he is sent, proven as Zoho proves it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

import httpx
import orjson

from receiver.simulator.deliver import Parcel

if TYPE_CHECKING:
    from random import Random

    from receiver.simulator.deliver import Sender
    from receiver.simulator.wire import Json
    from receiver.simulator.world import World

JSON = "application/json;charset=UTF-8"


@dataclass(slots=True, kw_only=True)
class Hook:
    """One webhook; without `events` it wants all."""

    id: str
    url: str
    events: tuple[str, ...] = ()
    secret: str = ""


class Outgoing(ABC):
    """What these products share. Each says its words, the form of its webhooks, and its proof."""

    name: ClassVar[str]
    words: ClassVar[frozenset[str]]
    most: ClassVar[int] = 50
    content_type: ClassVar[str] = JSON
    acts: ClassVar[tuple[str, ...]]
    """The methods that somebody at the console may call: what people do in the product."""

    def __init__(self, world: World, sender: Sender) -> None:
        self.world = world
        self.sender = sender
        self.hooks: list[Hook] = []

    def add_webhook(self, url: str, events: tuple[str, ...] | list[str] = (), secret: str = "") -> Hook:
        """ValueError for what the product's page would not take, or where the URL does not answer as it must."""
        hook = Hook(id=self.world.next_id("hook"), url=url, events=tuple(events), secret=secret)
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError("url: begins with http:// or https://")
        unknown = [event for event in hook.events if event not in self.words]
        if unknown:
            raise ValueError(f"no such event: {unknown[0]}")
        if len(self.hooks) >= self.most:
            raise ValueError(f"at most {self.most} webhooks")
        self.admit(hook)
        self.hooks.append(hook)
        return hook

    def admit(self, hook: Hook) -> None:  # noqa: B027 - most products do nothing
        """What the product does before a webhook is saved; ValueError keeps it from being saved."""

    @abstractmethod
    def proof(self, hook: Hook, body: bytes) -> dict[str, str]:
        """The headers that prove a body."""

    @abstractmethod
    def happen(self, random: Random) -> None:
        """One thing that people do in the product every day."""

    def publish(self, event: str, said: Json, fact: str, headers: dict[str, str] | None = None) -> None:
        """Send it to every webhook that wants the event."""
        body = orjson.dumps(said)
        for hook in self.hooks:
            if not hook.events or event in hook.events:
                sent = {"content-type": self.content_type, **(headers or {}), **self.proof(hook, body)}
                self.sender.put(
                    Parcel(self.name, event, hook.url, body, sent, (f"{self.name}:{hook.id}:{fact}",))
                )

    def ask(self, method: str, url: str, headers: dict[str, str] | None = None) -> None:
        """Try the URL; ValueError where it does not answer 200. Redirects are not followed."""
        with httpx.Client(timeout=self.sender.limits.delivery_deadline, trust_env=False) as client:
            try:
                status = client.request(method, url, headers=headers).status_code
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise ValueError(f"the URL cannot be reached: {error}") from error
        if status != 200:
            raise ValueError(f"the URL answered {status} to {method}, and it has to be 200")

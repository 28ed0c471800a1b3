"""`zohook demo`: the whole house against a simulated Zoho, connected by the real consent and fed by real webhooks."""

from __future__ import annotations

import os
import secrets
import sys
import time
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING, Any

import httpx
import typer
from redis.exceptions import RedisError

from receiver import keys
from receiver.cli import INTERRUPTED, stage
from receiver.cli.board import Board, Numbers, unhandled
from receiver.cli.processes import environment, listen
from receiver.cli.stage import CALLBACK, CONNECTION, Stage
from receiver.cli.supervise import ChildFailed, Stopped, Tree
from receiver.cli.up import START_WITHIN, address, answers
from receiver.ledger import read
from receiver.ledger.embedded import Embedded
from receiver.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path
    from socket import socket

    from redis import Redis

    from receiver.zoho.clients import Clients

FINISH_WITHIN = 180.0
LOOK_EVERY = 0.1


def run(parent: Path, *, events: int, rate: float, keep: bool) -> int:
    """Run the demo: until Ctrl-C, or until so many events were handled; the exit status."""
    for name in [name for name in os.environ if name.startswith("ZOHOOK_")]:
        del os.environ[name]  # the settings of a real project, its Redis above all, have no business here
    try:
        with ExitStack() as stack:
            place = stack.enter_context(stage.folder(parent, keep=keep))
            redis = stack.enter_context(Embedded(place, share=False))
            bound = stack.enter_context(listen("127.0.0.1", 8080, or_any=True))
            tree = stack.enter_context(Tree({}, place, redis))
            _say(f"Redis      {redis.url}, data in {place}")
            demo = _Demo(tree, redis, bound, stack)
            demo.build()
            status = demo.play(events, rate)
    except Stopped:
        return INTERRUPTED if events else 0
    return status


def _say(text: str) -> None:
    typer.echo(text)
    sys.stdout.flush()


class _Demo:
    """One run: what was started, and what is known of it."""

    def __init__(self, tree: Tree, redis: Embedded, bound: socket, stack: ExitStack) -> None:
        self.tree, self.server, self.bound = tree, redis, bound
        self.url = address(bound, "127.0.0.1")
        self.password = secrets.token_urlsafe(9)
        self.redis: Redis = stack.enter_context(closing(redis.client()))
        self.tree.environment = environment(tree.folder, redis.url, ZOHOOK_WEB__PASSWORD=self.password)
        redirect = f"{self.url}{CALLBACK}"
        arguments = ["--port", "0", "--redirect-uri", redirect, "--duplicates", str(stage.DUPLICATES)]
        introduction = tree.add_speaker("simulator", "simulator", *arguments, grace=2)[1]
        self.stage = stack.enter_context(closing(Stage(introduction)))
        stack.callback(self.stage.end)  # first of all, while there is still somebody to deliver to
        self.before = read.totals(self.redis)
        _say(f"simulator  {self.stage.base}, a Zoho of our own: CRM, Books and Desk")

    def build(self) -> None:
        """Settings, web, consent, webhooks, worker and clock: what a person does with a real Zoho in an afternoon."""
        place = self.tree.folder
        self.stage.write_settings(place, self.url)
        given = environment(
            place, self.server.url, ZOHOOK_WEB__PASSWORD=self.password, **self.stage.secrets()
        )
        os.environ.update({name: value for name, value in given.items() if name.startswith("ZOHOOK_")})
        self.tree.environment = given
        settings = Settings.load(place)
        for (
            name
        ) in settings.channels:  # with --keep the ledger remembers channels that this Zoho never heard of
            self.redis.delete(keys.channel(name))
        self.tree.add("web", "web", "--fd", str(self.bound.fileno()), fds=[self.bound.fileno()])
        self.tree.wait(lambda: answers(self.url), START_WITHIN, "the web process to answer")
        _say(f"dashboard  {self.url}/, password {self.password}")
        clients = self._clients(settings)
        self._consent(settings, clients)
        self._desk_webhook(settings, clients)
        self.stage.add_books_webhooks(self.url)
        clients.tokens.mark_stale(CONNECTION)  # so that the token is refreshed once, before anybody's eyes
        self.tree.add("worker", "worker")
        self.tree.add("clock", "clock")
        self.tree.wait(self.stage.channels, START_WITHIN, "the clock to make the CRM channel", every=0.2)
        self.tree.wait(
            lambda: self.redis.exists(keys.catalogues()), START_WITHIN, "the worker to load its handlers"
        )
        _say(f"webhooks   CRM channel, Books rules and a Desk webhook point at {self.url}/in/...")
        _say(f"worker     {len(read.catalogue(self.redis))} handlers wait for events\n")

    def _clients(self, settings: Settings) -> Clients:
        from receiver.zoho.clients import Clients
        from receiver.zoho.vault import Vault

        return Clients(self.redis, settings, Vault.open_or_make(settings))

    def _consent(self, settings: Settings, clients: Clients) -> None:
        """Begin, press Accept at Zoho, and let the web process finish it where Zoho sends the browser."""
        from receiver.zoho.scopes import needed_scopes

        scopes = needed_scopes(settings, CONNECTION)
        where = self.stage.accept_consent(clients.consent.begin(CONNECTION, f"{self.url}{CALLBACK}", scopes))
        said = httpx.get(where, timeout=30, trust_env=False)
        state = clients.tokens.status(CONNECTION).state
        if state != "ok":
            raise ChildFailed(
                f"the consent was not finished ({state}); {CALLBACK} answered {said.status_code}: {said.text[:500]}"
            )
        _say(f"connected  by consent: code, exchange, {len(scopes)} scopes")

    def _desk_webhook(self, settings: Settings, clients: Clients) -> None:
        values = {
            "name": "zohook-demo",
            "url": f"{settings.public_url}/in/desk",
            "subscriptions": dict.fromkeys(stage.DESK_EVENTS),
        }
        clients.for_job(CONNECTION).desk.create_webhook(values)

    def play(self, events: int, rate: float) -> int:
        """Let the simulated people work; the exit status."""
        self.stage.begin(rate=rate, events=events)
        with Board(self.tree, self.redis, dashboard=f"{self.url}/", password=self.password) as board:
            while not events:
                self._look(board)
            sent = self._play_until(board, events)
            complete = self._finish(board, sent)
        numbers = Numbers.read(self.redis, self.before)
        handled = numbers.totals["accepted"] - unhandled(self.redis)
        _say(numbers.line(handled))
        return (
            0
            if complete and handled == numbers.totals["accepted"] >= events and not numbers.totals["dead"]
            else 1
        )

    def _look(self, board: Board) -> tuple[Numbers, dict[str, Any]]:
        while True:
            self.tree.watch()
            sent = self.stage.status()
            numbers = None
            with suppress(RedisError):  # it has died since it was looked after: the next turn starts it again
                numbers = Numbers.read(self.redis, self.before)
                board.show(numbers, sent)
            self.tree.pause(LOOK_EVERY)
            if numbers is not None:
                return numbers, sent

    def _play_until(self, board: Board, events: int) -> int:
        """Until so many are accepted. What is sent twice counts once, so a second scene may have to make up for it."""
        seed = 1
        while True:
            numbers, sent = self._look(board)
            missing = events - numbers.totals["accepted"]
            if missing <= 0 and sent["state"] == "running":
                self.stage.end()
            if sent["state"] in {"done", "stopped"}:
                if missing <= 0:
                    return int(sent["total"]["queued"])
                seed += 1
                self.stage.begin(rate=20, events=missing, seed=seed)

    def _finish(self, board: Board, queued: int) -> bool:
        """Whether all work came to its end in time: nothing open, and nothing new sent by what the handlers changed."""
        limit = time.monotonic() + FINISH_WITHIN
        quiet = 0
        while time.monotonic() < limit:
            numbers, sent = self._look(board)
            now = int(sent["total"]["queued"])
            quiet = quiet + 1 if not numbers.open and not sent["pending"] and now == queued else 0
            queued = now
            if quiet >= 3:
                return True
        return False

"""The demo's board: what the ledger and the process tree say, as a live table or as plain lines; it changes nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import orjson
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from receiver.ledger import read, rows

if TYPE_CHECKING:
    from redis import Redis

    from receiver.cli.supervise import Tree

PLAIN_EVERY = 2.0
DRAW_EVERY = 0.25
PAGE = 500


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the ledger counts, since the demo began."""

    totals: dict[str, int] = field(default_factory=dict)
    states: dict[str, int] = field(default_factory=dict)
    latencies: list[int] = field(default_factory=list)

    @classmethod
    def read(cls, redis: Redis, before: dict[str, int] | None = None) -> Self:
        """Now, without what was counted before."""
        totals = read.totals(redis)
        if before:
            totals = {name: value - before.get(name, 0) for name, value in totals.items()}
        return cls(totals, read.states(redis), read.latencies(redis))

    @property
    def open(self) -> int:
        """How much is not finished: events to route, and jobs due, running or held."""
        return max(self.states["open"], sum(self.states[state] for state in rows.OPEN))

    def percentile(self, share: float) -> int:
        """Milliseconds from webhook in to handler done."""
        found = sorted(self.latencies)
        return found[min(len(found) - 1, int(len(found) * share))] if found else 0

    def line(self, handled: int) -> str:
        """The one JSON line."""
        said: dict[str, Any] = {
            name: self.totals[name] for name in ("accepted", "dead", "duplicates", "zoho_calls")
        }
        said |= {"handled": handled, "token_refreshes": self.totals["token_refreshes"]}
        said["latency_ms"] = {"p50": self.percentile(0.5), "p99": self.percentile(0.99)}
        order = ("accepted", "handled", "dead", "duplicates", "zoho_calls", "token_refreshes", "latency_ms")
        return orjson.dumps({name: said[name] for name in order}).decode()


def unhandled(redis: Redis) -> int:
    """How many events of the ledger still wait, or have a job that is dead: counted one by one, not from the totals."""
    found, cursor = 0, ""
    while True:
        page = read.page(redis, cursor=cursor, count=PAGE)
        for row in page.rows:
            jobs_done = all(job.state in {"done", "skipped"} for job in row.jobs)
            if row.state not in {"routed", "unmatched", "done"} or row.open or not jobs_done:
                found += 1
        cursor = page.cursor
        if not cursor:
            return found


class Board:
    """Shows the numbers: drawn over and over on a terminal, else a line now and then."""

    def __init__(self, tree: Tree, redis: Redis, *, dashboard: str, password: str) -> None:
        self._tree, self._redis = tree, redis
        self._dashboard, self._password = dashboard, password
        self._console = Console()
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._shown = 0.0
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, numbers: Numbers, sent: dict[str, Any]) -> None:
        """Show these numbers, unless others were shown just now."""
        now = time.monotonic()
        if now - self._shown < (DRAW_EVERY if self._live else PLAIN_EVERY):
            return
        self._shown = now
        if self._live:
            self._live.update(self._drawn(numbers, sent), refresh=True)
        else:
            self._console.print(self._plain(numbers, sent), markup=False, highlight=False, soft_wrap=True)

    def _plain(self, numbers: Numbers, sent: dict[str, Any]) -> str:
        totals, states = numbers.totals, numbers.states
        return (
            f"{time.monotonic() - self._began:6.1f} s  sent {sent['answered_200']}  accepted {totals['accepted']}  "
            f"duplicates {totals['duplicates']}  open {numbers.open}  running {states['running']}  done {totals['done']}  "
            f"skipped {totals['skipped']}  dead {totals['dead']}  p50 {numbers.percentile(0.5)} ms"
        )

    def _drawn(self, numbers: Numbers, sent: dict[str, Any]) -> Group:
        head = Text.assemble(
            ("Zohook demo  ", "bold"),
            self._dashboard,
            "  password ",
            (self._password, "bold"),
            ("   Ctrl-C stops it", "dim"),
        )
        return Group(head, self._counts(numbers, sent), self._processes(), self._recent())

    def _counts(self, numbers: Numbers, sent: dict[str, Any]) -> Table:
        totals, states = numbers.totals, numbers.states
        table = Table(box=None, padding=(0, 2), show_header=False)
        rows: list[tuple[tuple[str, object], ...]] = [
            (("sent by Zoho", sent["answered_200"]), ("accepted", totals["accepted"]), ("duplicates", totals["duplicates"]),
             ("rejected", totals["rejected"]), ("quarantined", totals["quarantined"])),
            (("jobs due", states["due"]), ("running", states["running"]), ("done", totals["done"]),
             ("skipped", totals["skipped"]), ("dead", totals["dead"])),
            (("no handler", totals["unmatched"]), ("calls to Zoho", totals["zoho_calls"]),
             ("token refreshes", totals["token_refreshes"]), ("p50", f"{numbers.percentile(0.5)} ms"),
             ("p99", f"{numbers.percentile(0.99)} ms")),
        ]  # fmt: skip
        for row in rows:
            table.add_row(*(f"[dim]{name}[/dim] [bold]{value}[/bold]" for name, value in row))
        return table

    def _processes(self) -> Table:
        table = Table(box=None, padding=(0, 2), show_header=False)
        cells = [f"[dim]redis[/dim] {self._tree.redis.pid if self._tree.redis else '-'}"]
        for child in self._tree.children:
            again = f" [yellow]started again {child.restarts}x[/yellow]" if child.restarts else ""
            cells.append(f"[dim]{child.name}[/dim] {child.pid or '[red]down[/red]'}{again}")
        table.add_row(*cells)
        return table

    def _recent(self) -> Table:
        table = Table(
            "handled last", "event", "handler", "state", "took", box=None, padding=(0, 2), header_style="dim"
        )
        jobs = read.recent(self._redis, 8)
        types = {
            row.event.id: row.event.type
            for row in read.events(self._redis, [job.event for job in jobs], with_jobs=False)
        }
        for job in jobs:
            at = time.strftime("%H:%M:%S", time.localtime(job.ended / 1000)) if job.ended else ""
            state = Text(f"{job.state} {job.reason}".strip()[:40], style="red" if job.state == "dead" else "")
            took = f"{job.ended - job.made} ms" if job.ended and job.made else ""
            table.add_row(at, types.get(job.event, job.event), job.handler, state, took)
        return table

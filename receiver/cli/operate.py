"""`zohook retry`, `rerun`, `cancel`, `pause` and `resume`: what an operator does to work that is there."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from receiver.ledger.runs import Mode
    from receiver.routing.dead_letters import Filter
    from receiver.routing.replays import Replay

Folder = Annotated[Path | None, typer.Option("--folder", "-C", help="The project's folder.")]
SHOWN = 20


def _replayer(mode: Mode, about: str) -> Callable[..., None]:
    """The command of a mode: retry and rerun choose their jobs alike."""

    def command(
        job: Annotated[
            str | None,
            typer.Argument(
                help="One job, EVENT:HANDLER, or an EVENT to be routed again; else use the filters."
            ),
        ] = None,
        *,
        handler: Annotated[str, typer.Option(help="Only jobs of this handler.")] = "",
        event_type: Annotated[
            str, typer.Option("--type", help="Only events of this type; * and ** work.")
        ] = "",
        source: Annotated[str, typer.Option(help="Only events of this source.")] = "",
        record: Annotated[str, typer.Option(help="Only events of this record: ID or crm.Deals:ID.")] = "",
        error: Annotated[str, typer.Option(help="Only jobs whose error has this in it.")] = "",
        since: Annotated[str, typer.Option(help="Died since then: 2h, 3d, or 2027-01-31T10:00.")] = "",
        until: Annotated[str, typer.Option(help="Died before then.")] = "",
        state: Annotated[str, typer.Option(help="dead or skipped.")] = "dead",
        rate: Annotated[
            float, typer.Option(min=0, help="Jobs a second, of their retries too; 0: as fast as they go.")
        ] = 20,
        yes: Annotated[
            bool,
            typer.Option(
                "--yes",
                help="Do it; without it the jobs are only counted, and what a rerun repeats is listed.",
            ),
        ] = False,
        folder: Folder = None,
    ) -> None:
        wanted = _filter(handler, event_type, source, record, error, since, until, state)
        _replay(mode, job, wanted, rate, folder, yes=yes)

    command.__name__, command.__doc__ = mode, about
    return command


def cancel(
    replay: Annotated[
        str | None, typer.Argument(help="The replay's id; without one the last replays are listed.")
    ] = None,
    *,
    folder: Folder = None,
) -> None:
    """Cancel a retry or rerun: nothing more of it is given to the workers, and what fails is not tried again."""
    from receiver.routing import replays

    with ledger(folder) as redis:
        if replay is None:
            _list(replays.recorded(redis, SHOWN))
            return
        word = replays.cancel(redis, replay)
    if word == "gone":
        raise SettingsError(f"there is no replay {replay!r}; zohook cancel lists the last ones")
    typer.echo(
        "cancelled: nothing more is given to the workers, and what fails is not tried again"
        if word == "cancelled"
        else "all its jobs were given already; those that fail from now on are not tried again"
    )


def pause(
    what: Annotated[
        str | None,
        typer.Argument(help="handler:ID, queue:NAME or source:NAME; without one the pauses are listed."),
    ] = None,
    *,
    folder: Folder = None,
) -> None:
    """Pause a handler, a queue or a source. Deliveries are still accepted; their work waits on hold and burns no tries."""
    from receiver.ledger import read, runs
    from receiver.ledger.accept import QUEUE
    from receiver.settings import Settings

    with ledger(folder) as redis:
        if what is None:
            for each, waiting in read.paused(redis).items():
                typer.echo(f"{each}  {waiting} waiting")
            return
        named = _pausable(what)
        handlers = read.catalogue(redis)
        runs.pause(redis, named)
    typer.echo(f"{named} is paused; zohook resume {named} goes on")
    kind, _, name = named.partition(":")
    if kind == "handler" and name not in {row["id"] for row in handlers}:
        typer.echo(f"look: no living worker has a handler {name}")
    if kind == "queue" and name not in {row["options"].get("queue") or QUEUE for row in handlers}:
        typer.echo(f"look: no handler of a living worker has queue={name!r}")
    if kind == "source" and name not in Settings.load(folder).sources:
        typer.echo(f"look: zohook.toml has no source {name}")


def resume(
    what: Annotated[str, typer.Argument(help="handler:ID, queue:NAME or source:NAME")],
    *,
    folder: Folder = None,
) -> None:
    """End a pause: what waited is due at once."""
    from receiver.ledger import runs

    with ledger(folder) as redis:
        released = runs.resume(redis, _pausable(what))
    typer.echo(f"{_pausable(what)} goes on; {released} waited")


def add(app: typer.Typer) -> None:
    """Put these commands beside the others."""
    retry = _replayer(
        "retry",
        "Run dead jobs again with the same idempotency keys: for a fix that shipped. Counts first; --yes does it.",
    )
    rerun = _replayer(
        "rerun",
        "Run jobs again from the beginning, with new keys. Lists the writes to Zoho that it will repeat; --yes does it.",
    )
    for command in (retry, rerun, cancel, pause, resume):
        app.command()(command)


def _pausable(what: str) -> str:
    from receiver.ledger import runs

    try:
        return runs.pausable(what)
    except ValueError as error:
        raise SettingsError(str(error)) from None


def ledger(folder: Path | None) -> _Ledger:
    """The project's Redis for the length of a command."""
    return _Ledger(folder)


class _Ledger:
    """The project's Redis for the length of a command; it has to run already, for what is done to work is done to that."""

    def __init__(self, folder: Path | None) -> None:
        from receiver.cli.processes import with_redis
        from receiver.settings import Settings

        self._open = with_redis(Settings.load(folder))

    def __enter__(self) -> Redis:
        from receiver.ledger.connect import connect

        self._redis = connect(self._open.__enter__())
        return self._redis

    def __exit__(self, *about: object) -> None:
        self._redis.close()
        self._open.__exit__(None, None, None)


def _filter(
    handler: str, event_type: str, source: str, record: str, error: str, since: str, until: str, state: str
) -> Filter:
    from receiver.routing.dead_letters import Filter

    if state not in {"dead", "skipped"}:
        raise SettingsError(f"--state is dead or skipped, not {state!r}")
    return Filter(state, handler, event_type, source, record, error, moment(since), moment(until))


def moment(text: str) -> int:
    """Milliseconds since 1970 of "3d" (ago) or of an ISO time, UTC unless it says otherwise; 0 for ""."""
    from receiver.event import now_ms
    from receiver.settings_tables import seconds

    if not text:
        return 0
    try:
        return now_ms() - int(seconds(text) * 1000)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"{text!r} is no time; write 2h, 3d or 2027-01-31T10:00") from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def _replay(
    mode: Mode, job: str | None, wanted: Filter, rate: float, folder: Path | None, *, yes: bool
) -> None:
    from receiver.routing import replays
    from receiver.routing.dead_letters import select

    with ledger(folder) as redis:
        if job is not None:
            _one(redis, mode, job, folder, yes=yes)
            return
        jobs: list[str] = []
        shown: list[str] = []
        for row in select(redis, wanted):
            jobs.append(row.id)
            if len(jobs) <= SHOWN:
                shown.append(f"  {row.id}  {row.reason[:100]}")
        typer.echo("\n".join([f"{len(jobs)} {wanted.state} job{'' if len(jobs) == 1 else 's'}", *shown]))
        if len(jobs) > SHOWN:
            typer.echo(f"  ... and {len(jobs) - SHOWN} more")
        if mode == "rerun" and jobs:
            _show_repeats(redis, jobs)
        if not jobs or not yes:
            if jobs:
                typer.echo(f"nothing was done; add --yes to {mode} them")
            return
        found = replays.start(redis, mode, wanted, jobs, rate=rate, by="command line")
        _follow(redis, found)


def _follow(redis: Redis, found: str) -> None:
    """Say how far a replay is until it has ended. It goes on without us, and begins once a worker runs."""
    import time

    from receiver.ledger import read
    from receiver.routing import replays

    typer.echo(f"replay {found}; zohook cancel {found} stops it")
    if not read.workers(redis):
        typer.echo("no worker is running: it begins when one does")
        return
    try:
        while (said := replays.one(redis, found)) and said.state == "running":
            time.sleep(0.2)
    except KeyboardInterrupt:
        typer.echo("the workers go on with it")
        return
    if said:
        typer.echo(
            f"{said.state}: {said.ok} given to the workers, {said.open} open already, {said.gone} gone"
        )


def _one(redis: Redis, mode: Mode, job: str, folder: Path | None, *, yes: bool) -> None:
    from receiver.routing import replays
    from receiver.settings import Settings

    again = Settings.load(folder).worker.again
    if ":" not in job:
        _route(redis, mode, job, again)
        return
    if mode == "rerun":
        _show_repeats(redis, [job])
        if not yes:
            typer.echo("nothing was done; add --yes to rerun it")
            return
    [word] = replays.at_once(redis, mode, [job], again, by="command line")
    if word == "open":
        raise SettingsError(f"{job} is still open: it runs by itself")
    if word == "gone":
        raise SettingsError(f"there is no job {job}; its id is EVENT:HANDLER")
    typer.echo(f"{job} runs again")


def _route(redis: Redis, mode: Mode, event: str, again: float) -> None:
    """Ask the router once more who wants an event: one that no handler wanted, or that was parked as a loop."""
    from receiver.routing import replays

    if mode == "rerun":
        raise SettingsError(f"rerun takes a job, EVENT:HANDLER; zohook retry {event} routes the event again")
    [word] = replays.at_once(redis, mode, [event], again, by="command line", kind="e")
    if word == "open":
        raise SettingsError(f"the event {event} is being routed already")
    if word == "gone":
        raise SettingsError(f"there is no event {event}; a job's id is EVENT:HANDLER")
    typer.echo(f"{event} is routed again; the jobs that it has stay as they are")


def _show_repeats(redis: Redis, jobs: list[str]) -> None:
    """What a rerun of these will do a second time, the most frequent first."""
    from receiver.routing.dead_letters import all_repeats

    counted = all_repeats(redis, jobs)
    if not counted:
        typer.echo("it repeats nothing that was done: no write to Zoho, no event, no step")
        return
    typer.echo("it will do again:")
    for what, count in counted.most_common(SHOWN):
        typer.echo(f"  {count} x {what}")
    if rest := counted.total() - sum(count for _, count in counted.most_common(SHOWN)):
        typer.echo(f"  ... and {rest} more")


def _list(found: list[Replay]) -> None:
    if not found:
        typer.echo("no replay was made in the last 30 days")
    for each in found:
        at = datetime.fromtimestamp(each.at / 1000, UTC).isoformat(" ", "seconds")
        told = ", ".join(f"{name} {value}" for name, value in asdict(each.filter).items() if value)
        typer.echo(
            f"{each.id}  {at}  {each.mode} {each.state}: {each.ok} of {each.chosen} given, by {each.by} ({told})"
        )

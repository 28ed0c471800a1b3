"""`zohook retry`, `rerun`, `cancel`, `pause` and `resume`: what an operator does to work that is there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from receiver.routing.dead_letters import Filter, Mode

Folder = Annotated[Path | None, typer.Option("--folder", "-C", help="The project's folder.")]
SHOWN = 20


def _replayer(mode: Mode, about: str) -> Callable[..., None]:
    """The command of a mode: retry and rerun choose their jobs alike."""

    def command(
        job: Annotated[
            str | None, typer.Argument(help="One job, EVENT:HANDLER; else use the filters.")
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
        rate: Annotated[float, typer.Option(min=0, help="Jobs a second; 0: all at once.")] = 20,
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


def cancel(replay: Annotated[str, typer.Argument(help="The replay's id.")], *, folder: Folder = None) -> None:
    """Cancel a retry or rerun that is under way in another terminal."""
    from receiver.routing import dead_letters

    with _ledger(folder) as redis:
        if not dead_letters.cancel(redis, replay):
            raise SettingsError(f"there is no replay {replay!r}")
    typer.echo("cancelled: nothing more is given to the workers")


def pause(
    what: Annotated[str, typer.Argument(help="handler:ID, queue:NAME or source:NAME")],
    *,
    folder: Folder = None,
) -> None:
    """Pause a handler, a queue or a source. Deliveries are still accepted; their work waits on hold and burns no tries."""
    from receiver.ledger import runs

    with _ledger(folder) as redis:
        runs.pause(redis, _pausable(what))
    typer.echo(f"{what} is paused; zohook resume {what} goes on")


def resume(
    what: Annotated[str, typer.Argument(help="handler:ID, queue:NAME or source:NAME")],
    *,
    folder: Folder = None,
) -> None:
    """End a pause: what waited is due at once."""
    from receiver.ledger import runs

    with _ledger(folder) as redis:
        released = runs.resume(redis, _pausable(what))
    typer.echo(f"{what} goes on; {released} waited")


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
    kind, _, name = what.partition(":")
    if kind not in {"handler", "queue", "source"} or not name:
        raise SettingsError(f"{what!r} cannot be paused; write handler:ID, queue:NAME or source:NAME")
    return what


def _ledger(folder: Path | None) -> _Ledger:
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
    from receiver.routing.dead_letters import Replay, select

    with _ledger(folder) as redis:
        if job is not None:
            _one(redis, mode, job, yes=yes)
            return
        rows = list(select(redis, wanted))
        typer.echo(f"{len(rows)} {wanted.state} job{'' if len(rows) == 1 else 's'}")
        for row in rows[:SHOWN]:
            typer.echo(f"  {row.id}  {row.reason[:100]}")
            _show_writes(mode, row.id, redis)
        if len(rows) > SHOWN:
            typer.echo(f"  ... and {len(rows) - SHOWN} more")
        if not rows or not yes:
            if rows:
                typer.echo(f"nothing was done; add --yes to {mode} them")
            return
        replay = Replay(redis, mode, wanted, rate=rate, by="command line")
        typer.echo(f"replay {replay.id}; zohook cancel {replay.id} stops it")
        counts = replay.run()
        typer.echo(
            f"{counts['ok']} given to the workers, {counts['open']} open already, {counts['gone']} gone"
        )


def _one(redis: Redis, mode: Mode, job: str, *, yes: bool) -> None:
    from receiver.ledger import runs

    _show_writes(mode, job, redis)
    if mode == "rerun" and not yes:
        typer.echo("nothing was done; add --yes to rerun it")
        return
    word = runs.replay(redis, "j", job, mode)
    said = {
        "ok": f"{job} runs again",
        "open": f"{job} is still open: it runs by itself",
        "gone": f"there is no job {job}; its id is EVENT:HANDLER",
    }[word]
    if word != "ok":
        raise SettingsError(said)
    typer.echo(said)


def _show_writes(mode: Mode, job: str, redis: Redis) -> None:
    if mode != "rerun":
        return
    from receiver.ledger import read
    from receiver.routing.dead_letters import writes

    for row in read.jobs(redis, [job], attempts=True):
        for each in writes(redis, row):
            typer.echo(f"    repeats {each}")

"""`zohook reverify`: what was refused for a mistake in the settings is accepted once the mistake is mended."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from io import StringIO
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.operate import Folder, moment
from receiver.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from receiver.intake.reverify import Outcome

SHOWN = 20
SAYS = {
    "accepted": "accepted",
    "duplicate": "the same as what came before",
    "quarantined": "cannot be read",
    "rejected": "refused again",
    "unverified": "cannot be verified yet",
}


def reverify(
    ids: Annotated[list[str] | None, typer.Option("--id", help="This delivery; may be given again.")] = None,
    *,
    source: Annotated[str, typer.Option(help="Only deliveries of this source.")] = "",
    verdict: Annotated[str, typer.Option(help="Only what is rejected, quarantined or unverified.")] = "",
    reason: Annotated[str, typer.Option(help="Only those whose reason has this in it.")] = "",
    since: Annotated[str, typer.Option(help="Came since then: 2h, 3d, or 2027-01-31T10:00.")] = "",
    until: Annotated[str, typer.Option(help="Came before then.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it they are only counted.")] = False,
    folder: Folder = None,
) -> None:
    """Verify kept deliveries again, with the settings as they are now, and accept those that hold. Counts first; --yes does it."""
    from receiver import logs
    from receiver.cli.processes import with_redis
    from receiver.intake.reverify import VERDICTS, Reverifier, Wanted, choose
    from receiver.ledger.connect import connect
    from receiver.settings import Settings

    if verdict and verdict not in VERDICTS:
        raise SettingsError(f"--verdict is {', '.join(VERDICTS)}, not {verdict!r}")
    wanted = Wanted(
        tuple(ids or ()), (verdict,) if verdict else VERDICTS, source, reason, moment(since), moment(until)
    )
    with with_redis(Settings.load(folder)) as settings, closing(connect(settings)) as redis:
        logs.setup(settings, stream=StringIO())  # what there is to say is printed
        found = choose(redis, wanted)
        typer.echo(f"{len(found)} kept deliver{'y' if len(found) == 1 else 'ies'}")
        if found:
            reverifier = Reverifier.of(redis, settings)
            _tell(reverifier.run(found) if yes else reverifier.look(found), done=yes)


def _tell(outcomes: Iterable[Outcome], *, done: bool) -> None:
    counts: Counter[str] = Counter()
    groups: Counter[tuple[str, str, str, str]] = Counter()
    for each in outcomes:
        counts[each.word] += 1
        groups[each.source, each.was, each.word, each.reason] += 1
    for (source, was, word, reason), count in groups.most_common(SHOWN):
        said = f": {reason[:200]}" if reason else ""
        typer.echo(f"  {count:>6}  {source}, {was}  {'->' if was != word else 'stays'}  {SAYS[word]}{said}")
    if len(groups) > SHOWN:
        typer.echo(f"  ... and {sum(groups.values()) - sum(n for _, n in groups.most_common(SHOWN))} others")
    if done:
        typer.echo(f"{counts['accepted']} accepted")
    else:
        typer.echo(f"{counts['accepted']} would be accepted; nothing was done, add --yes to do it")

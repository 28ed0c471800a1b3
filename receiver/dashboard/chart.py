"""Charts as inline SVG, drawn on the server: shapes only, sized by attributes, coloured by the stylesheet. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT, STEP = 600, 120, 10
_STEPS = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class Minute:
    """What happened in one minute. `label` is its clock time."""

    label: str
    accepted: int = 0
    done: int = 0
    failed: int = 0


def ceiling(*counts: int) -> int:
    """The round number at the top of an axis: 1, 2 or 5 times a power of ten, at least 5."""
    highest, power = max((5, *counts)), 1
    while True:
        for step in _STEPS:
            if step * power >= highest:
                return step * power
        power *= 10


def rates(minutes: Sequence[Minute]) -> Markup:
    """Bars of what was accepted, a line of what was done, and red feet for what failed; one column per minute."""
    top = ceiling(*(count for each in minutes for count in (each.accepted, each.done, each.failed)))
    width = max(1, len(minutes)) * STEP
    columns, points = [], []
    for index, each in enumerate(minutes):
        left = index * STEP
        columns.append(_column(left, each, top))
        points.append(f"{left + STEP / 2:g},{_y(each.done, top):.1f}")
    points = points[:-1]  # the minute under way is not over: a line down to it would say that work stopped
    said = "Per minute over the last hour: " + ", ".join(
        f"{sum(getattr(each, name) for each in minutes):,} {name}" for name in ("accepted", "done", "failed")
    )
    lines = Markup("").join(
        Markup('<line class="grid" x1="0" x2="{}" y1="{:g}" y2="{:g}"></line>').format(width, y, y)
        for y in (0.5, HEIGHT / 2, HEIGHT - 0.5)
    )
    return Markup(
        '<svg class="rates" role="img" aria-label="{}" viewBox="0 0 {} {}" preserveAspectRatio="none">{}{}'
        '<polyline class="done" points="{}"></polyline></svg>'
    ).format(said, width, HEIGHT, lines, Markup("").join(columns), " ".join(points))


def _y(count: int, top: int) -> float:
    return HEIGHT - count / top * (HEIGHT - 2)


def _column(left: int, each: Minute, top: int) -> Markup:
    title = f"{each.label} · {each.accepted:,} accepted · {each.done:,} done · {each.failed:,} failed"
    bars = [_bar("hover", left, 0, STEP)]
    if each.accepted:
        bars.append(_bar("accepted", left + 1.5, _y(each.accepted, top), STEP - 3))
    if each.failed:
        bars.append(_bar("failed", left + 1.5, min(_y(each.failed, top), HEIGHT - 4), STEP - 3))
    return Markup("<g><title>{}</title>{}</g>").format(title, Markup("").join(bars))


def _bar(kind: str, x: float, y: float, width: float) -> Markup:
    return Markup('<rect class="{}" x="{:g}" y="{:.1f}" width="{:g}" height="{:.1f}"></rect>').format(
        kind, x, y, width, HEIGHT - y
    )


def spread(values: Sequence[int], growth: float = 1.25) -> Markup:
    """How lengths of time are spread, on a scale where each column is a quarter longer than the one before it."""
    counts: dict[int, int] = {}
    for each in values:
        column = round(math.log(max(each, 1), growth))
        counts[column] = counts.get(column, 0) + 1
    if not counts:
        return Markup("")
    first, last, most = min(counts), max(counts), max(counts.values())
    bars = []
    for column in range(first, last + 1):
        height = max(1.0, counts.get(column, 0) / most * 18)
        bars.append(_bar_of_spread((column - first) * 6, height))
    return Markup(
        '<svg class="spread" aria-hidden="true" viewBox="0 0 {} 18" preserveAspectRatio="none">{}</svg>'
    ).format((last - first + 1) * 6 - 1, Markup("").join(bars))


def _bar_of_spread(x: int, height: float) -> Markup:
    return Markup('<rect x="{}" y="{:.1f}" width="5" height="{:.1f}"></rect>').format(x, 18 - height, height)

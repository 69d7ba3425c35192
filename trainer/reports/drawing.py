"""Plots as SVG, by the standard library alone: lines, dots and intervals over axes with round numbers.

A drawing is a file of its own: it has no script and no style sheet, only presentation attributes on a light ground,
so that it reads the same in light and dark surroundings and under any content security policy. Its classes let a page
that has it inline choose other colours; `title` and `desc` say in words what it shows.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 76, 24, 72, 56
POINTS = 300
"""A line has at most so many points."""
SMOOTHED_FROM = 40
"""Lines with more points are drawn thin under a smoothed one."""
SMOOTHING = 0.9

GROUND, TEXT, GRID, AXIS = "#ffffff", "#333b47", "#e3e7ec", "#8a94a3"
# Told apart by lightness too, for those who do not see the colours.
COLOURS = ("#1a5fb4", "#b3541e", "#2e7d32")
BASELINE = "#6b7280"
_FONT = 'font-family="system-ui, -apple-system, Segoe UI, Roboto, sans-serif"'
_FAINT = ' stroke-opacity="0.4"'
_LETTER = 6.6  # how wide a letter of 13 pixels is, about

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """One measured thing: (x, y) points in rising x, and how to draw them.

    A `line` is one value per step, a `dotted` line few values with a dot each, `dots` have no line, a `dashed` line is
    what to compare with. `intervals` are (x, low, high): a band around a line, whiskers on dots. Long lines are
    smoothed where they are `noisy`.
    """

    name: str
    points: Sequence[Point]
    kind: Literal["line", "dotted", "dots", "dashed"] = "line"
    intervals: Sequence[tuple[float, float, float]] = ()
    noisy: bool = True


@dataclass(frozen=True)
class Plot:
    """What one drawing shows. `name` is that of its file. `labels` are words for x = 0, 1, 2 … in place of numbers;
    `x_ends` and `y_ends` are where the axes end at least; `whole` puts numbers on whole steps only.
    """

    name: str
    title: str
    x_name: str
    y_name: str
    series: Sequence[Series]
    labels: Sequence[str] = ()
    x_ends: Sequence[float] = ()
    y_ends: Sequence[float] = ()
    whole: bool = False


@dataclass(frozen=True)
class Axis:
    """From values to places. Its ticks are round numbers."""

    low: float
    high: float
    start: float
    end: float
    ticks: Sequence[float]

    def place(self, value: float) -> float:
        """Where a value lies, to a tenth of a pixel."""
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 1)


def svg(plot: Plot) -> str:
    """A plot as the text of an SVG file."""
    x, y = _x_axis(plot), axis([value for each in plot.series for value in _heights(each)] + [*plot.y_ends],
                               HEIGHT - BOTTOM, TOP, outward=True)  # fmt: skip
    name = escape(plot.name)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" aria-labelledby="{name}-title {name}-desc" class="plot" {_FONT} font-size="13" fill="{TEXT}">',
        f'<title id="{name}-title">{escape(plot.title)}</title>',
        f'<desc id="{name}-desc">{escape(summary(plot))}</desc>',
        f'<rect class="plot-ground" width="{WIDTH}" height="{HEIGHT}" rx="8" fill="{GROUND}"/>',
        f'<text class="plot-title" x="{LEFT}" y="28" font-size="17" font-weight="650">{escape(plot.title)}</text>',
        *_legend(plot.series),
        *_axes(plot, x, y),
        *(mark for number, each in enumerate(plot.series) for mark in _marks(each, _colour(plot, number), x, y)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def summary(plot: Plot) -> str:
    """A plot in sentences, for those who do not see it."""
    return " ".join(_sentence(plot, each) for each in plot.series if each.points)


def axis(
    values: Sequence[float], start: float, end: float, *, outward: bool = False, whole: bool = False, wanted: int = 5
) -> Axis:
    """An axis for values, with about so many ticks at multiples of 1, 2 or 5 times a power of ten.

    `outward`: it ends at ticks. A single value stands in the middle. `whole`: all ticks are whole numbers.
    """
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-9):
        room = abs(low) * 0.05 or 0.5
        low, high = low - room, high + room
    raw = (high - low) / wanted
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= raw * (1 - 1e-9))
    step = max(step, 1.0) if whole else step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    if outward:
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        low, high = min(low, first * step), max(high, last * step)
    return Axis(low, high, start, end, [number * step for number in range(first, last + 1)])


def label(value: float, ticks: Sequence[float]) -> str:
    """A number of an axis, with as many digits as tell its ticks apart."""
    step = ticks[1] - ticks[0] if len(ticks) > 1 else abs(value) or 1.0
    if abs(value) < step * 1e-6:
        return "0"
    if step < 1e-3 or abs(value) >= 1e6:
        digits = max(0, math.floor(math.log10(abs(value)) + 1e-9) - math.floor(math.log10(step) + 1e-9))
        number, power = f"{value:.{digits}e}".split("e")
        return f"{number}e{int(power)}"
    return f"{value:,.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def thinned(points: Sequence[Point], limit: int = POINTS) -> list[Point]:
    """At most `limit` points: means of equally many neighbours, at the last of them."""
    size = math.ceil(len(points) / limit) or 1
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return [(part[-1][0], math.fsum(y for _, y in part) / len(part)) for part in parts]


def smoothed(points: Sequence[Point], weight: float = SMOOTHING) -> list[Point]:
    """The exponential moving average, in which the first points count as much as there are of them."""
    total, share, result = 0.0, 0.0, []
    for x, y in points:
        total, share = weight * total + (1 - weight) * y, weight * share + (1 - weight)
        result.append((x, total / share))
    return result


def _x_axis(plot: Plot) -> Axis:
    if plot.labels:
        return Axis(-0.5, len(plot.labels) - 0.5, LEFT, WIDTH - RIGHT, list(range(len(plot.labels))))
    values = [x for each in plot.series for x, _ in each.points] + [*plot.x_ends]
    return axis(values, LEFT, WIDTH - RIGHT, whole=plot.whole, wanted=7)


def _heights(series: Series) -> list[float]:
    shown = thinned(series.points) if series.kind == "line" else series.points
    return [y for _, y in shown] + [end for _, low, high in series.intervals for end in (low, high)]


def _colour(plot: Plot, number: int) -> str:
    """Baselines are grey, and take no colour from the others."""
    if plot.series[number].kind == "dashed":
        return BASELINE
    return COLOURS[sum(each.kind != "dashed" for each in plot.series[:number]) % len(COLOURS)]


def _axes(plot: Plot, x: Axis, y: Axis) -> Iterator[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for tick in y.ticks:
        at = y.place(tick)
        yield f'<line class="plot-grid" x1="{LEFT}" x2="{right}" y1="{at}" y2="{at}" stroke="{GRID}"/>'
        yield f'<text class="plot-tick" x="{LEFT - 8}" y="{at}" dy="4" text-anchor="end">{label(tick, y.ticks)}</text>'
    for number, tick in enumerate(x.ticks):
        words = escape(_fitted(plot.labels[number], len(plot.labels))) if plot.labels else label(tick, x.ticks)
        at = x.place(tick)
        yield f'<line class="plot-axis" x1="{at}" x2="{at}" y1="{bottom}" y2="{bottom + 5}" stroke="{AXIS}"/>'
        yield f'<text class="plot-tick" x="{at}" y="{bottom + 20}" text-anchor="middle">{words}</text>'
    yield f'<line class="plot-axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}" stroke="{AXIS}"/>'
    middle, height = (LEFT + right) / 2, (TOP + bottom) / 2
    yield f'<text class="plot-name" x="{middle:g}" y="{HEIGHT - 12}" text-anchor="middle">{escape(plot.x_name)}</text>'
    yield (
        f'<text class="plot-name" x="18" y="{height:g}" text-anchor="middle" transform="rotate(-90 18 {height:g})">'
        f"{escape(plot.y_name)}</text>"
    )


def _fitted(words: str, number: int) -> str:
    """Words below one of so many bins, shortened where they would run into the next."""
    most = max(3, int((WIDTH - LEFT - RIGHT) / number / _LETTER) - 1)
    return words if len(words) <= most else words[: most - 1] + "…"


def _legend(series: Sequence[Series]) -> Iterator[str]:
    if len(series) < 2 and not any(each.intervals for each in series):
        return
    at, number = float(LEFT), 0
    for each in series:
        colour = BASELINE if each.kind == "dashed" else COLOURS[number % len(COLOURS)]
        number += each.kind != "dashed"
        if each.kind != "dots":
            dash = ' stroke-dasharray="6 4"' if each.kind == "dashed" else ""
            yield f'<line x1="{at:g}" x2="{at + 22:g}" y1="48" y2="48" stroke="{colour}" stroke-width="2"{dash}/>'
        if each.kind in ("dots", "dotted"):
            yield f'<circle cx="{at + 11:g}" cy="48" r="4" fill="{colour}"/>'
        words = each.name + (" (95 % interval)" if each.intervals else "")
        yield f'<text class="plot-legend" x="{at + 28:g}" y="52">{escape(words)}</text>'
        at += 28 + _LETTER * len(words) + 22


def _marks(series: Series, colour: str, x: Axis, y: Axis) -> Iterator[str]:
    kind, points = f"plot-{series.kind}", list(series.points)
    yield from _intervals(series, colour, x, y)
    if series.kind == "dashed":
        yield _line(kind, points, colour, x, y, 'stroke-width="1.5" stroke-dasharray="6 4"')
    elif series.kind == "dotted" and len(points) > 1:
        yield _line(kind, points, colour, x, y, 'stroke-width="2"')
    elif series.kind == "line" and len(points) > 1:
        noisy = series.noisy and len(points) > SMOOTHED_FROM
        yield _line(kind, thinned(points), colour, x, y, f'stroke-width="{1 if noisy else 2}"' + _FAINT * noisy)
        if noisy:
            yield _line(f"{kind} plot-smoothed", thinned(smoothed(points)), colour, x, y, 'stroke-width="2"')
    if series.kind in ("dots", "dotted") or len(points) == 1:
        for at, value in points:
            place = f'cx="{x.place(at):g}" cy="{y.place(value):g}"'
            yield f'<circle class="{kind}" {place} r="4" fill="{colour}" stroke="{GROUND}"/>'


def _intervals(series: Series, colour: str, x: Axis, y: Axis) -> Iterator[str]:
    """A whisker for each dot, or a band around a line."""
    if series.kind == "dots":
        for value, low, high in series.intervals:
            at, bottom, top = x.place(value), y.place(low), y.place(high)
            path = f"M{at - 5:g} {bottom:g}h10M{at - 5:g} {top:g}h10M{at:g} {bottom:g}V{top:g}"
            yield f'<path class="plot-whisker" fill="none" stroke="{colour}" stroke-width="1.5" d="{path}"/>'
    elif len(series.intervals) > 1:
        edge = [(at, high) for at, _, high in series.intervals] + [(at, low) for at, low, _ in series.intervals][::-1]
        yield f'<polygon class="plot-band" points="{_path(edge, x, y)}" fill="{colour}" fill-opacity="0.15"/>'


def _line(kind: str, points: Sequence[Point], colour: str, x: Axis, y: Axis, stroke: str) -> str:
    attributes = f'fill="none" stroke="{colour}" stroke-linejoin="round" {stroke}'
    return f'<polyline class="{kind}" points="{_path(points, x, y)}" {attributes}/>'


def _path(points: Sequence[Point], x: Axis, y: Axis) -> str:
    return " ".join(f"{x.place(at):g},{y.place(value):g}" for at, value in points)


def _sentence(plot: Plot, series: Series) -> str:
    (first, start), (last, end) = series.points[0], series.points[-1]
    if series.kind == "dashed" and start == end:
        return f"{series.name}: {end:.4g}."
    if plot.labels:
        return f"{series.name}: {', '.join(f'{plot.labels[int(at)]} {value:.4g}' for at, value in series.points)}."
    if len(series.points) == 1:
        return f"{series.name}: {start:.4g} at {plot.x_name} {first:.4g}."
    return f"{series.name}: from {start:.4g} at {plot.x_name} {first:.4g} to {end:.4g} at {last:.4g}."

"""Charts of the same thing in several runs, drawn by the server: each run has its own line, stroke and mark."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from labelapp.training.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    SMOOTHED_FROM,
    TOP,
    WIDTH,
    Frame,
    Point,
    Scale,
    Tick,
    path,
    smoothed,
    thinned,
)

SIZE = 5.0
"""Half of how large a mark is."""
MARKED_UP_TO = 40
"""A line of more points has no marks: they would hide it."""


@dataclass(frozen=True)
class Series:
    """One run's line. `number`, from 1, is what its stroke, colour and mark go by; `marks` are drawing commands."""

    number: int
    name: str
    line: str
    marks: list[str]


@dataclass(frozen=True)
class Overlay(Frame):
    """One measured thing over the steps of several runs."""

    name: str
    summary: str
    series: list[Series]
    x_ticks: list[Tick]
    y_ticks: list[Tick]


def overlay_make(name: str, lines: Mapping[int, tuple[str, Sequence[Point]]]) -> Overlay | None:
    """A chart of (step, value) points by the run's number and name. None where nothing was measured."""
    shown = {number: (run, _calm(points)) for number, (run, points) in lines.items() if points}
    if not shown:
        return None
    everything = [point for _, points in shown.values() for point in points]
    x_scale = Scale([x for x, _ in everything], LEFT, WIDTH - RIGHT)
    y_scale = Scale([y for _, y in everything], HEIGHT - BOTTOM, TOP)
    series = []
    for number, (run, points) in shown.items():
        places = [(x_scale.place(x), y_scale.place(y)) for x, y in points]
        marked = places if len(places) <= MARKED_UP_TO else places[-1:]
        series.append(Series(number, run, path(places), [mark(number, place) for place in marked]))
    ends = "; ".join(f"{run} {points[-1][1]:.4g} at step {points[-1][0]:,.0f}" for run, points in shown.values())
    return Overlay(name, f"At the end: {ends}.", series, x_scale.ticks(whole=True), y_scale.ticks())


def mark(number: int, place: Point, size: float = SIZE) -> str:
    """The outline of a run's mark at a place: a circle, square, triangle, diamond, plus or cross, by its number."""
    x, y = place
    shapes = {
        1: f"M{x - size:g} {y:g}a{size:g} {size:g} 0 1 0 {2 * size:g} 0a{size:g} {size:g} 0 1 0 {-2 * size:g} 0Z",
        2: f"M{x - size:g} {y - size:g}h{2 * size:g}v{2 * size:g}h{-2 * size:g}Z",
        3: f"M{x:g} {y - size:g}L{x + size:g} {y + size:g}L{x - size:g} {y + size:g}Z",
        4: f"M{x:g} {y - size:g}L{x + size:g} {y:g}L{x:g} {y + size:g}L{x - size:g} {y:g}Z",
        5: f"M{x:g} {y - size:g}v{2 * size:g}M{x - size:g} {y:g}h{2 * size:g}",
        0: f"M{x - size:g} {y - size:g}l{2 * size:g} {2 * size:g}M{x + size:g} {y - size:g}l{-2 * size:g} {2 * size:g}",
    }
    return shapes[number % len(shapes)]


def _calm(points: Sequence[Point]) -> list[Point]:
    """Points thinned, and smoothed where there are many: the noise of several lines hides all of them."""
    few = thinned(points)
    return smoothed(few) if len(few) > SMOOTHED_FROM else few

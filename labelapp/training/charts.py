"""Charts of a run, drawn by the server: places in a drawing, no colours. Pure functions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 34
POINTS = 300
"""A line has at the most so many points."""
SMOOTHED_FROM = 40
"""Lines with more points get a smoothed one over them."""
SMOOTHING = 0.9
STEPS = "optimizer steps"

Point = tuple[float, float]


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where, and what it says."""

    place: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The size of a drawing, and where the axes stand in it."""

    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


@dataclass(frozen=True)
class Chart(Frame):
    """One measured thing over the steps, or over another. `line`, `smooth` and `dots` are places in the drawing;
    `across` says what the horizontal axis is.
    """

    name: str
    summary: str
    across: str
    line: str
    smooth: str
    dots: list[Point]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    last: list[Point]


def chart_make(name: str, points: Sequence[Point], held_out: Sequence[Point] = (), *, last: int = 10) -> Chart | None:
    """A chart of (step, value) points, with others measured on held-out prompts as dots; None where there are none."""
    shown, dots = thinned(points), list(held_out)[-POINTS:]
    if not shown and not dots:
        return None
    x_scale = Scale([x for x, _ in [*shown, *dots]], LEFT, WIDTH - RIGHT)
    y_scale = Scale([y for _, y in [*shown, *dots]], HEIGHT - BOTTOM, TOP)
    smooth = smoothed(shown) if len(shown) > SMOOTHED_FROM else []

    def placed(some: Sequence[Point]) -> list[Point]:
        return [(x_scale.place(x), y_scale.place(y)) for x, y in some]

    return Chart(
        name=name,
        summary=_summary(name, points, held_out),
        across=STEPS,
        line=path(placed(shown)),
        smooth=path(placed(smooth)),
        dots=placed(dots if len(shown) > 1 or dots else []),
        x_ticks=x_scale.ticks(whole=True),
        y_ticks=y_scale.ticks(),
        last=list(points)[-last:],
    )


def path_make(name: str, across: str, points: Sequence[Point]) -> Chart | None:
    """A chart of one measured thing against another, in the order of the steps; None with fewer than two points."""
    if len(points) < 2:
        return None
    x_scale = Scale([x for x, _ in points], LEFT, WIDTH - RIGHT)
    y_scale = Scale([y for _, y in points], HEIGHT - BOTTOM, TOP)
    places = [(x_scale.place(x), y_scale.place(y)) for x, y in points]
    (x, y), (last_x, last_y) = points[0], points[-1]
    return Chart(
        name=name,
        summary=f"From {y:.4g} at {x:.4g} to {last_y:.4g} at {last_x:.4g}.",
        across=across,
        line=path(places),
        smooth="",
        dots=places if len(places) <= SMOOTHED_FROM else places[-1:],
        x_ticks=x_scale.ticks(),
        y_ticks=y_scale.ticks(),
        last=list(points[-10:]),
    )


def thinned(points: Sequence[Point], limit: int = POINTS) -> list[Point]:
    """At the most `limit` points: means of equally many neighbours, at the step of the last of them."""
    size = math.ceil(len(points) / limit) or 1
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(group[-1][0], sum(y for _, y in group) / len(group)) for group in groups]


def smoothed(points: Sequence[Point], weight: float = SMOOTHING) -> list[Point]:
    """The exponential moving average, where the first points count as much as there are of them."""
    total, share, result = 0.0, 0.0, []
    for x, y in points:
        total = weight * total + (1 - weight) * y
        share = weight * share + (1 - weight)
        result.append((x, total / share))
    return result


class Scale:
    """From values to places between two ends of a drawing."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self.low, self.high = min(values), max(values)
        if self.high - self.low <= 1e-9 * max(abs(self.low), abs(self.high), 1e-9):
            room = abs(self.low) * 0.05 or 0.5
            self.low, self.high = self.low - room, self.high + room
        self.start, self.end = start, end

    def place(self, value: float) -> float:
        """Where a value lies, to a tenth of a unit."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, *, whole: bool = False, wanted: int = 5) -> list[Tick]:
        """About so many marks at round numbers."""
        raw = (self.high - self.low) / wanted
        unit = 10.0 ** math.floor(math.log10(raw))
        step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= raw)
        step = max(step, 1.0) if whole else step
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        decimals = max(0, -math.floor(math.log10(step)))
        return [Tick(self.place(n * step), f"{n * step:,.{decimals}f}") for n in range(first, last + 1)]


def path(points: Sequence[Point]) -> str:
    """Places as the points of a polyline."""
    return " ".join(f"{x:g},{y:g}" for x, y in points)


def _summary(name: str, points: Sequence[Point], held_out: Sequence[Point]) -> str:
    """The chart in a sentence, for those who do not see it."""
    parts = []
    if points:
        (first, start), (last, end) = points[0], points[-1]
        parts.append(f"{name} from {start:.4g} at step {first:,.0f} to {end:.4g} at step {last:,.0f}.")
    if held_out:
        step, value = held_out[-1]
        parts.append(f"On held-out prompts {value:.4g} at step {step:,.0f}.")
    return " ".join(parts)

"""The plots of a run, from its events and its report: plots/*.svg in the run folder."""

import math
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.durable import folder_aside
from trainer.reports.drawing import Plot, Point, Series, svg

PLOTS = "plots"
STEP, ACCURACY = "optimizer step", "accuracy"
TRAINING, HELD_OUT = "training", "held out"

# Of one value over the steps: name of the file and of the value, title, and name of the axis.
_OVER_STEPS = (
    ("loss", "Loss", "loss"),
    ("margin", "Margin between preferred and other completions", "difference of rewards"),
    ("kl", "Distance from the reference", "KL divergence, nats per completion"),
    ("learning_rate", "Learning rate", "learning rate"),
    ("grad_norm", "Norm of the gradient, before clipping", "norm"),
)
# Of several values in one drawing: name of the file, title, name of the axis, and the values with their names.
_TOGETHER = (
    (
        "rewards",
        "Rewards of preferred and other completions",
        "reward",
        (("chosen_reward", "preferred"), ("rejected_reward", "other")),
    ),
    (
        "lengths",
        "Lengths of completions",
        "tokens",
        (("length", "all"), ("chosen_length", "preferred"), ("rejected_length", "other")),
    ),
)
# Of a part of the breakdown: its name, the column that tells its rows apart, title, and name of the axis.
_PARTS = (
    ("by_strength", "strength", "Accuracy by strength of the preference", "strength, 1 to 4"),
    ("by_group", "group", "Accuracy by group of annotators", "group"),
    ("by_length", "length", "Accuracy by difference in length", "tokens by which the lengths differ"),
    ("by_preferred_length", "preferred", "Accuracy by which length was preferred", "preferred, beside the other"),
)
_BASELINES = (("longer_wins", "longer wins"), ("first_wins", "first wins"), ("random", "a coin"))


def plots_write(folder: Path, events: Iterable[Mapping[str, Any]], report: Mapping[str, Any]) -> list[Path]:
    """Write a run's plots into its folder `plots`, in place of older ones; returns their paths.

    `events` are the lines of events.jsonl: of kind train and eval, with `loss`, `accuracy` (and `accuracy_low` and
    `accuracy_high`), `margin`, `kl`, `learning_rate`, `grad_norm`, `chosen_reward`, `rejected_reward`, `length`,
    `chosen_length`, `rejected_length`. Of the report, `breakdown` is what `metrics.accuracy_breakdown` says. What was
    not measured has no plot; the folder is only there when there is one.
    """
    drawn = {plot.name: svg(plot) for plot in plots_of(list(events), report)}
    path = folder / PLOTS
    shutil.rmtree(path, ignore_errors=True)
    if not drawn:
        return []
    with folder_aside(path) as aside:
        for name, text in drawn.items():
            (aside / f"{name}.svg").write_text(text, encoding="utf-8")
    return [path / f"{name}.svg" for name in drawn]


def plots_of(events: Sequence[Mapping[str, Any]], report: Mapping[str, Any]) -> Iterator[Plot]:
    """All plots that what was measured is enough for."""
    for name, title, y_name in _OVER_STEPS:
        if series := _both(events, name):
            yield Plot(name, title, STEP, y_name, series, x_ends=(0,), whole=True)
    for name, title, y_name, values in _TOGETHER:
        if series := _several(events, values):
            yield Plot(name, title, STEP, y_name, series, x_ends=(0,), whole=True)
    yield from _accuracy(events)
    yield from _reward_kl(events)
    yield from _breakdown(report.get("breakdown", {}), report.get("metrics", {}))


def _points(events: Sequence[Mapping[str, Any]], kind: str, name: str) -> list[Point]:
    """(step, value) of all events of a kind that have a value."""
    return [
        (event["step"], event["values"][name])
        for event in events
        if event["kind"] == kind and math.isfinite(event["values"].get(name, math.nan))
    ]


def _both(events: Sequence[Mapping[str, Any]], name: str) -> list[Series]:
    """A value in training and on held-out prompts, where it was measured there."""
    train, held_out = _points(events, "train", name), _points(events, "eval", name)
    series = [Series(TRAINING, train, noisy=name != "learning_rate")] if train else []
    return [*series, Series(HELD_OUT, held_out, "dotted")] if held_out else series


def _several(events: Sequence[Mapping[str, Any]], values: Iterable[tuple[str, str]]) -> list[Series]:
    """Values of held-out prompts, or of training where none were measured on held-out ones."""
    found = [(words, _points(events, "eval", name), _points(events, "train", name)) for name, words in values]
    if any(held_out for _, held_out, _ in found):
        return [Series(f"{words}, {HELD_OUT}", points, "dotted") for words, points, _ in found if points]
    return [Series(f"{words}, {TRAINING}", points) for words, _, points in found if points]


def _accuracy(events: Sequence[Mapping[str, Any]]) -> Iterator[Plot]:
    """The accuracy over the steps, with its interval on held-out prompts and the baselines there."""
    series = _both(events, ACCURACY)
    if not series:
        return
    evaluations = [event for event in events if event["kind"] == "eval" and ACCURACY in event["values"]]
    intervals = [
        (event["step"], event["values"]["accuracy_low"], event["values"]["accuracy_high"])
        for event in evaluations
        if "accuracy_low" in event["values"]
    ]
    if evaluations:
        series[-1] = Series(HELD_OUT, series[-1].points, "dotted", intervals)
    last = {} if not evaluations else evaluations[-1]["values"]
    ends = (min(event["step"] for event in events), max(event["step"] for event in events))
    for name, words in _BASELINES:
        if name in last:
            series.append(Series(words, [(step, last[name]) for step in ends], "dashed"))
            break
    yield Plot(ACCURACY, "Pair accuracy", STEP, ACCURACY, series, x_ends=(0,), whole=True)


def _reward_kl(events: Sequence[Mapping[str, Any]]) -> Iterator[Plot]:
    """What the distance from the reference buys: the reward, or the margin where none is given, against KL."""
    for kind, words in (("eval", HELD_OUT), ("train", TRAINING)):
        for name, y_name in (("reward", "mean reward"), ("margin", "difference of rewards, preferred − other")):
            points = [
                (event["values"]["kl"], event["values"][name])
                for event in events
                if event["kind"] == kind and {"kl", name} <= event["values"].keys()
            ]
            if len(points) > 1:
                series = [Series(words, points, "dotted" if kind == "eval" else "dots")]
                yield Plot("reward_kl", "Reward against distance", "KL from the reference, nats", y_name, series)
                return


def _breakdown(breakdown: Mapping[str, Any], metrics: Mapping[str, Any]) -> Iterator[Plot]:
    """Accuracy by strength, group and length, and how well it was predicted."""
    for name, column, title, x_name in _PARTS:
        if rows := breakdown.get(name):
            words = [_bin(row) if column == "length" else str(row[column]) for row in rows]
            labels = [f"{word} ({row['comparisons']:,})" for word, row in zip(words, rows, strict=True)]
            series = [_whiskers(rows, range(len(rows)))]
            if ACCURACY in metrics:
                ends = [(-0.5, metrics[ACCURACY]), (len(rows) - 0.5, metrics[ACCURACY])]
                series.append(Series("all comparisons", ends, "dashed"))
            x_name += " (comparisons)"
            yield Plot(f"accuracy_{name}", title, x_name, ACCURACY, series, labels=labels, y_ends=(0.0, 1.0))
    if rows := breakdown.get("calibration"):
        said = Series("as often as predicted", [(0.5, 0.5), (1.0, 1.0)], "dashed")
        series = [_whiskers(rows, [row["predicted"] for row in rows]), said]
        x_name = "predicted: σ of the difference of scores"
        yield Plot("calibration", "Calibration", x_name, ACCURACY, series, y_ends=(0.0, 1.0), x_ends=(0.5, 1.0))


def _whiskers(rows: Sequence[Mapping[str, Any]], places: Iterable[float]) -> Series:
    found = [(place, row["accuracy"], row["low"], row["high"]) for place, row in zip(places, rows, strict=True)]
    points = [(place, accuracy) for place, accuracy, _, _ in found]
    return Series(HELD_OUT, points, "dots", [(place, low, high) for place, _, low, high in found])


def _bin(row: Mapping[str, Any]) -> str:
    least, most = row["least"], row["most"]
    return f"{least}+" if most is None else str(least) if least == most else f"{least}–{most}"

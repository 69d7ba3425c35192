"""Runs side by side: what they were made from, what came of them, and what may be concluded from that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labelapp.models import Run, RunEvent
from labelapp.training.charts import Point
from labelapp.training.evaluation import GROUPS, METRICS, interval_words, metrics_of, value_words
from labelapp.training.overlays import Overlay, mark, overlay_make
from labelapp.training.selectors import MEASURES, figure, members_of, options_ordered, points_of
from trainer.config import option_fields

LEAST, MOST = 2, 6
"""How many runs stand beside each other."""
DRAWN = ("loss", "accuracy", "margin", "reward", "kl", "chosen_length")
NONE = "–"
"""For what a run has not, or not yet: that is no difference."""


@dataclass(frozen=True)
class Column:
    """A run of the comparison; `number`, from 1, is what its line is drawn by. `mark` is its mark in the legend."""

    number: int
    run: Run

    @property
    def mark(self) -> str:
        """The outline of its mark, in the middle of a drawing of 48 x 16."""
        return mark(self.number, (24.0, 8.0))


@dataclass(frozen=True)
class Row:
    """Something that each run has a value of, in words."""

    name: str
    values: list[str]

    @property
    def differs(self) -> bool:
        """Whether those that have it have not the same."""
        return len(set(self.values) - {NONE}) > 1


@dataclass(frozen=True)
class MetricCell:
    """A figure of one run. `is_best`: its interval lies above those of all others."""

    value: str
    interval: str
    is_best: bool


@dataclass(frozen=True)
class Comparison:
    """All that the page of a comparison shows. `doubt` says why no run may be called the best, where none may."""

    columns: list[Column]
    inputs: list[Row]
    options: list[Row]
    metrics: list[tuple[str, list[tuple[str, list[MetricCell]]]]]
    doubt: str
    trained: list[Overlay]
    held_out: list[Overlay]

    @property
    def losses_differ(self) -> bool:
        """Whether the losses are different quantities, of which none is small beside another."""
        names = {"Kind", "Labels", "loss", "beta"}
        return any(row.name in names for row in self.differing)

    @property
    def differing(self) -> list[Row]:
        """What the runs were not made from alike."""
        return [row for row in [*self.inputs, *self.options] if row.differs]


def comparison_make(runs: Sequence[Run]) -> Comparison:
    """Runs of one project beside each other. Reads snapshot, start, reference and members of each."""
    doubt = comparison_doubt(runs)
    trained, held_out = _lines(runs)
    return Comparison(
        columns=[Column(number, run) for number, run in enumerate(runs, start=1)],
        inputs=_inputs(runs),
        options=option_rows(runs),
        metrics=_metrics(runs, marking=not doubt),
        doubt=doubt,
        trained=trained,
        held_out=held_out,
    )


def comparison_doubt(runs: Sequence[Run]) -> str:
    """Why figures of these runs must not be ranked; empty when they may be."""
    measured = [run for run in runs if "accuracy" in metrics_of(run.report)]
    if len(measured) < LEAST:
        return ""
    if len({run.snapshot_id for run in measured}) > 1:
        return "These runs were measured on different labels, so no figure is marked as the best."
    if len({(_held_out_split(run), metrics_of(run.report).get("comparisons")) for run in measured}) > 1:
        return (
            "These runs were not measured on the same comparisons (their options leave out others, or hold out "
            "another split), so no figure is marked as the best."
        )
    return ""


def option_rows(runs: Sequence[Run]) -> list[Row]:
    """Every option that any of the runs has, in the trainer's order.

    What is called alike and is something else (weights of labels, weights of models) has rows of its own.
    """
    options = [_options(run) for run in runs]
    keys = dict.fromkeys(key for found in options for key in found)
    return [Row(key[0].replace("_", " "), [_words(found.get(key)) for found in options]) for key in keys]


def best_of(name: str, metrics: Sequence[Mapping[str, Any]]) -> int | None:
    """Which of several has the greatest figure beyond doubt: its interval begins above where all others end."""
    if name not in METRICS or not METRICS[name].ranked:
        return None
    low, high = f"{name}_low", f"{name}_high"
    measured = [at for at, found in enumerate(metrics) if low in found and high in found]
    if len(measured) < LEAST:
        return None
    first = max(measured, key=lambda at: float(metrics[at][low]))
    others = [metrics[at][high] for at in measured if at != first]
    return first if metrics[first][low] > max(others) else None


def _inputs(runs: Sequence[Run]) -> list[Row]:
    rows = {
        "Kind": [run.get_kind_display() for run in runs],
        "Labels": [str(run.snapshot or "none named") for run in runs],
        "Starting model": [str(run.start or NONE) for run in runs],
        "Reference": [_reference(run) for run in runs],
        "Combines": [", ".join(model.name for model in members_of(run)) or NONE for run in runs],
        "Trainer": [run.code_version[:12] or NONE for run in runs],
        "Device": [_words(run.config.get("resolved", {}).get("device")) for run in runs],
        "Computed in": [_words(run.config.get("resolved", {}).get("dtype")) for run in runs],
    }
    return [Row(name, values) for name, values in rows.items() if name != "Combines" or set(values) != {NONE}]


def _reference(run: Run) -> str:
    if run.start is None:
        return NONE
    return run.reference.name if run.reference else "none named"


def _options(run: Run) -> dict[tuple[str, str], Any]:
    """The options of a run by name and by what such an option is; that is empty for what the trainer has no longer."""
    kinds = {option.name: option.kind for option in option_fields(run.kind)}
    return {(name, kinds.get(name, "")): value for name, value in options_ordered(run).items()}


def _metrics(runs: Sequence[Run], *, marking: bool) -> list[tuple[str, list[tuple[str, list[MetricCell]]]]]:
    metrics = [metrics_of(run.report) for run in runs]
    groups = []
    for group in GROUPS:
        rows = [
            (metric.label, _cells(name, metrics, marking=marking))
            for name, metric in METRICS.items()
            if metric.group == group and any(name in found for found in metrics)
        ]
        if rows:
            groups.append((group, rows))
    return groups


def _cells(name: str, metrics: Sequence[Mapping[str, Any]], *, marking: bool) -> list[MetricCell]:
    kind = METRICS[name].kind
    best = best_of(name, metrics) if marking else None
    return [
        MetricCell(value_words(found[name], kind), interval_words(name, kind, found), at == best)
        if name in found
        else MetricCell(NONE, "", False)
        for at, found in enumerate(metrics)
    ]


def _lines(runs: Sequence[Run]) -> tuple[list[Overlay], list[Overlay]]:
    """Charts of what was measured in more than one run, in training and on held-out prompts."""
    trained = points_of([run.pk for run in runs])
    held_out: dict[int, dict[str, list[Point]]] = {run.pk: {name: [] for name in DRAWN} for run in runs}
    for event in RunEvent.objects.filter(run__in=runs, kind="eval").order_by("run", "step"):
        for name in DRAWN:
            if name in event.values:
                held_out[event.run_id][name].append((event.step, event.values[name]))
    return _overlays(runs, trained, "in training"), _overlays(runs, held_out, "on held-out prompts")


def _overlays(runs: Sequence[Run], points: Mapping[int, Mapping[str, list[Point]]], where: str) -> list[Overlay]:
    charts = [
        overlay_make(
            f"{MEASURES[name]} {where}",
            {number: (run.name, points[run.pk][name]) for number, run in enumerate(runs, start=1)},
        )
        for name in DRAWN
    ]
    return [chart for chart in charts if chart and len(chart.series) >= LEAST]


def _held_out_split(run: Run) -> str | None:
    split: str | None = run.config.get("resolved", {}).get("held_out")
    return split


def _words(value: Any) -> str:
    return NONE if value is None else figure(value) or "none"

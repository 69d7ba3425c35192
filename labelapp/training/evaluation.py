"""What a run's report says, in the order and the words in which people read it. Pure functions of the report."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Report = Mapping[str, Any]
LEFT_OUT = "left out: "
"""How a report names the causes among its counts."""
GROUPS_LEFT_OUT = {
    "groups_all_tied": "groups that are all ties",
    "groups_left_out": "groups without what this loss learns from",
}
AGREEMENT, CHOICE, LENGTH, CALIBRATION, POLICY, MEMBERS, SCALE, OTHER = (
    "Agreement with people",
    "The best of K",
    "Length",
    "Calibration",
    "Policy",
    "Its models",
    "Scale of scores",
    "Training",
)
SCALED = re.compile(r"(mean|deviation)_(\d+)")
"""Figures of the scale that a combination was put on."""
BASELINES = (("random", "A coin"), ("longer_wins", "The longer one wins"), ("first_wins", "The one listed first wins"))
MEANINGS = {
    AGREEMENT: "On held-out prompts. Intervals are 95 %, by prompt. Ties are left out, equal scores count half.",
    CHOICE: "How often the completion with the greatest score is one that people ranked first.",
    LENGTH: "Whether the model judges more than length.",
    CALIBRATION: "Whether differences of scores mean what they say: σ(difference) should be how often they are right.",
    MEMBERS: "How far apart the scores of its models are: the standard deviation between them, on held-out prompts.",
    SCALE: "Of scores before they were standardised, over all completions of the snapshot: those of each model in its "
    "order, or those that the gate lets through.",
}


@dataclass(frozen=True)
class Metric:
    """How a figure is shown: in which group, called what, and as what (share, points or number). `ranked`: a greater
    one is better, and its interval may say so.
    """

    group: str
    label: str
    kind: str = "share"
    ranked: bool = False


METRICS = {
    "accuracy": Metric(AGREEMENT, "Pairs right", ranked=True),
    "accuracy_ties_half": Metric(AGREEMENT, "Pairs right, ties counting half"),
    "prompt_accuracy": Metric(AGREEMENT, "Mean over prompts"),
    "kendall_tau": Metric(AGREEMENT, "Kendall’s τ", "number", ranked=True),
    "comparisons": Metric(AGREEMENT, "Comparisons", "count"),
    "prompts": Metric(AGREEMENT, "Prompts", "count"),
    "ties_left_out": Metric(AGREEMENT, "Ties left out", "count"),
    "best_of_k": Metric(CHOICE, "Best of K is ranked first", ranked=True),
    "best_of_k_random": Metric(CHOICE, "A random pick is"),
    "best_of_k_groups": Metric(CHOICE, "Groups", "count"),
    "over_longer_wins": Metric(LENGTH, "Above “the longer one wins”", "points", ranked=True),
    "length_matched": Metric(LENGTH, "Pairs right where lengths are alike", ranked=True),
    "length_matched_comparisons": Metric(LENGTH, "Comparisons of like length", "count"),
    "ece": Metric(CALIBRATION, "Expected calibration error"),
    "log_loss": Metric(CALIBRATION, "Log loss", "number"),
    "kl": Metric(POLICY, "KL from the reference, nats per completion", "number"),
    "kl_per_token": Metric(POLICY, "KL per token", "number"),
    "margin": Metric(POLICY, "Margin", "number"),
    "reward": Metric(POLICY, "Reward", "number"),
    "chosen_reward": Metric(POLICY, "Reward of preferred completions", "number"),
    "rejected_reward": Metric(POLICY, "Reward of other completions", "number"),
    "chosen_length": Metric(POLICY, "Tokens of preferred completions", "number"),
    "rejected_length": Metric(POLICY, "Tokens of other completions", "number"),
    "chosen_logp": Metric(POLICY, "Log-probability of preferred completions", "number"),
    "rejected_logp": Metric(POLICY, "Log-probability of other completions", "number"),
    "log_ratio_per_token": Metric(POLICY, "Log-ratio to the reference, per token", "number"),
    "nll": Metric(POLICY, "Likelihood term of the loss", "number"),
    "tokens": Metric(POLICY, "Tokens measured", "count"),
    "mean_disagreement": Metric(MEMBERS, "Disagreement, mean over completions", "number"),
    "loss": Metric(OTHER, "Loss, held out", "number"),
    "loss_before": Metric(OTHER, "Loss before the first step", "number"),
    "accuracy_before": Metric(OTHER, "Pairs right before the first step"),
    "train_loss": Metric(OTHER, "Loss of the last training step", "number"),
    "train_accuracy": Metric(OTHER, "Pairs right in the last training step"),
    "steps": Metric(OTHER, "Steps", "count"),
    "best_step": Metric(OTHER, "The weights are those after step", "count"),
}
GROUPS = (AGREEMENT, CHOICE, LENGTH, CALIBRATION, POLICY, MEMBERS, SCALE, OTHER)
PARTS = (
    ("by_member", "Each of its models by itself", "Model"),
    ("by_strength", "By strength of the preference", "Strength, 1 to 4"),
    ("by_group", "By group of annotators", "Group"),
    ("by_length", "By difference in length", "Tokens apart"),
    ("by_preferred_length", "By which length was preferred", "Preferred"),
    ("calibration", "Calibration", "Predicted"),
)


@dataclass(frozen=True)
class Figure:
    """A figure in words. `low` and `high`, shares of 1 where there is an interval, are for a drawing of it."""

    name: str
    label: str
    value: str
    interval: str = ""
    share: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def place(self) -> float:
        """Where the share lies in a drawing of 100 units, two from its side."""
        return _place(self.share)

    @property
    def low_place(self) -> float:
        """Where the interval begins there."""
        return _place(self.low)

    @property
    def high_place(self) -> float:
        """Where it ends."""
        return _place(self.high)


@dataclass(frozen=True)
class Table:
    """A part of the breakdown: figures with the comparisons and prompts that each stands on."""

    caption: str
    column: str
    rows: list[tuple[Figure, int, int]]


@dataclass(frozen=True)
class Count:
    """Of one split: what was found and kept, causes with their numbers for what was not, and how many prompts lost
    their oldest turns.
    """

    split: str
    words: str
    causes: list[tuple[str, int]]
    shortened: int = 0


@dataclass(frozen=True)
class Evaluation:
    """A report as a page shows it. All is empty before there is one."""

    headline: list[Figure]
    groups: list[tuple[str, str, list[Figure]]]
    breakdown: list[Table]
    counts: list[Count]

    def __bool__(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.headline or self.groups or self.breakdown or self.counts)


def report_of(report: Report) -> Evaluation:
    """What a report says."""
    return Evaluation(headline(report), figures_by_group(report), breakdown_tables(report), left_out(report))


def headline(report: Report) -> list[Figure]:
    """The accuracy and what is right without learning anything, best known first; empty where none was measured."""
    metrics = metrics_of(report)
    if "accuracy" not in metrics:
        return []
    names = [("accuracy", "This model"), *BASELINES]
    return [_figure(name, label, "share", metrics) for name, label in names if name in metrics]


def figures_by_group(report: Report) -> list[tuple[str, str, list[Figure]]]:
    """All other figures, with the name of each group and what it means."""
    metrics = metrics_of(report)
    known = METRICS.keys() | dict(BASELINES).keys()
    named = {name: metric for name, metric in METRICS.items() if name in metrics and name != "accuracy"}
    rest = [name for name in sorted(metrics, key=_order) if name not in known and not _is_end(name, metrics)]
    found = [(metric.group, _figure(name, metric.label, metric.kind, metrics)) for name, metric in named.items()]
    found += [_unlisted(name, metrics) for name in rest]
    groups = [(group, MEANINGS.get(group, ""), [figure for at, figure in found if at == group]) for group in GROUPS]
    return [group for group in groups if group[2]]


def _unlisted(name: str, metrics: Mapping[str, Any]) -> tuple[str, Figure]:
    """A figure that has no place of its own: its group, and how it is shown."""
    if scaled := SCALED.fullmatch(name):
        what = {"mean": "Mean", "deviation": "Standard deviation"}[scaled[1]]
        return SCALE, _figure(name, f"{what} {scaled[2]}", "number", metrics)
    return OTHER, _figure(name, name.replace("_", " "), "number", metrics)


def _order(name: str) -> tuple[int, str]:
    """Scales stand model by model, the mean first; all else by its name."""
    scaled = SCALED.fullmatch(name)
    return (int(scaled[2]), "" if scaled[1] == "mean" else name) if scaled else (0, name)


def breakdown_tables(report: Report) -> list[Table]:
    """Where the accuracy comes from."""
    parts: Mapping[str, Any] = report.get("breakdown") or report.get("evaluation", {}).get("breakdown") or {}
    return [
        Table(caption, column, [(_row_figure(name, row), row["comparisons"], row["prompts"]) for row in parts[name]])
        for name, caption, column in PARTS
        if parts.get(name)
    ]


def left_out(report: Report) -> list[Count]:
    """What a run could use of its snapshot, what it could not, and why."""
    counts = report.get("counts", {})
    scale = [_scale_count(counts["scale"])] if isinstance(counts.get("scale"), Mapping) else []
    named = [(name, counts[name]) for name in ("train", "held_out") if isinstance(counts.get(name), Mapping)]
    return scale + [count for name, found in named if (count := _count(name, found))]


def metrics_of(report: Report) -> Mapping[str, Any]:
    """The flat figures of a report that are numbers."""
    metrics: Mapping[str, Any] = report.get("metrics", {}) | {
        name: report[name] for name in ("steps", "best_step") if name in report
    }
    return {name: value for name, value in metrics.items() if isinstance(value, int | float)}


def value_words(value: float, kind: str) -> str:
    """A figure as a person reads it."""
    if kind == "share":
        return f"{100 * value:.1f} %"
    if kind == "points":
        return f"{100 * value:+.1f} points"
    if kind == "count":
        return f"{value:,.0f}"
    return f"{value:.4g}"


def interval_words(name: str, kind: str, metrics: Mapping[str, Any]) -> str:
    """The interval of a figure, or nothing where it has none."""
    low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
    if low is None or high is None:
        return ""
    start = value_words(low, kind).removesuffix(" %").removesuffix(" points")
    return f"{start} to {value_words(high, kind)}"


def _place(share: float | None) -> float:
    return round(2 + 100 * min(1.0, max(0.0, share or 0.0)), 1)


def _figure(name: str, label: str, kind: str, metrics: Mapping[str, Any]) -> Figure:
    value, is_share = metrics[name], kind == "share"
    low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
    interval = interval_words(name, kind, metrics)
    shares = (value, low, high) if is_share else (None, None, None)
    return Figure(name, label, value_words(value, kind), interval, *shares)


def _row_figure(part: str, row: Mapping[str, Any]) -> Figure:
    metrics = {"x": row["accuracy"], "x_low": row["low"], "x_high": row["high"]}
    return _figure("x", _row_label(part, row), "share", metrics)


def _row_label(part: str, row: Mapping[str, Any]) -> str:
    if part == "calibration":
        return value_words(row["predicted"], "share")
    if part == "by_length":
        least, most = row["least"], row["most"]
        return f"{least:,} and more" if most is None else f"{least:,}" if least == most else f"{least:,} to {most:,}"
    column = {"by_strength": "strength", "by_group": "group", "by_member": "member"}.get(part, "preferred")
    return str(row[column]).replace("_", " ")


def _count(name: str, found: Mapping[str, Any]) -> Count | None:
    """The counts of one split; None where the report has them in no known form."""
    units = [(unit, inner) for unit, inner in found.items() if isinstance(inner, Mapping) and "kept" in inner]
    if not units:
        return None
    unit, inner = units[0]
    where = "To learn from" if name == "train" else "Held out"
    causes = [(name.removeprefix(LEFT_OUT), int(inner[name])) for name in sorted(inner) if name.startswith(LEFT_OUT)]
    causes += [(words, int(found[name])) for name, words in GROUPS_LEFT_OUT.items() if found.get(name)]
    shortened = int(inner.get("shortened", 0))
    words = f"{inner['kept']:,} of {inner['found']:,} {unit} of the {found.get('split', name)} split"
    return Count(where, words, causes, shortened)


def _scale_count(found: Mapping[str, int]) -> Count:
    """The counts of what a combination's scale was measured on."""
    causes = [("too long, or empty", found["excluded"])] if found["excluded"] else []
    return Count(
        "For the scale", f"{found['measured']:,} of {found['completions']:,} completions of all splits", causes
    )


def _is_end(name: str, metrics: Mapping[str, Any]) -> bool:
    """Whether a figure is the end of another's interval."""
    return any(name.endswith(end) and name.removesuffix(end) in metrics for end in ("_low", "_high"))

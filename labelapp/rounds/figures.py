"""What a round's parts say about themselves, read from what they stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labelapp.models import Snapshot

LEFT_OUT = "left out: "
"""How a report of the trainer names the causes among its counts."""


@dataclass(frozen=True)
class Accuracy:
    """How often a reward model agrees with held-out labels, as shares of 1, beside a baseline that costs nothing.

    `low` and `high` bound the 95 % interval, clustered by prompt; `longer_wins` prefers the longer completion.
    """

    value: float
    low: float
    high: float
    longer_wins: float | None
    pairs: int
    prompts: int

    def __str__(self) -> str:
        longer = "" if self.longer_wins is None else f"longer wins {percent(self.longer_wins)}, "
        return (
            f"{percent(self.value)} of {self.pairs:,} held-out pairs right "
            f"(95 %: {percent(self.low)} to {percent(self.high)}); {longer}random 50 %"
        )


def reward_accuracy(report: Mapping[str, Any]) -> Accuracy | None:
    """The accuracy that a reward run reports; None where nothing was held out, or there is no report yet."""
    metrics = report.get("metrics", {})
    if "accuracy" not in metrics or "accuracy_low" not in metrics:
        return None
    return Accuracy(
        value=metrics["accuracy"],
        low=metrics["accuracy_low"],
        high=metrics["accuracy_high"],
        longer_wins=metrics.get("longer_wins"),
        pairs=int(metrics.get("comparisons", 0)),
        prompts=int(metrics.get("prompts", 0)),
    )


def percent(share: float, digits: int = 1) -> str:
    """A share of 1 in words."""
    return f"{100 * share:.{digits}f} %"


def comparisons_of(snapshot: Snapshot) -> int:
    """How many labels it holds that compare completions."""
    return int(snapshot.counts.get("comparisons", 0))


def snapshot_in_words(snapshot: Snapshot) -> str:
    """What it holds, in a line."""
    counts = snapshot.counts
    edges = counts.get("edges", {})
    pairs = sum(edges.values())
    ties = f", {percent(edges.get('ties', 0) / pairs)} of them ties" if pairs else ""
    left_out = sum(counts.get("left_out", {}).values())
    held = f"{counts.get('prompts', 0):,} prompts, {pairs:,} pairs{ties}, as {snapshot.digest[:8]}"
    return f"{held}; {left_out:,} labels left out" if left_out else held


def material_in_words(report: Mapping[str, Any]) -> str:
    """What a training could use of its snapshot, and in further lines what it could not, and why.

    Empty where its report does not say.
    """
    used, unused = [], []
    for name, words in (("train", "to learn from"), ("held_out", "held out")):
        counts = report.get("counts", {}).get(name)
        if counts and "comparisons" in counts:
            kept, found = counts["comparisons"]["kept"], counts["comparisons"]["found"]
            used.append(f"{kept:,} of {found:,} comparisons {words} ({counts['groups']:,} groups)")
            unused += [f"{words}: {remark}" for remark in _remarks(counts)]
    return "\n".join([", ".join(used), *unused])


def _remarks(counts: Mapping[str, Any]) -> list[str]:
    """Why comparisons were left out, which groups say nothing, and which prompts were shortened."""
    comparisons = counts["comparisons"]
    causes = sorted(name for name in comparisons if name.startswith(LEFT_OUT))
    remarks = [f"{comparisons[name]:,} left out, {name.removeprefix(LEFT_OUT)}" for name in causes]
    if tied := counts.get("groups_all_tied"):
        remarks.append(f"{tied:,} more {'groups are' if tied > 1 else 'group is'} all ties")
    if without := counts.get("groups_left_out"):
        remarks.append(
            f"{without:,} more {'groups have' if without > 1 else 'group has'} nothing that the loss learns from"
        )
    if shortened := comparisons.get("shortened"):
        remarks.append(f"{shortened:,} {'prompts' if shortened > 1 else 'prompt'} lost the oldest turns, to fit")
    return remarks

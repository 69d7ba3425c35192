"""Metrics: sums and counts of every prompt, gathered and divided once; intervals that know of prompts.

Comparisons of one prompt are not independent, so every interval is over prompts (clusters), not over comparisons.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from trainer.batches import PREFERRED, Edge

# A coin is right half of the time, whatever it is asked.
RANDOM = 0.5


class Count(NamedTuple):
    """Of one prompt's comparisons, the weight of those that were judged right, the weight of all, and their number."""

    right: float
    weight: float
    comparisons: int


@dataclass(frozen=True)
class Proportion:
    """A share with its interval. With no comparisons `value` is NaN and the interval is 0 to 1."""

    value: float
    low: float
    high: float
    prompts: int
    comparisons: int


@dataclass(frozen=True)
class Difference:
    """How much greater one share is than another on the same comparisons, with its interval."""

    value: float
    low: float
    high: float


def pairs_count(scores: Sequence[float], edges: Iterable[Edge]) -> Count:
    """How many comparisons of a prompt its completions' scores get right.

    Ties said by people are left out. Equal scores count one half. Each comparison counts by its weight.
    """
    right = weight = 0.0
    comparisons = 0
    for edge in edges:
        if edge.outcome == PREFERRED:
            difference = scores[edge.i] - scores[edge.j]
            right += edge.weight * (0.5 if difference == 0 else float(difference > 0))
            weight += edge.weight
            comparisons += 1
    return Count(right, weight, comparisons)


def pair_accuracy(counts: Iterable[Count], *, confidence: float = 0.95) -> Proportion:
    """The share of comparisons that are right, Σ right / Σ weight, with an interval clustered by prompt.

    The variance is that of a ratio of sums over prompts (Cochran 1977, chapter 6, without the correction for
    finite populations); the interval is Wilson's for the number of independent comparisons that has this variance,
    as Dean and Pagano (2015) advise for clustered shares. It stays inside 0 to 1, and is as wide as for one
    comparison per prompt where all prompts agree.
    """
    counted = [count for count in counts if count.weight > 0]
    if not counted:
        return Proportion(math.nan, 0.0, 1.0, 0, 0)
    right, weight = _columns(counted)
    value = right.sum() / weight.sum()
    comparisons = sum(count.comparisons for count in counted)
    effective = _independent(value, _variance(right - value * weight, weight), len(counted), comparisons)
    low, high = _wilson(value, effective, confidence)
    return Proportion(float(value), low, high, len(counted), comparisons)


def accuracy_gain(counts: Iterable[Count], others: Iterable[Count], *, confidence: float = 0.95) -> Difference:
    """By how much the first judge is right more often than the second, of the same prompts in the same order.

    Σ (right − right') / Σ weight, with a normal interval clustered by prompt. NaN, and −1 to 1, with no comparisons.
    """
    pairs = [(count, other) for count, other in zip(counts, others, strict=True) if count.weight > 0]
    if not pairs:
        return Difference(math.nan, -1.0, 1.0)
    right, weight = _columns([count for count, _ in pairs])
    gain = right - np.array([other.right for _, other in pairs])
    value = gain.sum() / weight.sum()
    half = _quantile(confidence) * math.sqrt(_variance(gain - value * weight, weight)) if len(pairs) > 1 else math.inf
    return Difference(float(value), float(max(-1.0, value - half)), float(min(1.0, value + half)))


def by_prompt(prompts: Iterable[int], counts: Iterable[Count]) -> list[Count]:
    """Counts of groups added up by prompt, in order of first appearance."""
    sums: dict[int, Count] = {}
    for prompt, count in zip(prompts, counts, strict=True):
        old = sums.get(prompt, Count(0.0, 0.0, 0))
        sums[prompt] = Count(old.right + count.right, old.weight + count.weight, old.comparisons + count.comparisons)
    return list(sums.values())


def accuracy_report(
    prompts: Sequence[int],
    scores: Sequence[Sequence[float]],
    lengths: Sequence[Sequence[int]],
    edges: Sequence[Sequence[Edge]],
) -> dict[str, float]:
    """Accuracy on held-out prompts beside its baselines, flat, for a report; NaN values are left out.

    One entry of each argument per group: its prompt, the scores and the lengths in tokens of its completions, and
    what was said about them. `longer_wins` prefers the longer completion; `random` is a coin.
    """
    judged = by_prompt(prompts, map(pairs_count, scores, edges))
    longer = by_prompt(prompts, map(pairs_count, lengths, edges))
    accuracy, baseline, gain = pair_accuracy(judged), pair_accuracy(longer), accuracy_gain(judged, longer)
    ties = sum(edge.outcome != PREFERRED for said in edges for edge in said)
    values = {
        "accuracy": accuracy.value,
        "accuracy_low": accuracy.low,
        "accuracy_high": accuracy.high,
        "longer_wins": baseline.value,
        "longer_wins_low": baseline.low,
        "longer_wins_high": baseline.high,
        "over_longer_wins": gain.value,
        "over_longer_wins_low": gain.low,
        "over_longer_wins_high": gain.high,
        "random": RANDOM,
        "prompts": accuracy.prompts,
        "comparisons": accuracy.comparisons,
        "ties_left_out": ties,
    }
    return {name: value for name, value in values.items() if not math.isnan(value)}


def _columns(counts: Sequence[Count]) -> tuple[np.ndarray, np.ndarray]:
    table = np.array([(count.right, count.weight) for count in counts], dtype=np.float64)
    return table[:, 0], table[:, 1]


def _variance(residuals: np.ndarray, weight: np.ndarray) -> float:
    """Of a ratio of sums over prompts, from each prompt's residual; 0 for a single prompt."""
    size = len(residuals)
    if size < 2:
        return 0.0
    return float(size / (size - 1) * (residuals**2).sum() / weight.sum() ** 2)


def _independent(value: float, variance: float, prompts: int, comparisons: int) -> float:
    """How many independent comparisons would be as uncertain; as many as prompts where that cannot be told."""
    spread = value * (1 - value)
    if spread <= 0 or variance <= 0:
        return float(prompts)
    return min(spread / variance, float(comparisons))


def _wilson(value: float, size: float, confidence: float) -> tuple[float, float]:
    z = _quantile(confidence)
    middle = (value + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z / (1 + z**2 / size) * math.sqrt(value * (1 - value) / size + z**2 / (4 * size**2))
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))


def _quantile(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)

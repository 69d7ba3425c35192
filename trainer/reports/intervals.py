"""Shares, differences of shares and means with intervals that know of prompts.

What was said of one prompt is not independent, so every interval is over prompts (clusters). Sums are gathered for
each prompt and divided once. Every function takes columns of equal length: what was measured, its weight where it has
one, and the number of the prompt that it belongs to.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Proportion:
    """A share with its interval. With no comparisons `value` is NaN and the interval is 0 to 1."""

    value: float
    low: float
    high: float
    prompts: int
    comparisons: int


@dataclass(frozen=True)
class Estimate:
    """A number with its interval. With nothing to measure `value` is NaN and the interval is all that is possible."""

    value: float
    low: float
    high: float


def proportion(right: Floats, weight: Floats, prompts: Numbers, *, confidence: float = 0.95) -> Proportion:
    """Σ weight·right / Σ weight over comparisons (E,), `right` being 0 to 1, with an interval clustered by prompt.

    The variance is that of a ratio of sums over prompts (Cochran 1977, chapter 6, without the correction for
    finite populations); the interval is Wilson's for the number of independent comparisons that has this variance,
    as Dean and Pagano (2015) advise for clustered shares. It stays inside 0 to 1, and is as wide as for one
    comparison per prompt where all prompts agree.
    """
    if not len(right):
        return Proportion(math.nan, 0.0, 1.0, 0, 0)
    above, below = _by_prompt(prompts, weight * right, weight)
    value = float(above.sum() / below.sum())
    effective = _independent(value, _variance(above - value * below, below), len(below), len(right))
    low, high = _wilson(value, effective, confidence)
    return Proportion(value, low, high, len(below), len(right))


def gain(right: Floats, others: Floats, weight: Floats, prompts: Numbers, *, confidence: float = 0.95) -> Estimate:
    """By how much one judge is right more often than another on the same comparisons (E,).

    Σ weight·(right − others) / Σ weight, with a normal interval clustered by prompt, which ends at −1 and 1.
    """
    return _ratio(weight * (right - others), weight, prompts, (-1.0, 1.0), confidence)


def mean(values: Floats, prompts: Numbers, *, ends: tuple[float, float], confidence: float = 0.95) -> Estimate:
    """The mean of values (E,) with a normal interval clustered by prompt; `ends` are the least and most possible."""
    return _ratio(values, np.ones(len(values)), prompts, ends, confidence)


def _ratio(above: Floats, below: Floats, prompts: Numbers, ends: tuple[float, float], confidence: float) -> Estimate:
    if not len(above):
        return Estimate(math.nan, *ends)
    above, below = _by_prompt(prompts, above, below)
    value = float(above.sum() / below.sum())
    if len(below) < 2:
        return Estimate(value, *ends)
    half = _quantile(confidence) * math.sqrt(_variance(above - value * below, below))
    return Estimate(value, max(ends[0], value - half), min(ends[1], value + half))


def _by_prompt(prompts: Numbers, *columns: Floats) -> list[Floats]:
    """Each column's sums over the prompts, in order of the prompts' numbers."""
    place = np.unique(prompts, return_inverse=True)[1]
    return [np.asarray(np.bincount(place, column), dtype=np.float64) for column in columns]


def _variance(residuals: Floats, weight: Floats) -> float:
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
    half = z / (1 + z**2 / size) * math.sqrt(max(0.0, value * (1 - value)) / size + z**2 / (4 * size**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def _quantile(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)

"""How well scores of completions agree with what people said of them: the figures of a report.

Scores are those of a reward model, or the implicit rewards of a policy, β·(log π − log π_ref). Every function takes
one entry for each group in each argument: its prompt, the scores of its completions, their lengths in tokens, and
what was said about them. Sums and counts of every prompt are gathered and divided once, so that no figure depends on
how the groups were put into batches; groups of one prompt are one cluster in every interval.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.groups import PREFERRED, Edge, Group
from trainer.reports.intervals import Estimate, Floats, Numbers, Proportion, gain, mean, proportion

# A coin is right half of the time, whatever it is asked.
RANDOM = 0.5
STRENGTHS = (1, 2, 3, 4)
LENGTH_STEPS = (0, 1, 8, 32, 128)
"""Where the bins of differences in tokens begin."""
MATCHED = 0.1
"""Lengths are alike when they differ by less than this share of the longer one."""
CALIBRATION_BINS = 10

# What a row of the breakdown is about, and which comparisons are in it.
_Part = tuple[dict[str, Any], NDArray[np.bool_]]


@dataclass(frozen=True)
class Pairs:
    """Comparisons of two completions, E of them, as columns.

    prompts (E,) the prompt's number; tied (E,) whether people called both about equal; margin (E,) float64, how much
    greater the score of the preferred one is (of `i`, where tied); longer (E,) int64, how many tokens longer it is,
    longest (E,) tokens of the longer of both; listed (E,) int64, 1 where the preferred one comes first in its group
    and −1 where the other does; weight (E,); strength (E,) 1 to 4, or 0 where it was not asked; annotators (E,) their
    group.
    """

    prompts: Numbers
    tied: NDArray[np.bool_]
    margin: Floats
    longer: Numbers
    longest: Numbers
    listed: Numbers
    weight: Floats
    strength: Numbers
    annotators: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.prompts)

    def where(self, chosen: NDArray[np.bool_]) -> "Pairs":
        """Some of them."""
        return Pairs(*(column[chosen] for column in vars(self).values()))

    def share(self, values: NDArray[Any]) -> Proportion:
        """How often a judge is right whose value (E,) is positive where it prefers the preferred one."""
        return proportion(_right(values), self.weight, self.prompts)

    @property
    def accuracy(self) -> Proportion:
        """How often the scores are right. Equal scores count one half."""
        return self.share(self.margin)


def accuracy_report(
    prompts: Sequence[int],
    scores: Sequence[Sequence[float]],
    lengths: Sequence[Sequence[int]],
    edges: Sequence[Sequence[Edge]],
) -> dict[str, float]:
    """The headline figures, flat, with intervals as `_low` and `_high`; what nothing can be said about is left out.

    accuracy: share of comparisons in which the preferred completion has the greater score, by weight; what people
        called equal is left out (`ties_left_out` counts it), equal scores count one half.
    accuracy_ties_half: the same, where what people called equal counts one half. prompt_accuracy: the mean over
        prompts of each prompt's accuracy.
    longer_wins, first_wins: the accuracy of preferring the longer one, and the one listed first. random: a coin.
    over_longer_wins: accuracy − longer_wins. length_matched: the accuracy where lengths differ by less than 10 %.
    best_of_k: how often the greatest score is that of a completion ranked first, over groups; best_of_k_random: what
        a random pick would reach. Completions that share the greatest score share the pick.
    kendall_tau: mean over prompts of Kendall's τ_b between the scores and what people said; see `_tau`.
    log_loss: mean of −ln σ(difference). ece: expected calibration error of σ(|difference|); see `_calibration`.
    """
    said = _pairs(prompts, scores, lengths, edges)
    strict = said.where(~said.tied)
    values = {"random": RANDOM, "prompts": strict.accuracy.prompts, "comparisons": len(strict)}
    values["ties_left_out"] = len(said) - len(strict)
    if len(strict):
        values |= _shares(said, strict) | _best_of_k(prompts, scores, edges) | _named("kendall_tau", _tau(said))
        values["log_loss"] = _log_loss(strict)
        values["ece"] = _ece(strict)
    return values


def accuracy_breakdown(
    prompts: Sequence[int],
    scores: Sequence[Sequence[float]],
    lengths: Sequence[Sequence[int]],
    edges: Sequence[Sequence[Edge]],
) -> dict[str, list[dict[str, Any]]]:
    """Where the accuracy comes from: lists of rows {…, accuracy, low, high, comparisons, prompts}, for a report.

    by_strength {strength}: as recorded, 1 to 4. by_group {group}: the group of annotators. by_length {least, most}:
    by the absolute difference in tokens (`most` is None in the last bin). by_preferred_length {preferred}: where the
    longer, the shorter, or none of both was preferred. calibration {predicted, least, most}: by absolute difference of
    the scores, with the mean of what σ says of it. What was not recorded is in no row, and no row is empty.
    """
    said = _pairs(prompts, scores, lengths, edges)
    strict = said.where(~said.tied)
    apart, groups = np.abs(strict.longer), np.unique(strict.annotators)
    ends = [*(step - 1 for step in LENGTH_STEPS[1:]), None]
    bins = [(least, most, apart >= least) for least, most in zip(LENGTH_STEPS, ends, strict=True)]
    words = (("longer", 1), ("shorter", -1), ("as long", 0))
    parts: dict[str, list[_Part]] = {
        "by_strength": [({"strength": grade}, strict.strength == grade) for grade in STRENGTHS],
        "by_group": [({"group": str(name)}, strict.annotators == name) for name in groups if name],
        "by_length": [
            ({"least": least, "most": most}, beyond if most is None else beyond & (apart <= most))
            for least, most, beyond in bins
        ],
        "by_preferred_length": [({"preferred": word}, np.sign(strict.longer) == sign) for word, sign in words],
    }
    return {name: _rows(strict, part) for name, part in parts.items()} | {"calibration": list(_calibration(strict))}


def _pairs(
    prompts: Sequence[int],
    scores: Sequence[Sequence[float]],
    lengths: Sequence[Sequence[int]],
    edges: Sequence[Sequence[Edge]],
) -> Pairs:
    rows = [
        (
            prompt,
            edge.outcome != PREFERRED,
            score[edge.i] - score[edge.j],
            length[edge.i] - length[edge.j],
            max(length[edge.i], length[edge.j]),
            1 if edge.i < edge.j else -1,
            edge.weight,
            edge.strength or 0,
            edge.annotators,
        )
        for prompt, score, length, said in zip(prompts, scores, lengths, edges, strict=True)
        for edge in said
        if edge.weight > 0
    ]
    columns = list(zip(*rows, strict=True)) or [()] * 9
    kinds = (np.int64, np.bool_, np.float64, np.int64, np.int64, np.int64, np.float64, np.int64, np.str_)
    return Pairs(*(np.array(column, dtype=kind) for column, kind in zip(columns, kinds, strict=True)))


def _right(values: NDArray[Any]) -> Floats:
    """(E,) 1 where positive, 0 where negative, ½ where zero. A value that is no number stays none."""
    return np.asarray(0.5 * (1.0 + np.sign(values.astype(np.float64))))


def _shares(said: Pairs, strict: Pairs) -> dict[str, float]:
    """The accuracies of the scores and of the baselines."""
    right = _right(strict.margin)
    values = _named("accuracy", strict.accuracy)
    values["accuracy_ties_half"] = proportion(
        np.where(said.tied, 0.5, _right(said.margin)), said.weight, said.prompts
    ).value
    values["prompt_accuracy"] = _prompt_accuracy(strict)
    values |= _named("longer_wins", strict.share(strict.longer)) | _named("first_wins", strict.share(strict.listed))
    values |= _named("over_longer_wins", gain(right, _right(strict.longer), strict.weight, strict.prompts))
    matched = strict.where(np.abs(strict.longer) < MATCHED * strict.longest)
    values["length_matched_comparisons"] = len(matched)
    return values | (_named("length_matched", matched.accuracy) if len(matched) else {})


def _named(name: str, found: Proportion | Estimate) -> dict[str, float]:
    """A figure with its interval, flat."""
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _prompt_accuracy(pairs: Pairs) -> float:
    place = np.unique(pairs.prompts, return_inverse=True)[1]
    right, weight = np.bincount(place, pairs.weight * _right(pairs.margin)), np.bincount(place, pairs.weight)
    return float((right / weight).mean())


def _log_loss(pairs: Pairs) -> float:
    with np.errstate(invalid="ignore"):  # damaged scores show in the figure
        losses = np.logaddexp(0.0, -pairs.margin)
    return float((pairs.weight * losses).sum() / pairs.weight.sum())


def _best_of_k(
    prompts: Sequence[int], scores: Sequence[Sequence[float]], edges: Sequence[Sequence[Edge]]
) -> dict[str, float]:
    """How often the best score is that of a completion ranked first, over groups in which some are and some are not."""
    rows = [
        (prompt, *picked)
        for prompt, score, said in zip(prompts, scores, edges, strict=True)
        if (picked := _pick(score, said)) is not None
    ]
    if not rows:
        return {}
    where, hits, chances = (np.array(column) for column in zip(*rows, strict=True))
    found = proportion(hits, np.ones(len(hits)), where)
    return _named("best_of_k", found) | {"best_of_k_random": float(chances.mean()), "best_of_k_groups": len(hits)}


def _pick(scores: Sequence[float], edges: Sequence[Edge]) -> tuple[float, float] | None:
    """How much of the best score's pick is ranked first, and the share of the compared completions that are.

    None where nobody is first. Ranked first are those with the greatest weight of wins less losses.
    """
    compared = sorted({number for edge in edges if edge.weight > 0 for number in (edge.i, edge.j)})
    first = Group(0, [], [[] for _ in scores], list(edges), 1.0).first_shares()
    if not any(first):
        return None
    greatest = max(scores[number] for number in compared)
    picked = [first[number] > 0 for number in compared if scores[number] == greatest]
    hit = sum(picked) / len(picked) if picked else math.nan
    return hit, sum(first[number] > 0 for number in compared) / len(compared)


def _tau(pairs: Pairs) -> Estimate:
    """The mean over prompts of Kendall's τ_b = Σ w·x·y / √(Σ w·x² · Σ w·y²) over the pairs that were compared.

    x is 1 where a pair was preferred and 0 where it was called equal, y the sign of the difference of the scores. For
    one full ranking of a prompt this is Kendall's τ_b (1945); for several annotators it is his general coefficient
    over all that they said. A prompt of which nothing is preferred has none; one whose scores are all equal has 0.
    """
    prompts, place = np.unique(pairs.prompts, return_inverse=True)
    x, y = (~pairs.tied).astype(np.float64), np.sign(pairs.margin)
    agree, said, scored = (np.bincount(place, pairs.weight * part) for part in (x * y, x * x, y * y))
    ordered = said > 0
    below = np.sqrt(said[ordered] * scored[ordered])
    taus = agree[ordered] / np.where(below == 0, 1.0, below)
    return mean(taus, prompts[ordered], ends=(-1.0, 1.0))


def _calibration(pairs: Pairs) -> Iterator[dict[str, Any]]:
    """Rows of at most ten bins with about equally many comparisons: how often σ(|difference|) should be right, and is.

    The prediction is that of the completion with the greater score, so that it does not depend on how a pair is
    written: between ½ and 1. Equal differences are in the same bin.
    """
    sizes, bins = np.abs(pairs.margin), _bins(pairs)
    for number in np.unique(bins):
        part, inside = pairs.where(bins == number), sizes[bins == number]
        predicted = float((part.weight / (1 + np.exp(-inside))).sum() / part.weight.sum())
        row = {"predicted": predicted, "least": float(inside.min()), "most": float(inside.max())}
        yield row | _row(part.accuracy)


def _bins(pairs: Pairs) -> Numbers:
    """(E,) the number of each comparison's bin, by where its absolute difference stands among all."""
    sizes = np.abs(pairs.margin)
    rank = np.searchsorted(np.sort(sizes), sizes)
    return np.asarray(rank * CALIBRATION_BINS // max(1, len(pairs)), dtype=np.int64)


def _ece(pairs: Pairs) -> float:
    """Σ_bins |Σ weight·(right − predicted)| / Σ weight (Naeini et al. 2015, in bins of equal counts)."""
    predicted = 1 / (1 + np.exp(-np.abs(pairs.margin)))
    off = np.bincount(_bins(pairs), pairs.weight * (_right(pairs.margin) - predicted))
    return float(np.abs(off).sum() / pairs.weight.sum())


def _rows(pairs: Pairs, parts: Iterable[_Part]) -> list[dict[str, Any]]:
    return [label | _row(pairs.where(chosen).accuracy) for label, chosen in parts if chosen.any()]


def _row(found: Proportion) -> dict[str, Any]:
    interval = {"accuracy": found.value, "low": found.low, "high": found.high}
    return interval | {"comparisons": found.comparisons, "prompts": found.prompts}

"""Accuracy and its intervals, held to numbers worked by hand and to a bootstrap over prompts."""

import math
import random

import numpy as np
import pytest

from trainer.batches import Edge
from trainer.metrics import Count, accuracy_gain, accuracy_report, by_prompt, pair_accuracy, pairs_count


def better(i: int, j: int, weight: float = 1.0) -> Edge:
    return Edge(i, j, ">", weight)


def random_counts(prompts: int, seed: int = 0) -> list[Count]:
    """Prompts that are hard or easy, with 1 to 6 comparisons each."""
    dice = random.Random(seed)
    counts = []
    for _ in range(prompts):
        easy, comparisons = dice.betavariate(2, 1), dice.randint(1, 6)
        right = sum(dice.random() < easy for _ in range(comparisons))
        counts.append(Count(float(right), float(comparisons), comparisons))
    return counts


def test_pairs_are_counted_by_hand() -> None:
    """Right, wrong, equal scores (½), and a tie that is left out."""
    edges = [better(0, 1), better(2, 0), better(1, 2, weight=2.0), Edge(0, 2, "=", 5.0)]
    assert pairs_count([3.0, 1.0, 1.0], edges) == Count(right=1 + 0 + 2 * 0.5, weight=4.0, comparisons=3)


def test_accuracy_divides_once() -> None:
    """3 of 4 and 0 of 1 are 3 of 5, not the mean of 75 % and 0 %."""
    accuracy = pair_accuracy([Count(3, 4, 4), Count(0, 1, 1)])
    assert accuracy.value == pytest.approx(0.6)
    assert (accuracy.prompts, accuracy.comparisons) == (2, 5)


def test_the_interval_by_hand_where_each_prompt_has_one_comparison() -> None:
    """7 of 10: linearised variance 0.7·0.3/9, so 9 independent comparisons; Wilson's interval for 0.7 of 9."""
    accuracy = pair_accuracy([Count(1, 1, 1)] * 7 + [Count(0, 1, 1)] * 3)
    z, n, p = 1.959964, 9, 0.7
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    assert (accuracy.low, accuracy.high) == pytest.approx((middle - half, middle + half), abs=1e-6)


def test_the_interval_agrees_with_a_bootstrap_over_prompts() -> None:
    counts = random_counts(400)
    table = np.array([(count.right, count.weight) for count in counts])
    dice = np.random.default_rng(0)
    drawn = [table[dice.integers(0, 400, 400)].sum(0) for _ in range(4000)]
    low, high = np.quantile([right / weight for right, weight in drawn], [0.025, 0.975])
    accuracy = pair_accuracy(counts)
    assert accuracy.low == pytest.approx(low, abs=0.006)
    assert accuracy.high == pytest.approx(high, abs=0.006)


def test_copies_of_a_comparison_do_not_narrow_the_interval() -> None:
    """Ten comparisons of a prompt that all agree say as much as one."""
    dice = random.Random(1)
    rights = [dice.random() < 0.7 for _ in range(60)]
    once = pair_accuracy([Count(float(right), 1, 1) for right in rights])
    tenfold = pair_accuracy([Count(10.0 * right, 10, 10) for right in rights])
    assert (tenfold.low, tenfold.high) == pytest.approx((once.low, once.high))


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Twenty prompts, whose comparisons hang together: within 91 to 98 % of 600 draws."""
    covered = 0
    for seed in range(600):
        accuracy = pair_accuracy(random_counts(20, seed))
        covered += accuracy.low <= 2 / 3 <= accuracy.high
    assert 0.91 <= covered / 600 <= 0.98


@pytest.mark.parametrize("right", [0, 5])
def test_the_interval_has_a_width_where_all_prompts_agree(right: int) -> None:
    accuracy = pair_accuracy([Count(right, 5, 5)] * 8)
    assert accuracy.value == right / 5
    assert 0.2 < accuracy.high - accuracy.low < 0.5
    assert 0 <= accuracy.low <= accuracy.value <= accuracy.high <= 1


def test_one_prompt_gives_a_wide_interval() -> None:
    accuracy = pair_accuracy([Count(3, 6, 6)])
    assert accuracy.high - accuracy.low > 0.7


def test_nothing_to_compare_gives_no_value() -> None:
    accuracy = pair_accuracy([Count(0, 0, 0)])
    assert math.isnan(accuracy.value)
    assert (accuracy.low, accuracy.high, accuracy.prompts) == (0, 1, 0)
    assert math.isnan(accuracy_gain([], []).value)


def test_a_gain_is_measured_on_the_same_prompts() -> None:
    """One judge is right on one comparison more of each prompt: a gain of exactly ½, with no doubt about it."""
    counts, others = [Count(2, 2, 2), Count(1, 2, 2)] * 5, [Count(1, 2, 2), Count(0, 2, 2)] * 5
    gain = accuracy_gain(counts, others)
    assert (gain.value, gain.low, gain.high) == pytest.approx((0.5, 0.5, 0.5))


def test_a_gain_of_nothing_has_zero_in_its_interval() -> None:
    counts, others = random_counts(100, 3), random_counts(100, 4)
    others = [other._replace(right=min(other.right, count.weight)) for count, other in zip(counts, others, strict=True)]
    assert accuracy_gain(counts, counts).value == 0
    gain = accuracy_gain(counts, others)
    assert gain.low < gain.value < gain.high


def test_groups_of_one_prompt_are_one_cluster() -> None:
    counts = by_prompt([7, 8, 7], [Count(1, 2, 2), Count(1, 1, 1), Count(3, 3, 3)])
    assert counts == [Count(4, 5, 5), Count(1, 1, 1)]


def test_a_report_shows_accuracy_beside_its_baselines() -> None:
    """Scores get both right; the longer one wins once, and equal lengths count one half."""
    report = accuracy_report(
        prompts=[1, 2],
        scores=[[2.0, 1.0, 0.0], [0.0, 1.0]],
        lengths=[[9, 5, 5], [4, 4]],
        edges=[[better(0, 1), Edge(1, 2, "=", 1.0)], [better(1, 0)]],
    )
    assert report["accuracy"] == 1
    assert report["longer_wins"] == 0.75
    assert report["over_longer_wins"] == 0.25
    assert report["random"] == 0.5
    assert (report["prompts"], report["comparisons"], report["ties_left_out"]) == (2, 2, 1)
    assert report["accuracy_low"] < 1 <= report["accuracy_high"]


def test_a_report_of_nothing_has_no_accuracy() -> None:
    report = accuracy_report([1], [[0.0, 1.0]], [[1, 2]], [[Edge(0, 1, "=", 1.0)]])
    assert "accuracy" not in report
    assert report["comparisons"] == 0
    assert all(math.isfinite(value) for value in report.values())

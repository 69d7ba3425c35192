"""Shares, gains and means with their intervals, held to numbers worked by hand and to a bootstrap over prompts."""

import math
import random

import numpy as np
import pytest

from trainer.reports.intervals import Floats, Numbers, Proportion, gain, mean, proportion

Z = 1.959964


def judged(*prompts: tuple[int, int]) -> tuple[Floats, Floats, Numbers]:
    """Columns for prompts of which so many of so many comparisons are right."""
    right = [float(number < good) for good, size in prompts for number in range(size)]
    places = [place for place, (_, size) in enumerate(prompts) for _ in range(size)]
    return np.array(right), np.ones(len(right)), np.array(places, dtype=np.int64)


def random_prompts(prompts: int, seed: int = 0) -> list[tuple[int, int]]:
    """Prompts that are hard or easy, with 1 to 6 comparisons each; two of three are right in the long run."""
    dice = random.Random(seed)
    found = []
    for _ in range(prompts):
        easy, size = dice.betavariate(2, 1), dice.randint(1, 6)
        found.append((sum(dice.random() < easy for _ in range(size)), size))
    return found


def share(*prompts: tuple[int, int]) -> Proportion:
    return proportion(*judged(*prompts))


def test_a_share_divides_once() -> None:
    """3 of 4 and 0 of 1 are 3 of 5, not the mean of 75 % and 0 %."""
    found = share((3, 4), (0, 1))
    assert found.value == pytest.approx(0.6)
    assert (found.prompts, found.comparisons) == (2, 5)


def test_comparisons_count_by_weight() -> None:
    found = proportion(np.array([1.0, 0.5, 0.0]), np.array([2.0, 1.0, 0.5]), np.array([7, 7, 9]))
    assert found.value == pytest.approx(2.5 / 3.5)
    assert (found.prompts, found.comparisons) == (2, 3)


def test_the_interval_by_hand_where_each_prompt_has_one_comparison() -> None:
    """7 of 10: linearised variance 0.7·0.3/9, so 9 independent comparisons; Wilson's interval for 0.7 of 9."""
    found = share(*[(1, 1)] * 7, *[(0, 1)] * 3)
    n, p = 9, 0.7
    middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
    assert (found.low, found.high) == pytest.approx((middle - half, middle + half), abs=1e-6)


def test_the_interval_agrees_with_a_bootstrap_over_prompts() -> None:
    prompts = random_prompts(400)
    table = np.array(prompts, dtype=float)
    dice = np.random.default_rng(0)
    drawn = [table[dice.integers(0, 400, 400)].sum(0) for _ in range(4000)]
    low, high = np.quantile([right / size for right, size in drawn], [0.025, 0.975])
    found = share(*prompts)
    assert found.low == pytest.approx(low, abs=0.006)
    assert found.high == pytest.approx(high, abs=0.006)


def test_copies_of_a_comparison_do_not_narrow_the_interval() -> None:
    """Ten comparisons of a prompt that all agree say as much as one."""
    dice = random.Random(1)
    rights = [int(dice.random() < 0.7) for _ in range(60)]
    once, tenfold = share(*((right, 1) for right in rights)), share(*((10 * right, 10) for right in rights))
    assert (tenfold.low, tenfold.high) == pytest.approx((once.low, once.high))


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Twenty prompts, whose comparisons hang together: within 91 to 98 % of 600 draws."""
    found = [share(*random_prompts(20, seed)) for seed in range(600)]
    assert 0.91 <= sum(each.low <= 2 / 3 <= each.high for each in found) / 600 <= 0.98


@pytest.mark.parametrize("right", [0, 5])
def test_the_interval_has_a_width_where_all_prompts_agree(right: int) -> None:
    found = share(*[(right, 5)] * 8)
    assert found.value == right / 5
    assert 0.2 < found.high - found.low < 0.5
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_one_prompt_gives_a_wide_interval() -> None:
    found = share((3, 6))
    assert found.high - found.low > 0.7


def test_nothing_to_compare_gives_no_value() -> None:
    nothing = judged()
    found = proportion(*nothing)
    assert math.isnan(found.value)
    assert (found.low, found.high, found.prompts, found.comparisons) == (0, 1, 0, 0)
    other = gain(nothing[0], *nothing)
    assert math.isnan(other.value)
    assert (other.low, other.high) == (-1, 1)


def test_a_gain_is_measured_on_the_same_comparisons() -> None:
    """One judge is right on one comparison more of each prompt: a gain of exactly ½, with no doubt about it."""
    right, weight, prompts = judged(*[(2, 2), (1, 2)] * 5)
    others = judged(*[(1, 2), (0, 2)] * 5)[0]
    found = gain(right, others, weight, prompts)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_a_gain_of_nothing_has_zero_in_its_interval() -> None:
    right, weight, prompts = judged(*random_prompts(100, 3))
    assert gain(right, right, weight, prompts).value == 0
    others = np.random.default_rng(0).permutation(right)
    found = gain(right, others, weight, prompts)
    assert found.low <= 0 <= found.high
    assert found.low < found.high


def test_a_mean_of_one_value_per_prompt_has_the_normal_interval() -> None:
    """0.2, 0.4, 0.9: mean ½, standard deviation √0.13, over √3."""
    found = mean(np.array([0.2, 0.4, 0.9]), np.array([3, 1, 2]), ends=(-1.0, 1.0))
    half = Z * math.sqrt(0.13 / 3)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5 - half, 0.5 + half), abs=1e-6)


def test_an_interval_of_a_mean_ends_where_the_values_do() -> None:
    found = mean(np.array([0.2, 1.0]), np.array([1, 2]), ends=(-1.0, 1.0))
    assert found.high == 1.0
    alone = mean(np.array([0.2, 1.0]), np.array([1, 1]), ends=(-1.0, 1.0))
    assert (alone.value, alone.low, alone.high) == pytest.approx((0.6, -1, 1))

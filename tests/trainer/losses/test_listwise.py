"""Losses on whole rankings, held to plain loops over probabilities and to numbers worked by hand."""

import math
from collections.abc import Callable
from itertools import permutations

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from tests.trainer.losses.cases import (
    LN2,
    NO_LISTS,
    edges_of,
    gradient,
    list_rows,
    lists_of,
    loop_list_mean,
    ones,
    part_of,
    random_case,
    softplus,
    turned,
    vector,
)
from trainer.data.batches import Lists
from trainer.losses import best_against_rest_loss, plackett_luce_loss, ranked_weights, ranking_loss, reward_loss

ListLoss = Callable[[Tensor, Lists], Tensor]
Ranked = list[tuple[float, int]]
"""Values and ranks of a ranking's completions."""

PAIR = lists_of(([0, 1], [0, 1], 1.0, 0))


def loop_plackett_luce(placed: Ranked) -> float:
    losses = []
    for value, rank in placed:
        rest = [other for other, below in placed if below > rank]
        if rest:
            losses.append(-math.log(math.exp(value) / (math.exp(value) + sum(map(math.exp, rest)))))
    return sum(losses) / len(losses) if losses else 0.0


def loop_best_against_rest(placed: Ranked) -> float:
    rest = sum(math.exp(other) for other, below in placed if below > 0)
    losses = [-math.log(math.exp(value) / (math.exp(value) + rest)) for value, rank in placed if rank == 0]
    return sum(losses) / len(losses)


def loop_ranking(placed: Ranked) -> float:
    total = 0.0
    for value, rank in placed:
        rest = [(other, below - rank) for other, below in placed if below > rank]
        if rest:
            own = math.exp(value * max(apart for _, apart in rest))
            total -= math.log(own / (own + sum(math.exp(other * apart) for other, apart in rest)))
    return total


LOSSES: dict[ListLoss, Callable[[Ranked], float]] = {
    plackett_luce_loss: loop_plackett_luce,
    best_against_rest_loss: loop_best_against_rest,
    ranking_loss: loop_ranking,
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("seed", range(15))
def test_list_losses_equal_loops(seed: int, loss: ListLoss) -> None:
    case = random_case(seed)
    values = case.values.tolist()
    losses = [LOSSES[loss]([(values[row], rank) for row, rank in placed]) for placed, _, _ in list_rows(case)]
    assert loss(case.values, case.lists).item() == pytest.approx(loop_list_mean(case, losses), rel=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("difference", [-3.0, 0.0, 1.0, 40.0])
def test_of_two_all_are_bradley_terry(difference: float, loss: ListLoss) -> None:
    values = vector(difference, 0.0)
    pair = reward_loss(values, edges_of((0, 1, ">", 1.0, 0)), ones(1))
    assert loss(values, PAIR).item() == pytest.approx(pair.item(), rel=1e-12)
    torch.testing.assert_close(gradient(loss(values, PAIR), values), gradient(pair, values))


def test_plackett_luce_of_three_by_hand() -> None:
    """Scores ln 3, ln 2, 0: first 3/6, then 2/3: (ln 2 + ln 3/2) / 2 = ln(3) / 2."""
    values = vector(math.log(3), math.log(2), 0.0)
    assert plackett_luce_loss(values, lists_of(([0, 1, 2], [0, 1, 2], 1.0, 0))).item() == pytest.approx(math.log(3) / 2)


def test_plackett_luce_of_a_tie_at_the_top_by_hand() -> None:
    """Scores ln 3, ln 2 tied above 0: 3/4 and 2/3, each against what is below: (ln 4/3 + ln 3/2) / 2 = ln(2) / 2."""
    values = vector(math.log(3), math.log(2), 0.0)
    assert plackett_luce_loss(values, lists_of(([0, 1, 2], [0, 0, 1], 1.0, 0))).item() == pytest.approx(LN2 / 2)


def test_plackett_luce_of_a_tie_at_the_bottom_by_hand() -> None:
    """One item has something below it: 3 of 3 + 2 + 1."""
    values = vector(math.log(3), math.log(2), 0.0)
    assert plackett_luce_loss(values, lists_of(([0, 1, 2], [0, 1, 1], 1.0, 0))).item() == pytest.approx(LN2)


def test_plackett_luce_chances_of_all_orders_add_up_to_1() -> None:
    values = vector(0.3, -1.0, 2.0, 0.5)
    chances = [
        math.exp(-3 * plackett_luce_loss(values, lists_of((list(order), [0, 1, 2, 3], 1.0, 0))).item())
        for order in permutations(range(4))
    ]
    assert sum(chances) == pytest.approx(1)


def test_best_against_rest_by_hand() -> None:
    """3 of 6, whatever the order of the rest; with two at the top, 3 of 4 and 2 of 3."""
    values = vector(math.log(3), math.log(2), 0.0)
    for ranks in ([0, 1, 2], [0, 2, 1], [0, 1, 1]):
        assert best_against_rest_loss(values, lists_of(([0, 1, 2], ranks, 1.0, 0))).item() == pytest.approx(LN2)
    shared = best_against_rest_loss(values, lists_of(([0, 1, 2], [0, 0, 1], 1.0, 0)))
    assert shared.item() == pytest.approx(LN2 / 2)


def test_pro_of_three_by_hand() -> None:
    """s = 1, 0, −1. k = 1: T = 2: −log(e² / (e² + e⁰ + e⁻²)) = log(1 + e⁻² + e⁻⁴); k = 2: log(1 + e⁻¹)."""
    loss = ranking_loss(vector(1.0, 0.0, -1.0), lists_of(([0, 1, 2], [0, 1, 2], 1.0, 0)))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2) + math.exp(-4)) + math.log(1 + math.exp(-1)))


def test_pro_leaves_equal_ranks_apart() -> None:
    """s = 1, 3 tied above 0, one rank apart: log(1 + e⁻¹) + log(1 + e⁻³)."""
    loss = ranking_loss(vector(1.0, 3.0, 0.0), lists_of(([0, 1, 2], [0, 0, 1], 1.0, 0)))
    assert loss.item() == pytest.approx(softplus(-1) + softplus(-3))


@pytest.mark.parametrize("loss", LOSSES)
def test_prompts_count_by_the_weights_of_their_rankings(loss: ListLoss) -> None:
    """Two rankings of the first prompt that contradict each other, one of the second; one of a single rank aside."""
    lists = lists_of(
        ([0, 1], [0, 1], 3.0, 0), ([0, 1], [1, 0], 1.0, 0), ([2, 3], [0, 1], 4.0, 1), ([4, 5], [0, 0], 9.0, 2)
    )
    found = loss(vector(1.0, 0.0, 2.0, 0.0, 7.0, 8.0), lists).item()
    assert found == pytest.approx((3 * softplus(-1) + 1 * softplus(1) + 4 * softplus(-2)) / 8)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    "lists",
    [
        NO_LISTS,
        lists_of(([0, 1, 2], [0, 0, 0], 1.0, 0)),
        lists_of(([0, 1], [0, 1], 0.0, 0)),
        lists_of(([2], [0], 1.0, 0)),
    ],
)
def test_no_order_gives_0_and_no_gradient(lists: Lists, loss: ListLoss) -> None:
    """No ranking, all tied, no weight, one completion alone."""
    values = vector(3.0, 1.0, 2.0)
    found = loss(values, lists)
    assert found.item() == 0
    assert gradient(found, values).tolist() == [0, 0, 0]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("seed", range(5))
def test_the_order_in_which_completions_stand_does_not_matter(seed: int, loss: ListLoss) -> None:
    case = random_case(seed)
    other = turned(case, seed)
    assert loss(other.values, other.lists).item() == pytest.approx(loss(case.values, case.lists).item(), rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_empty_places_take_no_gradient(loss: ListLoss) -> None:
    """Empty places of the short ranking look at completion 0, which is in no ranking."""
    values = vector(9.0, 1.0, 2.0, 3.0, 4.0, 5.0)
    found = loss(values, lists_of(([1, 2], [1, 0], 1.0, 0), ([3, 4, 5], [0, 1, 2], 1.0, 1)))
    assert gradient(found, values)[0] == 0


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_values_stay_finite(dtype: torch.dtype, loss: ListLoss) -> None:
    for order in permutations([1e4, 0.0, -1e4]):
        values = torch.tensor(order, dtype=dtype, requires_grad=True)
        found = loss(values, lists_of(([0, 1, 2], [0, 1, 2], 1.0, 0), ([0, 1], [0, 1], 1.0, 0)))
        assert found.isfinite()
        assert gradient(found, values).isfinite().all()


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_pass_gradcheck(loss: ListLoss) -> None:
    case = random_case(8, groups=4, most=4)
    assert case.lists.ranks.numel()
    assert gradcheck(lambda values: loss(values, case.lists), (case.values.requires_grad_(),))


@pytest.mark.parametrize("loss", LOSSES)
def test_portions_weighted_by_what_counts_add_up_to_the_whole(loss: ListLoss) -> None:
    case = random_case(12, groups=9)
    total = 0.0
    for groups in (range(3), range(3, 7), range(7, 9)):
        part = part_of(case, groups)
        total += loss(part.values, part.lists).item() * ranked_weights(part.lists, len(groups)).sum().item()
    whole = ranked_weights(case.lists, 9).sum().item()
    assert total / whole == pytest.approx(loss(case.values, case.lists).item())

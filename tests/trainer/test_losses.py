"""The losses, held to plain loops, to numbers worked by hand and to closed forms."""

import math
import random
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from trainer.losses import counted_weights, dpo_loss, nll, reward_loss

LN2 = math.log(2)


class Case(NamedTuple):
    """Ragged random comparisons: scores, wins, ties, present, weight."""

    scores: Tensor
    wins: Tensor
    ties: Tensor
    present: Tensor
    weight: Tensor


def random_case(seed: int, groups: int = 6, most: int = 5) -> Case:
    """Groups of 1 to `most` completions with some pairs won, some tied, some not compared, and weights."""
    dice = random.Random(seed)
    shape = (groups, most, most)
    wins, ties = torch.zeros(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)
    present = torch.zeros(groups, most, dtype=torch.bool)
    scores = torch.zeros(groups, most, dtype=torch.float64)
    for group in range(groups):
        size = dice.randint(1, most)
        present[group, :size] = True
        scores[group, :size] = torch.tensor([dice.gauss(0, 2) for _ in range(size)])
        for i in range(size):
            for j in range(size):
                if i != j and dice.random() < 0.5:
                    wins[group, i, j] = dice.choice([0.2, 1.0, 3.0])
                if i < j and dice.random() < 0.3:
                    ties[(group, i, j) if dice.random() < 0.5 else (group, j, i)] = dice.choice([0.5, 2.0])
    return Case(scores, wins, ties, present, torch.tensor([dice.uniform(0.1, 2) for _ in range(groups)]).double())


def softplus(value: float) -> float:
    return max(value, 0) + math.log1p(math.exp(-abs(value)))


def loop_loss(case: Case, ties_policy: str) -> float:
    """The same loss in plain Python: two loops over completions, none of our functions."""
    total = count = 0.0
    for scores, wins, ties, present, weight in zip(*(tensor.tolist() for tensor in case), strict=True):
        group_sum = group_weight = 0.0
        for i in range(len(scores)):
            for j in range(len(scores)):
                if not (present[i] and present[j]):
                    continue
                pair = wins[i][j]
                if ties_policy == "soft":
                    pair += 0.5 * (ties[i][j] + ties[j][i])
                group_sum += pair * softplus(scores[j] - scores[i])
                group_weight += pair
        if group_weight > 0:
            total += weight * group_sum / group_weight
            count += weight
    return total / count if count else 0.0


def one(
    scores: list[float], wins: dict[tuple[int, int], float], ties: dict[tuple[int, int], float] | None = None
) -> Case:
    """A case of one group of weight 1."""
    size = len(scores)
    matrices = []
    for said in (wins, ties or {}):
        matrix = torch.zeros(1, size, size, dtype=torch.float64)
        for (i, j), weight in said.items():
            matrix[0, i, j] = weight
        matrices.append(matrix)
    present = torch.ones(1, size, dtype=torch.bool)
    return Case(torch.tensor([scores], dtype=torch.float64), *matrices, present, torch.ones(1, dtype=torch.float64))


def together(*cases: Case) -> Case:
    """Several cases of the same K as one."""
    return Case(*(torch.cat(parts) for parts in zip(*cases, strict=True)))


@pytest.mark.parametrize("ties_policy", ["drop", "soft"])
@pytest.mark.parametrize("seed", range(20))
def test_reward_loss_equals_a_double_loop(seed: int, ties_policy: str) -> None:
    case = random_case(seed)
    assert reward_loss(*case, ties_policy=ties_policy).item() == pytest.approx(loop_loss(case, ties_policy), rel=1e-12)


def test_reward_loss_of_a_pair_by_hand() -> None:
    """−log σ(2 − 1) = log(1 + e⁻¹) = 0.313261…"""
    assert reward_loss(*one([2.0, 1.0], {(0, 1): 1.0})).item() == pytest.approx(0.3132616875182228)


def test_reward_loss_of_a_ranking_of_three_by_hand() -> None:
    """Scores 2, 1, 0 in the right order: (2·log(1 + e⁻¹) + log(1 + e⁻²)) / 3 = (2·0.3132617 + 0.1269280) / 3."""
    case = one([2.0, 1.0, 0.0], {(0, 1): 1.0, (0, 2): 1.0, (1, 2): 1.0})
    assert reward_loss(*case).item() == pytest.approx((2 * 0.3132616875 + 0.1269280110) / 3, abs=1e-9)


def test_weights_of_edges_and_of_groups_by_hand() -> None:
    """First group: (3·log(1 + e⁻¹) + 1·log(1 + e¹)) / 4; second: ln 2; weights 1 and 3."""
    case = together(one([1.0, 0.0], {(0, 1): 3.0, (1, 0): 1.0}), one([5.0, 5.0], {(0, 1): 7.0}))
    case = case._replace(weight=torch.tensor([1.0, 3.0]).double())
    first = (3 * 0.3132616875182228 + 1.3132616875182228) / 4
    assert reward_loss(*case).item() == pytest.approx((first + 3 * LN2) / 4)


def test_each_prompt_counts_alike_however_many_pairs_it_has() -> None:
    ranking = {(i, j): 1.0 for i in range(4) for j in range(i + 1, 4)}
    many, few = one([3.0, 2.0, 1.0, 0.0], ranking), one([0.0, 1.0, 0.0, 0.0], {(0, 1): 1.0})
    mean = (reward_loss(*many) + reward_loss(*few)) / 2
    assert reward_loss(*together(many, few)).item() == pytest.approx(mean.item())


@pytest.mark.parametrize("seed", range(5))
def test_gradients_equal_those_of_all_pairs_as_rows_weighted_by_one_over_the_pairs(seed: int) -> None:
    dice = torch.Generator().manual_seed(seed)
    sizes = [4, 2, 3]
    scores = torch.randn(3, 4, generator=dice, dtype=torch.float64, requires_grad=True)
    present = torch.arange(4) < torch.tensor(sizes).unsqueeze(1)
    wins = torch.triu(torch.ones(3, 4, 4, dtype=torch.float64), 1) * present.unsqueeze(1) * present.unsqueeze(2)
    reward_loss(scores, wins, torch.zeros_like(wins), present, torch.ones(3).double()).backward()

    rows = scores.detach().clone().requires_grad_()
    expanded = torch.zeros((), dtype=torch.float64)
    for group, size in enumerate(sizes):
        for i in range(size):
            for j in range(i + 1, size):
                pair = -torch.log(torch.sigmoid(rows[group, i] - rows[group, j]))
                expanded = expanded + pair / (size * (size - 1) / 2) / len(sizes)
    expanded.backward()
    assert scores.grad is not None
    torch.testing.assert_close(scores.grad, rows.grad, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    "case", [one([3.0], {}), one([1.0, 4.0, 0.0], {}, {(0, 1): 1.0, (2, 1): 1.0}), one([1.0, 2.0], {})]
)
@pytest.mark.parametrize("centering", [0.0, 0.1])
def test_nothing_to_learn_from_gives_0_and_no_gradient(case: Case, centering: float) -> None:
    scores = case.scores.clone().requires_grad_()
    loss = reward_loss(scores, *case[1:], centering=centering)
    loss.backward()
    assert loss.item() == 0
    assert scores.grad is not None
    assert torch.equal(scores.grad, torch.zeros_like(scores))


def test_a_tied_group_is_not_in_the_denominator_when_ties_are_dropped() -> None:
    won, tied = one([0.0, 0.0], {(0, 1): 1.0}), one([0.0, 9.0], {}, {(0, 1): 1.0})
    assert reward_loss(*together(won, tied)).item() == pytest.approx(LN2)


def test_a_soft_tie_by_hand() -> None:
    """½·[log(1 + e⁻²) + log(1 + e²)] = ½·(0.126928 + 2.126928); least where both scores are equal."""
    tied = one([2.0, 0.0], {}, {(0, 1): 1.0})
    assert reward_loss(*tied, ties_policy="soft").item() == pytest.approx((0.1269280110 + 2.1269280110) / 2)
    assert reward_loss(*tied._replace(scores=torch.ones(1, 2)), ties_policy="soft").item() == pytest.approx(LN2)


def test_a_soft_tie_counts_as_much_as_a_win_on_either_side_of_the_diagonal() -> None:
    upper = one([2.0, 0.0, 1.0], {(0, 2): 1.0}, {(0, 1): 1.0})
    lower = one([2.0, 0.0, 1.0], {(0, 2): 1.0}, {(1, 0): 1.0})
    by_hand = (softplus(-1) + 0.5 * softplus(-2) + 0.5 * softplus(2)) / 2
    assert reward_loss(*upper, ties_policy="soft").item() == pytest.approx(by_hand)
    assert reward_loss(*lower, ties_policy="soft").item() == pytest.approx(by_hand)


@pytest.mark.parametrize("ties_policy", ["drop", "soft"])
@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_completions_does_not_matter(seed: int, ties_policy: str) -> None:
    case = random_case(seed)
    order = torch.randperm(case.scores.shape[1], generator=torch.Generator().manual_seed(seed))
    turned = Case(
        case.scores[:, order],
        case.wins[:, order][:, :, order],
        case.ties[:, order][:, :, order],
        case.present[:, order],
        case.weight,
    )
    expected = reward_loss(*case, ties_policy=ties_policy).item()
    assert reward_loss(*turned, ties_policy=ties_policy).item() == pytest.approx(expected, rel=1e-12)


def test_empty_places_change_nothing_whatever_they_hold() -> None:
    case = random_case(3)
    wider = torch.full((6, 7), math.nan, dtype=torch.float64)
    wider[:, :5] = case.scores
    wider.requires_grad_()
    pad = torch.nn.functional.pad
    padded = (
        pad(case.wins, (0, 2, 0, 2), value=5.0),
        pad(case.ties, (0, 2, 0, 2), value=5.0),
        pad(case.present, (0, 2)),
    )
    loss = reward_loss(wider, *padded, case.weight, ties_policy="soft")
    loss.backward()
    assert loss.item() == pytest.approx(loop_loss(case, "soft"))
    assert wider.grad is not None
    assert wider.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("difference", [-1e4, 1e4])
def test_extreme_differences_stay_finite(difference: float, dtype: torch.dtype) -> None:
    case = one([difference, 0.0], {(0, 1): 1.0})
    scores = case.scores.to(dtype).requires_grad_()
    loss = reward_loss(scores, *case[1:])
    loss.backward()
    assert loss.item() == pytest.approx(max(-difference, 0))
    assert scores.grad is not None
    assert scores.grad[0].tolist() == ([0, 0] if difference > 0 else [-1, 1])


@pytest.mark.parametrize("ties_policy", ["drop", "soft"])
def test_gradients_pass_gradcheck(ties_policy: str) -> None:
    case = random_case(7, groups=3, most=4)
    scores = case.scores.clone().requires_grad_()

    def loss(values: Tensor) -> Tensor:
        return reward_loss(values, *case[1:], ties_policy=ties_policy, centering=0.01)

    def preference(values: Tensor) -> Tensor:
        return dpo_loss(values, *case[1:], beta=0.3, ties_policy=ties_policy)

    assert torch.autograd.gradcheck(loss, (scores,))
    assert torch.autograd.gradcheck(preference, (scores,))


def test_centering_by_hand() -> None:
    """0.1 · (2 + 1)² on top of −log σ(1), and nothing for the completion that nobody compared."""
    case = one([2.0, 1.0, 50.0], {(0, 1): 4.0})
    assert reward_loss(*case, centering=0.1).item() == pytest.approx(0.3132616875 + 0.9)


def test_an_unknown_policy_for_ties_is_refused() -> None:
    with pytest.raises(ValueError, match="drop, soft"):
        reward_loss(*one([1.0, 2.0], {(0, 1): 1.0}), ties_policy="half")


@pytest.mark.parametrize("ties_policy", ["drop", "soft"])
def test_portions_weighted_by_what_counts_add_up_to_the_whole(ties_policy: str) -> None:
    case = random_case(11, groups=9)
    sizes = counted_weights(*case[1:], ties_policy=ties_policy)
    total = 0.0
    for part in (slice(0, 4), slice(4, 5), slice(5, 9)):
        total += (reward_loss(*(tensor[part] for tensor in case), ties_policy=ties_policy) * sizes[part].sum()).item()
    assert total / sizes.sum().item() == pytest.approx(loop_loss(case, ties_policy))


def test_counted_weights_leave_out_what_does_not_count() -> None:
    case = together(one([0, 0], {(0, 1): 2.0}), one([0, 0], {}, {(0, 1): 1.0}), one([0, 0], {}))
    weight = torch.tensor([0.5, 2.0, 3.0])
    assert counted_weights(*case[1:4], weight, ties_policy="drop").tolist() == [0.5, 0, 0]
    assert counted_weights(*case[1:4], weight, ties_policy="soft").tolist() == [0.5, 2, 0]


def test_dpo_of_a_pair_by_hand() -> None:
    """Logps −10 and −12 under the policy, −11 and −11 under the reference: Δ = 1 − (−1) = 2, −log σ(0.1·2)."""
    logratios = torch.tensor([[-10.0 + 11.0, -12.0 + 11.0]])
    case = one([0, 0], {(0, 1): 1.0})
    assert dpo_loss(logratios, *case[1:], beta=0.1).item() == pytest.approx(0.5981388693815918)


@pytest.mark.parametrize("beta", [0.05, 0.1, 2.0])
@pytest.mark.parametrize("difference", [-3.0, 0.0, 0.7, 40.0])
def test_the_gradient_of_dpo_has_its_closed_form(beta: float, difference: float) -> None:
    case = one([0, 0], {(0, 1): 1.0})
    logratios = torch.tensor([[difference, 0.0]], dtype=torch.float64, requires_grad=True)
    dpo_loss(logratios, *case[1:], beta=beta).backward()
    expected = -beta / (1 + math.exp(beta * difference))
    assert logratios.grad is not None
    assert logratios.grad[0].tolist() == pytest.approx([expected, -expected])


def test_dpo_of_an_unchanged_policy_is_ln_2() -> None:
    case = random_case(2)
    assert dpo_loss(torch.zeros_like(case.scores), *case[1:], beta=0.1).item() == pytest.approx(LN2)


def test_dpo_equals_a_double_loop() -> None:
    case = random_case(5)
    scaled = case._replace(scores=0.4 * case.scores)
    assert dpo_loss(*case, beta=0.4, ties_policy="soft").item() == pytest.approx(loop_loss(scaled, "soft"))


def test_nll_is_a_mean_over_tokens_not_over_completions() -> None:
    """(2 + 30) / (1 + 3) = 8, where the mean of means is (2 + 10) / 2 = 6."""
    assert nll(torch.tensor([-2.0, -30.0]), torch.tensor([1.0, 3.0])).item() == pytest.approx(8.0)


def test_nll_weighs_completions() -> None:
    """(½·4 + 1·3) / (½·2 + 1·3)."""
    loss = nll(torch.tensor([-4.0, -3.0]), torch.tensor([2.0, 3.0]), torch.tensor([0.5, 1.0]))
    assert loss.item() == pytest.approx(5 / 4)


def test_nll_of_no_tokens_is_0() -> None:
    assert nll(torch.zeros(2), torch.zeros(2)).item() == 0


def test_descent_on_the_reward_loss_recovers_a_ranking() -> None:
    wins = {(2, 0): 1.0, (2, 1): 1.0, (0, 1): 1.0}
    case = one([0.0, 0.0, 0.0], wins)
    scores = case.scores.clone().requires_grad_()
    for _ in range(50):
        (gradient,) = torch.autograd.grad(reward_loss(scores, *case[1:]), scores)
        scores = (scores - gradient).detach().requires_grad_()
    assert scores[0].argsort(descending=True).tolist() == [2, 0, 1]

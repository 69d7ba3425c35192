"""Losses of reward models, held to plain loops, to numbers worked by hand and to closed forms."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from tests.trainer.losses.cases import (
    LN2,
    NO_EDGES,
    Case,
    edge_rows,
    edges_of,
    gradient,
    loop_mean,
    ones,
    part_of,
    random_case,
    ranked,
    softplus,
    turned,
    vector,
)
from trainer.data.batches import Edges
from trainer.losses import TIES, answer_loss, counted_weights, margins_of, rated_weights, rating_loss, reward_loss

NAN = math.nan
THETA = 0.7
WIDTH = torch.tensor(THETA, dtype=torch.float64)
WON = edges_of((0, 1, ">", 1.0, 0))
EVEN = edges_of((0, 1, "=", 1.0, 0))


def loop_loss(case: Case, ties: str, kind: str = "none", centering: float = 0.0) -> float:
    """The same loss in plain Python, from probabilities."""
    values = case.values.tolist()
    asked: list[float] = {"none": [0, 0, 0, 0, 0], "small": [0, 0, 1 / 3, 2 / 3, 1], "large": [0, 0, 1, 2, 3]}[kind]
    losses = []
    for i, j, tied, weight, strength, group in edge_rows(case):
        difference = values[i] - values[j]
        if tied and ties == "drop":
            continue
        if tied and ties == "soft":
            loss = 0.5 * softplus(difference) + 0.5 * softplus(-difference)
        elif tied:
            first, second = 1 / (1 + math.exp(THETA - difference)), 1 / (1 + math.exp(THETA + difference))
            loss = -math.log(1 - first - second)
        else:
            width = THETA if ties == "rao_kupper" else 0.0
            loss = softplus(asked[strength] + width - difference)
        losses.append((group, weight, loss + centering * (values[i] + values[j]) ** 2))
    return loop_mean(losses, case.weight.tolist())


def loss_of(case: Case, ties: str, **options: Any) -> Tensor:
    width = WIDTH if ties == "rao_kupper" else None
    return reward_loss(case.values, case.edges, case.weight, ties=ties, tie_width=width, **options)


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("seed", range(20))
def test_reward_loss_equals_a_loop_over_pairs(seed: int, ties: str) -> None:
    case = random_case(seed)
    assert loss_of(case, ties).item() == pytest.approx(loop_loss(case, ties), rel=1e-9)


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("kind", ["small", "large"])
def test_margins_and_centering_equal_a_loop_over_pairs(ties: str, kind: str) -> None:
    case = random_case(21)
    found = loss_of(case, ties, margins=margins_of(case.edges.strength, kind), centering=0.03)
    # Thirds are float32.
    assert found.item() == pytest.approx(loop_loss(case, ties, kind, 0.03), rel=1e-7)


def test_a_pair_by_hand() -> None:
    """−log σ(2 − 1) = log(1 + e⁻¹) = 0.313261…"""
    assert reward_loss(vector(2.0, 1.0), WON, ones(1)).item() == pytest.approx(0.3132616875182228)


def test_equal_scores_cost_ln_2() -> None:
    assert reward_loss(vector(0.3, 0.3), WON, ones(1)).item() == pytest.approx(LN2)


def test_a_ranking_of_three_by_hand() -> None:
    """Scores 2, 1, 0 in the right order: (2·log(1 + e⁻¹) + log(1 + e⁻²)) / 3 = (2·0.3132617 + 0.1269280) / 3."""
    loss = reward_loss(vector(2.0, 1.0, 0.0), edges_of(*ranked(3)), ones(1))
    assert loss.item() == pytest.approx((2 * 0.3132616875 + 0.1269280110) / 3, abs=1e-9)


def test_weights_of_edges_and_of_groups_by_hand() -> None:
    """First group: (3·log(1 + e⁻¹) + 1·log(1 + e¹)) / 4; second: ln 2; weights 1 and 3."""
    edges = edges_of((0, 1, ">", 3.0, 0), (1, 0, ">", 1.0, 0), (2, 3, ">", 7.0, 1))
    first = (3 * 0.3132616875182228 + 1.3132616875182228) / 4
    loss = reward_loss(vector(1.0, 0.0, 5.0, 5.0), edges, torch.tensor([1.0, 3.0]))
    assert loss.item() == pytest.approx((first + 3 * LN2) / 4)


def test_each_prompt_counts_alike_however_many_pairs_it_has() -> None:
    many, few = vector(3.0, 2.0, 1.0, 0.0), vector(0.0, 1.0)
    apart = (reward_loss(many, edges_of(*ranked(4)), ones(1)) + reward_loss(few, WON, ones(1))) / 2
    together = reward_loss(torch.cat([many, few]), edges_of(*ranked(4), *ranked(2, 4, 1)), ones(2))
    assert together.item() == pytest.approx(apart.item())


@pytest.mark.parametrize("seed", range(5))
def test_gradients_equal_those_of_all_pairs_as_rows_weighted_by_one_over_the_pairs(seed: int) -> None:
    sizes, starts = [4, 2, 3], [0, 4, 6]
    scores = torch.randn(9, generator=torch.Generator().manual_seed(seed), dtype=torch.float64, requires_grad=True)
    said = [one for number, size in enumerate(sizes) for one in ranked(size, starts[number], number)]
    found = gradient(reward_loss(scores, edges_of(*said), ones(3)), scores)

    rows = scores.detach().clone().requires_grad_()
    expanded = torch.zeros((), dtype=torch.float64)
    for size, start in zip(sizes, starts, strict=True):
        for i in range(size):
            for j in range(i + 1, size):
                pair = -torch.log(torch.sigmoid(rows[start + i] - rows[start + j]))
                expanded = expanded + pair / (size * (size - 1) / 2) / len(sizes)
    torch.testing.assert_close(found, gradient(expanded, rows), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    "edges", [NO_EDGES, edges_of((0, 1, "=", 1.0, 0), (2, 1, "=", 1.0, 0)), edges_of((0, 1, ">", 0.0, 0))]
)
@pytest.mark.parametrize("centering", [0.0, 0.1])
def test_nothing_to_learn_from_gives_0_and_no_gradient(edges: Edges, centering: float) -> None:
    """One completion alone, all tied, no weight."""
    scores = vector(3.0, 1.0, 4.0)
    loss = reward_loss(scores, edges, ones(1), centering=centering)
    assert loss.item() == 0
    assert gradient(loss, scores).tolist() == [0, 0, 0]


def test_a_tied_group_is_not_in_the_denominator_when_ties_are_dropped() -> None:
    edges = edges_of((0, 1, ">", 1.0, 0), (2, 3, "=", 1.0, 1))
    assert reward_loss(vector(0.0, 0.0, 0.0, 9.0), edges, ones(2)).item() == pytest.approx(LN2)


def test_a_soft_tie_by_hand() -> None:
    """½·[log(1 + e⁻²) + log(1 + e²)] = ½·(0.126928 + 2.126928); least where both scores are equal."""
    tied = reward_loss(vector(2.0, 0.0), EVEN, ones(1), ties="soft")
    assert tied.item() == pytest.approx((0.1269280110 + 2.1269280110) / 2)
    level = vector(1.0, 1.0)
    least = reward_loss(level, EVEN, ones(1), ties="soft")
    assert least.item() == pytest.approx(LN2)
    assert gradient(least, level).tolist() == pytest.approx([0, 0])


def test_a_soft_tie_counts_as_much_as_a_win_whichever_side_comes_first() -> None:
    by_hand = (softplus(-1) + 0.5 * softplus(-2) + 0.5 * softplus(2)) / 2
    for tie in [(0, 1, "=", 1.0, 0), (1, 0, "=", 1.0, 0)]:
        loss = reward_loss(vector(2.0, 0.0, 1.0), edges_of((0, 2, ">", 1.0, 0), tie), ones(1), ties="soft")
        assert loss.item() == pytest.approx(by_hand)


def test_rao_kupper_by_hand() -> None:
    """d = 1, θ = ½: P(i ≻ j) = σ(½) = 0.622459, P(j ≻ i) = σ(−1.5) = 0.182426, P(tie) = 0.195115."""
    scores, width = vector(1.0, 0.0), torch.tensor(0.5)
    for edges, chance in [(WON, 0.6224593312), (edges_of((1, 0, ">", 1.0, 0)), 0.1824255238), (EVEN, 0.1951151450)]:
        loss = reward_loss(scores, edges, ones(1), ties="rao_kupper", tie_width=width)
        assert math.exp(-loss.item()) == pytest.approx(chance, rel=1e-8)


@pytest.mark.parametrize("difference", [-3.0, 0.0, 0.2, 8.0])
@pytest.mark.parametrize("theta", [1e-3, 0.4, 5.0])
def test_rao_kupper_chances_add_up_to_1(difference: float, theta: float) -> None:
    scores, width = vector(difference, 0.0), torch.tensor(theta, dtype=torch.float64)
    losses = [
        reward_loss(scores, edges, ones(1), ties="rao_kupper", tie_width=width).item()
        for edges in (WON, EVEN, edges_of((1, 0, ">", 1.0, 0)))
    ]
    assert sum(math.exp(-loss) for loss in losses) == pytest.approx(1)


def test_rao_kupper_without_ties_at_width_0_is_bradley_terry() -> None:
    scores = vector(1.3, 0.4, -2.0)
    edges = edges_of(*ranked(3))
    wide = reward_loss(scores, edges, ones(1), ties="rao_kupper", tie_width=torch.tensor(1e-12))
    assert wide.item() == pytest.approx(reward_loss(scores, edges, ones(1)).item(), abs=1e-11)


def test_the_width_learns_how_often_annotators_tie() -> None:
    """Equal scores, 3 of 4 tied: the likelihood is greatest where 1 − 2σ(−θ) = ¾, which is θ = log 7."""
    edges = edges_of((0, 1, "=", 3.0, 0), (0, 1, ">", 1.0, 0))
    scores = vector(0.0, 0.0)
    width = torch.tensor(math.log(7), dtype=torch.float64, requires_grad=True)
    slope = gradient(reward_loss(scores, edges, ones(1), ties="rao_kupper", tie_width=width), width)
    assert slope.item() == pytest.approx(0, abs=1e-12)


def test_rao_kupper_needs_a_width() -> None:
    with pytest.raises(ValueError, match="tie_width"):
        reward_loss(vector(1.0, 2.0), EVEN, ones(1), ties="rao_kupper")


def test_margins_are_those_of_llama_2() -> None:
    strength = torch.tensor([4, 3, 2, 1, 0])
    assert margins_of(strength, "large").tolist() == [3, 2, 1, 0, 0]
    assert margins_of(strength, "small").tolist() == pytest.approx([1, 2 / 3, 1 / 3, 0, 0])
    assert margins_of(strength, "none").tolist() == [0, 0, 0, 0, 0]
    with pytest.raises(ValueError, match="none, small, large, not 'huge'"):
        margins_of(strength, "huge")


def test_a_margin_by_hand() -> None:
    """−log σ(2 − 1 − 3) = log(1 + e²) = 2.126928."""
    loss = reward_loss(vector(2.0, 1.0), WON, ones(1), margins=torch.tensor([3.0]))
    assert loss.item() == pytest.approx(2.1269280110)


@pytest.mark.parametrize("ties", TIES)
def test_margins_of_0_are_no_margins(ties: str) -> None:
    case = random_case(4)
    without = loss_of(case, ties)
    assert torch.equal(loss_of(case, ties, margins=margins_of(case.edges.strength, "none")), without)
    assert torch.equal(loss_of(case, ties, margins=torch.zeros(len(case.edges.i))), without)


def test_a_tie_has_no_margin() -> None:
    for ties in ("soft", "rao_kupper"):
        plain = reward_loss(vector(2.0, 1.0), EVEN, ones(1), ties=ties, tie_width=WIDTH)
        assert plain == reward_loss(vector(2.0, 1.0), EVEN, ones(1), ties=ties, tie_width=WIDTH, margins=ones(1))


def test_centering_by_hand() -> None:
    """0.1 · (2 + 1)² on top of −log σ(1), and nothing for the completion that nobody compared."""
    loss = reward_loss(vector(2.0, 1.0, 50.0), edges_of((0, 1, ">", 4.0, 0)), ones(1), centering=0.1)
    assert loss.item() == pytest.approx(0.3132616875 + 0.9)


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_completions_and_of_edges_does_not_matter(seed: int, ties: str) -> None:
    case = random_case(seed)
    assert loss_of(turned(case, seed), ties).item() == pytest.approx(loss_of(case, ties).item(), rel=1e-12)


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("difference", [-1e4, 1e4])
def test_extreme_differences_stay_finite(difference: float, dtype: torch.dtype, ties: str) -> None:
    for edges in (WON, EVEN):
        scores = torch.tensor([difference, 0.0], dtype=dtype, requires_grad=True)
        width = torch.tensor(0.1, dtype=dtype, requires_grad=True)
        loss = reward_loss(scores, edges, ones(1), ties=ties, tie_width=width, centering=0.1)
        loss.backward()  # type: ignore[no-untyped-call]
        assert loss.isfinite()
        assert scores.grad is not None
        assert scores.grad.isfinite().all()
        assert width.grad is None or width.grad.isfinite()


@pytest.mark.parametrize("theta", [1e-30, 200.0])
def test_extreme_widths_of_ties_stay_finite(theta: float) -> None:
    """A tie of width 200 is sure, and costs nothing; e^400 is no float32."""
    width = torch.tensor(theta, requires_grad=True)
    loss = reward_loss(torch.tensor([1.0, 0.0]), EVEN, ones(1), ties="rao_kupper", tie_width=width)
    assert loss.item() == pytest.approx(0 if theta > 1 else softplus(-1) + softplus(1) - math.log(2e-30))
    assert gradient(loss, width).isfinite()


def test_a_wrong_order_is_pulled_with_slope_1_and_a_right_one_left() -> None:
    wrong, right = vector(-1e4, 0.0), vector(1e4, 0.0)
    assert gradient(reward_loss(wrong, WON, ones(1)), wrong).tolist() == [-1, 1]
    assert gradient(reward_loss(right, WON, ones(1)), right).tolist() == [0, 0]


@pytest.mark.parametrize("ties", TIES)
def test_gradients_pass_gradcheck(ties: str) -> None:
    case = random_case(7, groups=3, most=4)
    margins = margins_of(case.edges.strength, "large")

    def loss(scores: Tensor, width: Tensor) -> Tensor:
        return reward_loss(scores, case.edges, case.weight, ties=ties, margins=margins, centering=0.01, tie_width=width)

    assert gradcheck(loss, (case.values.requires_grad_(), WIDTH.clone().requires_grad_(ties == "rao_kupper")))


@pytest.mark.parametrize("ties", TIES)
def test_portions_weighted_by_what_counts_add_up_to_the_whole(ties: str) -> None:
    case = random_case(11, groups=9)
    sizes = counted_weights(case.edges, case.weight, ties)
    total = 0.0
    for groups in (range(4), range(4, 5), range(5, 9)):
        part = part_of(case, groups)
        total += loss_of(part, ties).item() * counted_weights(part.edges, part.weight, ties).sum().item()
    assert total / sizes.sum().item() == pytest.approx(loop_loss(case, ties))


def test_descent_recovers_a_ranking() -> None:
    edges, scores = edges_of((2, 0, ">", 1.0, 0), (2, 1, ">", 1.0, 0), (0, 1, ">", 1.0, 0)), vector(0.0, 0.0, 0.0)
    for _ in range(50):
        scores = (scores - gradient(reward_loss(scores, edges, ones(1)), scores)).detach().requires_grad_()
    assert scores.argsort(descending=True).tolist() == [2, 0, 1]


def test_rating_loss_by_hand() -> None:
    """First prompt: ((0.5 − 1)² + (0 − 0.5)²) / 2 = 0.25, an unrated completion aside; second: (2 − 0)² = 4."""
    targets, group = torch.tensor([1.0, NAN, 0.5, 0.0, NAN]), torch.tensor([0, 0, 0, 1, 2])
    values = vector(0.5, 7.0, 0.0, 2.0, 3.0)
    loss = rating_loss(values, targets, group, torch.tensor([3.0, 1.0, 50.0]))
    assert loss.item() == pytest.approx((3 * 0.25 + 4) / 4)
    assert gradient(loss, values)[[1, 4]].tolist() == [0, 0]


def test_answer_loss_by_hand() -> None:
    """First prompt: yes at logit 0 costs ln 2, no at logit 1 costs log(1 + e) = 1.313262; second: ¼ yes at log ⅓, the
    logit of ¼: the entropy ¼·log 4 + ¾·log 4/3 = 0.562335.
    """
    targets = torch.tensor([[1.0, NAN], [NAN, 0.0], [0.25, NAN]])
    logits = torch.tensor([[0.0, 9.0], [9.0, 1.0], [math.log(1 / 3), 9.0]], dtype=torch.float64, requires_grad=True)
    loss = answer_loss(logits, targets, torch.tensor([0, 0, 1]), ones(2))
    assert loss.item() == pytest.approx(((LN2 + 1.3132616875) / 2 + 0.5623351446) / 2)
    slope = gradient(loss, logits)
    assert slope[[0, 1, 2], [1, 0, 1]].tolist() == [0, 0, 0]
    assert slope[2, 0].item() == pytest.approx(0, abs=1e-12)


def test_what_nobody_rated_gives_0_and_no_gradient() -> None:
    values, group = vector(1.0, 2.0), torch.tensor([0, 0])
    ratings = rating_loss(values, torch.tensor([NAN, NAN]), group, ones(1))
    answers = answer_loss(values.unsqueeze(1), torch.tensor([[NAN], [NAN]]), group, ones(1))
    none = answer_loss(values.new_zeros(2, 0), torch.zeros(2, 0), group, ones(1))
    assert (ratings.item(), answers.item(), none.item()) == (0, 0, 0)
    assert gradient(ratings + answers, values).tolist() == [0, 0]


def test_ratings_and_answers_pass_gradcheck_and_stay_finite() -> None:
    group, weight = torch.tensor([0, 0, 1, 2]), torch.tensor([1.0, 2.0, 0.5]).double()
    targets = torch.tensor([0.5, NAN, 1.0, 0.0])
    answers = torch.stack([targets, targets.flip(0)], dim=1)
    values = vector(0.1, 2.0, -1.0, 3.0)
    logits = torch.stack([values.detach(), -values.detach()], dim=1).requires_grad_()
    assert gradcheck(lambda given: rating_loss(given, targets, group, weight), (values,))
    assert gradcheck(lambda given: answer_loss(given, answers, group, weight), (logits,))
    assert rating_loss(1e4 * values, targets, group, weight).isfinite()
    assert answer_loss(1e4 * logits, answers, group, weight).isfinite()


def test_portions_of_ratings_add_up_to_the_whole() -> None:
    group, weight = torch.tensor([0, 0, 1, 2]), torch.tensor([1.0, 2.0, 0.5]).double()
    targets, values = torch.tensor([0.5, NAN, NAN, 0.0]), vector(0.1, 2.0, -1.0, 3.0)
    whole = rating_loss(values, targets, group, weight) * rated_weights(targets, group, weight).sum()
    parts = rating_loss(values[:2], targets[:2], group[:2], weight[:1]) * weight[0]
    parts = parts + rating_loss(values[2:], targets[2:], group[2:] - 1, weight[1:]) * weight[2]
    assert whole.item() == pytest.approx(parts.item())

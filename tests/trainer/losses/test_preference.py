"""Losses of policies, held to plain loops and to numbers worked by hand."""

import math
from typing import Any

import pytest
import torch
from torch.autograd import gradcheck

from tests.trainer.losses.cases import (
    LN2,
    NO_LISTS,
    Case,
    edge_rows,
    edges_of,
    gradient,
    lists_of,
    loop_mean,
    ones,
    part_of,
    ranked,
    softplus,
    turned,
    vector,
)
from tests.trainer.losses.policies import (
    BETA,
    EVEN,
    LOSSES,
    ONE_TOKEN,
    OPTIONS,
    PAIR,
    WON,
    loss_of,
    pair_loss,
    policy_case,
)
from trainer.data.batches import Edges
from trainer.losses import EDGE_LOSSES, LIST_LOSSES, counted_weights, implicit_rewards, preference_loss, ranked_weights


def loop_pair(loss: str, won: float, lost: float, won_ref: float, lost_ref: float, long: int, short: int) -> float:
    """The loss of one pair from log-probabilities and lengths, from the formulas of the papers."""
    epsilon, gamma, alpha = OPTIONS["label_smoothing"], OPTIONS["gamma_ratio"] * BETA, OPTIONS["length_penalty"]
    delta = (won - won_ref) - (lost - lost_ref)
    means = (won - won_ref) / long - (lost - lost_ref) / short
    p, q = math.exp(won / long), math.exp(lost / short)
    return {
        "dpo": softplus(-BETA * delta),
        "cdpo": (1 - epsilon) * softplus(-BETA * delta) + epsilon * softplus(BETA * delta),
        "robust": ((1 - epsilon) * softplus(-BETA * delta) - epsilon * softplus(BETA * delta)) / (1 - 2 * epsilon),
        "hinge": max(0, 1 - BETA * delta),
        "ipo": (delta - 1 / (2 * BETA)) ** 2,
        "ipo_mean": (means - 1 / (2 * BETA)) ** 2,
        "simpo": softplus(-BETA * (won / long - lost / short) + gamma),
        "rdpo": softplus(-(BETA * delta + alpha * (long - short))),
        "dpo_norm": softplus(-BETA * means),
        "orpo": softplus(-BETA * math.log(p / (1 - p) / (q / (1 - q)))),
    }[loss]


@pytest.mark.parametrize("ties", ["drop", "soft"])
@pytest.mark.parametrize("loss", EDGE_LOSSES)
@pytest.mark.parametrize("seed", range(6))
def test_edge_losses_equal_loops_over_pairs(seed: int, loss: str, ties: str) -> None:
    case, reference = policy_case(seed)
    logps, references, counts = case.values.tolist(), reference.tolist(), case.counts.tolist()

    def one(i: int, j: int) -> float:
        return loop_pair(loss, logps[i], logps[j], references[i], references[j], counts[i], counts[j])

    losses = [
        (group, weight, (one(i, j) + one(j, i)) / 2 if tied else one(i, j))
        for i, j, tied, weight, _, group in edge_rows(case)
        if ties == "soft" or not tied
    ]
    expected = loop_mean(losses, case.weight.tolist())
    assert loss_of(case, reference, loss, ties).item() == pytest.approx(expected, rel=1e-9)


def test_dpo_of_a_pair_by_hand() -> None:
    """Logps −10 and −12 under the policy, −11 and −11 under the reference: Δ = 1 − (−1) = 2, −log σ(0.1·2)."""
    logps, reference = torch.tensor([-10.0, -12.0]), torch.tensor([-11.0, -11.0])
    loss = preference_loss(logps, reference, ONE_TOKEN, WON, PAIR, ones(1), loss="dpo", beta=0.1)
    assert loss.item() == pytest.approx(0.5981388693815918)


def by_hand(loss: str, **options: Any) -> float:
    """Log-ratios 1 and −1 over 2 and 4 tokens, β = ½."""
    logps, reference = vector(-10.0, -12.0), vector(-11.0, -11.0)
    counts = torch.tensor([2, 4])
    return preference_loss(
        logps, reference, counts, WON, PAIR, ones(1), loss=loss, beta=0.5, **options
    ).item()  # fmt: skip


def test_variants_of_dpo_by_hand() -> None:
    """βΔ = 1: log(1 + e⁻¹) = 0.313262, log(1 + e) = 1.313262."""
    assert by_hand("dpo") == pytest.approx(0.3132616875)
    assert by_hand("cdpo", label_smoothing=0.1) == pytest.approx(0.9 * 0.3132616875 + 0.1 * 1.3132616875)
    assert by_hand("robust", label_smoothing=0.1) == pytest.approx((0.9 * 0.3132616875 - 0.1 * 1.3132616875) / 0.8)
    assert by_hand("hinge") == 0
    # A winner that is two tokens shorter: 1 − 0.5·2 = 0.
    assert by_hand("rdpo", length_penalty=0.5) == pytest.approx(LN2)
    # Means ½ and −¼: β·¾ = 0.375.
    assert by_hand("dpo_norm") == pytest.approx(math.log(1 + math.exp(-0.375)))
    # Means −5 and −3, γ = 0.4·0.5: 0.5·(−2) − 0.2 = −1.2.
    assert by_hand("simpo", gamma_ratio=0.4) == pytest.approx(math.log(1 + math.exp(1.2)))


def test_ipo_by_hand() -> None:
    """τ = ½, so 1/(2τ) = 1: Δ = 2: (2 − 1)² = 1; by length, ½ + ¼: (0.75 − 1)² = 0.0625."""
    assert by_hand("ipo") == pytest.approx(1)
    assert by_hand("ipo_mean") == pytest.approx(0.0625)


def test_orpo_by_hand() -> None:
    """Mean chances ¾ and ½: odds 3 and 1: −log σ(log 3) = −log ¾."""
    logps = torch.tensor([2 * math.log(0.75), 4 * math.log(0.5)], dtype=torch.float64)
    loss = pair_loss(logps, "orpo", counts=torch.tensor([2, 4]), beta=1.0)
    assert loss.item() == pytest.approx(-math.log(0.75))


def test_list_losses_take_implicit_rewards() -> None:
    """log-ratios for plackett_luce and infonce, mean log-probabilities for pro: 3 completions, worked in the losses."""
    logps, reference, counts = vector(-2.0, -6.0, -4.0), vector(-3.0, -6.0, -3.0), torch.tensor([2, 3, 1])
    lists = lists_of(([0, 1, 2], [0, 1, 2], 1.0, 0))

    def found(loss: str) -> float:
        return preference_loss(
            logps, reference, counts, edges_of(), lists, ones(1), loss=loss, beta=0.5
        ).item()  # fmt: skip

    first, second, third = math.exp(0.5), math.exp(0.0), math.exp(-0.5)
    best, next_ = -math.log(first / (first + second + third)), -math.log(second / (second + third))
    assert found("infonce") == pytest.approx(best)
    assert found("plackett_luce") == pytest.approx((best + next_) / 2)
    # Means −1, −2, −4 times β: −½, −1, −2; two ranks from the first to the third.
    own, near, far = math.exp(2 * -0.5), math.exp(1 * -1.0), math.exp(2 * -2.0)
    assert found("pro") == pytest.approx(-math.log(own / (own + near + far)) + softplus(-2.0 + 1.0))


def test_a_soft_tie_is_half_in_each_direction() -> None:
    for loss in EDGE_LOSSES:
        logps, counts = vector(-1.0, -4.0), torch.tensor([3, 5])
        options: dict[str, Any] = {"beta": BETA, "counts": counts, **OPTIONS}
        both = [
            pair_loss(logps, loss, edges=edges_of(one), **options).item()
            for one in [(0, 1, ">", 1.0, 0), (1, 0, ">", 1.0, 0)]
        ]
        assert pair_loss(logps, loss, edges=EVEN, ties="soft", **options).item() == pytest.approx(sum(both) / 2)


@pytest.mark.parametrize("loss", EDGE_LOSSES)
def test_gradients_equal_those_of_all_pairs_as_rows_weighted_by_one_over_the_pairs(loss: str) -> None:
    logps, reference, counts = vector(-1.0, -2.5, -3.0, -0.7), torch.zeros(4), torch.tensor([3, 1, 4, 2])
    options: dict[str, Any] = {"loss": loss, "beta": BETA, **OPTIONS}
    found = preference_loss(logps, reference, counts, edges_of(*ranked(4)), NO_LISTS, ones(1), **options)
    expanded = torch.zeros((), dtype=torch.float64)
    for i, j, *_ in ranked(4):
        rows = torch.tensor([i, j])
        expanded = expanded + preference_loss(logps[rows], None, counts[rows], WON, PAIR, ones(1), **options) / 6
    torch.testing.assert_close(gradient(found, logps), gradient(expanded, logps), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("edges", [edges_of(), EVEN])
def test_nothing_to_learn_from_gives_0_and_no_gradient(edges: Edges, loss: str) -> None:
    logps, lists = vector(-3.0, -1.0), lists_of(([0, 1], [0, 0], 1.0, 0))
    found = preference_loss(
        logps, None, torch.tensor([3, 5]), edges, lists, ones(1), loss=loss, beta=BETA, **OPTIONS
    )  # fmt: skip
    assert found.item() == 0
    assert gradient(found, logps).tolist() == [0, 0]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("pair", [(-1e4, 0.0), (0.0, -1e4), (-1e4, -1e4), (0.0, 0.0), (-1e-30, -1e4)])
def test_extreme_differences_stay_finite(pair: tuple[float, float], dtype: torch.dtype, loss: str) -> None:
    """Chances of 1 and of e^−10000 among them."""
    for edges in (WON, EVEN):
        logps = torch.tensor(pair, dtype=dtype, requires_grad=True)
        found = pair_loss(logps, loss, edges=edges, ties="soft", beta=1.0, **OPTIONS)
        assert found.isfinite()
        assert gradient(found, logps).isfinite().all()


def test_log_odds_keep_their_digits() -> None:
    """p/(1−p) of p = e^−1e−9 is 1e9 in float64, where 1 − p has lost half of its digits."""
    for logp, odds in [(-1e-9, 1e9 - 0.5), (-50.0, math.exp(-50)), (math.log(0.75), 3.0), (math.log(0.25), 1 / 3)]:
        reward = implicit_rewards(vector(logp), None, torch.tensor([1]), loss="orpo", beta=1.0)
        assert reward.item() == pytest.approx(math.log(odds), rel=1e-12)


@pytest.mark.parametrize("ties", ["drop", "soft"])
@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_pass_gradcheck(loss: str, ties: str) -> None:
    case, reference = policy_case(8, groups=4, most=4)
    assert gradcheck(
        lambda logps: loss_of(case._replace(values=logps), reference, loss, ties), (case.values.requires_grad_(),)
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_the_order_of_completions_and_of_edges_does_not_matter(loss: str) -> None:
    for seed in range(3):
        case, _ = policy_case(seed)
        expected = loss_of(case, None, loss, "soft").item()
        assert loss_of(turned(case, seed), None, loss, "soft").item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_portions_weighted_by_what_counts_add_up_to_the_whole(loss: str) -> None:
    case, _ = policy_case(11, groups=9)

    def size(of: Case) -> float:
        if loss in LIST_LOSSES:
            return ranked_weights(of.lists, len(of.weight)).sum().item()
        return counted_weights(of.edges, of.weight, "drop").sum().item()

    parts = [part_of(case, groups) for groups in (range(4), range(4, 5), range(5, 9))]
    total = sum(loss_of(part, None, loss).item() * size(part) for part in parts)
    assert total / size(case) == pytest.approx(loss_of(case, None, loss).item())


def test_implicit_rewards_by_hand() -> None:
    logps, reference, counts = vector(-4.0, -9.0), vector(-6.0, -6.0), torch.tensor([2, 3])

    def found(loss: str) -> list[float]:
        return implicit_rewards(logps, reference, counts, loss=loss, beta=0.5).tolist()

    for loss in ("dpo", "cdpo", "robust", "hinge", "ipo", "rdpo", "kto", "infonce", "plackett_luce"):
        assert found(loss) == [1.0, -1.5]
    for loss in ("ipo_mean", "dpo_norm"):
        assert found(loss) == [0.5, -0.5]
    for loss in ("simpo", "pro"):
        assert found(loss) == [-1.0, -1.5]


def test_a_completion_without_tokens_is_no_division_by_0() -> None:
    logps = vector(0.0, -1.0)
    assert pair_loss(logps, "simpo", counts=torch.tensor([0, 1]), beta=1.0).item() == pytest.approx(softplus(-1))


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dpo, cdpo.*not 'ppo'"):
        pair_loss(vector(0.0, 0.0), "ppo", beta=1.0)
    with pytest.raises(ValueError, match="kto_loss"):
        pair_loss(vector(0.0, 0.0), "kto", beta=1.0)
    with pytest.raises(ValueError, match="drop or soft"):
        pair_loss(vector(0.0, 0.0), "dpo", beta=1.0, ties="rao_kupper")
    with pytest.raises(ValueError, match="ties must be one of"):
        pair_loss(vector(0.0, 0.0), "dpo", beta=1.0, ties="half")

"""Losses of policies, held to closed forms and to each other."""

import math
from typing import Any

import pytest
import torch

from tests.trainer.losses.cases import LN2, edges_of, gradient, ones, vector
from tests.trainer.losses.policies import BETA, LOSSES, OPTIONS, PAIR, WON, loss_of, pair_loss, policy_case
from trainer.losses import REFERENCE_FREE, preference_loss, reward_loss


@pytest.mark.parametrize("ties", ["drop", "soft"])
@pytest.mark.parametrize(
    "changed",
    [
        {"loss": "cdpo", "label_smoothing": 0.0},
        {"loss": "rdpo", "length_penalty": 0.0},
        {"loss": "robust", "label_smoothing": 0.0},
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cdpo_rdpo_and_robust_without_their_parameter_are_dpo_bit_for_bit(
    dtype: torch.dtype, changed: dict[str, Any], ties: str
) -> None:
    for seed in range(10):
        case, reference = policy_case(seed)
        case = case._replace(values=case.values.to(dtype).requires_grad_())
        dpo, other = loss_of(case, reference, "dpo", ties), loss_of(case, reference, **changed, ties=ties)
        assert torch.equal(other, dpo)
        assert torch.equal(gradient(other, case.values), gradient(dpo, case.values))


@pytest.mark.parametrize("loss", ["plackett_luce", "infonce"])
@pytest.mark.parametrize("difference", [-30.0, 0.0, 2.5])
def test_of_two_completions_list_losses_are_dpo(difference: float, loss: str) -> None:
    logps = vector(difference, 0.0)
    dpo, other = pair_loss(logps, "dpo", beta=BETA), pair_loss(logps, loss, beta=BETA)
    assert other.item() == pytest.approx(dpo.item(), rel=1e-12)
    torch.testing.assert_close(gradient(other, logps), gradient(dpo, logps))


def test_pro_of_two_completions_is_simpo_without_its_margin() -> None:
    logps, counts = vector(-3.0, -8.0), torch.tensor([2, 5])
    pro = pair_loss(logps, "pro", counts=counts, beta=1.0)
    assert pro.item() == pytest.approx(pair_loss(logps, "simpo", counts=counts, beta=1.0).item(), rel=1e-12)


def test_without_lengths_means_are_sums() -> None:
    logps = vector(-0.4, -1.3)
    assert torch.equal(pair_loss(logps, "ipo_mean", beta=BETA), pair_loss(logps, "ipo", beta=BETA))
    assert torch.equal(pair_loss(logps, "dpo_norm", beta=BETA), pair_loss(logps, "dpo", beta=BETA))


@pytest.mark.parametrize("loss", LOSSES)
def test_reference_free_is_a_reference_of_zeros(loss: str) -> None:
    case, reference = policy_case(3)
    free = loss_of(case, None, loss)
    assert torch.equal(free, loss_of(case, torch.zeros_like(reference), loss))
    assert (free == loss_of(case, reference, loss)) == (loss in REFERENCE_FREE)


@pytest.mark.parametrize("beta", [0.05, 0.1, 2.0])
@pytest.mark.parametrize("difference", [-3.0, 0.0, 0.7, 40.0])
def test_the_gradient_of_dpo_has_its_closed_form(beta: float, difference: float) -> None:
    logps = vector(difference, 0.0)
    expected = -beta / (1 + math.exp(beta * difference))
    found = gradient(pair_loss(logps, "dpo", beta=beta), logps)
    assert found.tolist() == pytest.approx([expected, -expected])


@pytest.mark.parametrize("loss", ["dpo", "cdpo", "robust", "rdpo", "dpo_norm", "infonce", "plackett_luce"])
def test_an_unchanged_policy_costs_ln_2(loss: str) -> None:
    """Robust: ((1−ε)·ln 2 − ε·ln 2) / (1−2ε); of rankings, pairs."""
    logps = vector(-3.0, -7.0)
    options = {**OPTIONS, "length_penalty": 0.0}
    found = preference_loss(
        logps, logps.detach(), torch.tensor([2, 5]), WON, PAIR, ones(1), loss=loss, beta=BETA, **options
    )
    assert found.item() == pytest.approx(LN2)


@pytest.mark.parametrize("tau", [0.05, 0.5, 3.0])
def test_ipo_is_least_where_the_difference_is_half_of_one_over_tau(tau: float) -> None:
    logps = vector(1 / (2 * tau), 0.0)
    found = pair_loss(logps, "ipo", beta=tau)
    assert found.item() == pytest.approx(0, abs=1e-20)
    assert gradient(found, logps).tolist() == pytest.approx([0, 0], abs=1e-9)
    # Counted in lengths, the means differ by so much.
    longer = pair_loss(3 * logps, "ipo_mean", counts=torch.tensor([3, 3]), beta=tau)
    assert longer.item() == pytest.approx(0, abs=1e-20)


@pytest.mark.parametrize("wrong", [0.01, 0.1, 0.4])
def test_cdpo_is_least_where_the_policy_is_as_sure_as_the_labels(wrong: float) -> None:
    """β·Δ = log((1 − ε) / ε), and the least is the entropy of ε."""
    logps = vector(math.log((1 - wrong) / wrong) / BETA, 0.0)
    found = pair_loss(logps, "cdpo", beta=BETA, label_smoothing=wrong)
    assert found.item() == pytest.approx(-(1 - wrong) * math.log(1 - wrong) - wrong * math.log(wrong))
    assert gradient(found, logps).tolist() == pytest.approx([0, 0], abs=1e-12)


def test_robust_is_right_on_average_whatever_labels_are_flipped() -> None:
    """(1 − ε)·robust of the right label and ε·robust of the flipped one make DPO of the right one."""
    logps, flipped = vector(-2.0, -5.0), edges_of((1, 0, ">", 1.0, 0))
    kept = pair_loss(logps, "robust", beta=BETA, label_smoothing=0.2)
    turned_round = pair_loss(logps, "robust", edges=flipped, beta=BETA, label_smoothing=0.2)
    assert (0.8 * kept + 0.2 * turned_round).item() == pytest.approx(pair_loss(logps, "dpo", beta=BETA).item())


def test_robust_may_be_negative() -> None:
    assert pair_loss(vector(40.0, 0.0), "robust", beta=1.0, label_smoothing=0.2).item() < 0


def test_hinge_ends_at_1() -> None:
    for difference, slope in [(0.99, -1.0), (1.01, 0.0)]:
        logps = vector(difference, 0.0)
        assert gradient(pair_loss(logps, "hinge", beta=1.0), logps).tolist() == [slope, -slope]


def test_rdpo_pulls_a_longer_winner_less() -> None:
    logps = vector(0.0, 0.0)
    slopes = [
        gradient(pair_loss(logps, "rdpo", counts=torch.tensor(counts), beta=BETA, length_penalty=0.1), logps)[0].item()
        for counts in ([20, 5], [5, 5], [5, 20])
    ]
    assert slopes == sorted(slopes, reverse=True)
    assert slopes[0] == pytest.approx(-BETA / (1 + math.exp(1.5)))


def test_simpo_asks_for_its_margin() -> None:
    """At a difference of γ, one as sure as not: ln 2."""
    logps = vector(1.5, 0.0)
    assert pair_loss(logps, "simpo", beta=2.0, gamma_ratio=1.5).item() == pytest.approx(LN2)


def test_dpo_is_bradley_terry_of_implicit_rewards() -> None:
    case, reference = policy_case(9)
    rewards = BETA * (case.values - reference)
    for ties in ("drop", "soft"):
        expected = reward_loss(rewards, case.edges, case.weight, ties=ties)
        assert loss_of(case, reference, "dpo", ties).item() == pytest.approx(expected.item(), rel=1e-12)

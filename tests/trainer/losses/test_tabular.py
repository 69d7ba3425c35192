"""One prompt, M responses, a softmax policy and exact gradients: each loss reaches the optimum that its theory names.

Labels are those of an infinity of annotators: every pair and every ranking counts by its probability under rewards r.
"""

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.trainer.losses.cases import NO_EDGES, NO_LISTS, edges_of, lists_of, ones
from trainer.data.batches import Edges, Lists
from trainer.losses import preference_loss

REWARDS = [1.0, 0.2, -0.5, 0.6, -1.2]
REFERENCE = [0.1, 0.35, 0.3, 0.05, 0.2]
M = len(REWARDS)
BETA = 0.5


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def chances(wrong: float = 0.0) -> list[list[float]]:
    """The probability that i is said to be preferred to j (Bradley-Terry), labels flipped so often."""
    right = [[sigmoid(first - second) for second in REWARDS] for first in REWARDS]
    return [[(1 - wrong) * chance + wrong * (1 - chance) for chance in row] for row in right]


def labels(wrong: float = 0.0) -> Edges:
    """All pairs, both ways, by their probability."""
    told = chances(wrong)
    edges = edges_of(*((i, j, ">", told[i][j], 0) for i in range(M) for j in range(M) if i != j))
    exact = torch.tensor([told[i][j] for i in range(M) for j in range(M) if i != j], dtype=torch.float64)
    return edges._replace(weight=exact)


def rankings() -> Lists:
    """All M! rankings by their probability: the best is drawn by e^r, then the next among the rest."""
    said = []
    for order in permutations(range(M)):
        rest = [sum(math.exp(REWARDS[one]) for one in order[place:]) for place in range(M)]
        chance = math.prod(math.exp(REWARDS[one]) / sum_ for one, sum_ in zip(order, rest, strict=True))
        said.append((list(order), list(range(M)), chance, 0))
    return lists_of(*said)._replace(weight=torch.tensor([one[2] for one in said], dtype=torch.float64))


def trained(loss: str, edges: Edges, lists: Lists = NO_LISTS, beta: float = BETA, smoothing: float = 0.0) -> Tensor:
    """The policy (M,) that starts at the reference and follows the exact gradient until it vanishes."""
    reference = torch.tensor(REFERENCE, dtype=torch.float64).log()
    logits = reference.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=500, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = preference_loss(
            logits.log_softmax(0),
            reference,
            torch.ones(M, dtype=torch.long),
            edges,
            lists,
            ones(1),
            loss=loss,
            beta=beta,
            label_smoothing=smoothing,
        )
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return logits.detach().softmax(0)


def tilted(log_ratios: list[float]) -> Tensor:
    """The policy (M,) with these log-ratios to the reference, but for a constant."""
    return (torch.tensor(REFERENCE, dtype=torch.float64).log() + torch.tensor(log_ratios).double()).softmax(0)


def total_variation(one: Tensor, other: Tensor) -> float:
    return 0.5 * (one - other).abs().sum().item()


def optimum(beta: float = BETA) -> Tensor:
    """π* ∝ π_ref·e^(r/β): the greatest expected reward under a price of β on the divergence from the reference."""
    return tilted([reward / beta for reward in REWARDS])


@pytest.mark.parametrize("beta", [0.3, 0.5, 2.0])
def test_dpo_reaches_the_optimal_policy(beta: float) -> None:
    assert total_variation(optimum(beta), torch.tensor(REFERENCE)) > 0.1
    assert total_variation(trained("dpo", labels(), beta=beta), optimum(beta)) < 1e-4


@pytest.mark.parametrize("loss", ["plackett_luce", "infonce"])
def test_list_losses_reach_the_optimal_policy(loss: str) -> None:
    assert total_variation(trained(loss, NO_EDGES, rankings()), optimum()) < 1e-4


def test_robust_dpo_reaches_the_optimal_policy_through_flipped_labels() -> None:
    assert total_variation(trained("robust", labels(wrong=0.2), smoothing=0.2), optimum()) < 1e-4
    # DPO does not.
    assert total_variation(trained("dpo", labels(wrong=0.2)), optimum()) > 1e-2


@pytest.mark.parametrize("tau", [0.1, 0.5])
def test_ipo_reaches_its_optimum(tau: float) -> None:
    """π ∝ π_ref·e^(p/τ), p the probability of being preferred to a response drawn at random (Azar et al. 2024)."""
    wins = [sum(row) / M for row in chances()]
    assert total_variation(trained("ipo", labels(), beta=tau), tilted([chance / tau for chance in wins])) < 1e-4


@pytest.mark.parametrize("wrong", [0.1, 0.3])
def test_cdpo_reaches_its_optimum(wrong: float) -> None:
    """The best Bradley-Terry fit to labels flipped so often, found by Newton's method in NumPy."""
    told = np.array(chances(wrong))
    fitted = np.zeros(M)
    for _ in range(50):
        said = 1 / (1 + np.exp(fitted[None, :] - fitted[:, None]))
        slope = (told - said).sum(1)
        curve = said * (1 - said)
        curvature = np.diag(curve.sum(1)) - curve
        fitted += np.linalg.lstsq(curvature, slope, rcond=None)[0]
    expected = tilted((fitted / BETA).tolist())
    assert total_variation(expected, optimum()) > 1e-2
    assert total_variation(trained("cdpo", labels(), smoothing=wrong), expected) < 1e-4


def test_cdpo_of_two_stays_as_unsure_as_its_labels() -> None:
    """Where the first always wins: β·Δ = log((1 − ε) / ε), where DPO has no optimum."""
    policy = trained("cdpo", edges_of((0, 1, ">", 1.0, 0)), smoothing=0.1)
    ratios = (policy / torch.tensor(REFERENCE, dtype=torch.float64)).log()
    assert BETA * (ratios[0] - ratios[1]).item() == pytest.approx(math.log(9), abs=1e-4)

"""Losses of policies that learn from preferences without a reward model.

All start from the implicit reward of each completion, r (N,), which its log-probability under the policy and under
the reference gives (`implicit_rewards`), and compare rewards along edges or over whole rankings (`preference_loss`);
KTO alone takes completions one by one (`kto_loss`).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, relu

from trainer.data.batches import Edges, Lists
from trainer.losses.listwise import best_against_rest_loss, plackett_luce_loss, ranking_loss
from trainer.losses.means import edge_weights, prompt_mean

EDGE_LOSSES = ("dpo", "cdpo", "robust", "hinge", "ipo", "ipo_mean", "simpo", "rdpo", "dpo_norm", "orpo")
LIST_LOSSES: dict[str, Callable[[Tensor, Lists], Tensor]] = {
    "pro": ranking_loss,
    "infonce": best_against_rest_loss,
    "plackett_luce": plackett_luce_loss,
}
REFERENCE_FREE = ("simpo", "pro", "orpo")
"""Losses that no reference has a part in."""
MEAN_RATIOS = ("ipo_mean", "dpo_norm")
"""Losses that divide log-ratios by the completion's length."""

_Compare = Callable[[Tensor, Tensor], Tensor]


def preference_loss(
    logps: Tensor,
    reference: Tensor | None,
    counts: Tensor,
    edges: Edges,
    lists: Lists,
    weight: Tensor,
    *,
    loss: str,
    beta: float,
    ties: str = "drop",
    label_smoothing: float = 0.0,
    gamma_ratio: float = 0.0,
    length_penalty: float = 0.0,
) -> Tensor:
    """The loss of that name, a mean over prompts; all losses but KTO.

    logps, reference (N,) are log-probabilities of completions, sums over their tokens, under the policy and under the
    reference (None: there is none, and each counts 0); counts (N,) the tokens. `edges` or `lists` say what is
    preferred, whichever the loss is on (LIST_LOSSES); weight (G,) is what groups count for in losses on edges.

    With Δ = r_i − r_j of implicit rewards, i preferred to j:
    dpo, dpo_norm: −log σ(Δ), equation 7 of Rafailov et al. 2023. cdpo: −(1−ε)·log σ(Δ) − ε·log σ(−Δ) (Mitchell
    2023), ε = `label_smoothing`. robust: [(1−ε)·ℓ(Δ) − ε·ℓ(−Δ)] / (1−2ε) with ℓ = −log σ (Chowdhury et al. 2024), which
    may be negative. hinge: max(0, 1 − Δ) (Zhao et al. 2023). ipo, ipo_mean: (Δ/τ − 1/(2τ))² with
    τ = β, equation 17 of Azar et al. 2024. simpo: −log σ(Δ − γ), γ = `gamma_ratio`·β (Meng et al. 2024). rdpo:
    −log σ(Δ + α·(|y_i| − |y_j|)), α = `length_penalty` (Park et al. 2024): the policy is to maximize r − α·|y|. orpo:
    −log σ(Δ) (Hong et al. 2024), without the likelihood that belongs to it.
    pro, infonce, plackett_luce: see `listwise`; ties there are equal ranks, whatever `ties` says.
    Ties on edges: "drop" leaves them out, "soft" takes half of a tie in each direction. Raises ValueError for an
    unknown loss or policy for ties.
    """
    rewards = implicit_rewards(logps, reference, counts, loss=loss, beta=beta)
    if loss in LIST_LOSSES:
        return LIST_LOSSES[loss](rewards, lists)
    if loss not in EDGE_LOSSES:
        raise ValueError(f"{loss} takes completions one by one: it is kto_loss, not preference_loss.")
    compare = _comparison(
        loss,
        beta=beta,
        label_smoothing=label_smoothing,
        gamma_ratio=gamma_ratio,
        length_penalty=length_penalty,
    )
    return _edge_loss(rewards, counts, edges, weight, compare, ties)


def implicit_rewards(logps: Tensor, reference: Tensor | None, counts: Tensor, *, loss: str, beta: float) -> Tensor:
    """(N,) the reward of each completion that a policy stands for, in the sense of a loss; also for reports.

    β·ρ with the log-ratio ρ = log π(y|x) − log π_ref(y|x); ipo_mean and dpo_norm: β·ρ/|y|; simpo and pro:
    β·log π(y|x)/|y|; orpo: β·log(p/(1−p)) with p = π(y|x)^{1/|y|}. Raises ValueError for an unknown loss.
    """
    if loss not in EDGE_LOSSES and loss not in LIST_LOSSES and loss != "kto":
        raise ValueError(f"loss must be one of {', '.join((*EDGE_LOSSES, *LIST_LOSSES, 'kto'))}, not {loss!r}.")
    lengths = counts.clamp_min(1).to(logps.dtype)
    if loss == "orpo":
        return beta * log_odds(logps / lengths)
    if loss in REFERENCE_FREE:
        return beta * (logps / lengths)
    ratios = logps if reference is None else logps - reference.to(logps.dtype)
    return beta * (ratios / lengths if loss in MEAN_RATIOS else ratios)


def log_odds(logps: Tensor) -> Tensor:
    """log(p/(1−p)) of log-probabilities, at most those of p = 1 − ε of their type, where it stays finite."""
    below = logps.clamp_max(-torch.finfo(logps.dtype).eps)
    # Each form where the other would cancel; neither gets a place in which its gradient is infinite.
    small = below < -math.log(2)
    rest = torch.where(
        small,
        torch.log1p(-torch.exp(torch.where(small, below, -1.0))),
        torch.log(-torch.expm1(torch.where(small, -0.5, below))),
    )
    return below - rest


def kto_loss(
    logratios: Tensor,
    desirable: Tensor,
    z0: Tensor,
    weight: Tensor,
    *,
    beta: float,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> Tensor:
    """Kahneman-Tversky optimization, equation 7 of Ethayarajh et al. 2024: a mean by weight over completions.

    λ_D·(1 − σ(β·(ρ − z0))) for a desirable completion, λ_U·(1 − σ(β·(z0 − ρ))) for an undesirable one. logratios (N,)
    are ρ, sums over tokens; desirable (N,) is 1, 0, or NaN for what is not in the mean; weight (N,) what a completion
    counts for; z0 the scalar of `kto_baseline`, no gradient goes through it. 0 where nothing has a label. Portions
    of a step add up to the whole by the weights of what has a label.
    """
    labeled = ~desirable.isnan()
    wanted = desirable == 1
    above = beta * (logratios - z0.detach().to(logratios.dtype))
    # 1 − σ(x) = σ(−x), which keeps its digits where σ(x) is nearly 1.
    values = torch.where(wanted, desirable_weight * torch.sigmoid(-above), undesirable_weight * torch.sigmoid(above))
    shares = torch.where(labeled, weight, 0.0).to(values.dtype)
    whole = shares.sum()
    return (shares * values).sum() / torch.where(whole > 0, whole, 1.0)


def kto_baseline(logratios: Tensor) -> Tensor:
    """z0 = max(0, mean) of log-ratios (M,) of completions to prompts that they do not belong to; 0 without any.

    It stands for the divergence between policy and reference, and carries no gradient.
    """
    return logratios.detach().sum().div(max(1, len(logratios))).clamp_min(0)


def _edge_loss(rewards: Tensor, counts: Tensor, edges: Edges, weight: Tensor, compare: _Compare, ties: str) -> Tensor:
    if ties == "rao_kupper":
        raise ValueError("Losses of policies know no width of ties: ties must be drop or soft.")
    counted = edge_weights(edges, ties)
    difference = rewards[edges.i] - rewards[edges.j]
    longer = (counts[edges.i] - counts[edges.j]).to(rewards.dtype)
    losses = compare(difference, longer)
    if ties == "soft":
        losses = torch.where(edges.tied, (losses + compare(-difference, -longer)) / 2, losses)
    return prompt_mean(losses, counted, edges.group, weight)


def _comparison(
    loss: str, *, beta: float, label_smoothing: float, gamma_ratio: float, length_penalty: float
) -> _Compare:
    """From differences of rewards and of lengths, first of an edge less second, both (E,), to losses (E,)."""
    wrong = label_smoothing
    by_name: dict[str, _Compare] = {
        "cdpo": lambda d, _: -(1 - wrong) * logsigmoid(d) - wrong * logsigmoid(-d),
        "robust": lambda d, _: (-(1 - wrong) * logsigmoid(d) + wrong * logsigmoid(-d)) / (1 - 2 * wrong),
        "hinge": lambda d, _: relu(1 - d),
        "ipo": lambda d, _: ((d - 0.5) / beta) ** 2,
        "ipo_mean": lambda d, _: ((d - 0.5) / beta) ** 2,
        "simpo": lambda d, _: -logsigmoid(d - gamma_ratio * beta),
        "rdpo": lambda d, longer: -logsigmoid(d + length_penalty * longer),
    }
    return by_name.get(loss, lambda d, _: -logsigmoid(d))

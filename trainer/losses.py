"""Losses: pure functions from tensors to a number. True in a mask means: it counts.

G groups (prompts) of up to K completions. wins (G, K, K): weight of i being preferred to j; ties (G, K, K): weight of
i and j being about equal, each tie once, on either side of the diagonal; present (G, K): where there is a completion;
weight (G,): what the group counts for.
"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

TIES = ("drop", "soft")


def reward_loss(
    scores: Tensor,
    wins: Tensor,
    ties: Tensor,
    present: Tensor,
    weight: Tensor,
    *,
    ties_policy: str = "drop",
    centering: float = 0.0,
) -> Tensor:
    """The loss of a reward model from K-way comparisons, a mean over prompts; scores (G, K).

    L = Σ_g weight_g · L_g / Σ_g weight_g,  L_g = Σ_ij w_ij · −log σ(r_i − r_j) / Σ_ij w_ij
    With all K·(K−1)/2 pairs of a ranking and equal weights this is equation 1 of Ouyang et al. 2022 (InstructGPT).
    Ties: "drop" leaves them out; "soft" takes a tie of weight t as t/2 in both directions.
    A group in which nothing counts adds 0 and is not in the denominator; with no other group the loss is 0.
    `centering` c adds c · Σ_ij w_ij · (r_i + r_j)² / Σ_ij w_ij to L_g: for pairs, equation 2 of Eisenstein et al.
    2023, which keeps scores around zero.
    """
    scores = torch.where(present, scores, 0.0)
    counted = _counted(scores, wins, ties, present, ties_policy)
    losses = _group_mean(-logsigmoid(_differences(scores)), counted)
    if centering:
        losses = losses + centering * _group_mean((scores.unsqueeze(2) + scores.unsqueeze(1)) ** 2, counted)
    return _prompt_mean(losses, counted, weight)


def dpo_loss(
    logratios: Tensor,
    wins: Tensor,
    ties: Tensor,
    present: Tensor,
    weight: Tensor,
    *,
    beta: float,
    ties_policy: str = "drop",
) -> Tensor:
    """Direct preference optimization from K-way comparisons, a mean over prompts as in `reward_loss`.

    −log σ(β·(ρ_i − ρ_j)) for i preferred to j, with ρ = log π(y|x) − log π_ref(y|x), sums over the completion;
    logratios (G, K) holds ρ. For K = 2 this is equation 7 of Rafailov et al. 2023. Its gradient by ρ_i is
    −β·σ(−β·(ρ_i − ρ_j)).
    """
    return reward_loss(beta * logratios, wins, ties, present, weight, ties_policy=ties_policy)


def nll(sums: Tensor, counts: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean negative log-likelihood of a token: −Σ weight·sum / Σ weight·count over completions, all (N,).

    `sums` are summed log-probabilities of completions and `counts` their tokens. Every token counts alike, whatever
    batch it stands in. 0 when there are no tokens.
    """
    shares = torch.ones_like(sums) if weight is None else weight.to(sums.dtype)
    tokens = (shares * counts).sum()
    return -(shares * sums).sum() / torch.where(tokens > 0, tokens, 1.0)


def counted_weights(wins: Tensor, ties: Tensor, present: Tensor, weight: Tensor, *, ties_policy: str) -> Tensor:
    """(G,) what each group counts for in the mean over prompts: its weight, or 0 where nothing in it counts."""
    counted = _counted(weight, wins, ties, present, ties_policy)
    return torch.where(counted.sum((1, 2)) > 0, weight, 0.0)


def _counted(like: Tensor, wins: Tensor, ties: Tensor, present: Tensor, ties_policy: str) -> Tensor:
    """(G, K, K) the weight of each comparison under a policy for ties, in the type of `like`."""
    if ties_policy not in TIES:
        raise ValueError(f"ties_policy must be one of {', '.join(TIES)}, not {ties_policy!r}.")
    weights = wins + (ties + ties.transpose(1, 2)) / 2 if ties_policy == "soft" else wins
    return torch.where(present.unsqueeze(2) & present.unsqueeze(1), weights, 0.0).to(like.dtype)


def _differences(values: Tensor) -> Tensor:
    """(G, K, K) with value i less value j at (i, j)."""
    return values.unsqueeze(2) - values.unsqueeze(1)


def _group_mean(values: Tensor, counted: Tensor) -> Tensor:
    """(G,) weighted mean of (G, K, K) values; 0 where no weight is."""
    total = counted.sum((1, 2))
    return (counted * values).sum((1, 2)) / torch.where(total > 0, total, 1.0)


def _prompt_mean(losses: Tensor, counted: Tensor, weight: Tensor) -> Tensor:
    shares = torch.where(counted.sum((1, 2)) > 0, weight.to(losses.dtype), 0.0)
    total = shares.sum()
    return (shares * losses).sum() / torch.where(total > 0, total, 1.0)

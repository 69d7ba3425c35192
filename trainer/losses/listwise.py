"""Losses on whole rankings: values (N,) of completions, and `Lists` that order them.

Each is a mean over prompts (see `means`), in which a ranking counts by its weight: a prompt counts by the weights of
its rankings. Items of equal rank do not stand against each other.
"""

import torch
from torch import Tensor

from trainer.data.batches import Lists
from trainer.losses.means import list_weights


def plackett_luce_loss(values: Tensor, lists: Lists) -> Tensor:
    """The likelihood of rankings in which the best is drawn first, then the next among the rest (Plackett 1975).

    Σ_k [logsumexp_{j = k or below k} v_j − v_k] / n over the n items that have something below them: K − 1 of K in a
    ranking without ties. For K = 2 it is −log σ(v_1 − v_2).
    """
    against, below = _standing(values, lists)
    counted = below.any(-1)
    losses = torch.where(counted, against.logsumexp(-1) - _placed(values, lists), 0.0)
    return _mean(losses.sum(-1) / counted.sum(-1).clamp_min(1), lists)


def best_against_rest_loss(values: Tensor, lists: Lists) -> Tensor:
    """InfoNCE: the best against all that is below it, −log(e^{v_1} / (e^{v_1} + Σ_j e^{v_j})).

    Where several share the first rank, the mean over them, each against all that is below.
    """
    against, below = _standing(values, lists)
    counted = below.any(-1) & (lists.ranks == 0)
    losses = torch.where(counted, against.logsumexp(-1) - _placed(values, lists), 0.0)
    return _mean(losses.sum(-1) / counted.sum(-1).clamp_min(1), lists)


def ranking_loss(values: Tensor, lists: Lists) -> Tensor:
    """PRO (Song et al. 2024), with ranks for the rewards (r = −rank), so that r_k − r_i counts ranks.

    Σ_{k<K} −log( e^{v_k·T_k} / (e^{v_k·T_k} + Σ_{i below k} e^{v_i·(r_k − r_i)}) ),  T_k = max_i (r_k − r_i)

    A sum over k, as in the paper; for K = 2 it is −log σ(v_1 − v_2).
    """
    placed, (_, below) = _placed(values, lists), _standing(values, lists)
    apart = torch.where(below, lists.ranks.unsqueeze(1) - lists.ranks.unsqueeze(2), 0).to(values.dtype)
    if not apart.numel():
        return _mean(placed.sum(-1), lists)
    own = placed * apart.amax(-1)
    others = (placed.unsqueeze(1) * apart).masked_fill(~below, float("-inf"))
    field = torch.cat([own.unsqueeze(-1), others], dim=-1)
    return _mean(torch.where(below.any(-1), field.logsumexp(-1) - own, 0.0).sum(-1), lists)


def _placed(values: Tensor, lists: Lists) -> Tensor:
    """(C, K) the value of each place of each ranking; any number where there is no completion."""
    return values[lists.rows]


def _standing(values: Tensor, lists: Lists) -> tuple[Tensor, Tensor]:
    """(C, K, K): at (k, j) the value of j where it is k itself or below k, −∞ elsewhere; and whether it is below."""
    ranks = lists.ranks
    below = (ranks.unsqueeze(1) > ranks.unsqueeze(2)) & (ranks >= 0).unsqueeze(2)
    itself = torch.eye(ranks.shape[1], dtype=torch.bool, device=ranks.device)
    return _placed(values, lists).unsqueeze(1).masked_fill(~(below | itself), float("-inf")), below


def _mean(losses: Tensor, lists: Lists) -> Tensor:
    """The mean of (C,) losses by weight: over prompts that count by the weights of their rankings, it is the same."""
    counted = list_weights(lists).to(losses.dtype)
    whole = counted.sum()
    return (counted * losses).sum() / torch.where(whole > 0, whole, 1.0)

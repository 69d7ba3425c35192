"""The mean that all losses share: over prompts, of means within each prompt.

L = Σ_g weight_g · L_g / Σ_g weight_g,  L_g = Σ_e w_e · ℓ_e / Σ_e w_e

over what was said (e) in each group (g). With all K·(K−1)/2 pairs of a ranking and equal weights this is equation 1
of Ouyang et al. 2022 (InstructGPT). A group in which nothing counts is not in the mean; with no other group the loss
is 0, and so is its gradient. Portions of a step, each times the sum of what its groups count for, add up to the whole.
"""

import torch
from torch import Tensor

from trainer.data.batches import Edges, Lists

TIES = ("drop", "soft", "rao_kupper")


def prompt_mean(losses: Tensor, counted: Tensor, group: Tensor, weight: Tensor) -> Tensor:
    """The mean over prompts of losses (E,), which count by `counted` (E,) and belong to `group` (E,); weight (G,)."""
    counted = counted.to(losses.dtype)
    totals = _totals(counted, group, weight)
    means = _totals(counted * losses, group, weight) / torch.where(totals > 0, totals, 1.0)
    shares = torch.where(totals > 0, weight.to(losses.dtype), 0.0)
    whole = shares.sum()
    return (shares * means).sum() / torch.where(whole > 0, whole, 1.0)


def edge_weights(edges: Edges, ties: str) -> Tensor:
    """(E,) what each edge counts for: its weight, or 0 for a tie where ties are dropped.

    Raises ValueError for an unknown policy for ties.
    """
    if ties not in TIES:
        raise ValueError(f"ties must be one of {', '.join(TIES)}, not {ties!r}.")
    return torch.where(edges.tied, 0.0, edges.weight) if ties == "drop" else edges.weight


def list_weights(lists: Lists) -> Tensor:
    """(C,) what each ranking counts for: its weight, or 0 where it has fewer than two ranks."""
    if lists.ranks.numel() == 0:
        return lists.weight
    return torch.where((lists.ranks > 0).any(1), lists.weight, 0.0)


def counted_weights(edges: Edges, weight: Tensor, ties: str) -> Tensor:
    """(G,) what each group counts for in a loss on edges: its weight (G,), or 0 where no edge counts."""
    return torch.where(_totals(edge_weights(edges, ties), edges.group, weight) > 0, weight, 0.0)


def ranked_weights(lists: Lists, groups: int) -> Tensor:
    """(G,) what each of so many groups counts for in a loss on whole rankings: the weights of those that count."""
    counted = list_weights(lists)
    return _totals(counted, lists.group, counted.new_zeros(groups))


def rated_weights(targets: Tensor, group: Tensor, weight: Tensor) -> Tensor:
    """(G,) what each group counts for in a loss on ratings: its weight (G,), or 0 where all targets are NaN.

    targets (N,) or (N, Q) of completions that belong to `group` (N,).
    """
    counted = (~targets.isnan()).reshape(len(group), -1).any(-1)
    return torch.where(_totals(counted.to(weight.dtype), group, weight) > 0, weight, 0.0)


def _totals(values: Tensor, group: Tensor, groups: Tensor) -> Tensor:
    """(G,) sums of values (E,) by group, for as many groups as `groups` (G,) has."""
    return values.new_zeros(len(groups)).index_add(0, group, values)

"""Supervised learning: the likelihood of answers."""

import torch
from torch import Tensor


def nll(sums: Tensor, counts: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean negative log-likelihood of a token: −Σ weight·sum / Σ weight·count over completions, all (N,).

    `sums` are summed log-probabilities of completions and `counts` their tokens. Every token counts alike, whatever
    batch it stands in. 0 when there are no tokens.
    """
    shares = torch.ones_like(sums) if weight is None else weight.to(sums.dtype)
    tokens = (shares * counts).sum()
    return -(shares * sums).sum() / torch.where(tokens > 0, tokens, 1.0)

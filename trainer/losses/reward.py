"""Losses of reward models: comparisons, and what was said about completions on their own."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from trainer.data.batches import Edges
from trainer.losses.means import edge_weights, prompt_mean

MARGINS = {"none": 0.0, "small": 1 / 3, "large": 1.0}
"""What each grade of strength above the weakest asks for (Touvron et al. 2023, Llama 2, table 27)."""


def reward_loss(
    scores: Tensor,
    edges: Edges,
    weight: Tensor,
    *,
    ties: str = "drop",
    margins: Tensor | None = None,
    centering: float = 0.0,
    tie_width: Tensor | None = None,
) -> Tensor:
    """Bradley-Terry from K-way comparisons, −log σ(r_i − r_j − m) for i preferred to j, a mean over prompts.

    scores (N,) of completions, weight (G,) of groups. margins (E,) are m, see `margins_of`; a tie has none. Ties:
    "drop" leaves them out; "soft" takes half of a tie in each direction; "rao_kupper" (Rao and Kupper 1967) gives
    them a width θ > 0, the scalar `tie_width`, which may be learned: P(i ≻ j) = σ(d − θ), P(tie) = 1 − σ(d − θ) −
    σ(−d − θ), d = r_i − r_j.
    `centering` c adds c · (r_i + r_j)² to each comparison, equation 2 of Eisenstein et al. 2023, which keeps scores
    around zero. Raises ValueError for an unknown policy for ties and for one without the width that it needs.
    """
    counted = edge_weights(edges, ties)
    first, second = scores[edges.i], scores[edges.j]
    asked = torch.zeros_like(first) if margins is None else margins.to(first.dtype)
    losses = _edge_losses(first - second, edges.tied, asked, ties, tie_width)
    if centering:
        losses = losses + centering * (first + second) ** 2
    return prompt_mean(losses, counted, edges.group, weight)


def margins_of(strength: Tensor, kind: str) -> Tensor:
    """(E,) float32 margins for strengths (E,), 4 for significantly better down to 1, and 0 where it was not asked.

    "small": 1, 2/3, 1/3, 0; "large": 3, 2, 1, 0; "none", and what was not asked: 0. Raises ValueError for another
    kind.
    """
    if kind not in MARGINS:
        raise ValueError(f"margin must be one of {', '.join(MARGINS)}, not {kind!r}.")
    return MARGINS[kind] * (strength - 1).clamp_min(0).to(torch.float32)


def rating_loss(values: Tensor, targets: Tensor, group: Tensor, weight: Tensor) -> Tensor:
    """(v − t)² of values (N,) predicted for ratings (N,), 0 to 1 or NaN where there is none, a mean over prompts.

    `group` (N,) is the group of each completion, weight (G,) what groups count for.
    """
    rated = ~targets.isnan()
    losses = (values - torch.where(rated, targets, 0.0).to(values.dtype)) ** 2
    return prompt_mean(losses, rated, group, weight)


def answer_loss(logits: Tensor, targets: Tensor, group: Tensor, weight: Tensor) -> Tensor:
    """Binary cross-entropy of Q yes/no questions, logits and targets (N, Q), a mean over prompts.

    A target is the share that said yes, NaN where nobody answered; least where σ(logit) is that share. All answers
    about the completions of a prompt count alike in its mean. `group` (N,), weight (G,).
    """
    answered = ~targets.isnan()
    shares = torch.where(answered, targets, 0.0).to(logits.dtype)
    losses = binary_cross_entropy_with_logits(logits, shares, reduction="none")
    owners = group.unsqueeze(1).expand(logits.shape)
    return prompt_mean(losses.reshape(-1), answered.reshape(-1), owners.reshape(-1), weight)


def _edge_losses(difference: Tensor, tied: Tensor, margins: Tensor, ties: str, width: Tensor | None) -> Tensor:
    """(E,) the loss of each edge, from the differences of scores (E,)."""
    if ties == "rao_kupper":
        if width is None:
            raise ValueError("ties='rao_kupper' needs tie_width, the width θ > 0 of a tie.")
        theta = width.to(difference.dtype)
        won = -logsigmoid(difference - margins - theta)
        # P(tie) = (e^{2θ} − 1) · σ(d − θ) · σ(−d − θ): no difference of nearly equal numbers.
        even = -logsigmoid(difference - theta) - logsigmoid(-difference - theta) - _log_expm1(2 * theta)
    else:
        won = -logsigmoid(difference - margins)
        even = -(logsigmoid(difference) + logsigmoid(-difference)) / 2
    return torch.where(tied, even, won)


def _log_expm1(value: Tensor) -> Tensor:
    """log(e^x − 1) for x > 0, exact where x is small or e^x overflows."""
    return value + torch.log(-torch.expm1(-value))

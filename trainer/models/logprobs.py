"""Log-probabilities of chosen tokens without the logits of all: the vocabulary in chunks, computed again on the way
back, so that no tensor of (tokens, vocabulary) is ever alive.
"""

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn.functional import linear

CHUNK_ELEMENTS = 2**22
"""Logits in memory at once: 16 MB in float32."""


class Head(NamedTuple):
    """What turns hidden states into logits: weight (V, d), bias (V,) or None; logits l become c·tanh(l/c) with a
    softcap c (Gemma 2), and hidden states are multiplied by `scale` first (Cohere, Granite).
    """

    weight: Tensor
    bias: Tensor | None = None
    softcap: float | None = None
    scale: float = 1.0


def selected_logprobs(hidden: Tensor, head: Head, targets: Tensor) -> Tensor:
    """(M,) float32 log-probabilities of targets (M,) given the hidden states (M, d) that predict them.

    log softmax(l)_y = l_y − logsumexp(l), products in the type of `hidden`, everything after them in float32. Any
    gradient may come back, one number a token. `hidden` and the head's weight get exact gradients.
    """
    scaled = hidden if head.scale == 1.0 else hidden * head.scale
    found = _SelectedLogprobs.apply(scaled, head.weight, head.bias, targets, head.softcap)  # type: ignore[no-untyped-call]
    return cast(Tensor, found)


class _SelectedLogprobs(torch.autograd.Function):
    """Forward keeps the logsumexp of each token; backward computes each chunk's logits again."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, softcap: float | None
    ) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            cast_weight = weight.to(hidden.dtype)
            normalizers, logprobs = [], []
            for part, chosen in _chunks(hidden, targets, len(weight)):
                logits = _logits(part, cast_weight, bias, softcap)
                normalizers.append(logits.logsumexp(1))
                logprobs.append(logits.gather(1, chosen.unsqueeze(1)).squeeze(1) - normalizers[-1])
        ctx.save_for_backward(hidden, weight, bias, targets, _joined(normalizers, hidden))
        ctx.softcap = softcap
        return _joined(logprobs, hidden)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        hidden, weight, bias, targets, normalizers = ctx.saved_tensors
        wants_hidden, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        to_hidden = torch.zeros_like(hidden) if wants_hidden else None
        # Summed in float32 whatever the products are: thousands of tokens add to each row of the weight.
        to_weight = torch.zeros_like(weight, dtype=_summing(weight)) if wants_weight else None
        to_bias = torch.zeros_like(bias, dtype=_summing(bias)) if wants_bias else None
        start = 0
        with torch.autocast(hidden.device.type, enabled=False):
            cast_weight = weight.to(hidden.dtype)
            for part, chosen in _chunks(hidden, targets, len(weight)):
                stop = start + len(part)
                slope = _slope(part, cast_weight, bias, chosen, normalizers[start:stop], ctx.softcap)
                slope = slope.mul_(gradients[0][start:stop].unsqueeze(1))
                product = slope.to(hidden.dtype)
                if to_hidden is not None:
                    torch.mm(product, cast_weight, out=to_hidden[start:stop])
                if to_weight is not None:
                    to_weight += product.t() @ part
                if to_bias is not None:
                    to_bias += slope.sum(0)
                start = stop
        return (
            to_hidden,
            None if to_weight is None else to_weight.to(weight.dtype),
            None if to_bias is None else to_bias.to(bias.dtype),
            None,
            None,
        )


def _slope(
    part: Tensor, weight: Tensor, bias: Tensor | None, chosen: Tensor, normalizers: Tensor, softcap: float | None
) -> Tensor:
    """(C, V) derivative of each token's log-probability by its logits: one at the token less the probabilities."""
    logits = _logits(part, weight, bias, softcap)
    capped = (1 - (logits / softcap) ** 2) if softcap else None
    slope = logits.sub_(normalizers.unsqueeze(1)).exp_().neg_()
    slope.scatter_add_(1, chosen.unsqueeze(1), torch.ones_like(normalizers).unsqueeze(1))
    return slope if capped is None else slope.mul_(capped)


def _logits(part: Tensor, weight: Tensor, bias: Tensor | None, softcap: float | None) -> Tensor:
    logits = linear(part, weight).to(_summing(part))
    if bias is not None:
        logits = logits + bias.to(logits.dtype)
    return softcap * torch.tanh(logits / softcap) if softcap else logits


def _chunks(hidden: Tensor, targets: Tensor, vocabulary: int) -> list[tuple[Tensor, Tensor]]:
    size = max(1, CHUNK_ELEMENTS // vocabulary)
    parts = range(0, len(targets), size)
    return [(hidden[start : start + size], targets[start : start + size]) for start in parts]


def _joined(parts: list[Tensor], like: Tensor) -> Tensor:
    return torch.cat(parts) if parts else like.new_zeros(0, dtype=_summing(like))


def _summing(tensor: Tensor) -> torch.dtype:
    """float32, or float64 where that is computed in."""
    return torch.promote_types(tensor.dtype, torch.float32)

"""Optimizer, learning rate, precision and device: what all trainings do alike."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from trainer.config import TrainingOptions
from trainer.loop.parts import gradients, gradients_norm


def device_resolve() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def dtype_resolve(name: str, device: torch.device) -> torch.dtype:
    """The precision to compute in. auto is bfloat16 on a GPU that has it, else float32."""
    if name == "auto":
        return (
            torch.bfloat16
            if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
            else torch.float32
        )
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def precision(device: torch.device, dtype: torch.dtype, *, cached: bool = True) -> AbstractContextManager[object]:
    """Computes the forward pass in `dtype`. Weights and optimizer stay float32: bfloat16 would lose small updates.

    Where `cached`, the copy of a weight in `dtype` is made once, and kept until the outermost such block ends.
    """
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32, cache_enabled=cached)


def optimizer_build(
    model: nn.Module, options: TrainingOptions, *, head: Sequence[str] = (), head_rate: float = 1.0
) -> AdamW:
    """Fused AdamW over all parameters that learn. Vectors (norms, biases) do not decay; the modules of the `head` learn
    by `head_rate` times the learning rate.
    """
    parts: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        scale = head_rate if name.split(".")[0] in head else 1.0
        decay = options.weight_decay if parameter.ndim > 1 else 0.0
        parts.setdefault((scale, decay), []).append(parameter)
    groups = [
        {"params": parameters, "weight_decay": decay, "rate_scale": scale}
        for (scale, decay), parameters in sorted(parts.items(), key=lambda part: part[0])
    ]
    betas = (options.beta1, options.beta2)
    return AdamW(groups, lr=options.learning_rate, betas=betas, eps=options.epsilon, fused=True)


def rate_at(step: int, total: int, options: TrainingOptions) -> float:
    """The learning rate of optimizer step `step` (the first is 1) of `total`.

    It rises in a line over the warm-up, whose last step has the full rate (the first step, where there is no
    warm-up), and falls to `final_rate` of it at the last step.
    """
    warmup = min(math.ceil(options.warmup * total), total)
    if step <= warmup:
        return options.learning_rate * step / warmup
    if options.schedule == "constant":
        return options.learning_rate
    full = max(warmup, 1)
    done = (step - full) / max(1, total - full)
    left = (1 + math.cos(math.pi * done)) / 2 if options.schedule == "cosine" else 1 - done
    return options.learning_rate * (options.final_rate + (1 - options.final_rate) * left)


@torch.no_grad()
def gradients_clip(model: nn.Module, max_norm: float) -> float:
    """Scale the gradients that were added up down to a norm, unless it is 0. Returns their norm before that."""
    norm = gradients_norm(model)
    if max_norm:
        scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
        for gradient in gradients(model):
            gradient.mul_(scale)
    return float(norm)


def optimizer_step(optimizer: AdamW, *, rate: float) -> None:
    """Take a step with the gradients, and forget them."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate_scale"]
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)

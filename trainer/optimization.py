"""Optimizer, learning rate, precision and device: what all trainings do alike."""

import math
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from trainer.config import TrainingOptions

BETAS = (0.9, 0.999)
EPSILON = 1e-8


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


def precision(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Computes the forward pass in `dtype`. Weights and optimizer stay float32: bfloat16 would lose small updates."""
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


def optimizer_build(model: nn.Module, options: TrainingOptions, *, head: str = "", head_rate: float = 1.0) -> AdamW:
    """AdamW over all parameters. Vectors (norms and biases) do not decay; the module named `head` learns by
    `head_rate` times the learning rate.
    """
    parts: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        scale = head_rate if head and name.startswith(f"{head}.") else 1.0
        decay = options.weight_decay if parameter.ndim > 1 else 0.0
        parts.setdefault((scale, decay), []).append(parameter)
    groups = [
        {"params": parameters, "weight_decay": decay, "rate_scale": scale}
        for (scale, decay), parameters in sorted(parts.items(), key=lambda part: part[0])
    ]
    return AdamW(groups, lr=options.learning_rate, betas=BETAS, eps=EPSILON)


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


def optimizer_step(model: nn.Module, optimizer: AdamW, *, rate: float, max_norm: float) -> float:
    """Clip the gradients that were added up, take a step, and forget them. Returns their norm before clipping."""
    parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]
    # clip_grad_norm_ with an infinite limit measures alone.
    norm = nn.utils.clip_grad_norm_(parameters, max_norm or math.inf)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate_scale"]
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(norm)

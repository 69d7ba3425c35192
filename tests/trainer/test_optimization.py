"""Optimizer, learning rate and precision."""

import math

import pytest
import torch
from torch import nn

from trainer.config import RewardOptions, TrainingOptions
from trainer.loop.optimization import dtype_resolve, gradients_clip, optimizer_build, optimizer_step, precision, rate_at


def options(**changes: object) -> TrainingOptions:
    """Options of a training, the learning rate being 1."""
    given: dict[str, object] = {"learning_rate": 1.0, "warmup": 0.0, "final_rate": 0.1}
    return RewardOptions(**(given | changes))  # type: ignore[arg-type]


def network() -> nn.Sequential:
    """Two layers, the second being the head."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))


def test_the_rate_rises_over_the_warm_up() -> None:
    rates = [rate_at(step, 100, options(warmup=0.05)) for step in range(1, 6)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_the_rate_falls_from_all_to_the_final_share(schedule: str) -> None:
    rates = [rate_at(step, 21, options(schedule=schedule)) for step in range(1, 22)]
    assert (rates[0], rates[10], rates[-1]) == pytest.approx((1.0, 0.55, 0.1))
    assert rates == sorted(rates, reverse=True)


def test_cosine_is_a_cosine() -> None:
    rate = rate_at(6, 21, options(schedule="cosine", final_rate=0.0))
    assert rate == pytest.approx((1 + math.cos(math.pi / 4)) / 2)


def test_a_constant_rate_stays() -> None:
    assert {rate_at(step, 9, options(schedule="constant")) for step in range(1, 10)} == {1.0}


@pytest.mark.parametrize("warmup", [0.0, 0.05])
def test_a_run_of_one_step_has_the_full_rate(warmup: float) -> None:
    assert rate_at(1, 1, options(warmup=warmup)) == 1.0


def test_a_run_of_warm_up_alone_ends_at_the_full_rate() -> None:
    assert rate_at(10, 10, options(warmup=1.0)) == 1.0


def test_only_matrices_decay() -> None:
    optimizer = optimizer_build(network(), options(weight_decay=0.3))
    decays = {group["weight_decay"]: {tensor.ndim for tensor in group["params"]} for group in optimizer.param_groups}
    assert decays == {0.0: {1}, 0.3: {2}}


def test_the_head_learns_by_its_own_rate() -> None:
    model = network()
    optimizer = optimizer_build(model, options(), head="1", head_rate=5.0)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer_step(optimizer, rate=0.01)
    moved = [float((old - new.detach()).abs().max()) for old, new in zip(before, model.parameters(), strict=True)]
    # Adam's first step is the rate itself, whatever the gradient.
    assert moved == pytest.approx([0.01, 0.01, 0.05, 0.05], rel=1e-4)


def test_gradients_are_measured_clipped_and_forgotten() -> None:
    model = nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.AdamW([{"params": [model.weight], "rate_scale": 1.0}], lr=1.0, eps=1.0, weight_decay=0.0)
    start = float(model.weight)
    model.weight.grad = torch.tensor([[8.0]])
    assert gradients_clip(model, 2.0) == 8.0
    optimizer_step(optimizer, rate=1.0)
    # With eps 1, Adam's first step is g / (|g| + 1), and g was cut to 2.
    assert start - float(model.weight) == pytest.approx(2 / 3, rel=1e-4)
    assert model.weight.grad is None


def test_no_limit_leaves_gradients() -> None:
    model = nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.AdamW([{"params": [model.weight], "rate_scale": 1.0}], lr=1.0, eps=1.0, weight_decay=0.0)
    start = float(model.weight)
    model.weight.grad = torch.tensor([[8.0]])
    assert gradients_clip(model, 0.0) == 8.0
    optimizer_step(optimizer, rate=1.0)
    assert start - float(model.weight) == pytest.approx(8 / 9, rel=1e-4)


def test_the_cpu_computes_in_float32_unless_told() -> None:
    cpu = torch.device("cpu")
    assert dtype_resolve("auto", cpu) == torch.float32
    assert dtype_resolve("bfloat16", cpu) == torch.bfloat16


def test_bfloat16_is_for_the_forward_pass_alone() -> None:
    model = nn.Linear(4, 4)
    with precision(torch.device("cpu"), torch.bfloat16):
        output = model(torch.ones(1, 4))
    output.float().sum().backward()
    assert output.dtype == torch.bfloat16
    assert model.weight.grad is not None
    assert model.weight.grad.dtype == torch.float32

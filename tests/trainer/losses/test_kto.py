"""KTO: completions one by one."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from tests.trainer.losses.cases import gradient, ones, vector
from trainer.losses import kto_baseline, kto_loss

NAN = math.nan
ZERO = torch.tensor(0.0)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_by_hand() -> None:
    """ρ − z0 = 2 desirable, 1 − σ(½·2); −1 undesirable, 2·(1 − σ(½·1)); one without a label; weights 1 and 3."""
    loss = kto_loss(
        vector(3.0, 0.0, 50.0),
        torch.tensor([1.0, 0.0, NAN]),
        torch.tensor(1.0),
        torch.tensor([1.0, 3.0, 9.0]),
        beta=0.5,
        desirable_weight=1.0,
        undesirable_weight=2.0,
    )
    assert loss.item() == pytest.approx((1 - sigmoid(1.0) + 3 * 2 * (1 - sigmoid(0.5))) / 4)


@pytest.mark.parametrize("beta", [0.1, 2.0])
@pytest.mark.parametrize("weight", [1.0, 1.3])
def test_the_slope_at_the_baseline_is_beta_times_weight_over_4(beta: float, weight: float) -> None:
    z0 = torch.tensor(0.7)
    for label, sign in [(1.0, -1), (0.0, 1)]:
        logratios = vector(0.7)
        loss = kto_loss(
            logratios,
            torch.tensor([label]),
            z0,
            ones(1),
            beta=beta,
            desirable_weight=weight,
            undesirable_weight=weight,
        )
        assert loss.item() == pytest.approx(weight / 2)
        assert gradient(loss, logratios).item() == pytest.approx(sign * beta * weight / 4)


def test_no_gradient_goes_through_the_baseline() -> None:
    logratios, mismatched = vector(1.0, -1.0), vector(0.5, 0.7)
    loss = kto_loss(logratios, torch.tensor([1.0, 0.0]), mismatched.mean(), ones(2), beta=1.0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert mismatched.grad is None


def test_the_baseline_is_a_mean_of_at_least_0() -> None:
    assert kto_baseline(vector(1.0, 2.0)).item() == 1.5
    assert kto_baseline(vector(1.0, -2.0)).item() == 0
    assert kto_baseline(torch.zeros(0)).item() == 0
    assert not kto_baseline(vector(1.0)).requires_grad


def test_nothing_labeled_gives_0_and_no_gradient() -> None:
    logratios = vector(1.0, 2.0)
    for desirable, weight in [(torch.tensor([NAN, NAN]), ones(2)), (torch.tensor([1.0, 0.0]), torch.zeros(2))]:
        loss = kto_loss(logratios, desirable, ZERO, weight, beta=0.1)
        assert loss.item() == 0
        assert gradient(loss, logratios).tolist() == [0, 0]


def test_it_passes_gradcheck() -> None:
    desirable, weight = torch.tensor([1.0, 0.0, NAN, 1.0]), torch.tensor([1.0, 0.5, 2.0, 3.0])
    logratios = vector(0.3, -2.0, 1.0, 4.0)
    assert gradcheck(
        lambda given: kto_loss(
            given, desirable, torch.tensor(0.4), weight, beta=0.7, desirable_weight=1.2, undesirable_weight=0.9
        ),
        (logratios,),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_ratios_stay_finite(dtype: torch.dtype) -> None:
    logratios = torch.tensor([1e4, 1e4, -1e4, -1e4], dtype=dtype, requires_grad=True)
    loss = kto_loss(logratios, torch.tensor([1.0, 0.0, 1.0, 0.0]), torch.tensor(1e4), ones(4), beta=1.0)
    assert loss.isfinite()
    assert gradient(loss, logratios).isfinite().all()


def test_small_losses_keep_their_digits() -> None:
    """1 − σ(40) = e⁻⁴⁰ in float32, where σ(40) is 1."""
    loss = kto_loss(torch.tensor([40.0]), torch.tensor([1.0]), ZERO, torch.ones(1), beta=1.0)
    assert loss.item() == pytest.approx(math.exp(-40), rel=1e-5, abs=0)


def test_portions_weighted_by_what_has_a_label_add_up_to_the_whole() -> None:
    logratios, desirable = vector(0.3, -2.0, 1.0, 4.0), torch.tensor([1.0, NAN, 0.0, 1.0])
    weight, z0 = torch.tensor([1.0, 7.0, 2.0, 3.0]), torch.tensor(0.2)
    whole = kto_loss(logratios, desirable, z0, weight, beta=0.5)
    first = kto_loss(logratios[:2], desirable[:2], z0, weight[:2], beta=0.5)
    second = kto_loss(logratios[2:], desirable[2:], z0, weight[2:], beta=0.5)
    assert whole.item() == pytest.approx((first.item() * 1 + second.item() * 5) / 6)

"""The likelihood of answers, worked by hand."""

import pytest
import torch

from trainer.losses import nll


def test_nll_is_a_mean_over_tokens_not_over_completions() -> None:
    """(2 + 30) / (1 + 3) = 8, where the mean of means is (2 + 10) / 2 = 6."""
    assert nll(torch.tensor([-2.0, -30.0]), torch.tensor([1.0, 3.0])).item() == pytest.approx(8.0)


def test_nll_weighs_completions() -> None:
    """(½·4 + 1·3) / (½·2 + 1·3)."""
    loss = nll(torch.tensor([-4.0, -3.0]), torch.tensor([2.0, 3.0]), torch.tensor([0.5, 1.0]))
    assert loss.item() == pytest.approx(5 / 4)


def test_nll_of_no_tokens_is_0() -> None:
    assert nll(torch.zeros(2), torch.zeros(2)).item() == 0

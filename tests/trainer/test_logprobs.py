"""Log-probabilities of chosen tokens, held to those from all logits, and what is alive meanwhile."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from trainer.models import logprobs
from trainer.models.logprobs import CHUNK_ELEMENTS, Head, selected_logprobs

Made = tuple[Tensor, Head, Tensor]


def made(
    tokens: int = 7,
    width: int = 5,
    vocabulary: int = 11,
    *,
    bias: bool = False,
    softcap: float | None = None,
    scale: float = 1.0,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> Made:
    """Hidden states, a head, and targets, some of them twice; all that can learn does."""
    dice = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=dice, dtype=torch.float64).to(dtype).requires_grad_()

    head = Head(drawn(vocabulary, width), drawn(vocabulary) if bias else None, softcap, scale)
    return drawn(tokens, width), head, torch.randint(vocabulary, (tokens,), generator=dice)


def from_all_logits(hidden: Tensor, head: Head, targets: Tensor) -> Tensor:
    """The same from the logits of all tokens."""
    logits = (hidden * head.scale) @ head.weight.to(hidden.dtype).t()
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if head.bias is not None:
        logits = logits + head.bias
    if head.softcap:
        logits = head.softcap * torch.tanh(logits / head.softcap)
    return logits.log_softmax(1)[torch.arange(len(targets)), targets]


def gradients(of: Callable[..., Tensor], case: Made, upstream: Tensor) -> list[Tensor]:
    """By hidden states, weight and bias, with these gradients of the tokens."""
    hidden, head, targets = case
    inputs = [tensor for tensor in (hidden, head.weight, head.bias) if tensor is not None]
    return list(torch.autograd.grad(of(hidden, head, targets), inputs, upstream))


HEADS: list[dict[str, Any]] = [
    {},
    {"bias": True},
    {"softcap": 2.0},
    {"scale": 0.3},
    {"bias": True, "softcap": 1.5, "scale": 2.0},
]


@pytest.fixture(params=[1, 33, CHUNK_ELEMENTS])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One token at a time, three at a time (the last chunk is smaller), all at once."""
    monkeypatch.setattr(logprobs, "CHUNK_ELEMENTS", request.param)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("options", HEADS)
def test_gradients_pass_gradcheck(options: dict[str, Any]) -> None:
    hidden, head, targets = made(**options)
    leaves = [tensor for tensor in (hidden, head.weight, head.bias) if tensor is not None]

    def of(hidden: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return selected_logprobs(hidden, head._replace(weight=weight, bias=bias), targets)

    assert gradcheck(of, leaves)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("options", HEADS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_are_those_from_all_logits(dtype: torch.dtype, options: dict[str, Any]) -> None:
    case = made(dtype=dtype, **options)
    expected = from_all_logits(*case)
    found = selected_logprobs(*case)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected)
    upstream = torch.linspace(-2, 3, len(found), dtype=dtype)
    for one, other in zip(
        gradients(selected_logprobs, case, upstream), gradients(from_all_logits, case, upstream), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_a_token_by_hand() -> None:
    """Logits 0, log 2 and log 5 of hidden state 1: chances 1/8, 2/8 and 5/8."""
    weight = torch.tensor([[1.0], [2.0], [5.0]]).log()
    found = selected_logprobs(torch.ones(3, 1), Head(weight), torch.tensor([0, 1, 2]))
    assert found.exp().tolist() == pytest.approx([0.125, 0.25, 0.625])


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("head_type", [torch.bfloat16, torch.float32])
def test_in_bfloat16_only_the_products_are_rounded(head_type: torch.dtype) -> None:
    """Logits of up to 4 are rounded by up to 2⁻⁷; all after them is float32."""
    hidden, head, targets = made(tokens=40, width=32, vocabulary=50, dtype=torch.bfloat16)
    head = Head((head.weight.detach().to(head_type) / 6).requires_grad_())
    case = (hidden, head, targets)
    found = selected_logprobs(*case)
    assert found.dtype == torch.float32
    exact = from_all_logits(hidden.detach().float(), Head(head.weight.detach().float()), targets)
    torch.testing.assert_close(found, exact, rtol=0, atol=0.02)

    upstream = torch.linspace(-1, 1, 40)
    to_hidden, to_weight = gradients(selected_logprobs, case, upstream)
    assert (to_hidden.dtype, to_weight.dtype) == (torch.bfloat16, head_type)
    full = (hidden.detach().float().requires_grad_(), Head(head.weight.detach().float().requires_grad_()), targets)
    for rounded, wanted in zip((to_hidden, to_weight), gradients(from_all_logits, full, upstream), strict=True):
        assert (rounded.float() - wanted).norm() < 0.01 * wanted.norm()


def test_autocast_does_not_reach_inside() -> None:
    case = made(tokens=30, width=16, vocabulary=40, dtype=torch.float32)
    upstream = torch.ones(30)
    expected = [selected_logprobs(*case), *gradients(selected_logprobs, case, upstream)]
    with torch.autocast("cpu", torch.bfloat16):
        found = [selected_logprobs(*case), *gradients(selected_logprobs, case, upstream)]
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.usefixtures("chunk")
def test_any_gradient_may_come_back() -> None:
    """A loss that is no sum of tokens: each token's gradient is another, some are 0."""
    case = made(tokens=9, bias=True)

    def squared(hidden: Tensor, head: Head, targets: Tensor, of: Callable[..., Tensor]) -> Tensor:
        tokens = of(hidden, head, targets)
        sums = tokens.new_zeros(3).index_add(0, torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2]), tokens)
        return (torch.tensor([1.0, -3.0, 0.0]) * sums**2).sum()

    hidden, head, _ = case
    assert head.bias is not None
    leaves = (hidden, head.weight, head.bias)
    found = torch.autograd.grad(squared(*case, selected_logprobs), leaves)
    for one, other in zip(found, torch.autograd.grad(squared(*case, from_all_logits), leaves), strict=True):
        torch.testing.assert_close(one, other)
    assert found[0][6:].abs().max() == 0


def test_what_needs_no_gradient_gets_none() -> None:
    hidden, head, targets = made(bias=True)
    assert head.bias is not None
    frozen = Head(head.weight.detach(), head.bias.detach())
    selected_logprobs(hidden, frozen, targets).sum().backward()  # type: ignore[no-untyped-call]
    assert hidden.grad is not None
    assert frozen.weight.grad is None
    selected_logprobs(hidden.detach(), head, targets).sum().backward()  # type: ignore[no-untyped-call]
    assert head.weight.grad is not None
    assert not selected_logprobs(hidden.detach(), frozen, targets).requires_grad


def test_no_tokens_are_no_values_and_no_gradient() -> None:
    hidden, head, targets = made(tokens=0, bias=True)
    found = selected_logprobs(hidden, head, targets)
    assert found.shape == (0,)
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert hidden.grad is not None
    assert hidden.grad.shape == (0, 5)
    assert head.weight.grad is not None
    assert head.weight.grad.abs().max() == 0


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_extreme_logits_stay_finite(size: float) -> None:
    weight = torch.tensor([[size], [0.0], [-size]], requires_grad=True)
    hidden = torch.ones(3, 1, requires_grad=True)
    found = selected_logprobs(hidden, Head(weight), torch.tensor([0, 1, 2]))
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert found.tolist() == [min(0, 2 * size), -1e4, min(0, -2 * size)]
    assert hidden.grad is not None
    assert weight.grad is not None
    assert hidden.grad.isfinite().all()
    assert weight.grad.isfinite().all()


class Watch(TorchDispatchMode):
    """The most elements of any tensor that an operation gives."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                self.most = max(self.most, tensor.numel())
        return result


def most_elements(of: Callable[..., Tensor], case: Made) -> int:
    """Of any tensor that is made on the way there and back."""
    with Watch() as watch:
        of(*case).sum().backward()  # type: ignore[no-untyped-call]
    return watch.most


TOKENS, VOCABULARY, WIDTH = 2048, 8192, 8


def test_no_tensor_of_tokens_by_vocabulary_is_ever_made() -> None:
    """16 million logits, of which 4 million may be there at once."""
    options: dict[str, Any] = {"bias": True, "softcap": 3.0, "dtype": torch.float32}
    assert TOKENS * VOCABULARY > 3 * CHUNK_ELEMENTS
    assert most_elements(from_all_logits, made(TOKENS, WIDTH, VOCABULARY, **options)) >= TOKENS * VOCABULARY
    assert most_elements(selected_logprobs, made(TOKENS, WIDTH, VOCABULARY, **options)) <= CHUNK_ELEMENTS


def test_what_waits_for_the_way_back_is_no_larger_than_what_came_in() -> None:
    case = made(TOKENS, WIDTH, VOCABULARY, dtype=torch.float32)
    kept: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        selected_logprobs(*case)
    assert sorted(kept) == sorted([TOKENS, TOKENS, TOKENS * WIDTH, VOCABULARY * WIDTH])


def test_a_vocabulary_greater_than_a_chunk_goes_token_by_token() -> None:
    case = made(3, 2, 50, dtype=torch.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logprobs, "CHUNK_ELEMENTS", 10)
        found = selected_logprobs(*case)
    torch.testing.assert_close(found, from_all_logits(*case))

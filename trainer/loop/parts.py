"""Tensors that are divided among processes: what this one holds of them, and the whole of them."""

from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from trainer.loop import distributed


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor, in the same memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor. All processes must ask for it where it is divided."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def divided(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, divided as another of its shape is."""
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    # Every process has all of it: nothing is sent.
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


def gradients(model: nn.Module) -> list[Tensor]:
    """What this process holds of the gradients that were added up."""
    return [local(parameter.grad) for parameter in model.parameters() if parameter.grad is not None]


def gradients_norm(model: nn.Module) -> Tensor:
    """The norm of the gradients that were added up, a scalar, the same in all processes."""
    have = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    parts = [local(gradient) for gradient in have if isinstance(gradient, DTensor)]
    norm = nn.utils.get_total_norm([gradient for gradient in have if not isinstance(gradient, DTensor)])
    if not parts:
        return norm
    squares = distributed.summed(float(nn.utils.get_total_norm(parts)) ** 2)
    return (norm**2 + squares).sqrt()

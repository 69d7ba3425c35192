"""One model divided among processes (FSDP2): of each weight, its gradient and AdamW's means, a process holds a part.

The weights of a layer are together while it computes, those outside of layers while a pass lasts; in between there are
parts alone (`DTensor`, divided by rows). Each turn, forward or forward and backward, is one of all processes: one that
has nothing left to compute lends its parts to the others. Checkpoints hold whole tensors, so that a run goes on with
any number of processes.
"""

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.optim import AdamW
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from trainer.config import TrainingOptions
from trainer.data.batches import Batch, Feed, Tokens, collate, portions
from trainer.data.groups import Group
from trainer.loop import distributed
from trainer.loop.memory import memory_release
from trainer.loop.optimization import dtype_resolve, precision
from trainer.loop.parts import local, whole
from trainer.models.entrance import Entrance, Pass, entrance_of, entrance_set
from trainer.runs import InputError, say


class _Sharded(Entrance):
    """The entrance of a sharded model, which keeps its modules as they were, without weights.

    Passes compute in the run's type, those that count for nothing too.
    """

    def __init__(self, model: PreTrainedModel, idle: Pass, dtype: torch.dtype) -> None:
        super().__init__(model, idle)
        self.dtype = dtype
        # In a list, so that it is no part of what is sharded.
        self.blank = [_blank(model)]

    def forward(self, compute: Pass, tokens: Tokens) -> Tensor:
        """What a pass computes."""
        # Copies of weights in bfloat16 that were kept would be those of all layers together.
        with precision(self.model.device, self.dtype, cached=False):
            return super().forward(compute, tokens)


def model_shard(model: PreTrainedModel, options: TrainingOptions, idle: Pass) -> None:
    """Divide a model among the processes, in place, where the options ask for it; `idle` is a pass through it.

    Call it before the optimizer is built. Raises InputError for a model that cannot be divided, and CommandError when
    the processes do not hold the same one.
    """
    if options.parallel != "sharded":
        return
    if distributed.count() == 1:
        say("parallel=sharded divides the model among processes; this one is alone and holds all of it.")
        return
    distributed.replicas_check(model)
    entrance = _Sharded(model, idle, dtype_resolve(options.dtype, model.device))
    try:
        _divide(entrance)
    except (NotImplementedError, ValueError) as error:
        raise InputError(f"{type(model).__name__} cannot be sharded: {error} Set parallel to replicas.") from error
    entrance_set(model, entrance)
    held = sum(local(parameter).numel() for parameter in model.parameters())
    say(f"The model is sharded: this process holds {held:,} of its {model.num_parameters():,} weights.")


def model_gather(model: PreTrainedModel, optimizer: AdamW) -> None:
    """Put a model that was sharded together again, in place and in every process. Its optimizer is done with.

    Raises PeerError where another process failed before it came here.
    """
    entrance = entrance_of(model)
    if not isinstance(entrance, _Sharded):
        return
    # The one that leads may have failed to write what was measured last.
    distributed.exchange(None)
    optimizer.state.clear()  # makes room
    optimizer.param_groups.clear()
    entrance_set(model, None)
    _together(model, entrance.blank.pop())
    # What was sharded refers to itself in circles, and to the model.
    del entrance.model, entrance
    memory_release()


def turns(
    model: nn.Module, feed: Feed, groups: Sequence[Group], *, idle_too: bool = False
) -> Iterator[tuple[list[Group], Batch]]:
    """Groups of this process in portions with their batches, each for one pass through the model.

    Where the model is sharded, all processes have equally many turns: one that has fewer portions than another passes
    over a batch that counts for nothing until all are done, with a backward pass where gradients are computed. With
    `idle_too`, that batch comes with no groups, after the passes through it.
    """
    entrance = entrance_of(model)
    if entrance is None:
        yield from feed.batches(groups)
        return
    mine = sum(1 for _ in portions(groups, feed.micro_tokens, shared=feed.shared))
    idle = max(distributed.exchange(mine)) - mine
    yield from feed.batches(groups)
    for _ in range(idle):
        batch = _turn_idle(entrance, feed)
        if idle_too:
            yield [], batch


def _divide(entrance: Entrance) -> None:
    """Divide a model by its layers, and what is outside of them. Raises ValueError for one that cannot be divided."""
    if names := [name for name, _ in entrance.model.named_parameters(recurse=False)]:
        raise ValueError(f"{', '.join(names)} are weights in none of its modules.")
    mesh = init_device_mesh(entrance.model.device.type, (distributed.count(),))
    for layer in _layers(entrance.model):
        fully_shard(layer, mesh=mesh)
    # Else what is outside of layers would stay together after a pass, and be that of an older step in the next.
    fully_shard(entrance, mesh=mesh, reshard_after_forward=True)
    for part in entrance.modules():
        if isinstance(part, FSDPModule):
            # A portion counts by its share of the step, so that gradients add up to that of the step.
            part.set_gradient_divide_factor(1.0)
            part.set_force_sum_reduction_for_comms(True)
            # A weight may be used in one process alone.
            part.set_reduce_scatter_unused_params(True, recurse=False)


def _turn_idle(entrance: Entrance, feed: Feed) -> Batch:
    nothing = [Group(0, [feed.pad_id], [[feed.pad_id]], [], 1.0, (0,))]
    batch = collate(nothing, feed.pad_id, feed.device, shared=feed.shared)
    found = entrance.idle(entrance.model, batch.tokens)
    if torch.is_grad_enabled():
        (found.sum() * 0.0).backward()  # type: ignore[no-untyped-call]
    return batch


def _together(model: PreTrainedModel, blank: PreTrainedModel) -> None:
    """Give a model the modules of a blank one, with whole weights."""
    together: dict[int, nn.Parameter] = {}
    weights: dict[str, nn.Parameter] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if isinstance(tensor, DTensor):
            if id(tensor) not in together:  # those that are tied stay so
                together[id(tensor)] = nn.Parameter(whole(tensor.detach()), requires_grad=tensor.requires_grad)
            weights[name] = together[id(tensor)]
    blank.load_state_dict(weights, strict=False, assign=True)
    for name, part in blank.named_children():
        setattr(model, name, part)


def _layers(model: PreTrainedModel) -> list[nn.Module]:
    """The layers of a model, none of them inside another."""
    found = {name: part for name, part in model.named_modules() if isinstance(part, GradientCheckpointingLayer)}
    return [part for name, part in found.items() if not any(name.startswith(f"{outer}.") for outer in found)]


def _blank(model: PreTrainedModel) -> PreTrainedModel:
    """The modules of a model with parameters that take no memory, and with its own configuration."""
    memo: dict[int, object] = {
        id(one): nn.Parameter(torch.empty_like(one, device="meta"), requires_grad=one.requires_grad)
        for one in model.parameters()
    }
    return copy.deepcopy(model, memo | {id(model.config): model.config})

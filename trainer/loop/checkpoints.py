"""Checkpoints: what a training needs to go on as if it had never stopped. Complete or absent; no pickle.

A checkpoint is a folder `checkpoints/step-N` with the weights that learn, the optimizer's tensors and the state of the
random number generators as safetensors, and everything else as JSON. The place in the data follows from the step, and
weights that are frozen come from the model that was given.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from trainer.durable import aside_of, folder_aside, json_write, leftovers_remove
from trainer.loop import distributed
from trainer.loop.parts import divided, whole
from trainer.records import CHECKPOINT_STATE, CHECKPOINTS, Checkpoint
from trainer.runs import InputError, RunFolder, leading

_WEIGHTS, _OPTIMIZER, _RANDOM = "weights.safetensors", "optimizer.safetensors", "random.safetensors"


def checkpoint_save(
    folder: RunFolder,
    *,
    step: int,
    model: nn.Module,
    optimizer: Optimizer,
    state: Mapping[str, Any],
    kept: int = 2,
    also: int | None = None,
) -> Path:
    """Keep what came out of `step` optimizer steps; `state` is JSON. Of all checkpoints the newest ones stay, so many
    as `kept` says, and that of the step `also`. All processes call it, and the one that leads writes.
    """
    checkpoints = folder.path / CHECKPOINTS
    path = checkpoints / f"step-{step}"
    tensors, groups = _optimizer_parts(optimizer)
    files = {_WEIGHTS: _weights(model), _OPTIMIZER: tensors, _RANDOM: _random_state()}
    if not leading() or path.exists():
        for found in files.values():
            _stored(found)  # the others need this process's parts
        return path
    checkpoints.mkdir(exist_ok=True)
    leftovers_remove(checkpoints)
    folder.events.sync()
    folder.outputs.sync()
    with folder_aside(path) as aside:
        for name, found in files.items():
            # Without a name, so that it is gone before the next one is put together.
            save_file(_stored(found), aside / name)
        offsets = {"events_offset": folder.events.offset, "outputs_offset": folder.outputs.offset}
        json_write(aside / CHECKPOINT_STATE, offsets | {"step": step, "state": dict(state), "groups": groups})
    _older_remove(checkpoints, kept, also)
    return path


def checkpoint_load(checkpoint: Checkpoint, *, model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """Put model, optimizer and random number generators back to a checkpoint, and return its `state`.

    Raises InputError when the checkpoint is damaged or of another model.
    """
    try:
        kept = json.loads((checkpoint.path / CHECKPOINT_STATE).read_text())
        weights = load_file(checkpoint.path / _WEIGHTS)
        tensors = load_file(checkpoint.path / _OPTIMIZER)
        random_state = load_file(checkpoint.path / _RANDOM)
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(
            f"The checkpoint {checkpoint.path} cannot be read: {error}. Remove it to go on from an older one."
        ) from error
    _weights_load(checkpoint.path, model, weights)
    _optimizer_load(optimizer, tensors, kept["groups"])
    _random_load(random_state)
    return cast(dict[str, Any], kept["state"])


def checkpoint_weights(path: Path, model: nn.Module) -> None:
    """Put a model's weights back to those of a checkpoint. Raises InputError when it is damaged or of another model."""
    try:
        weights = load_file(path / _WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise InputError(f"The checkpoint {path} cannot be read: {error}.") from error
    _weights_load(path, model, weights)


def checkpoint_bytes(model: nn.Module) -> int:
    """About how large a checkpoint is: what learns, and twice as much for AdamW's two means."""
    return 3 * sum(tensor.numel() * tensor.element_size() for tensor in _weights(model).values())


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """Parameters that learn and kept buffers by name; tied ones once."""
    unique: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if tensor.requires_grad or not isinstance(tensor, nn.Parameter):
            unique.setdefault(id(tensor), (name, tensor))
    return dict(unique.values())


def _weights_load(path: Path, model: nn.Module, stored: Mapping[str, Tensor]) -> None:
    weights = _weights(model)
    wrong = sorted(
        name for name in weights.keys() | stored.keys() if _shape(weights.get(name)) != _shape(stored.get(name))
    )
    if wrong:
        raise InputError(f"The checkpoint {path} is of another model: {', '.join(wrong[:3])} differ.")
    with torch.no_grad():
        for name, tensor in weights.items():
            tensor.copy_(divided(stored[name], tensor))


def _shape(tensor: Tensor | None) -> tuple[int, ...] | None:
    return None if tensor is None else tuple(tensor.shape)


def _optimizer_parts(optimizer: Optimizer) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """An optimizer's tensors, named by the number of the parameter, and its groups without tensors."""
    state = optimizer.state_dict()
    tensors = {
        f"{number}.{name}": torch.as_tensor(value)
        for number, values in state["state"].items()
        for name, value in values.items()
    }
    return tensors, state["param_groups"]


def _optimizer_load(optimizer: Optimizer, tensors: Mapping[str, Tensor], groups: list[dict[str, Any]]) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, name = key.split(".", 1)
        # A tensor of its own memory: views into a file can be aligned otherwise, which may change a last bit.
        state.setdefault(int(number), {})[name] = divided(tensor, parameters[int(number)]).clone()
    now = optimizer.state_dict()["param_groups"]
    kept = [{key: tuple(value) if key == "betas" else value for key, value in group.items()} for group in groups]
    optimizer.load_state_dict({"state": state, "param_groups": [new | old for new, old in zip(now, kept, strict=True)]})


def _random_state() -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state |= {f"cuda.{number}": value for number, value in enumerate(torch.cuda.get_rng_state_all())}
    return state


def _random_load(state: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(state["cpu"])
    for number in range(torch.cuda.device_count()):
        if f"cuda.{number}" in state:
            torch.cuda.set_rng_state(state[f"cuda.{number}"], number)


def _stored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Whole and on the CPU, in the process that leads; the others only give it their parts."""
    # The one that leads may have failed to write what came before.
    distributed.exchange(None)
    stored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        found = whole(tensor.detach())
        if leading():
            stored[name] = found.cpu().contiguous()
    return stored


def _older_remove(checkpoints: Path, kept: int, also: int | None) -> None:
    """Leave the newest. A folder loses its name before its files, so that no part of one looks complete."""
    steps = sorted(int(path.name.removeprefix("step-")) for path in checkpoints.glob("step-*[0-9]"))
    for step in steps[:-kept]:
        if step == also:
            continue
        gone = aside_of(checkpoints / f"step-{step}")
        (checkpoints / f"step-{step}").rename(gone)
        shutil.rmtree(gone)

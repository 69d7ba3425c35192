"""Low-rank adapters (LoRA, Hu et al. 2022): small matrices that learn beside frozen weights.

They are put into the model in place, so that everything else finds its modules under the names and in the types that
it knows. What is published has them merged into the weights and loads like any other model. Switched off, the model
is the one it was before, which makes it its own reference.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from trainer.config import TrainingOptions
from trainer.durable import json_write
from trainer.models.networks import backbone
from trainer.records import canonical
from trainer.runs import InputError, RunFolder, leading, say

ADAPTERS = "adapters.json"
"""In the run folder: what was adapted, and which weights stand beside it."""
# What a configuration says beside the architecture, or about the place that a model came from.
_CIRCUMSTANCES = ("transformers_version", "dtype", "torch_dtype", "architectures", "use_cache", "pad_token_id")


def adapters_add(
    model: PreTrainedModel, options: TrainingOptions, folder: RunFolder, *, whole: Sequence[str] = ()
) -> None:
    """Put adapters beside all linear layers of the backbone where the options ask for them; nothing else learns then,
    but for the modules named in `whole`, which are trained fully.

    They begin as no change at all, drawn from the seed. Raises InputError without peft, when the model has no linear
    layers, and when the run began beside other weights than the model has now: its checkpoints hold adapters alone.
    """
    if not options.lora_rank:
        return
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise InputError("Adapters need peft, which cannot be imported here: make install") from error
    names = _linear_names(model)
    alpha = options.lora_alpha or 2 * options.lora_rank
    _began_check(folder, {"rank": options.lora_rank, "alpha": alpha, "beside": names, "weights": weights_digest(model)})
    config = LoraConfig(
        r=options.lora_rank,
        lora_alpha=cast(Any, alpha),
        target_modules=names,
        lora_dropout=0.0,
        fan_in_fan_out=any(isinstance(model.get_submodule(name), Conv1D) for name in names),
    )
    with torch.random.fork_rng():
        torch.manual_seed(options.seed)
        inject_adapter_in_model(config, model)
    for name in whole:
        model.get_submodule(name).requires_grad_(True)
    learning = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    say(f"Adapters of rank {options.lora_rank} beside {len(names)} layers: {learning:,} numbers learn.")


@contextmanager
def adapters_off(model: nn.Module) -> Iterator[None]:
    """While the block lasts, the model is the one without its adapters."""
    layers = [module for _, module in _adapted(model)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def adapters_merge(model: nn.Module) -> None:
    """Add the adapters to the weights they stand beside, and take them out: the model computes the same as before."""
    for name, layer in list(_adapted(model)):
        layer.merge(safe_merge=True)
        model.set_submodule(name, layer.get_base_layer())
    if hasattr(model, "peft_config"):
        del model.peft_config


def weights_digest(model: PreTrainedModel) -> str:
    """What a model is without its adapters, configuration and weights, in 64 hexadecimal digits."""
    config = {name: value for name, value in model.config.to_dict().items() if not name.startswith("_")}
    described = {name: value for name, value in config.items() if name not in _CIRCUMSTANCES}
    sha256 = hashlib.sha256(canonical([type(model).__name__, json.loads(json.dumps(described, default=str))]))
    for name, weight in sorted(base_weights(model).items()):
        sha256.update(canonical([name, str(weight.dtype), list(weight.shape)]))
        sha256.update(weight.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return sha256.hexdigest()


def base_weights(model: nn.Module) -> dict[str, Tensor]:
    """Parameters by the names that they have without adapters; those of adapters left out, tied ones once."""
    adapters = {
        id(parameter)
        for _, layer in _adapted(model)
        for part in layer.adapter_layer_names
        for parameter in getattr(layer, part).parameters()
    }
    return {
        name.replace(".base_layer.", "."): parameter
        for name, parameter in model.named_parameters()
        if id(parameter) not in adapters
    }


def _adapted(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Layers that have adapters, by name. Nothing is imported for a model that cannot have any."""
    if "peft" not in sys.modules:
        return
    from peft.tuners.lora import LoraLayer

    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            yield name, module


def _linear_names(model: PreTrainedModel) -> list[str]:
    inner = {id(module) for module in backbone(model).modules()}
    names = [
        name for name, module in model.named_modules() if isinstance(module, nn.Linear | Conv1D) and id(module) in inner
    ]
    if not names:
        raise InputError(f"{type(model).__name__} has no linear layers for adapters. Choose lora_rank 0.")
    return names


def _began_check(folder: RunFolder, adapted: dict[str, Any]) -> None:
    path = folder.path / ADAPTERS
    if not path.exists():
        if leading():
            json_write(path, adapted)
    elif json.loads(path.read_text())["weights"] != adapted["weights"]:
        raise InputError(
            f"This run began with adapters beside other weights than the model has now ({path}). "
            "Put the old model back, or choose another --output."
        )

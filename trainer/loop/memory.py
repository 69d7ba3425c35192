"""Memory: how its end is recognised, what is said then, and activations that are computed twice to save it."""

import gc
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from trainer.data.batches import unique_tokens
from trainer.data.groups import Group
from trainer.runs import CommandError, InputError

# What PyTorch says when the memory of a machine, rather than that of a GPU, is used up.
_CPU_WORDS = ("can't allocate memory", "not enough memory", "Cannot allocate memory")
ADVICE = (
    "turn gradient_checkpointing on, lower max_length, train adapters (lora_rank), or use a device with more memory"
)


class MemoryEndError(CommandError):
    """Not even a small part of a step fits in memory; the message says what to change."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory of the GPU or of the machine is used up."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _CPU_WORDS)


def memory_release() -> None:
    """Give back what a failed attempt left behind. Call it outside of `except`, which keeps the attempt's tensors."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def longest_of(groups: Sequence[Group]) -> Group:
    """The group with the most tokens."""
    return max(groups, key=lambda group: (unique_tokens(group), -group.prompt))


def single_error(step: int, prompt: int, tokens: int) -> MemoryEndError:
    """What is raised when one prompt with its completions does not fit on its own."""
    return MemoryEndError(
        f"Out of memory at step {step}: prompt {prompt} with its completions has {tokens} tokens and does not fit on "
        f"its own. To train on it, {ADVICE}; to train without it, lower max_length below its length."
    )


def again_error(step: int, prompt: int, tokens: int, micro_tokens: int) -> MemoryEndError:
    """What is raised when the memory ends a second time."""
    return MemoryEndError(
        f"Out of memory at step {step}, a second time, now with {micro_tokens} micro_tokens. The longest prompt of the "
        f"portion was {prompt}, with {tokens} tokens in all. Set micro_tokens to {max(16, micro_tokens // 2)} or less, "
        f"or {ADVICE}."
    )


def sharded_error(step: int, micro_tokens: int) -> MemoryEndError:
    """What is raised when the memory ends in one of the processes that hold a part of the model each."""
    return MemoryEndError(
        f"Out of memory at step {step}, with {micro_tokens} micro_tokens. With parallel=sharded the step is not done "
        f"again by itself. Set micro_tokens to {max(16, micro_tokens // 2)} or less, start more processes, or {ADVICE}."
    )


def checkpointing_enable(model: PreTrainedModel) -> None:
    """Keep only what goes into each layer, and compute the rest again on the way back.

    transformers does so for layers in training mode, while models here stay in evaluation mode, without dropout. So
    the layers themselves, and nothing inside them, are told that they train. Raises InputError for a model that
    cannot.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    try:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        refused = not layers
    except ValueError:
        refused = True
    if refused:
        raise InputError(
            f"{type(model).__name__} cannot compute its layers twice. Set gradient_checkpointing to false; smaller "
            "micro_tokens save memory too."
        )
    for layer in layers:
        layer.training = True

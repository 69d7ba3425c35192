"""Policies and reward models: load, save, and what they say about the completions of a batch.

Log-probabilities and scores are computed in float32 from whatever the model computes in, at positions that come from
lengths. Dropout is off in every model, so that one pass says the same as the next.
"""

import inspect
import math
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
)

from trainer.batches import Batch
from trainer.conversations import Tokenizer, end_id
from trainer.runs import InputError

HEAD = "score"
LENGTH_NAMES = ("max_position_embeddings", "n_positions")


class ModelError(InputError):
    """A model that cannot be loaded or used; the message says which and why."""


def policy_load(model: str, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> PreTrainedModel:
    """A causal language model of a folder or hub id, without dropout, its weights in `dtype`.

    Only safetensors are read. Raises ModelError when there is none, or when weights are missing.
    """
    config = _config(model)
    policy, missing = _load(AutoModelForCausalLM, model, config, dtype)
    if missing:
        raise ModelError(f"{model} is no language model: it lacks {_some(missing)}.")
    _generation_mend(policy)
    return _ready(policy, device)


def reward_load(
    model: str, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu", *, seed: int = 0
) -> PreTrainedModel:
    """A reward model of a folder or hub id: a backbone with a linear head `score` and no bias.

    A language model gets a new head, drawn with `seed` from N(0, 1/√(d+1)) (Stiennon et al. 2020, appendix).
    Raises ModelError when there is no model, when it has another head, or when weights of the backbone are missing.
    """
    config = _config(model)
    trained = any("SequenceClassification" in name for name in config.architectures or [])
    if trained and config.num_labels != 1:
        raise ModelError(f"{model} gives {config.num_labels} scores to a text; a reward model gives one.")
    config.num_labels = 1
    reward, missing = _load(AutoModelForSequenceClassification, model, config, dtype)
    head = f"{HEAD}.weight"
    if missing - {head} or not isinstance(getattr(reward, HEAD, None), nn.Linear):
        lacks = _some(missing - {head}) if missing - {head} else f"a linear layer named {HEAD}"
        raise ModelError(f"{model} cannot be a reward model: it lacks {lacks}.")
    if head in missing:
        _head_draw(cast(nn.Linear, getattr(reward, HEAD)), seed)
    return _ready(reward, device)


def scores(reward_model: PreTrainedModel, batch: Batch) -> Tensor:
    """(N,) float32: the score of each completion, read at its last token."""
    hidden = reward_model.base_model(**_inputs(batch)).last_hidden_state
    last = hidden[torch.arange(len(batch.last), device=hidden.device), batch.last]
    head = cast(nn.Linear, getattr(reward_model, HEAD))
    # bfloat16 has three digits, which is too few for the difference of two scores.
    with torch.autocast(hidden.device.type, enabled=False):
        return linear(last.float(), head.weight.float()).squeeze(1)


def completion_logprobs(policy: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Summed log-probability (N,) of each completion's tokens, and how many they are (N,), both float32.

    The logits at position t − 1 predict token t. Tokens of the prompt and padding add exactly 0.
    """
    tokens = batch.completion_mask[:, 1:]
    columns = tokens.any(0).nonzero().squeeze(1)
    logits = _logits(policy, batch, columns)
    rows, places = tokens[:, columns].nonzero(as_tuple=True)
    targets = batch.input_ids[:, 1:][:, columns][rows, places]
    with torch.autocast(logits.device.type, enabled=False):
        logprobs = -cross_entropy(logits[rows, places].float(), targets, reduction="none")
    sums = logprobs.new_zeros(len(batch.last)).index_add(0, rows, logprobs)
    return sums, tokens.sum(1).float()


def context_length(model: PreTrainedModel) -> int | None:
    """The most tokens that a model can read, where its configuration says so."""
    for name in LENGTH_NAMES:
        if isinstance(length := getattr(model.config, name, None), int):
            return length
    return None


def model_save(model: PreTrainedModel, tokenizer: Tokenizer, folder: Path) -> None:
    """Save a model as a Hugging Face folder: safetensors, configuration and tokenizer with its chat template.

    The folder says which tokens fill rows and which end an answer, so that others read and sample it as we do.
    """
    model.config.pad_token_id = cast(int, tokenizer.pad_token_id)
    if model.can_generate() and model.generation_config is not None:
        model.generation_config.pad_token_id = cast(int, tokenizer.pad_token_id)
        model.generation_config.eos_token_id = _ends(model.generation_config.eos_token_id, end_id(tokenizer))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _config(model: str) -> PretrainedConfig:
    """A model's configuration with every dropout set to 0."""
    try:
        config = cast(PretrainedConfig, AutoConfig.from_pretrained(model, trust_remote_code=False))
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"No model can be loaded from {model}: {error}") from error
    for name, value in config.to_dict().items():
        if ("drop" in name or name.endswith("_pdrop")) and isinstance(value, float):
            setattr(config, name, 0.0)
    return config


def _load(kind: Any, model: str, config: PretrainedConfig, dtype: torch.dtype) -> tuple[PreTrainedModel, set[str]]:
    """A model and the names of the weights that its folder does not have."""
    try:
        loaded, report = kind.from_pretrained(
            model,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            output_loading_info=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"{model} cannot be loaded: {error}") from error
    return cast(PreTrainedModel, loaded), set(report["missing_keys"])


def _generation_mend(policy: PreTrainedModel) -> None:
    """Make the settings that came with a model fit to be saved again: many folders hold some that contradict."""
    settings = policy.generation_config
    if settings is None:
        return
    try:
        settings.validate(strict=True)
        return
    except ValueError:
        settings.do_sample = True  # a temperature says that it is meant to be sampled
    try:
        settings.validate(strict=True)
    except ValueError:
        ends = {"bos_token_id": settings.bos_token_id, "eos_token_id": settings.eos_token_id}
        fresh = GenerationConfig(**ends, pad_token_id=settings.pad_token_id)  # type: ignore[no-untyped-call]
        policy.generation_config = fresh


def _ready(model: PreTrainedModel, device: torch.device | str) -> PreTrainedModel:
    # Weights in memory of their own: a mapped file can lie at an odd address, which changes last bits, and can vanish.
    for tensor in [*model.parameters(), *model.buffers()]:
        tensor.data = tensor.data.clone()
    return cast(PreTrainedModel, model.to(device).eval())  # type: ignore[arg-type]


def _head_draw(head: nn.Linear, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(head.weight.shape, generator=generator) / math.sqrt(head.in_features + 1)
    with torch.no_grad():
        head.weight.copy_(drawn)


def _inputs(batch: Batch) -> dict[str, Any]:
    return {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask.long(), "use_cache": False}


def _logits(policy: PreTrainedModel, batch: Batch, columns: Tensor) -> Tensor:
    """(N, len(columns), vocabulary) logits at some positions.

    By the model's own forward, since some models do more to their logits than a linear layer.
    """
    if "logits_to_keep" in inspect.signature(policy.forward).parameters:
        return cast(Tensor, policy(**_inputs(batch), logits_to_keep=columns).logits)
    return cast(Tensor, policy(**_inputs(batch)).logits[:, columns])


def _ends(known: int | list[int] | None, end: int | None) -> int | list[int] | None:
    """Tokens that end an answer, with one more."""
    ends = known if isinstance(known, list) else [] if known is None else [known]
    if end is not None and end not in ends:
        ends = [*ends, end]
    return ends[0] if len(ends) == 1 else ends or None


def _some(names: set[str]) -> str:
    shown = ", ".join(sorted(names)[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more weights"

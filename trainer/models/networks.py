"""Policies and reward models: load, save, and what they say about the completions of a batch.

Log-probabilities and scores are computed in float32 from whatever the model computes in, at positions that come from
lengths. Dropout is off in every model, so that one pass says the same as the next.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
)

from trainer.data.batches import Tokens
from trainer.data.conversations import Tokenizer, end_id
from trainer.models.attention import SHARED, sharing_enable
from trainer.models.entrance import entering
from trainer.models.head_layers import (
    final_layer,
    head_apply,
    head_modules,
    heads_draw,
    heads_resize,
    position_offset,
    positions,
    reading_save,
    reads_last,
)
from trainer.models.heads import Pooling, RewardHead, reading_of, reading_set
from trainer.models.logprobs import Head, selected_logprobs
from trainer.runs import InputError, say

_OWN_SCORES: "WeakSet[nn.Module]" = WeakSet()
"""Classifiers that are not read at one token; they are left to compute their scores by themselves."""
_OWN_LOGITS: "WeakSet[nn.Module]" = WeakSet()
"""Policies whose logits are more than what `Head` makes of their last hidden states; found out when loaded."""
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
    policy = _ready(policy, device)
    if not _head_suffices(policy):
        _OWN_LOGITS.add(policy)
    return policy


def reward_load(
    model: str,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    *,
    seed: int = 0,
    heads: tuple[RewardHead, ...] | None = None,
    pooling: Pooling | None = None,
) -> PreTrainedModel:
    """A reward model of a folder or hub id: any sequence classifier of transformers with one label, or one of ours.

    `heads` and `pooling` are what its configuration says where they are not given. A language model gets new heads,
    as does a reward model that lacks some that are asked for: drawn with `seed` from N(0, 1/√(d+1)) (Stiennon et al.
    2020, appendix). Heads compute in float32. Raises ModelError when there is no model, when it is a classifier of
    several classes, or when weights are missing.
    """
    config = _config(model)
    trained = any("SequenceClassification" in name for name in config.architectures or [])
    if config.is_encoder_decoder:
        raise ModelError(f"{model} cannot be a reward model: it is an encoder with a decoder.")
    if trained and config.num_labels != len(reading_of(config).heads):
        raise ModelError(f"{model} gives {config.num_labels} scores to a text; a reward model gives one.")
    was = reading_of(config)
    if not trained:
        was = replace(was, heads=heads or was.heads, shift=(0.0,) * len(heads or was.heads))
        reading_set(config, was)
    # What is drawn by the library itself (a pooler in front of the last layer) follows from the seed as well.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reward, missing = _load(AutoModelForSequenceClassification, model, config, dtype)
    layer = final_layer(reward)
    lacks = {name for name in missing if trained or _is_backbone(name, reward)}
    if lacks or layer is None:
        raise ModelError(f"{model} cannot be a reward model: it lacks {_some(lacks) or 'a layer with a row a score'}.")
    if not trained:
        heads_draw(layer, range(layer.out_features), seed)
    elif heads and heads != was.heads:
        heads_resize(reward, layer, was, heads, seed)
        reward.num_labels = len(heads)  # type: ignore[assignment]
    reading = was.with_heads(heads or was.heads)
    if trained and pooling not in (None, reading.pooling):
        say(f"{model} was read with pooling={reading.pooling}; from here on it is read with pooling={pooling}.")
    reading_set(reward.config, replace(reading, pooling=pooling or reading.pooling))
    return _reward_ready(_ready(reward, device))


def prompts_share(model: PreTrainedModel, wanted: str) -> bool:
    """Let the model read a prompt once for all its completions, where that is wanted ("auto") and gives the same.

    Says in the log why not, where it does not.
    """
    if wanted == "never":
        return False
    problem = "its logits need its own forward pass" if model in _OWN_LOGITS else sharing_enable(model)
    if problem:
        say(f"Each completion is read with its own copy of the prompt: {type(model).__name__}: {problem}.")
    return problem is None


def is_shared(model: PreTrainedModel) -> bool:
    """Whether `prompts_share` let it."""
    return bool(model.config._attn_implementation == SHARED)


def backbone(model: PreTrainedModel) -> nn.Module:
    """The model without its head."""
    return model.base_model


def hidden_states(model: PreTrainedModel, tokens: Tokens) -> Tensor:
    """(B·T, d) last hidden states of all tokens, in the order of `Tokens.places`."""
    return cast(Tensor, backbone(model)(**_inputs(model, tokens)).last_hidden_state).flatten(0, 1)


@entering
def head_scores(reward_model: PreTrainedModel, tokens: Tokens) -> Tensor:
    """(N, heads) float32: what each head says of each completion, read where the model's configuration says.

    A decoder is read at the completion's last token, an encoder where its classifier reads it (the first token); or
    either as the mean over the completion's tokens.
    """
    if reward_model in _OWN_SCORES:
        return cast(Tensor, reward_model(**_inputs(reward_model, tokens)).logits).float()
    states = hidden_states(reward_model, tokens)
    if reading_of(reward_model.config).pooling == "mean":
        summed = states.new_zeros(len(tokens.last), states.shape[1], dtype=torch.float32)
        pooled = summed.index_add(0, tokens.owners, states[tokens.places].float()) / tokens.counts.unsqueeze(1)
    elif reads_last(reward_model):
        pooled = states[tokens.last]
    else:
        pooled = states[:: tokens.input_ids.shape[1]]
    return head_apply(reward_model, pooled)


def scores(reward_model: PreTrainedModel, tokens: Tokens) -> Tensor:
    """(N,) float32: the score of each completion by the first head, shifted as the model's configuration says."""
    return reading_of(reward_model.config).shifted(head_scores(reward_model, tokens))[:, 0]


@entering
def token_logprobs(policy: PreTrainedModel, tokens: Tokens) -> Tensor:
    """(M,) float32 log-probability of each token of each completion, given its prompt and what stands before it."""
    if policy in _OWN_LOGITS:
        return _own_logprobs(policy, tokens)
    states = hidden_states(policy, tokens)[tokens.sources]
    if torch.is_autocast_enabled(states.device.type):
        # The last norm gives float32 back; the greatest product of all is to be computed like the others.
        states = states.to(torch.get_autocast_dtype(states.device.type))
    return selected_logprobs(states, head_of(policy), tokens.targets)


def completion_logprobs(policy: PreTrainedModel, tokens: Tokens) -> tuple[Tensor, Tensor]:
    """Summed log-probability (N,) of each completion's tokens, and how many they are (N,), both float32."""
    logprobs = token_logprobs(policy, tokens)
    sums = logprobs.new_zeros(len(tokens.last)).index_add(0, tokens.owners, logprobs)
    return sums, tokens.counts.float()


def head_of(policy: PreTrainedModel) -> Head:
    """What turns a policy's last hidden states into logits."""
    config = policy.config.get_text_config()
    output = cast(nn.Linear, policy.get_output_embeddings())  # type: ignore[no-untyped-call]
    scale = getattr(config, "logit_scale", None) or 1.0
    divided = getattr(config, "logits_scaling", None) or 1.0
    cap = getattr(config, "final_logit_softcapping", None)
    return Head(output.weight, getattr(output, "bias", None), softcap=cap, scale=scale / divided)


def context_length(model: PreTrainedModel) -> int | None:
    """The most tokens that a model can read, where its configuration says so."""
    for name in LENGTH_NAMES:
        if isinstance(length := getattr(model.config, name, None), int):
            return length - position_offset(model)
    return None


def model_save(model: PreTrainedModel, tokenizer: Tokenizer, folder: Path) -> None:
    """Save a model as a Hugging Face folder: safetensors, configuration and tokenizer with its chat template.

    The folder says which tokens fill rows and which end an answer, so that others read and sample it as we do.
    """
    model.config.pad_token_id = cast(int, tokenizer.pad_token_id)
    if model.can_generate() and model.generation_config is not None:
        model.generation_config.pad_token_id = cast(int, tokenizer.pad_token_id)
        model.generation_config.eos_token_id = _ends(model.generation_config.eos_token_id, end_id(tokenizer))
    model.save_pretrained(folder, state_dict=reading_save(model))
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


def _is_backbone(name: str, model: PreTrainedModel) -> bool:
    """Whether a weight belongs to what a language model must bring; few bring the pooler that a classifier has."""
    return name.startswith(f"{model.base_model_prefix}.") and ".pooler." not in name


@torch.no_grad()
def _reward_ready(model: PreTrainedModel) -> PreTrainedModel:
    """Put the heads into float32; but leave a classifier to itself that is read otherwise than we would read it."""
    dtype, heads = model.dtype, [getattr(model, name) for name in head_modules(model)]
    if reads_last(model):
        for head in heads:
            head.float()
        return model
    ids = torch.tensor([[3, 5, 2, 7, 4]], device=model.device) % model.config.vocab_size
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    wanted = model(**inputs).logits.float()
    for head in heads:
        head.float()
    found = head_apply(model, backbone(model)(**inputs).last_hidden_state[:, 0])
    if not torch.allclose(found, wanted, rtol=1e-2, atol=1e-3 if dtype == torch.float32 else 5e-2):
        pooling = reading_of(model.config).pooling
        if pooling != "last":
            raise ModelError(f"{type(model).__name__} has its own pooling and cannot have pooling={pooling}.")
        _OWN_SCORES.add(model.to(dtype))  # type: ignore[arg-type]
    return model


def _inputs(model: PreTrainedModel, tokens: Tokens) -> dict[str, Any]:
    inputs: dict[str, Any] = {"input_ids": tokens.input_ids, "use_cache": False}
    if tokens.layout is not None:
        return inputs | {"position_ids": tokens.position_ids, "layout": tokens.layout}
    # Rows are filled up on the right, so that positions count from their beginning by themselves.
    return inputs | {"attention_mask": cast(Tensor, tokens.attention_mask).long()} | positions(model, tokens.input_ids)


@torch.no_grad()
def _head_suffices(policy: PreTrainedModel) -> bool:
    """Whether `head_of` makes the logits that the policy itself makes, tried on a few tokens."""
    if policy.get_output_embeddings() is None:  # type: ignore[no-untyped-call]
        return False
    ids = torch.tensor([[3, 5, 2, 7]], device=next(policy.parameters()).device) % policy.config.vocab_size
    target = torch.tensor([1, 0, 4, 2], device=ids.device) % policy.config.vocab_size
    wanted = -cross_entropy(policy(input_ids=ids, use_cache=False).logits[0].float(), target, reduction="none")
    states = backbone(policy)(input_ids=ids, use_cache=False).last_hidden_state[0]
    return torch.allclose(selected_logprobs(states, head_of(policy), target), wanted, rtol=1e-3, atol=1e-3)


def _own_logprobs(policy: PreTrainedModel, tokens: Tokens) -> Tensor:
    """`token_logprobs` by the model's own forward pass, with the logits of all tokens."""
    logits = cast(Tensor, policy(**_inputs(policy, tokens)).logits).flatten(0, 1)[tokens.sources]
    with torch.autocast(logits.device.type, enabled=False):
        return -cross_entropy(logits.float(), tokens.targets, reduction="none")


def _ends(known: int | list[int] | None, end: int | None) -> int | list[int] | None:
    """Tokens that end an answer, with one more."""
    ends = known if isinstance(known, list) else [] if known is None else [known]
    if end is not None and end not in ends:
        ends = [*ends, end]
    return ends[0] if len(ends) == 1 else ends or None


def _some(names: set[str]) -> str:
    shown = ", ".join(sorted(names)[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more weights"

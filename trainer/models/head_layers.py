"""The layers between a backbone and its scores: of one linear layer, or whatever a classifier of transformers has.

They compute in float32 whatever the backbone computes in: bfloat16 has three digits, which is too few for the
difference of two scores.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from trainer.models.heads import Reading, RewardHead, reading_of, reading_set

DECODER_HEAD = "score"
"""Decoders call their only layer so, and read it at the last token; what encoders have reads the first."""
TIE_WIDTH = "tie_width_raw"


def reads_last(model: PreTrainedModel) -> bool:
    """Whether the head is one layer that is read at a token of choice."""
    return isinstance(getattr(model, DECODER_HEAD, None), nn.Module)


def head_modules(model: PreTrainedModel) -> tuple[str, ...]:
    """Names of what stands beside the backbone."""
    return tuple(name for name, _ in model.named_children() if name != model.base_model_prefix)


def final_layer(model: PreTrainedModel) -> nn.Linear | None:
    """The layer with a row for each label; None where there is none."""
    layers = [layer for name in head_modules(model) for layer in getattr(model, name).modules()]
    labels = model.config.num_labels
    found = [layer for layer in layers if isinstance(layer, nn.Linear) and layer.out_features == labels]
    return found[-1] if found else None


def heads_draw(layer: nn.Linear, rows: Sequence[int], seed: int) -> None:
    """Draw rows from N(0, 1/√(d+1)) with `seed` (Stiennon et al. 2020, appendix), their bias being 0."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(layer.weight.shape, generator=generator) / math.sqrt(layer.in_features + 1)
    with torch.no_grad():
        for row in rows:
            layer.weight[row] = drawn[row]
            if layer.bias is not None:
                layer.bias[row] = 0.0


def heads_resize(model: PreTrainedModel, layer: nn.Linear, was: Reading, now: Sequence[RewardHead], seed: int) -> None:
    """Give the final layer a row for each of the heads `now`: those of the same name stay, others are drawn.

    A model with a single head keeps it as the first.
    """
    old = {head.name: number for number, head in enumerate(was.heads)}
    if len(old) == 1:
        old.setdefault(now[0].name, 0)
    fresh = nn.Linear(layer.in_features, len(now), bias=layer.bias is not None)
    heads_draw(fresh, [number for number, head in enumerate(now) if head.name not in old], seed)
    with torch.no_grad():
        for number, head in enumerate(now):
            if head.name in old:
                fresh.weight[number] = layer.weight[old[head.name]]
                if layer.bias is not None:
                    fresh.bias[number] = layer.bias[old[head.name]]
    parent, _, name = next(name for name, module in model.named_modules() if module is layer).rpartition(".")
    setattr(model.get_submodule(parent), name, fresh)


def positions(model: PreTrainedModel, like: Tensor) -> dict[str, Tensor]:
    """Positions (B, T) for models that would find them from which tokens are pads (RoBERTa): from lengths instead."""
    offset = position_offset(model)
    if not offset:
        return {}
    return {"position_ids": (offset + torch.arange(like.shape[1], device=like.device)).expand(like.shape)}


def position_offset(model: PreTrainedModel) -> int:
    """The position of a first token: RoBERTa keeps what comes before for pads."""
    embeddings = getattr(model.base_model, "embeddings", None)
    if not hasattr(embeddings, "create_position_ids_from_input_ids"):
        return 0
    return int(cast(Any, embeddings).padding_idx) + 1


def head_apply(model: PreTrainedModel, pooled: Tensor) -> Tensor:
    """(N, heads) float32 of what was read from each text, (N, d)."""
    with torch.autocast(pooled.device.type, enabled=False):
        if reads_last(model):
            return cast(Tensor, getattr(model, DECODER_HEAD)(pooled.float()))
        return _classified(model, pooled.float().unsqueeze(1))


class _Read(nn.Module):
    """Stands in a backbone's place, and says what was read already."""

    def __init__(self, states: Tensor, pooled: Tensor | None) -> None:
        super().__init__()
        self.found = BaseModelOutputWithPooling(last_hidden_state=states, pooler_output=pooled)  # type: ignore[arg-type]

    def forward(self, *_args: Any, **_others: Any) -> BaseModelOutputWithPooling:
        return self.found


def _classified(model: PreTrainedModel, states: Tensor) -> Tensor:
    """What the model's own classifier makes of texts of one token each, whose states (N, 1, d) are known."""
    backbone, name = model.base_model, model.base_model_prefix
    pooler = getattr(backbone, "pooler", None)
    ids = torch.zeros(states.shape[:2], dtype=torch.long, device=states.device)
    setattr(model, name, _Read(states, _pooled(pooler, states)))
    try:
        return cast(Tensor, model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits)
    finally:
        setattr(model, name, backbone)


def _pooled(pooler: nn.Module | None, states: Tensor) -> Tensor | None:
    """What a pooler that is part of the backbone, and of its type, makes of states (N, 1, d), in float32."""
    if pooler is None:
        return None
    return cast(Tensor, pooler(states.to(next(pooler.parameters()).dtype))).float()


def tie_width_attach(model: PreTrainedModel, width: float) -> nn.Parameter:
    """Give the model a width θ > 0 of a tie to learn, as a parameter whose softplus it is."""
    raw = nn.Parameter(torch.tensor(math.log(math.expm1(width)), device=model.device))
    model.register_parameter(TIE_WIDTH, raw)
    return raw


def tie_width(model: PreTrainedModel) -> Tensor | None:
    """θ, with its gradient; None where the model learns none."""
    raw = getattr(model, TIE_WIDTH, None)
    return None if raw is None else softplus(raw)


def reading_save(model: PreTrainedModel) -> dict[str, Tensor] | None:
    """Write the width of ties into the configuration, and return the weights to save without its parameter.

    None where there is nothing to leave out.
    """
    width = tie_width(model)
    if width is None:
        return None
    reading_set(model.config, replace(reading_of(model.config), tie_width=float(width.detach())))
    return {name: tensor for name, tensor in model.state_dict().items() if name != TIE_WIDTH}

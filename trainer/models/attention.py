"""Attention over rows of shared prompts, in place of a model's own.

On a CPU in two parts: each prompt by itself, then each completion against its prompt and itself; no product is
computed that a mask would throw away (measured: 0.5 to 0.9 of the time of a row under a mask). On a GPU by
FlexAttention with a block mask. Whether a model gives the same numbers this way is not guessed from its name but
tried, once, when it is loaded.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from trainer.data.layouts import Layout

SHARED = "shared_prompts"
# What a model may hand to its attention beside tensors without changing what this computes.
_IGNORED = {"position_ids", "use_cache", "cache_position", "output_attentions", "past_key_values", "layer_past"}


def shared_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    layout: Layout | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """(1, T, heads, d) attention over a row that `layout` describes; query (1, heads, T, d), key and value alike with
    as many heads or fewer (grouped queries). Without a layout, what the model would do by itself.

    Raises ValueError for what cannot be computed this way (capped scores, sinks).
    """
    if layout is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
    if odd := [name for name, value in others.items() if value is not None and name not in _IGNORED]:
        raise ValueError(f"attention with {', '.join(odd)} cannot share prompts")
    if query.device.type == "cuda":
        return _flex(query, key, value, layout, scaling, sliding_window), None
    return _two_parts(query, key, value, layout, scaling, sliding_window), None


def _two_parts(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, scaling: float | None, window: int | None
) -> Tensor:
    # Never in bfloat16, whose way back was measured to take up to twice as long as that of float32.
    wide = torch.promote_types(query.dtype, torch.float32)
    with torch.autocast("cpu", enabled=False):
        # Split once: its backward joins all gradients at once, where slices would each fill a whole row with zeros.
        split = [torch.split(tensor.to(wide), layout.lengths, dim=2) for tensor in (query, key, value)]
        out = torch.cat(_segments(split[0], split[1], split[2], layout, scaling, window), dim=2)
    return out.transpose(1, 2).to(query.dtype)


def _segments(
    queries: Sequence[Tensor],
    keys: Sequence[Tensor],
    values: Sequence[Tensor],
    layout: Layout,
    scaling: float | None,
    window: int | None,
) -> list[Tensor]:
    """What each segment of a row attends to: a prompt to itself, a completion to its prompt and itself."""
    out: list[Tensor] = []
    for prompt, completions in layout.elements:
        at = len(out)
        prompt_key, prompt_value = keys[at], values[at]
        out.append(_attend(queries[at], prompt_key, prompt_value, layout, 0, scaling, window))
        for place in range(at + 1, at + 1 + len(completions)):
            own_key = torch.cat([prompt_key, keys[place]], dim=2)
            own_value = torch.cat([prompt_value, values[place]], dim=2)
            out.append(_attend(queries[place], own_key, own_value, layout, prompt, scaling, window))
    if layout.padding:
        out.append(torch.zeros_like(queries[-1]))
    return out


def _attend(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, prompt: int, scaling: float | None, window: int | None
) -> Tensor:
    """A segment that comes after `prompt` tokens of its element."""
    plain = prompt == 0 and (window is None or window >= query.shape[2])
    mask = None if plain else layout.tail_mask(prompt, query.shape[2], window, query)
    grouped = query.shape[1] != key.shape[1]
    return scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=plain, scale=scaling, enable_gqa=grouped
    )


def _flex(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, scaling: float | None, window: int | None
) -> Tensor:
    mask = layout.block_mask(window, query.device)
    grouped = query.shape[1] != key.shape[1]
    out = flex_compiled()(query, key, value, block_mask=mask, scale=scaling, enable_gqa=grouped)
    return cast(Tensor, out).transpose(1, 2)


_compiled: list[Any] = []


def flex_compiled() -> Any:
    """FlexAttention, compiled once for all lengths on a GPU."""
    if not _compiled:
        from torch.nn.attention.flex_attention import flex_attention

        _compiled.append(torch.compile(flex_attention, dynamic=True) if torch.cuda.is_available() else flex_attention)
    return _compiled[0]


def _mask(*args: Any, **kwargs: Any) -> Tensor | None:
    """No mask where a layout takes its place; else the usual one."""
    return None if kwargs.get("attention_mask") is None else sdpa_mask(*args, **kwargs)


AttentionInterface.register(SHARED, shared_attention)
AttentionMaskInterface.register(SHARED, _mask)


def sharing_enable(model: PreTrainedModel) -> str | None:
    """Let a model compute rows of shared prompts, if it gives the same numbers so; None, or why it does not.

    Tried on a few tokens: the states of two completions behind one prompt against those of each on its own.
    """
    if getattr(model.config, "attention_chunk_size", None):
        return "it reads in chunks"
    before = model.config._attn_implementation
    try:
        apart = [_states(model, [*PROBE_PROMPT, *tail], None, None) for tail in PROBE_TAILS]
        model.set_attn_implementation(SHARED)
        together = _shared_states(model)
    except (ValueError, TypeError, RuntimeError, KeyError, AttributeError, IndexError) as error:
        model.set_attn_implementation(before)
        return (
            f"its attention cannot be replaced ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        )
    wanted = torch.cat([states[len(PROBE_PROMPT) :] for states in apart])
    if torch.allclose(together, wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max())):
        return None
    model.set_attn_implementation(before)
    return "completions behind a shared prompt come out otherwise than on their own"


PROBE_PROMPT = (3, 5, 2, 7, 4)
PROBE_TAILS = ((6, 1, 8), (9, 3))


@torch.no_grad()
def _states(model: PreTrainedModel, ids: list[int], positions: list[int] | None, layout: Layout | None) -> Tensor:
    """(T, d) float32 last hidden states of a row."""
    device = next(model.parameters()).device
    inputs: dict[str, Any] = {"input_ids": torch.tensor([ids], device=device) % model.config.vocab_size}
    if layout is not None:
        inputs |= {"position_ids": torch.tensor([positions], device=device), "layout": layout}
    return cast(Tensor, model.base_model(**inputs, use_cache=False).last_hidden_state)[0].float()


def _shared_states(model: PreTrainedModel) -> Tensor:
    """(T, d) states of the probe's completions in one row, behind one prompt."""
    prompt = len(PROBE_PROMPT)
    layout = Layout(((prompt, tuple(map(len, PROBE_TAILS))),))
    ids = [*PROBE_PROMPT, *(token for tail in PROBE_TAILS for token in tail)]
    positions = [*range(prompt), *(prompt + place for tail in PROBE_TAILS for place in range(len(tail)))]
    return _states(model, ids, positions, layout)[prompt:]

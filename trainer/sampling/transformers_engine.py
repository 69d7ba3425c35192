"""Sampling with any causal language model of transformers, by a batched decode loop with a key-value cache.

What is drawn depends on the request and the seed, not on the batch a row happens to share: every token is drawn by a
number that the row alone decides. The logits themselves may differ in their last bits between batches of other sizes,
so a draw that falls within about 1e-6 of the border between two tokens may still flip; in bfloat16, where logits
carry three digits, that is no longer rare. Only float32 keeps the promise.
"""

import inspect
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from trainer.config import SampleOptions
from trainer.models.networks import context_length
from trainer.sampling.cache import GrowingCache, left_padded
from trainer.sampling.drawing import row_key, tokens_draw, uniform
from trainer.sampling.engine import Sampled, SampleRequest, SamplingError, stop_at

# Prompt tokens, pads among them, that are read in at once.
PREFILL_TOKENS = 8192
# Kinds of layers whose whole memory is the keys and values of earlier tokens.
ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}


@dataclass
class Row:
    """A completion on its way."""

    request: SampleRequest
    key: bytes
    room: int
    ids: list[int] = field(default_factory=list)


# A prompt's tokens, and the completions that begin with it.
Prompt = tuple[tuple[int, ...], list[Row]]


@dataclass
class Pool:
    """Rows that are decoded together: N rows, left-padded to T tokens in the cache.

    mask (N, T) is True on tokens that count. The last token of each row is drawn but not yet in the cache.
    """

    rows: list[Row]
    cache: GrowingCache
    mask: Tensor

    def keep(self, kept: list[int]) -> None:
        """Drop the other rows, and the columns that only they needed."""
        if len(kept) == len(self.rows):
            return
        index = torch.tensor(kept, dtype=torch.long, device=self.mask.device)
        self.rows = [self.rows[row] for row in kept]
        self.mask = self.mask[index]
        first = int(self.mask.any(0).int().argmax()) if kept else 0
        self.mask = self.mask[:, first:]
        self.cache.select(index, first)

    def join(self, other: "Pool") -> None:
        """Take in another pool's rows; the shorter one is padded on the left."""
        width = max(self.mask.shape[1], other.mask.shape[1])
        self.rows += other.rows
        self.mask = torch.cat([left_padded(self.mask, 1, width), left_padded(other.mask, 1, width)])
        self.cache.join(other.cache, width)


class TransformersEngine:
    """Draws completions from a model in this process."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        options: SampleOptions,
        stop_ids: Iterable[int],
    ) -> None:
        """`stop_ids` are the tokens that end a completion. The model is used as it is: set it to eval() before."""
        self.model = model
        self.tokenizer = tokenizer
        self.options = options
        self.stop_ids = frozenset(stop_ids)
        self.context = context_length(model)
        kinds = set(getattr(model.config.get_text_config(), "layer_types", None) or ATTENTION)
        if odd := sorted(kinds - ATTENTION):
            name = type(model).__name__
            raise SamplingError(f"{name} remembers by {', '.join(odd)}; sampling needs keys and values alone.")
        taken = inspect.signature(model.forward).parameters
        self.extras = {"logits_to_keep": 1} if "logits_to_keep" in taken else {}
        self.takes_positions = "position_ids" in taken
        # A stop text ends in the newest token; so many tokens back it must begin. Bytes may be a token each.
        self.tail = max((len(text.encode()) for text in options.stop), default=0) + 8

    @torch.inference_mode()
    def sample(
        self, requests: Sequence[SampleRequest], on_done: Callable[[Sampled], None], stop: Callable[[], bool]
    ) -> None:
        """Complete all requests, `batch_size` rows at a time; new ones come in when a quarter of the rows is free."""
        waiting = deque([self._row(request) for request in requests])
        pool: Pool | None = None
        while (waiting or pool) and not stop():
            free = self.options.batch_size - (len(pool.rows) if pool else 0)
            if waiting and (pool is None or free * 4 >= self.options.batch_size):
                taken = [waiting.popleft() for _ in range(min(free, len(waiting)))]
                for entered in self._entered(taken, on_done):
                    if pool is None:
                        pool = entered
                    else:
                        pool.join(entered)
            if pool is not None:
                self._step(pool, on_done)
                pool = pool if pool.rows else None

    def _entered(self, rows: list[Row], on_done: Callable[[Sampled], None]) -> Iterator[Pool]:
        """Pools of the rows after their first token; each prompt is read once for all its completions."""
        prompts = [(ids, list(group)) for ids, group in groupby(rows, key=lambda row: row.request.prompt_ids)]
        for part in parts_within(prompts, PREFILL_TOKENS):
            width = max(len(ids) for ids, _ in part)
            tokens = [[0] * (width - len(ids)) + list(ids) for ids, _ in part]
            lengths = torch.tensor([len(ids) for ids, _ in part], device=self.model.device)
            mask = torch.arange(width, device=self.model.device) >= width - lengths[:, None]
            cache = GrowingCache()
            logits = self._logits(torch.tensor(tokens, device=self.model.device), mask, lengths, cache)
            owner = [number for number, (_, group) in enumerate(part) for _ in group]
            if not cache.layers:
                raise SamplingError(f"{type(self.model).__name__} keeps no keys and values, which sampling needs.")
            index = torch.tensor(owner, dtype=torch.long, device=self.model.device)
            cache.select(index)
            pool = Pool([row for _, group in part for row in group], cache, mask[index])
            pool.keep(self._drawn(pool.rows, logits[index], on_done))
            if pool.rows:
                yield pool

    def _row(self, request: SampleRequest) -> Row:
        room = self.options.max_tokens
        if self.context is not None:
            room = min(room, self.context - len(request.prompt_ids))
        if room < 1 or not request.prompt_ids:
            raise ValueError(f"Prompt {request.prompt} has {len(request.prompt_ids)} tokens and no room for an answer.")
        return Row(request, row_key(self.options.seed, request.prompt, request.index), room)

    def _step(self, pool: Pool, on_done: Callable[[Sampled], None]) -> None:
        """One more token for each row; rows that end leave the pool."""
        device = self.model.device
        pool.mask = torch.cat([pool.mask, torch.ones_like(pool.mask[:, :1])], 1)
        tokens = torch.tensor([[row.ids[-1]] for row in pool.rows], device=device)
        lengths = torch.tensor([len(row.request.prompt_ids) + len(row.ids) for row in pool.rows], device=device)
        logits = self._logits(tokens, pool.mask, lengths, pool.cache)
        pool.keep(self._drawn(pool.rows, logits, on_done))

    def _logits(self, tokens: Tensor, mask: Tensor, lengths: Tensor, cache: GrowingCache) -> Tensor:
        """Float32 logits (N, V) after the last of tokens (N, T), which end at position `lengths` - 1 (N,)."""
        width = tokens.shape[1]
        positions = (lengths[:, None] - width + torch.arange(width, device=tokens.device)).clamp(min=0)
        given = {"position_ids": positions} if self.takes_positions else {}
        output = self.model(
            input_ids=tokens, attention_mask=mask.long(), past_key_values=cache, use_cache=True, **given, **self.extras
        )
        logits: Tensor = output.logits[:, -1].float()
        return logits

    def _drawn(self, rows: list[Row], logits: Tensor, on_done: Callable[[Sampled], None]) -> list[int]:
        """Append a token to each row, hand over those that ended, and say which have not."""
        options = self.options
        uniforms = [uniform(row.key, len(row.ids)) for row in rows] if options.temperature else []
        tokens = tokens_draw(logits, uniforms, temperature=options.temperature, top_p=options.top_p)
        kept = []
        for number, (row, token) in enumerate(zip(rows, tokens, strict=True)):
            row.ids.append(token)
            done = self._done(row)
            if done is None:
                kept.append(number)
            else:
                on_done(done)
        return kept

    def _done(self, row: Row) -> Sampled | None:
        """The completion, when the row's newest token ended it."""
        ended = row.ids[-1] in self.stop_ids
        full = len(row.ids) >= row.room
        cuts = self.options.stop
        if not (ended or full or (cuts and stop_at(self._text(row.ids[-self.tail :]), cuts) is not None)):
            return None
        text = self._text(row.ids[:-1] if ended else row.ids)
        place = stop_at(text, cuts)
        if place is not None:
            return Sampled(row.request, text[:place], "stop", tuple(row.ids))
        if ended or full:
            return Sampled(row.request, text, "stop" if ended else "length", tuple(row.ids))
        return None

    def _text(self, ids: list[int]) -> str:
        if not ids:
            return ""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def stop_ids_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The end tokens that the model's folder and its tokenizer name."""
    named = [getattr(model.generation_config, "eos_token_id", None), tokenizer.eos_token_id]
    flat = [token for value in named for token in (value if isinstance(value, list) else [value])]
    return frozenset(int(token) for token in flat if token is not None)


def parts_within(prompts: Iterable[Prompt], limit: int) -> Iterator[list[Prompt]]:
    """The prompts in their order, in parts that padded to their longest hold at most `limit` tokens."""
    part: list[Prompt] = []
    width = 0
    for ids, group in prompts:
        if part and max(width, len(ids)) * (len(part) + 1) > limit:
            yield part
            part, width = [], 0
        part.append((ids, group))
        width = max(width, len(ids))
    if part:
        yield part

"""Who sees whom in a row of shared prompts: a completion sees its prompt and itself, and nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

Element = tuple[int, tuple[int, ...]]
"""Tokens of a prompt, and of each of its completions."""


class Places(NamedTuple):
    """Of each token of a row, all (T,) long: its element (−1 for padding), its segment (0 the prompt, then the number
    of the completion), and its position from the beginning of the prompt.
    """

    element: Tensor
    segment: Tensor
    position: Tensor


@dataclass(frozen=True)
class Layout:
    """A row of elements, each a prompt and then its completions, and `padding` tokens behind them."""

    elements: tuple[Element, ...]
    padding: int = 0
    _kept: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each segment in the order of the row, the padding last where there is any."""
        lengths = [length for prompt, completions in self.elements for length in (prompt, *completions)]
        return [*lengths, self.padding] if self.padding else lengths

    def places(self, device: torch.device | str = "cpu") -> Places:
        """Where each token stands."""
        lengths = torch.tensor(self.lengths)
        rows = list(self._segments())
        element, segment, start = (
            torch.tensor(column).repeat_interleave(lengths) for column in zip(*rows, strict=True)
        )
        begins = torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)[:-1]]).repeat_interleave(lengths)
        position = torch.arange(len(element)) - begins + start
        return Places(element.to(device), segment.to(device), position.to(device))

    def tail_mask(self, prompt: int, length: int, window: int | None, like: Tensor) -> Tensor:
        """(length, prompt + length) additive mask of a segment that comes after `prompt` tokens, kept for all layers.

        Token t of the segment sees the prompt and the segment up to itself, no further back than `window` tokens.
        """
        key = (prompt, length, window, like.dtype, like.device)
        if key not in self._kept:
            distance = torch.arange(prompt, prompt + length).unsqueeze(1) - torch.arange(prompt + length).unsqueeze(0)
            seen = (distance >= 0) & (distance < (window or prompt + length))
            mask = torch.zeros(seen.shape, dtype=like.dtype).masked_fill_(~seen, float("-inf"))
            self._kept[key] = mask.to(like.device)
        return self._kept[key]  # type: ignore[no-any-return]

    def block_mask(self, window: int | None, device: torch.device) -> Any:
        """The same as a block mask of FlexAttention for the whole row, kept for all layers."""
        key = ("block", window, device)
        if key not in self._kept:
            from torch.nn.attention.flex_attention import create_block_mask

            places, total = self.places(device), sum(self.lengths)

            def seen(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
                return sees(places, query, key, window)

            self._kept[key] = create_block_mask(seen, None, None, total, total, device=str(device))
        return self._kept[key]

    def _segments(self) -> Iterator[tuple[int, int, int]]:
        """Element, segment and first position of each length."""
        for number, (prompt, completions) in enumerate(self.elements):
            yield number, 0, 0
            for segment in range(1, len(completions) + 1):
                yield number, segment, prompt
        if self.padding:
            yield -1, 0, 0


def sees(places: Places, query: Tensor, key: Tensor, window: int | None) -> Tensor:
    """Whether the token at place `query` sees the one at `key`: of its element, of its prompt or its own completion,
    not after it, and nearer than `window`.
    """
    distance = places.position[query] - places.position[key]
    own = (places.segment[key] == 0) | (places.segment[key] == places.segment[query])
    near = (distance >= 0) & own & (places.element[query] == places.element[key])
    return near & (distance < window) if window else near

"""From groups to batches: token ids in, tensors out.

A batch holds G groups with N completions in all. Its tokens are laid out in one of two ways. *Shared*: one long row
of elements, each a prompt and then its completions y1 … yK, in which positions start again after the prompt and a
completion sees the prompt and itself; there is no padding on a CPU. *Plain*: one row for each completion, the prompt
repeated, filled up on the right. Whatever the layout, `sources`, `targets` and `last` say where to look, found from
lengths and never from what a token is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trainer.data.groups import TIED, Group
from trainer.data.layouts import Layout

GPU_MULTIPLE = 128
"""Rows on a GPU are filled up to a multiple of this: compiled kernels meet few lengths, and blocks are full."""


class Tokens(NamedTuple):
    """What a network reads, (B, T), and where to look in what it says, as places in B·T.

    input_ids, position_ids (B, T) long; attention_mask (B, T) bool, or None where `layout` says who sees whom.
    For each of the M tokens of completions, in order: targets (M,) the token, places (M,) where it stands, sources
    (M,) the place whose hidden state predicts it, owners (M,) the number of its completion. last (N,) is the place of
    each completion's last token, counts (N,) how many tokens it has.
    """

    input_ids: Tensor
    position_ids: Tensor
    attention_mask: Tensor | None
    layout: Layout | None
    targets: Tensor
    places: Tensor
    sources: Tensor
    owners: Tensor
    last: Tensor
    counts: Tensor

    def to(self, device: torch.device | str) -> "Tokens":
        """The same on a device."""
        moved: dict[str, Any] = {
            name: value.to(device) for name, value in self._asdict().items() if isinstance(value, Tensor)
        }
        return self._replace(**moved)


class Edges(NamedTuple):
    """What was said of pairs, E in all: completion i is preferred to j, or both are about equal where `tied`.

    i, j (E,) long, numbers of completions in the batch; tied (E,) bool; weight (E,) float32; strength (E,) long, 1 to
    4, or 0 where it was not asked; group (E,) long, the number of the group.
    """

    i: Tensor
    j: Tensor
    tied: Tensor
    weight: Tensor
    strength: Tensor
    group: Tensor


class Lists(NamedTuple):
    """Whole rankings, C in all, of up to K completions each.

    rows (C, K) long, numbers of completions in the batch (0 where `ranks` is −1); ranks (C, K) long, 0 for the best,
    equal for ties, −1 where there is no completion; weight (C,) float32; group (C,) long.
    """

    rows: Tensor
    ranks: Tensor
    weight: Tensor
    group: Tensor


class Batch(NamedTuple):
    """G groups with N completions.

    group (N,) long, the completion's group; weight (G,) float32; first (N,) float32, the completion's share of being
    ranked first in its group.
    """

    tokens: Tokens
    edges: Edges
    lists: Lists
    group: Tensor
    weight: Tensor
    first: Tensor


def collate(groups: Sequence[Group], pad_id: int, device: torch.device | str = "cpu", *, shared: bool) -> Batch:
    """Groups as one batch on a device, prompts shared by their completions or repeated for each.

    Raises ValueError when there are none.
    """
    if not groups:
        raise ValueError("A batch needs at least one group.")
    cuda = torch.device(device).type == "cuda"
    tokens = _shared(groups, pad_id, GPU_MULTIPLE if cuda else 1) if shared else _plain(groups, pad_id)
    sizes = torch.tensor([len(group.completions) for group in groups])
    return Batch(
        tokens=tokens.to(device),
        edges=Edges(*(tensor.to(device) for tensor in _edges(groups))),
        lists=Lists(*(tensor.to(device) for tensor in _lists(groups))),
        group=torch.arange(len(groups)).repeat_interleave(sizes).to(device),
        weight=torch.tensor([group.weight for group in groups], dtype=torch.float32).to(device),
        first=torch.tensor([share for group in groups for share in group.first_shares()]).to(device),
    )


@dataclass
class Feed:
    """How groups become batches in this run: on which device, how many tokens at once, with shared prompts or not."""

    pad_id: int
    device: torch.device
    micro_tokens: int
    shared: bool

    def batches(self, groups: Sequence[Group]) -> Iterator[tuple[list[Group], Batch]]:
        """The groups in portions that fit in memory, each with its batch."""
        for part in portions(groups, self.micro_tokens, shared=self.shared):
            yield part, collate(part, self.pad_id, self.device, shared=self.shared)


def unique_tokens(group: Group) -> int:
    """Tokens of a group, its prompt once."""
    return len(group.prompt_ids) + sum(map(len, group.completions))


def portions(groups: Sequence[Group], micro_tokens: int, *, shared: bool) -> Iterator[list[Group]]:
    """Groups in portions of at most so many tokens (or of one group), similar lengths together, in a fixed order."""
    if shared:
        yield from _filled(sorted(groups, key=_by_length), micro_tokens)
    else:
        yield from _padded(sorted(groups, key=_by_length), micro_tokens)


def _by_length(group: Group) -> tuple[int, int, tuple[int, ...]]:
    return len(group.prompt_ids) + max(map(len, group.completions)), group.prompt, group.ids


def _filled(groups: Sequence[Group], micro_tokens: int) -> Iterator[list[Group]]:
    part: list[Group] = []
    total = 0
    for group in groups:
        size = unique_tokens(group)
        if part and total + size > micro_tokens:
            yield part
            part, total = [], 0
        part.append(group)
        total += size
    if part:
        yield part


def _padded(groups: Sequence[Group], micro_tokens: int) -> Iterator[list[Group]]:
    """As `_filled`, for rows that are all as long as the longest."""
    part: list[Group] = []
    rows = 0
    for group in groups:
        width, more = _by_length(group)[0], len(group.completions)
        if part and (rows + more) * width > micro_tokens:
            yield part
            part, rows = [], 0
        part.append(group)
        rows += more
    if part:
        yield part


def _shared(groups: Sequence[Group], pad_id: int, multiple: int) -> Tokens:
    elements = [(len(group.prompt_ids), tuple(map(len, group.completions))) for group in groups]
    ids: list[int] = []
    positions: list[int] = []
    places: list[int] = []
    sources: list[int] = []
    for group in groups:
        prompt = len(group.prompt_ids)
        start = len(ids)
        ids += group.prompt_ids
        positions += range(prompt)
        for completion in group.completions:
            here = len(ids)
            ids += completion
            positions += range(prompt, prompt + len(completion))
            places += range(here, here + len(completion))
            sources += [start + prompt - 1, *range(here, here + len(completion) - 1)]
    padding = -len(ids) % multiple
    layout = Layout(tuple(elements), padding)
    row = torch.tensor([ids + [pad_id] * padding])
    return Tokens(row, torch.tensor([positions + [0] * padding]), None, layout, *_looked_at(groups, places, sources))


def _plain(groups: Sequence[Group], pad_id: int) -> Tokens:
    rows = [(group.prompt_ids, completion) for group in groups for completion in group.completions]
    lengths = [len(prompt) + len(completion) for prompt, completion in rows]
    width = max(lengths)
    padded = [(prompt + completion + [pad_id] * width)[:width] for prompt, completion in rows]
    places: list[int] = []
    for number, (prompt, _) in enumerate(rows):
        places += range(number * width + len(prompt), number * width + lengths[number])
    positions = torch.arange(width).expand(len(rows), width)
    seen = positions < torch.tensor(lengths).unsqueeze(1)
    sources = [place - 1 for place in places]
    return Tokens(torch.tensor(padded), positions, seen, None, *_looked_at(groups, places, sources))


def _looked_at(
    groups: Sequence[Group], places: list[int], sources: list[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Targets, places, sources, owners, last and counts, of places of all tokens of completions."""
    completions = [completion for group in groups for completion in group.completions]
    counts = torch.tensor([len(completion) for completion in completions])
    ends = torch.tensor(list(accumulate(map(len, completions)))) - 1
    at = torch.tensor(places)
    targets = torch.tensor([token for completion in completions for token in completion])
    owners = torch.arange(len(completions)).repeat_interleave(counts)
    return targets, at, torch.tensor(sources), owners, at[ends], counts


def _starts(groups: Sequence[Group]) -> list[int]:
    """The number of each group's first completion."""
    return [0, *accumulate(len(group.completions) for group in groups)][:-1]


def _edges(groups: Sequence[Group]) -> Edges:
    said = [(start, number, edge) for number, start in enumerate(_starts(groups)) for edge in groups[number].edges]
    return Edges(
        i=torch.tensor([start + edge.i for start, _, edge in said], dtype=torch.long),
        j=torch.tensor([start + edge.j for start, _, edge in said], dtype=torch.long),
        tied=torch.tensor([edge.outcome == TIED for _, _, edge in said], dtype=torch.bool),
        weight=torch.tensor([edge.weight for _, _, edge in said], dtype=torch.float32),
        strength=torch.tensor([edge.strength or 0 for _, _, edge in said], dtype=torch.long),
        group=torch.tensor([number for _, number, _ in said], dtype=torch.long),
    )


def _lists(groups: Sequence[Group]) -> Lists:
    said = [(start, number, one) for number, start in enumerate(_starts(groups)) for one in groups[number].rankings]
    most = max((len(one.ranks) for _, _, one in said), default=0)
    ranks = [(*one.ranks, *[-1] * (most - len(one.ranks))) for _, _, one in said]
    rows = [[start + place if place < len(one.ranks) else 0 for place in range(most)] for start, _, one in said]
    return Lists(
        rows=torch.tensor(rows, dtype=torch.long).view(len(said), most),
        ranks=torch.tensor(ranks, dtype=torch.long).view(len(said), most),
        weight=torch.tensor([one.weight for _, _, one in said], dtype=torch.float32),
        group=torch.tensor([number for _, number, _ in said], dtype=torch.long),
    )

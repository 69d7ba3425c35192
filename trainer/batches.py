"""From a snapshot to batches: token ids in, tensors out. All that is compared of one prompt stands in one group."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from trainer.conversations import ConversationError, Tokenizer, completion_ids, prompt_fit, prompt_ids
from trainer.records import ComparisonRow, CompletionRow, Message
from trainer.snapshots import Snapshot

PREFERRED, TIED = ">", "="

TOO_LONG = "a completion and the least of its prompt do not fit"
EMPTY = "a completion has no tokens"
NO_EDGES = "nothing is compared, or it weighs nothing"
REFUSED = "the chat template refuses the prompt"
NO_FIRST = "no completion is ranked first"


class Edge(NamedTuple):
    """Of a group's completions, number `i` is preferred to number `j` (">"), or both are about equal ("=").

    `weight` has that of its comparison in it; `annotators` is the group of annotators who said so.
    """

    i: int
    j: int
    outcome: str
    weight: float
    strength: int | None = None
    annotators: str = ""


@dataclass(frozen=True)
class Group:
    """A prompt and its completions as ids, each completion once, with all that was said about these completions.

    `weight` is the sum of the comparisons' weights; `ids` are the completions' ids in the snapshot (a demonstration's
    id for an answer written by a person), `tasks` where the comparisons come from.
    """

    prompt: int
    prompt_ids: list[int]
    completions: list[list[int]]
    edges: list[Edge]
    weight: float
    ids: tuple[int, ...] = ()
    tasks: tuple[int, ...] = ()

    def wins(self) -> Tensor:
        """(K, K) float64: how much weight says that i is preferred to j."""
        return self._matrix(PREFERRED)

    def ties(self) -> Tensor:
        """(K, K) float64: how much weight says that i and j are about equal; each edge once, where it was said."""
        return self._matrix(TIED)

    def counted_weight(self, ties_policy: str) -> float:
        """What this group counts for in a mean over prompts: 0 where no edge counts (all tied, and ties dropped)."""
        counted = (PREFERRED, TIED) if ties_policy == "soft" else (PREFERRED,)
        return self.weight if any(edge.outcome in counted and edge.weight > 0 for edge in self.edges) else 0.0

    def _matrix(self, outcome: str) -> Tensor:
        size = len(self.completions)
        matrix = torch.zeros(size, size, dtype=torch.float64)
        for edge in self.edges:
            if edge.outcome == outcome:
                matrix[edge.i, edge.j] += edge.weight
        return matrix


@dataclass
class Exclusions:
    """How many comparisons (or answers) there were, how many remain, and why the others do not.

    `shortened` counts the groups whose prompt lost its oldest turns.
    """

    unit: str = "comparisons"
    found: int = 0
    kept: int = 0
    shortened: int = 0
    causes: Counter[str] = field(default_factory=Counter)

    def add(self, cause: str, number: int) -> None:
        """Leave out so many, and remember why."""
        self.causes[cause] += number

    def counts(self) -> dict[str, int]:
        """All numbers by name, for a report."""
        numbers = {"found": self.found, "kept": self.kept, "shortened": self.shortened}
        return numbers | {f"left out: {cause}": number for cause, number in sorted(self.causes.items())}

    def __str__(self) -> str:
        lines = [f"{self.kept} of {self.found} {self.unit} remain."]
        lines += [f"  {number} left out: {cause}." for cause, number in sorted(self.causes.items())]
        if self.shortened:
            lines.append(f"  {self.shortened} prompts lost their oldest turns, to fit.")
        return "\n".join(lines)


class Batch(NamedTuple):
    """G groups with N completions in all, one row each, right-padded to T tokens. True in a mask means: it counts.

    input_ids (N, T) long; attention_mask (N, T) bool; completion_mask (N, T) bool, True on tokens of the completion,
    its end token among them; last (N,) long, the position of the last token; group (N,) long, the row's group;
    wins, ties (G, K, K) float32; present (G, K) bool, whose True entries in reading order are the rows;
    weight (G,) float32. K is the largest number of completions of a group.
    """

    input_ids: Tensor
    attention_mask: Tensor
    completion_mask: Tensor
    last: Tensor
    group: Tensor
    wins: Tensor
    ties: Tensor
    present: Tensor
    weight: Tensor

    def per_group(self, values: Tensor) -> Tensor:
        """Values of rows (N,) as (G, K), 0 where there is no completion."""
        return values.new_zeros(self.present.shape).masked_scatter(self.present, values)


def groups_from(
    snapshot: Snapshot, tokenizer: Tokenizer, *, split: str, max_length: int
) -> tuple[list[Group], Exclusions]:
    """The comparisons of a split as groups, ordered by prompt.

    Comparisons of the same completions of a prompt are one group. A group whose longest completion does not fit into
    `max_length` tokens beside the least that may remain of the prompt is left out whole.
    """
    excluded = Exclusions()
    writer = _Writer(snapshot, tokenizer, max_length, excluded)
    groups = []
    for (prompt, ids), rows in _by_completions(snapshot, split):
        excluded.found += len(rows)
        edges = list(_edges(ids, rows))
        if not edges:
            excluded.add(NO_EDGES, len(rows))
        elif (parts := writer.parts(prompt, [snapshot.completions[id_] for id_ in ids], len(rows))) is not None:
            excluded.kept += len(rows)
            weight, tasks = sum(row["weight"] for row in rows), tuple(sorted({row["task"] for row in rows}))
            groups.append(Group(prompt, *parts, edges, weight, ids, tasks))
    return groups, excluded


def answers_from(
    snapshot: Snapshot, tokenizer: Tokenizer, *, split: str, max_length: int, answers: str
) -> tuple[list[Group], Exclusions]:
    """Answers to learn by heart, as groups of one completion without edges: written ("demonstrations"), ranked first
    ("preferred"), or both. Completions that share the first place share its weight.
    """
    excluded = Exclusions(unit="answers")
    writer = _Writer(snapshot, tokenizer, max_length, excluded)
    groups = []
    for prompt, id_, text, ended, weight in _answers(snapshot, split, answers, excluded):
        excluded.found += 1
        row = CompletionRow(
            completion=id_, prompt=prompt, model="", text=text, finish_reason="stop" if ended else "length"
        )
        parts = writer.parts(prompt, [row], 1)
        if parts is not None:
            excluded.kept += 1
            groups.append(Group(prompt, *parts, [], weight, (id_,)))
    return groups, excluded


def ranked_first(wins: Tensor) -> Tensor:
    """(…, K) shares, adding up to 1, of the completions with the greatest weight of wins less losses.

    wins (…, K, K). All 0 where nothing is preferred to anything; completions that share the place have equal shares.
    """
    net = wins.sum(-1) - wins.sum(-2)
    most = net.amax(-1, keepdim=True)
    scale = wins.sum((-1, -2)).unsqueeze(-1)
    # Weights such as 1/3 do not add up exactly.
    first = (net >= most - 1e-6 * scale) & (most > 1e-6 * scale)
    return first.to(wins.dtype) / first.sum(-1, keepdim=True).clamp_min(1)


def collate(groups: Sequence[Group], pad_id: int, device: torch.device | str = "cpu") -> Batch:
    """Groups as one batch on a device. Raises ValueError when there are none."""
    if not groups:
        raise ValueError("A batch needs at least one group.")
    rows = [(group.prompt_ids, completion) for group in groups for completion in group.completions]
    starts = torch.tensor([len(prompt) for prompt, _ in rows]).unsqueeze(1)
    lengths = torch.tensor([len(prompt) + len(completion) for prompt, completion in rows]).unsqueeze(1)
    width, most = int(lengths.max()), max(len(group.completions) for group in groups)
    padded = [(prompt + completion + [pad_id] * width)[:width] for prompt, completion in rows]
    positions = torch.arange(width).unsqueeze(0)
    sizes = torch.tensor([len(group.completions) for group in groups])
    batch = Batch(
        input_ids=torch.tensor(padded, dtype=torch.long),
        attention_mask=positions < lengths,
        completion_mask=(positions >= starts) & (positions < lengths),
        last=lengths.squeeze(1) - 1,
        group=torch.arange(len(groups)).repeat_interleave(sizes),
        wins=_stacked([group.wins() for group in groups], most),
        ties=_stacked([group.ties() for group in groups], most),
        present=torch.arange(most).unsqueeze(0) < sizes.unsqueeze(1),
        weight=torch.tensor([group.weight for group in groups], dtype=torch.float32),
    )
    return Batch(*(tensor.to(device) for tensor in batch))


class _Writer:
    """Writes prompts and completions as ids, and counts what does not fit."""

    def __init__(self, snapshot: Snapshot, tokenizer: Tokenizer, max_length: int, excluded: Exclusions) -> None:
        self._snapshot, self._tokenizer = snapshot, tokenizer
        self._max_length, self._excluded = max_length, excluded
        self._whole: dict[int, list[int]] = {}

    def parts(
        self, prompt: int, completions: Iterable[CompletionRow], number: int
    ) -> tuple[list[int], list[list[int]]] | None:
        """Ids of the prompt and of its completions; None when they are left out, which is counted `number` times."""
        answers = [
            completion_ids(self._tokenizer, row["text"], row["finish_reason"] != "length") for row in completions
        ]
        ids = self._prompt_ids(prompt, answers)
        if isinstance(ids, str):
            self._excluded.add(ids, number)
            return None
        return ids, answers

    def _prompt_ids(self, prompt: int, answers: Sequence[Sequence[int]]) -> list[int] | str:
        """Ids of what may remain of a prompt beside its completions, or the cause to leave them out."""
        if not all(answers):
            return EMPTY
        messages = self._snapshot.prompts[prompt]["messages"]
        room = self._max_length - max(map(len, answers))
        try:
            whole = self._whole_ids(prompt, messages)
            ids = whole if len(whole) <= room else prompt_fit(self._tokenizer, messages, room)
        except ConversationError:
            return REFUSED
        if ids is None:
            return TOO_LONG
        self._excluded.shortened += len(ids) < len(whole)
        return ids

    def _whole_ids(self, prompt: int, messages: Sequence[Message]) -> list[int]:
        if prompt not in self._whole:
            self._whole[prompt] = prompt_ids(self._tokenizer, messages)
        return self._whole[prompt]


_Key = tuple[int, tuple[int, ...]]


def _by_completions(snapshot: Snapshot, split: str) -> list[tuple[_Key, list[ComparisonRow]]]:
    """Comparisons of a split by prompt and completions, whatever order each has them in."""
    together: dict[_Key, list[ComparisonRow]] = {}
    for row in snapshot.comparisons:
        if snapshot.prompts[row["prompt"]]["split"] == split:
            together.setdefault((row["prompt"], tuple(sorted(row["completions"]))), []).append(row)
    return sorted(together.items())


def _edges(ids: tuple[int, ...], rows: Iterable[ComparisonRow]) -> Iterator[Edge]:
    """All edges of several comparisons, numbered as in `ids`, those without weight left out."""
    place = {id_: number for number, id_ in enumerate(ids)}
    for row in rows:
        for edge in row["edges"]:
            i, j = place[row["completions"][edge["i"]]], place[row["completions"][edge["j"]]]
            weight = row["weight"] * edge["weight"]
            if weight > 0:
                yield Edge(i, j, edge["outcome"], weight, edge["strength"], row["group"])


def _answers(
    snapshot: Snapshot, split: str, answers: str, excluded: Exclusions
) -> Iterator[tuple[int, int, str, bool, float]]:
    """Prompt, id, text, whether it ended, and weight of every answer."""
    if answers in ("demonstrations", "both"):
        for row in snapshot.demonstrations:
            if snapshot.prompts[row["prompt"]]["split"] == split:
                yield row["prompt"], row["demonstration"], row["text"], True, 1.0
    if answers in ("preferred", "both"):
        for (prompt, id_), share in _preferred(snapshot, split, excluded).items():
            completion = snapshot.completions[id_]
            yield prompt, id_, completion["text"], completion["finish_reason"] != "length", share


def _preferred(snapshot: Snapshot, split: str, excluded: Exclusions) -> dict[tuple[int, int], float]:
    """What was ranked first among any of its prompt's completions, with the greatest share that it has of the place."""
    shares: dict[tuple[int, int], float] = {}
    for (prompt, ids), rows in _by_completions(snapshot, split):
        group = Group(prompt, [], [[] for _ in ids], list(_edges(ids, rows)), 1.0)
        first = [(id_, share) for id_, share in zip(ids, ranked_first(group.wins()).tolist(), strict=True) if share > 0]
        if not first:
            excluded.found += 1
            excluded.add(NO_FIRST, 1)
        for id_, share in first:
            shares[prompt, id_] = max(share, shares.get((prompt, id_), 0.0))
    return shares


def _stacked(matrices: list[Tensor], size: int) -> Tensor:
    stacked = torch.zeros(len(matrices), size, size)
    for number, matrix in enumerate(matrices):
        stacked[number, : len(matrix), : len(matrix)] = matrix
    return stacked

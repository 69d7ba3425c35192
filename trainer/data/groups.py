"""From a snapshot to groups: a prompt, its completions as token ids, and all that was said about them."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from trainer.data.conversations import ConversationError, Tokenizer, completion_ids, prompt_fit, prompt_ids
from trainer.data.ratings import ratings_of
from trainer.data.snapshots import Snapshot
from trainer.records import ComparisonRow, CompletionRow, Message

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


class Ranking(NamedTuple):
    """A whole ranking of a group's completions: the rank of each, 0 for the best, equal ranks for ties."""

    ranks: tuple[int, ...]
    weight: float
    annotators: str = ""


@dataclass(frozen=True)
class Group:
    """A prompt and its completions as ids, each completion once, with all that was said about these completions.

    `weight` is the sum of the comparisons' weights; `ids` are the completions' ids in the snapshot (a demonstration's
    id for an answer written by a person), `tasks` where the comparisons come from. `rankings` are those comparisons
    that order all completions. `likert` (0 to 1, mean of what annotators gave) and `answers` (per question, the share
    that said yes) are ratings of each completion, where there are any.
    """

    prompt: int
    prompt_ids: list[int]
    completions: list[list[int]]
    edges: list[Edge]
    weight: float
    ids: tuple[int, ...] = ()
    tasks: tuple[int, ...] = ()
    rankings: tuple[Ranking, ...] = ()
    likert: tuple[float | None, ...] = ()
    answers: tuple[Mapping[str, float], ...] = ()
    tags: tuple[str, ...] = ()

    def counted_weight(self, ties_policy: str) -> float:
        """What this group counts for in a mean over prompts: 0 where no edge counts (all tied, and ties dropped)."""
        counted = (PREFERRED,) if ties_policy == "drop" else (PREFERRED, TIED)
        return self.weight if any(edge.outcome in counted and edge.weight > 0 for edge in self.edges) else 0.0

    def ranked_weight(self) -> float:
        """What this group counts for in a mean over prompts of a loss that learns from whole rankings."""
        return math.fsum(ranking.weight for ranking in self.rankings if len(set(ranking.ranks)) > 1)

    def first_shares(self) -> list[float]:
        """Shares, adding up to 1, of the completions with the greatest weight of wins less losses; K numbers.

        All 0 where nothing is preferred to anything; completions that share the place have equal shares.
        """
        net = [0.0] * len(self.completions)
        for edge in self.edges:
            if edge.outcome == PREFERRED:
                net[edge.i] += edge.weight
                net[edge.j] -= edge.weight
        # Weights such as 1/3 do not add up exactly.
        near = 1e-6 * math.fsum(edge.weight for edge in self.edges)
        most = max(net, default=0.0)
        first = [value >= most - near and most > near for value in net]
        return [float(one) / max(1, sum(first)) for one in first]


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


def groups_from(
    snapshot: Snapshot, tokenizer: Tokenizer, *, split: str, max_length: int
) -> tuple[list[Group], Exclusions]:
    """The comparisons of a split as groups, ordered by prompt.

    Comparisons of the same completions of a prompt are one group. A group whose longest completion does not fit into
    `max_length` tokens beside the least that may remain of the prompt is left out whole.
    """
    excluded = Exclusions()
    writer = Writer(snapshot, tokenizer, max_length, excluded)
    groups = []
    for (prompt, ids), rows in _by_completions(snapshot, split):
        excluded.found += len(rows)
        edges = list(_edges(ids, rows))
        if not edges:
            excluded.add(NO_EDGES, len(rows))
        elif (parts := writer.parts(prompt, [snapshot.completions[id_] for id_ in ids], len(rows))) is not None:
            excluded.kept += len(rows)
            groups.append(_group(snapshot, prompt, ids, parts, edges, rows))
    return groups, excluded


def answers_from(
    snapshot: Snapshot, tokenizer: Tokenizer, *, split: str, max_length: int, answers: str
) -> tuple[list[Group], Exclusions]:
    """Answers to learn by heart, as groups of one completion without edges: written ("demonstrations"), ranked first
    ("preferred"), or both. Completions that share the first place share its weight.
    """
    excluded = Exclusions(unit="answers")
    writer = Writer(snapshot, tokenizer, max_length, excluded)
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


class Writer:
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


def _group(
    snapshot: Snapshot,
    prompt: int,
    ids: tuple[int, ...],
    parts: tuple[list[int], list[list[int]]],
    edges: list[Edge],
    rows: Sequence[ComparisonRow],
) -> Group:
    return Group(
        prompt,
        *parts,
        edges,
        sum(row["weight"] for row in rows),
        ids,
        tuple(sorted({row["task"] for row in rows})),
        tuple(_rankings(ids, rows)),
        *ratings_of(snapshot, ids),
        tuple(snapshot.prompts[prompt]["tags"]),
    )


def _rankings(ids: tuple[int, ...], rows: Iterable[ComparisonRow]) -> Iterator[Ranking]:
    """The comparisons that order all completions, numbered as in `ids`."""
    for row in rows:
        if row["ranking"] is not None and row["weight"] > 0:
            rank = {row["completions"][place]: number for number, tier in enumerate(row["ranking"]) for place in tier}
            yield Ranking(tuple(rank[id_] for id_ in ids), row["weight"], row["group"])


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
        first = [(id_, share) for id_, share in zip(ids, group.first_shares(), strict=True) if share > 0]
        if not first:
            excluded.found += 1
            excluded.add(NO_FIRST, 1)
        for id_, share in first:
            shares[prompt, id_] = max(share, shares.get((prompt, id_), 0.0))
    return shares

"""Comparisons to try losses on, and the mean over prompts as plain loops."""

import math
import random
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from trainer.data.batches import Edges, Lists

LN2 = math.log(2)
Said = tuple[int, int, str, float, int]
"""i, j, ">" or "=", weight, group."""


class Case(NamedTuple):
    """G groups with N completions: values (N,) in float64, counts (N,) tokens, group (N,), weight (G,)."""

    values: Tensor
    edges: Edges
    lists: Lists
    weight: Tensor
    counts: Tensor
    group: Tensor


def edges_of(*said: Said, strengths: Iterable[int] = ()) -> Edges:
    """Edges from tuples."""
    return Edges(
        i=torch.tensor([one[0] for one in said], dtype=torch.long),
        j=torch.tensor([one[1] for one in said], dtype=torch.long),
        tied=torch.tensor([one[2] == "=" for one in said], dtype=torch.bool),
        weight=torch.tensor([one[3] for one in said], dtype=torch.float32),
        strength=torch.tensor(list(strengths) or [0] * len(said), dtype=torch.long),
        group=torch.tensor([one[4] for one in said], dtype=torch.long),
    )


def lists_of(*said: tuple[list[int], list[int], float, int]) -> Lists:
    """Rankings from tuples of numbers of completions, their ranks, weight, group."""
    most = max((len(one[0]) for one in said), default=0)
    return Lists(
        rows=torch.tensor([one[0] + [0] * (most - len(one[0])) for one in said], dtype=torch.long).view(
            len(said), most
        ),
        ranks=torch.tensor([one[1] + [-1] * (most - len(one[1])) for one in said], dtype=torch.long).view(
            len(said), most
        ),
        weight=torch.tensor([one[2] for one in said], dtype=torch.float32),
        group=torch.tensor([one[3] for one in said], dtype=torch.long),
    )


def vector(*values: float) -> Tensor:
    """Values in float64 that take a gradient."""
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def ones(number: int) -> Tensor:
    """Weights of 1."""
    return torch.ones(number, dtype=torch.float64)


NO_EDGES, NO_LISTS = edges_of(), lists_of()


def ranked(size: int, start: int = 0, group: int = 0) -> list[Said]:
    """All pairs of a ranking from the first to the last."""
    return [(start + i, start + j, ">", 1.0, group) for i in range(size) for j in range(i + 1, size)]


def random_case(seed: int, groups: int = 6, most: int = 5) -> Case:
    """Groups of 1 to `most` completions: some pairs won (some both ways), some tied, some not compared; rankings, some
    with ties, some of one rank alone; weights everywhere. Weights are exact in float32.
    """
    dice = random.Random(seed)
    said: list[Said] = []
    rankings: list[tuple[list[int], list[int], float, int]] = []
    group: list[int] = []
    for number in range(groups):
        size = dice.randint(1, most)
        members = list(range(len(group), len(group) + size))
        group += [number] * size
        for i in members:
            for j in members:
                if i != j and dice.random() < 0.5:
                    said.append((i, j, ">", dice.choice([0.25, 1.0, 3.0]), number))
                if i < j and dice.random() < 0.3:
                    said.append((*dice.choice([(i, j), (j, i)]), "=", dice.choice([0.5, 2.0]), number))
        for _ in range(dice.randint(0, 2) if size > 1 else 0):
            given = [dice.randrange(size) for _ in members]
            ranks = [sorted(set(given)).index(one) for one in given]
            rankings.append((members, ranks, dice.choice([0.5, 1.0, 4.0]), number))
    return Case(
        values=torch.tensor([dice.gauss(0, 2) for _ in group], dtype=torch.float64),
        edges=edges_of(*said, strengths=[dice.randint(0, 4) for _ in said]),
        lists=lists_of(*rankings),
        weight=torch.tensor([dice.choice([0.25, 1.0, 1.5]) for _ in range(groups)], dtype=torch.float64),
        counts=torch.tensor([dice.randint(1, 9) for _ in group]),
        group=torch.tensor(group),
    )


def part_of(case: Case, groups: range) -> Case:
    """Some groups that follow each other as a case of their own."""
    inside = (case.group >= groups.start) & (case.group < groups.stop)
    first = int(inside.nonzero()[0])
    kept = (case.edges.group >= groups.start) & (case.edges.group < groups.stop)
    edges = Edges(*(tensor[kept] for tensor in case.edges))
    rankings = (case.lists.group >= groups.start) & (case.lists.group < groups.stop)
    lists = Lists(*(tensor[rankings] for tensor in case.lists))
    return Case(
        values=case.values[inside],
        edges=edges._replace(i=edges.i - first, j=edges.j - first, group=edges.group - groups.start),
        lists=lists._replace(rows=(lists.rows - first).clamp_min(0), group=lists.group - groups.start),
        weight=case.weight[groups.start : groups.stop],
        counts=case.counts[inside],
        group=case.group[inside] - groups.start,
    )


def turned(case: Case, seed: int) -> Case:
    """The same said of completions, edges and rankings that stand in another order."""
    dice = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(case.values), generator=dice)
    place = order.argsort()
    shuffled = torch.randperm(len(case.edges.i), generator=dice)
    edges = Edges(*(tensor[shuffled] for tensor in case.edges))
    within = torch.randperm(case.lists.ranks.shape[1], generator=dice)
    lists = case.lists._replace(rows=place[case.lists.rows][:, within], ranks=case.lists.ranks[:, within])
    return Case(
        values=case.values[order],
        edges=edges._replace(i=place[edges.i], j=place[edges.j]),
        lists=lists,
        weight=case.weight,
        counts=case.counts[order],
        group=case.group[order],
    )


def edge_rows(case: Case) -> list[tuple[int, int, bool, float, int, int]]:
    """i, j, tied, weight, strength, group of each edge, as plain numbers."""
    return list(zip(*(tensor.tolist() for tensor in case.edges), strict=True))


def list_rows(case: Case) -> list[tuple[list[tuple[int, int]], float, int]]:
    """Completions with their ranks, weight and group of each ranking, as plain numbers."""
    rows = zip(*(tensor.tolist() for tensor in case.lists), strict=True)
    return [
        ([(row, rank) for row, rank in zip(numbers, ranks, strict=True) if rank >= 0], weight, group)
        for numbers, ranks, weight, group in rows
    ]


def loop_mean(losses: Iterable[tuple[int, float, float]], weights: list[float]) -> float:
    """The mean over prompts of (group, weight, loss), in loops."""
    total = share = 0.0
    kept = list(losses)
    for number, weight in enumerate(weights):
        mine = [(one, loss) for group, one, loss in kept if group == number]
        within = math.fsum(one for one, _ in mine)
        if within > 0:
            total += weight * math.fsum(one * loss for one, loss in mine) / within
            share += weight
    return total / share if share else 0.0


def loop_list_mean(case: Case, losses: list[float]) -> float:
    """The mean over prompts that count by the weights of their rankings, of losses of rankings."""
    rows = [
        (group, weight, loss)
        for (ranks, weight, group), loss in zip(list_rows(case), losses, strict=True)
        if len({rank for _, rank in ranks}) > 1
    ]
    weights = [math.fsum(weight for group, weight, _ in rows if group == number) for number in range(len(case.weight))]
    return loop_mean(rows, weights)


def softplus(value: float) -> float:
    """−log σ(−value)."""
    return max(value, 0) + math.log1p(math.exp(-abs(value)))


def gradient(loss: Tensor, values: Tensor) -> Tensor:
    """The loss's derivative by values."""
    (found,) = torch.autograd.grad(loss, values)
    return found

"""Rankings and the edges they stand for. Pure: slots are small integers, tiers are listed best first."""

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

Outcome = Literal[">", "="]
Edge = tuple[int, int, Outcome, int | None, float]
Tiers = list[list[int]]


def edges_from_ranking(tiers: Sequence[Sequence[int]], strength: int | None = None) -> list[Edge]:
    """Every pair of the ranking as an edge of weight 1, better slot first; ties are ordered by slot.

    `strength` (1 to 4) is what was said about the strict pairs, None where it was not asked.
    """
    placed = [(slot, tier) for tier, slots in enumerate(tiers) for slot in sorted(slots)]
    return [
        (a, b, "=", None, 1.0) if tier_a == tier_b else (a, b, ">", strength, 1.0)
        for (a, tier_a), (b, tier_b) in combinations(placed, 2)
    ]


def ranking_from_edges(edges: Sequence[Edge], k: int) -> Tiers | None:
    """The one ranking with ties that has exactly these edges over slots 0 to k-1, or None where there is none.

    None also when a pair is missing or was judged twice: then the edges say less, or more, than a ranking does.
    """
    wins = [0] * k
    for a, _worse, outcome, _strength, _weight in edges:
        if outcome == ">":
            wins[a] += 1
    # In a weak order, those who beat equally many are tied, and each tier beats all tiers below it.
    tiers = [sorted(slot for slot in range(k) if wins[slot] == count) for count in sorted(set(wins), reverse=True)]
    stated = sorted(_pair(edge) for edge in edges)
    implied = sorted(_pair(edge) for edge in edges_from_ranking(tiers))
    return tiers if stated == implied else None


def _pair(edge: Edge) -> tuple[int, int, str]:
    a, b, outcome = edge[:3]
    return (min(a, b), max(a, b), "=") if outcome == "=" else (a, b, outcome)


def ranking_is_complete(tiers: Sequence[Sequence[int]], k: int) -> bool:
    """Whether every slot from 0 to k-1 stands in exactly one tier and no tier is empty."""
    return all(tiers) and sorted(slot for tier in tiers for slot in tier) == list(range(k))

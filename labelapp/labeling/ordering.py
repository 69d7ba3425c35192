"""Rankings and the edges they stand for. Pure: slots are small integers, tiers are listed best first."""

import re
from collections.abc import Sequence
from itertools import combinations
from typing import Literal

from django.utils.translation import gettext as _

from labelapp.labeling.presentation import LETTERS

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


def ranking_parse(text: str, order: Sequence[int]) -> Tiers | str:
    """Read "D C A=B" (best first, `=` for about equal, spaces, commas and `>` alike) into tiers of slots.

    Returns a sentence for the person when it cannot be read as a ranking of all letters.
    """
    letters = LETTERS[: len(order)]
    compact = re.sub(r"\s*[=＝]\s*", "=", text.upper().strip())
    tiers = [part.split("=") for part in re.split(r"[\s,>;，；、＞]+", compact) if part]
    named = [letter for tier in tiers for letter in tier]
    if not named:
        return _("Rank the completions, best first: for example %(ranking)s.") % {"ranking": ranking_example(letters)}
    if "" in named:
        return _("An “=” needs a letter on both sides, as in A=B.")
    unknown = sorted({letter for letter in named if letter not in letters or len(letter) != 1})
    if unknown:
        first, last = letters[0], letters[-1]
        return _("%(named)s is not among the completions %(first)s to %(last)s.") % {
            **{"named": ", ".join(unknown), "first": first, "last": last},
        }
    twice = sorted({letter for letter in named if named.count(letter) > 1})
    if twice:
        return _("%(named)s stands in the ranking more than once.") % {"named": ", ".join(twice)}
    missing = [letter for letter in letters if letter not in named]
    if missing:
        return _("Still to be placed: %(letters)s.") % {"letters": ", ".join(missing)}
    slots = [sorted(order[letters.index(letter)] for letter in tier) for tier in tiers]
    return slots if ranking_is_complete(slots, len(order)) else _("This cannot be read as a ranking.")


def ranking_write(tiers: Sequence[Sequence[int]], order: Sequence[int]) -> str:
    """A ranking as it is typed, in the letters of this order."""
    return " ".join("=".join(sorted(LETTERS[order.index(slot)] for slot in tier)) for tier in tiers)


def ranking_example(letters: str, *, ties: bool = True) -> str:
    """What a ranking of these letters may look like."""
    if len(letters) < 2:
        return letters
    if not ties:
        return " ".join([letters[-1], *letters[:-1]])
    return "A=B" if len(letters) == 2 else " ".join([letters[-1], *letters[2:-1], f"{letters[0]}={letters[1]}"])


def preference_parse(text: str, steps: int, order: Sequence[int]) -> tuple[Tiers, int | None] | None:
    """Read a step between two completions: 1 to 4 prefer the first (1 most), the last four the second.

    The middle of nine is about equal. Returns tiers and strength (1 to 4), or None where it is no step.
    """
    if text not in {str(step) for step in range(1, steps + 1)}:
        return None
    step, first, second = int(text), order[0], order[1]
    if steps == 9 and step == 5:
        return [sorted([first, second])], None
    if step <= 4:
        return [[first], [second]], 5 - step
    return [[second], [first]], step - (steps - 4)


def preference_write(edge: Edge, steps: int, order: Sequence[int]) -> str:
    """The step that an edge between the two slots of this order came from."""
    better, _worse, outcome, strength, _weight = edge
    if outcome == "=":
        return "5"
    return str(5 - (strength or 1) if better == order[0] else steps - 4 + (strength or 1))

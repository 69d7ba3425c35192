"""Verdicts of critiques: a ranking of lettered completions in one line, as in "Best to worst: B A=C"."""

import re
import string
from collections.abc import Iterable, Sequence
from itertools import combinations

from trainer.data.groups import PREFERRED, TIED
from trainer.records import EdgeRow

LETTERS = string.ascii_uppercase
VERDICT = "Best to worst:"
"""How the line that is the verdict begins."""

Tiers = list[list[int]]
"""Places of completions, best first; those of one tier are about equal."""

_LINE = re.compile(rf"^\W*{VERDICT}(?P<ranking>.*)$", re.IGNORECASE | re.MULTILINE)
_RANKING = re.compile(r"[A-Z](?:(?:\s*=\s*|\s*[>,]\s*|\s+)[A-Z])*")


def verdict_write(tiers: Sequence[Sequence[int]]) -> str:
    """The line that says this: letter A is place 0. At most 26 places."""
    return f"{VERDICT} " + " ".join("=".join(LETTERS[place] for place in sorted(tier)) for tier in tiers)


def verdict_read(text: str, k: int) -> Tiers | None:
    """The verdict of a critique of `k` completions: what its last line of that form says.

    None when there is no such line, or when it does not place each letter once. Letters may be parted by spaces, commas
    or `>`, in any case, with marks of emphasis or a full stop around them.
    """
    lines = _LINE.findall(text)
    ranking = lines[-1].strip(" \t\r.*_`").upper() if lines else ""
    if not _RANKING.fullmatch(ranking):
        return None
    tiers = [
        sorted(LETTERS.index(letter) for letter in tier.split("="))
        for tier in re.split(r"[\s>,]+", re.sub(r"\s*=\s*", "=", ranking))
    ]
    return tiers if sorted(place for tier in tiers for place in tier) == list(range(k)) else None


def tiers_of(edges: Iterable[EdgeRow], places: Sequence[int]) -> Tiers | None:
    """The ranking of some of a comparison's completions, which stand at `places`, that its edges amount to.

    Numbered as in `places`. None where they are no ranking: a pair was not judged, or twice, or there is a cycle.
    """
    number = {place: found for found, place in enumerate(places)}
    said = [
        (number[edge["i"]], number[edge["j"]], edge["outcome"])
        for edge in edges
        if edge["i"] in number and edge["j"] in number
    ]
    wins = [sum(i == place and outcome != TIED for i, _, outcome in said) for place in range(len(places))]
    # Of those that are tied each beats equally many, and each tier beats all below it.
    tiers = [[place for place, won in enumerate(wins) if won == most] for most in sorted(set(wins), reverse=True)]
    implied = {
        (min(a, b), max(a, b), TIED)
        if wins[a] == wins[b]
        else (a, b, PREFERRED)
        if wins[a] > wins[b]
        else (b, a, PREFERRED)
        for a, b in combinations(range(len(places)), 2)
    }
    stated = [(min(i, j), max(i, j), TIED) if outcome == TIED else (i, j, outcome) for i, j, outcome in said]
    return tiers if len(stated) == len(implied) and set(stated) == implied else None


def verdict_scores(tiers: Tiers | None, k: int) -> list[float]:
    """What a verdict gives each of `k` places: how many completions are worse, less how many are better.

    All 0 where it could not be read, so that it prefers nothing.
    """
    scores = [0.0] * k
    above = 0
    for tier in tiers or []:
        for place in tier:
            scores[place] = float(k - len(tier) - 2 * above)
        above += len(tier)
    return scores


def agreement(first: Tiers, second: Tiers, k: int) -> float:
    """The share of the pairs of `k` places about which two verdicts say the same."""
    one, other = verdict_scores(first, k), verdict_scores(second, k)
    pairs = list(combinations(range(k), 2))
    return sum(_sign(one[a] - one[b]) == _sign(other[a] - other[b]) for a, b in pairs) / len(pairs)


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)

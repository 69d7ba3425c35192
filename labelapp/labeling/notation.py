"""How people write rankings and preferences: in letters as shown, best first, or as a step between two."""

import re
from collections.abc import Sequence

from django.utils.translation import gettext as _

from labelapp.labeling.ordering import Edge, Tiers, ranking_is_complete
from labelapp.labeling.presentation import LETTERS


def ranking_parse(text: str, order: Sequence[int]) -> Tiers | str:
    """Read "D C A=B" (best first, `=` for about equal, spaces, commas and `>` alike) into tiers of slots.

    Returns a sentence for the person when it cannot be read as a ranking of all letters.
    """
    letters = LETTERS[: len(order)]
    compact = re.sub(r"\s*[=＝]\s*", "=", text.upper().strip())
    compact = re.sub(r"(?<=\w)(?=\w)", " ", compact)  # "DCA=B" is "D C A=B"
    tiers = [part.split("=") for part in re.split(r"[\s,>;，；、＞]+", compact) if part]
    named = [letter for tier in tiers for letter in tier]
    if not named:
        return _("Rank the completions, best first: for example %(ranking)s.") % {"ranking": ranking_example(letters)}
    if "" in named:
        return _("An “=” needs a letter on both sides, as in A=B.")
    unknown = sorted({letter for letter in named if letter not in letters})
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

"""Worked examples to practise on: what one consists of, its rules, and how somebody's answer compares. Stores nothing.

An answer speaks in letters, which are shuffled per person as in a task; an example speaks in places of its list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from django.utils.translation import gettext as _

from labelapp.labeling.notation import ranking_parse, ranking_write
from labelapp.labeling.ordering import Tiers, ranking_is_complete
from labelapp.labeling.presentation import LETTERS, order_shown
from labelapp.models import Annotator, PracticeExample, Project

MOST_COMPLETIONS = 4
TITLE_LIMIT = 200
TEXT_LIMIT = 20_000


@dataclass(frozen=True)
class PracticeSpec:
    """A worked example as it is asked for."""

    protocol_name: str
    title: str
    messages: list[dict[str, str]]
    completions: list[dict[str, Any]]
    ranking: Tiers
    explanation: str


def practice_problems(spec: PracticeSpec) -> list[str]:
    """What is wrong with a worked example, in words."""
    problems = []
    if not 0 < len(spec.title.strip()) <= TITLE_LIMIT:
        problems.append(f"A worked example needs a title of at most {TITLE_LIMIT} characters.")
    if not spec.messages or not all(message["content"].strip() for message in spec.messages):
        problems.append("Write the prompt: what somebody asked.")
    elif spec.messages[-1]["role"] != "user":
        problems.append("The prompt has to end with what the user says: the completions answer that.")
    if not 2 <= len(spec.completions) <= MOST_COMPLETIONS:
        problems.append(
            f"A worked example has 2 to {MOST_COMPLETIONS} completions; this one has {len(spec.completions)}."
        )
    elif not ranking_is_complete(spec.ranking, len(spec.completions)):
        problems.append("The ranking has to name each completion once, best first.")
    texts = [spec.explanation, *(message["content"] for message in spec.messages)]
    texts += [str(completion[name]) for completion in spec.completions for name in ("text", "explanation")]
    if any(len(text) > TEXT_LIMIT for text in texts):
        problems.append(f"Each text takes at most {TEXT_LIMIT:,} characters; one of these is longer.")
    if not all(completion["text"].strip() for completion in spec.completions):
        problems.append("Each completion needs a text.")
    return problems


@dataclass(frozen=True)
class PracticeCard:
    """A completion as practised on: its letter, and what the team says of it."""

    letter: str
    slot: int
    text: str
    explanation: str
    likert: int | None
    points: int


def cards_of(example: PracticeExample, *, project: Project, annotator: Annotator) -> list[PracticeCard]:
    """The completions in the order of their letters, shuffled for this person as in a task."""
    k = len(example.completions)
    order = order_shown(salt=f"{project.salt}:practice", task_id=example.pk, annotator_id=annotator.pk, k=k)
    return [
        PracticeCard(
            letter=letter,
            slot=slot,
            text=example.completions[slot]["text"],
            explanation=example.completions[slot].get("explanation", ""),
            likert=example.completions[slot].get("likert"),
            points=example.completions[slot].get("points", 0),
        )
        for letter, slot in zip(LETTERS, order, strict=False)
    ]


@dataclass(frozen=True)
class Pair:
    """Two completions as a person and the team order them: the better letter first, or "=" between equals."""

    yours: str
    teams: str

    @property
    def agree(self) -> bool:
        """Whether both say the same."""
        return self.yours == self.teams


@dataclass(frozen=True)
class RatedCard:
    """What the person and the team say of one completion."""

    card: PracticeCard
    yours: int | None

    @property
    def words(self) -> str:
        """How far the person is from the team, in words; empty where one of them gave no rating."""
        if self.yours is None or self.card.likert is None:
            return ""
        if self.yours == self.card.likert:
            return _("You rated it the same.")
        return _("You rated it %(rating)d.") % {"rating": self.yours}


@dataclass(frozen=True)
class Answer:
    """How a person's answer compares with the team's. For reading once; it is no score, and is not kept."""

    yours: str
    teams: str
    pairs: list[Pair]
    rated: list[RatedCard]

    @property
    def alike(self) -> int:
        """How many pairs both order alike."""
        return sum(pair.agree for pair in self.pairs)


def answer_read(example: PracticeExample, cards: Sequence[PracticeCard], fields: Mapping[str, str]) -> Answer | str:
    """Compare a form with the team's view; returns a sentence for the person when it holds no whole ranking.

    Fields: `ranking` as in a task, or, where that is empty, `place-A` and so on, equal places being about equal; and
    `likert-A`, which may be left out.
    """
    order = [card.slot for card in cards]
    tiers = ranking_parse(fields.get("ranking", "").strip() or ranking_of_places(cards, fields), order)
    if isinstance(tiers, str):
        return tiers
    letters = {card.slot: card.letter for card in cards}
    yours, teams = _places(tiers, letters), _places(example.ranking, letters)
    return Answer(
        yours=ranking_write(tiers, order),
        teams=ranking_write(example.ranking, order),
        pairs=[
            Pair(_ordered(yours, first, second), _ordered(teams, first, second))
            for first, second in combinations(sorted(letters.values()), 2)
        ],
        rated=[RatedCard(card, _rating(fields.get(f"likert-{card.letter}", ""), card.points)) for card in cards],
    )


def ranking_of_places(cards: Sequence[PracticeCard], fields: Mapping[str, str]) -> str:
    """A ranking as typed, from a place for each letter; letters without a place are left out."""
    places: dict[int, list[str]] = {}
    for card in cards:
        raw = fields.get(f"place-{card.letter}", "")
        if raw.isdecimal() and len(raw) < 3:
            places.setdefault(int(raw), []).append(card.letter)
    return " ".join("=".join(places[place]) for place in sorted(places))


def _places(tiers: Tiers, letters: Mapping[int, str]) -> dict[str, int]:
    return {letters[slot]: place for place, tier in enumerate(tiers) for slot in tier}


def _ordered(places: Mapping[str, int], first: str, second: str) -> str:
    if places[first] == places[second]:
        return f"{first} = {second}"
    return f"{first} > {second}" if places[first] < places[second] else f"{second} > {first}"


def _rating(raw: str, points: int) -> int | None:
    return int(raw) if raw.isdecimal() and len(raw) < 3 and 1 <= int(raw) <= points else None

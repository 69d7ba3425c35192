"""From the fields of the labeling form to one typed judgement, and every problem said in words beside its field.

The form speaks in letters (positions as shown); a judgement speaks in slots. Fields: `ranking` ("D C A=B", best first),
`preference` (a step, with two completions), `likert-A`, `answer-A-KEY`, `answer-KEY`, `confidence`, `rationale`,
`first_ranking`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from labelapp.labeling.ordering import Edge, Tiers, edges_from_ranking, ranking_is_complete
from labelapp.labeling.presentation import LETTERS
from labelapp.models import Protocol, Question

ANSWER_VALUES = {"yes", "no", "na"}
RATIONALE_LIMIT = 50_000
Answers = dict[str, str | None]


@dataclass(frozen=True)
class SlotRating:
    """What was said about one completion on its own."""

    likert: int | None
    answers: Answers


@dataclass(frozen=True)
class Judgement:
    """A complete, valid answer to a task."""

    tiers: Tiers | None
    edges: list[Edge]
    first_tiers: Tiers | None
    ratings: dict[int, SlotRating]
    answers: Answers
    confidence: int | None
    rationale: str


class Stage(StrEnum):
    """Which part of a task is on the page."""

    WHOLE = "whole"
    RATE = "rate"
    RANK = "rank"


@dataclass(frozen=True)
class Sheet:
    """What a person is asked about one task."""

    protocol: Protocol
    questions: Sequence[Question]
    order: Sequence[int]
    questioned: frozenset[int]
    stage: Stage = Stage.WHOLE

    @property
    def letters(self) -> str:
        """The letters of the completions shown."""
        return LETTERS[: len(self.order)]

    @property
    def asks_order(self) -> bool:
        """Whether the completions are compared on this page, in one way or the other."""
        return len(self.order) > 1 and self.protocol.asks_ranking and self.stage != Stage.RATE

    @property
    def asks_preference(self) -> bool:
        """Whether two completions are compared on a scale of steps instead of by a typed ranking."""
        return len(self.order) == 2 and self.protocol.strength_steps > 0 and self.asks_order

    @property
    def asks_ranking(self) -> bool:
        """Whether a ranking is typed."""
        return self.asks_order and not self.asks_preference

    @property
    def asks_confidence(self) -> bool:
        """Whether confidence is asked on this page."""
        return self.protocol.asks_confidence and self.stage != Stage.RATE

    @property
    def asks_rationale(self) -> bool:
        """Whether a rationale is asked on this page."""
        return self.protocol.asks_rationale and self.stage != Stage.RATE

    def asked(self, scope: Question.Scope) -> list[Question]:
        """The questions of one scope that are on this page, in order; those about the ranking come with a ranking."""
        if scope == Question.Scope.RANKING and not self.asks_order:
            return []
        return [question for question in self.questions if question.scope == scope]

    @staticmethod
    def stage_of(protocol: Protocol, k: int, fields: Mapping[str, str]) -> Stage:
        """The stage that a form is in: two-stage protocols rate first, and rank once the ratings are in."""
        rates = protocol.likert_points > 0
        if protocol.layout != Protocol.Layout.TWO_STAGE or not (rates and protocol.asks_ranking and k > 1):
            return Stage.WHOLE
        return Stage.RANK if fields.get("stage") == Stage.RANK else Stage.RATE


@dataclass
class Reading:
    """The fields as read so far: the judgement when there is no problem, else problems by field name."""

    problems: dict[str, str] = field(default_factory=dict)
    judgement: Judgement | None = None


def judgement_read(sheet: Sheet, fields: Mapping[str, str]) -> Reading:
    """Read a submitted form. Never raises; what is wrong stands in `problems`."""
    reading = Reading()
    tiers, strength = _order_read(sheet, fields, reading.problems)
    ratings = {
        slot: SlotRating(
            likert=_likert_read(sheet, letter, fields, reading.problems),
            answers=_answers_read(sheet.asked(Question.Scope.COMPLETION), f"answer-{letter}-", fields, reading.problems)
            if slot in sheet.questioned
            else {},
        )
        for letter, slot in zip(sheet.letters, sheet.order, strict=True)
    }
    about_all = [*sheet.asked(Question.Scope.PROMPT), *sheet.asked(Question.Scope.RANKING)]
    answers = _answers_read(about_all, "answer-", fields, reading.problems)
    confidence = _confidence_read(sheet, fields, reading.problems)
    rationale = _rationale_read(sheet, fields, reading.problems)
    if reading.problems:
        return reading
    first = ranking_parse(fields.get("first_ranking", ""), sheet.order) if sheet.asks_order else None
    reading.judgement = Judgement(
        tiers=tiers,
        edges=edges_from_ranking(tiers, strength) if tiers else [],
        first_tiers=first if isinstance(first, list) else None,
        ratings=ratings,
        answers=answers,
        confidence=confidence,
        rationale=rationale,
    )
    return reading


def ranking_parse(text: str, order: Sequence[int]) -> Tiers | str:
    """Read "D C A=B" (best first, `=` for about equal, spaces, commas and `>` alike) into tiers of slots.

    Returns a sentence for the person when it cannot be read as a ranking of all letters.
    """
    letters = LETTERS[: len(order)]
    compact = re.sub(r"\s*=\s*", "=", text.upper().strip())
    tiers = [part.split("=") for part in re.split(r"[\s,>;]+", compact) if part]
    named = [letter for tier in tiers for letter in tier]
    if not named:
        return "Rank the completions, best first: for example " + _example(letters) + "."
    if "" in named:
        return "An “=” needs a letter on both sides, as in A=B."
    unknown = sorted({letter for letter in named if letter not in letters or len(letter) != 1})
    if unknown:
        return f"{', '.join(unknown)} is not among the completions {letters[0]} to {letters[-1]}."
    twice = sorted({letter for letter in named if named.count(letter) > 1})
    if twice:
        return f"{', '.join(twice)} stands in the ranking more than once."
    missing = [letter for letter in letters if letter not in named]
    if missing:
        return f"Still to be placed: {', '.join(missing)}."
    slots = [sorted(order[letters.index(letter)] for letter in tier) for tier in tiers]
    return slots if ranking_is_complete(slots, len(order)) else "This cannot be read as a ranking."


def _example(letters: str) -> str:
    return "A=B" if len(letters) == 2 else " ".join([letters[-1], *letters[2:-1], f"{letters[0]}={letters[1]}"])


def _order_read(sheet: Sheet, fields: Mapping[str, str], problems: dict[str, str]) -> tuple[Tiers | None, int | None]:
    if sheet.asks_preference:
        return _preference_read(sheet, fields.get("preference", ""), problems)
    if not sheet.asks_ranking:
        return None, None
    tiers = ranking_parse(fields.get("ranking", ""), sheet.order)
    if isinstance(tiers, str):
        problems["ranking"] = tiers
        return None, None
    if not sheet.protocol.ties_allowed and any(len(tier) > 1 for tier in tiers):
        problems["ranking"] = "This protocol asks for a strict order: every completion needs a place of its own."
    return tiers, None


def _preference_read(sheet: Sheet, raw: str, problems: dict[str, str]) -> tuple[Tiers | None, int | None]:
    """Steps 1 to 4 prefer the first completion (1 most), the last four the second; the middle of nine is equal."""
    steps = sheet.protocol.strength_steps
    if raw not in {str(step) for step in range(1, steps + 1)}:
        problems["preference"] = "Choose which completion is better, and by how much."
        return None, None
    step, first, second = int(raw), sheet.order[0], sheet.order[1]
    if steps == 9 and step == 5:
        return [sorted([first, second])], None
    if step <= 4:
        return [[first], [second]], 5 - step
    return [[second], [first]], step - (steps - 4)


def _likert_read(sheet: Sheet, letter: str, fields: Mapping[str, str], problems: dict[str, str]) -> int | None:
    points = sheet.protocol.likert_points
    if not points:
        return None
    raw = fields.get(f"likert-{letter}", "")
    if raw not in {str(point) for point in range(1, points + 1)}:
        problems[f"likert-{letter}"] = f"Rate completion {letter} from 1 to {points}."
        return None
    return int(raw)


def _answers_read(
    questions: Sequence[Question], prefix: str, fields: Mapping[str, str], problems: dict[str, str]
) -> Answers:
    answers: Answers = {}
    for question in questions:
        raw = fields.get(prefix + question.key, "")
        if raw and (raw not in ANSWER_VALUES or (raw == "na" and not question.allows_na)):
            problems[prefix + question.key] = f"“{question.text}” takes yes or no."
        answers[question.key] = raw or None
    return answers


def _confidence_read(sheet: Sheet, fields: Mapping[str, str], problems: dict[str, str]) -> int | None:
    raw = fields.get("confidence", "")
    if not sheet.asks_confidence or not raw:
        return None
    if raw not in {"1", "2", "3", "4"}:
        problems["confidence"] = "Confidence goes from 1 to 4."
        return None
    return int(raw)


def _rationale_read(sheet: Sheet, fields: Mapping[str, str], problems: dict[str, str]) -> str:
    if not sheet.asks_rationale:
        return ""
    # Browsers send a line break as two characters and count it as one.
    text = fields.get("rationale", "").replace("\x00", "").replace("\r\n", "\n").strip()
    if len(text) > RATIONALE_LIMIT:
        problems["rationale"] = f"The reasons have {len(text):,} characters; shorten them to {RATIONALE_LIMIT:,}."
    return text

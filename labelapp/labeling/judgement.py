"""From the fields of the labeling form to one typed judgement, and every problem said in words beside its field.

The form speaks in letters (positions as shown); a judgement speaks in slots. Fields: `ranking` ("D C A=B", best first),
`preference` (a step, with two completions), `likert-A`, `answer-A-KEY`, `bulk-A`, `answer-KEY`, `confidence`,
`rationale`, `first_ranking`, `before_marks`, `edit`, `edit_of`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from labelapp.labeling.marking import ANSWER_VALUES, before_marks_read, bulk_read, edit_read
from labelapp.labeling.notation import preference_parse, ranking_parse
from labelapp.labeling.ordering import Edge, Tiers, edges_from_ranking
from labelapp.labeling.sheet import Sheet
from labelapp.models import Question

RATIONALE_LIMIT = 50_000
Answers = dict[str, str | None]


@dataclass(frozen=True)
class SlotRating:
    """What was said about one completion on its own; `in_bulk` are the answers that “none apply” gave."""

    likert: int | None
    answers: Answers
    in_bulk: Sequence[str] = ()


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
    marks: str = ""
    before_marks: dict[str, Any] | None = None
    edit: tuple[int, str] | None = None
    """The slot of the best completion and its improved text."""


@dataclass
class Reading:
    """The fields as read so far: the judgement when there is no problem, else problems by field name."""

    problems: dict[str, str] = field(default_factory=dict)
    judgement: Judgement | None = None


def judgement_read(sheet: Sheet, fields: Mapping[str, str], texts: Sequence[str] = ()) -> Reading:
    """Read a submitted form; `texts` are the completions in the order shown, where they may be improved.

    Never raises; what is wrong stands in `problems`.
    """
    reading = Reading()
    tiers, strength = _order_read(sheet, fields, reading.problems)
    ratings = {
        slot: _rating_read(sheet, letter, slot, fields, reading.problems)
        for letter, slot in zip(sheet.letters, sheet.order, strict=True)
    }
    about_all = [*sheet.asked(Question.Scope.PROMPT), *sheet.asked(Question.Scope.RANKING)]
    answers = _answers_read(about_all, "answer-", fields, reading.problems)
    confidence = _confidence_read(sheet, fields, reading.problems)
    rationale = _rationale_read(sheet, fields, reading.problems)
    edit = edit_read(sheet, texts, fields, tiers, reading.problems)
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
        marks=sheet.marks,
        before_marks=before_marks_read(sheet, fields.get("before_marks", "")),
        edit=edit,
    )
    return reading


def _order_read(sheet: Sheet, fields: Mapping[str, str], problems: dict[str, str]) -> tuple[Tiers | None, int | None]:
    if sheet.asks_preference:
        read = preference_parse(fields.get("preference", ""), sheet.protocol.strength_steps, sheet.order)
        if read is None:
            problems["preference"] = _("Choose which completion is better, and by how much.")
        return read or (None, None)
    if not sheet.asks_ranking:
        return None, None
    tiers = ranking_parse(fields.get("ranking", ""), sheet.order)
    if isinstance(tiers, str):
        problems["ranking"] = tiers
        return None, None
    if not sheet.protocol.ties_allowed and any(len(tier) > 1 for tier in tiers):
        problems["ranking"] = _("This protocol asks for a strict order: every completion needs a place of its own.")
    return tiers, None


def _rating_read(
    sheet: Sheet, letter: str, slot: int, fields: Mapping[str, str], problems: dict[str, str]
) -> SlotRating:
    questions = sheet.asked_about(slot)
    likert = _likert_read(sheet, letter, fields, problems)
    answers = _answers_read(questions, f"answer-{letter}-", fields, problems)
    return SlotRating(likert, answers, bulk_read(fields.get(f"bulk-{letter}", ""), questions, answers))


def _likert_read(sheet: Sheet, letter: str, fields: Mapping[str, str], problems: dict[str, str]) -> int | None:
    points = sheet.protocol.likert_points
    if not points:
        return None
    raw = fields.get(f"likert-{letter}", "")
    if raw in {str(point) for point in range(1, points + 1)}:
        return int(raw)
    if points == 2:
        problems[f"likert-{letter}"] = _("Say whether completion %(letter)s is good or not.") % {"letter": letter}
    else:
        named = {"letter": letter, "points": points}
        problems[f"likert-{letter}"] = _("Rate completion %(letter)s from 1 to %(points)s.") % named
    return None


def _answers_read(
    questions: Sequence[Question], prefix: str, fields: Mapping[str, str], problems: dict[str, str]
) -> Answers:
    answers: Answers = {}
    for question in questions:
        raw = fields.get(prefix + question.key, "")
        if raw and (raw not in ANSWER_VALUES or (raw == "na" and not question.allows_na)):
            problems[prefix + question.key] = _("“%(question)s” takes yes or no.") % {"question": _(question.text)}
        answers[question.key] = raw or None
    return answers


def _confidence_read(sheet: Sheet, fields: Mapping[str, str], problems: dict[str, str]) -> int | None:
    raw = fields.get("confidence", "")
    if not sheet.asks_confidence or not raw:
        return None
    if raw not in {"1", "2", "3", "4"}:
        problems["confidence"] = _("Confidence goes from 1 to 4.")
        return None
    return int(raw)


def _rationale_read(sheet: Sheet, fields: Mapping[str, str], problems: dict[str, str]) -> str:
    if not sheet.asks_rationale:
        return ""
    # Browsers send a line break as two characters and count it as one.
    text = fields.get("rationale", "").replace("\x00", "").replace("\r\n", "\n").strip()
    if len(text) > RATIONALE_LIMIT:
        problems["rationale"] = _("The reasons have %(found)s characters; shorten them to %(limit)s.") % {
            **{"found": f"{len(text):,}", "limit": f"{RATIONALE_LIMIT:,}"},
        }
    return text

"""What the form says beside the answer itself: what was set in bulk, how it stood before the first mark, an edit."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _

from labelapp.labeling.notation import preference_parse, ranking_parse
from labelapp.labeling.ordering import Tiers
from labelapp.labeling.sheet import Sheet
from labelapp.models import Question

ANSWER_VALUES = {"yes", "no", "na"}
EDIT_LIMIT = 100_000


def bulk_read(raw: str, questions: Sequence[Question], answers: Mapping[str, str | None]) -> list[str]:
    """The questions that “none apply” answered: those where yes is bad, answered no, and not by hand since."""
    named = set(raw.split(","))
    bad = [question.key for question in questions if question.polarity == Question.Polarity.BAD]
    return [key for key in bad if key in named and answers.get(key) == "no"]


def before_marks_read(sheet: Sheet, raw: str) -> dict[str, Any] | None:
    """The values as they stood when the first mark was shown, or was due, by slot. None where none came.

    It is written by the page's script; what cannot be read of it is left out and never stands in a person's way.
    """
    given = _loaded(raw) if sheet.marks else {}
    if not given:
        return None
    likert, answers = {}, {}
    points = {str(point) for point in range(1, sheet.protocol.likert_points + 1)}
    for letter, slot in zip(sheet.letters, sheet.order, strict=True):
        if given.get(f"likert-{letter}") in points:
            likert[str(slot)] = int(given[f"likert-{letter}"])
        keys = [question.key for question in sheet.asked_about(slot)]
        found = {key: given.get(f"answer-{letter}-{key}") for key in keys}
        if known := {key: value for key, value in found.items() if value in ANSWER_VALUES}:
            answers[str(slot)] = known
    return {"ranking": _tiers(sheet, given), "likert": likert, "answers": answers}


def edit_read(
    sheet: Sheet, texts: Sequence[str], fields: Mapping[str, str], tiers: Tiers | None, problems: dict[str, str]
) -> tuple[int, str] | None:
    """The slot that was improved, and its new text; None where nothing was."""
    text = fields.get("edit", "").replace("\x00", "").replace("\r\n", "\n").strip()
    if not sheet.asks_edit or not text:
        return None
    letter = fields.get("edit_of", "")
    if len(letter) != 1 or letter not in sheet.letters:
        problems["edit"] = _("Say which completion you have improved.")
        return None
    place = sheet.letters.index(letter)
    if tiers and sheet.order[place] not in tiers[0]:
        problems["edit"] = _("Improve the completion that you ranked best; %(letter)s is not.") % {"letter": letter}
    elif len(text) > EDIT_LIMIT:
        problems["edit"] = _("The improved text has %(found)s characters; shorten it to %(limit)s.") % {
            **{"found": f"{len(text):,}", "limit": f"{EDIT_LIMIT:,}"},
        }
    elif text == texts[place].replace("\r\n", "\n").strip():
        same = _("The improved text is the same as completion %(letter)s. Change it, or leave it empty.")
        problems["edit"] = same % {"letter": letter}
    return sheet.order[place], text


def _loaded(raw: str) -> dict[str, str]:
    try:
        given = json.loads(raw or "{}")
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in given.items()} if isinstance(given, dict) else {}


def _tiers(sheet: Sheet, given: Mapping[str, str]) -> Tiers | None:
    if sheet.asks_preference:
        step = preference_parse(given.get("preference", ""), sheet.protocol.strength_steps, sheet.order)
        return step[0] if step else None
    tiers = ranking_parse(given.get("ranking", ""), sheet.order)
    return tiers if isinstance(tiers, list) else None

"""The labeling form as its template needs it: one card per completion, every field with its value and problem."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from labelapp.accounts.languages import language_parse
from labelapp.accounts.sensitivity import category_label
from labelapp.labeling.choices import (
    ChoiceField,
    confidence_field,
    flagged,
    preference_field,
    question_fields,
    rating_field,
)
from labelapp.labeling.judgement import RATIONALE_LIMIT
from labelapp.labeling.marking import EDIT_LIMIT
from labelapp.labeling.notation import ranking_example
from labelapp.labeling.selectors import TaskShown
from labelapp.labeling.sheet import Sheet, Stage
from labelapp.models import Project, Prompt, Question, Report, TaskSkip
from labelapp.prompts.rendered import markdown_kept


@dataclass(frozen=True)
class Prose:
    """A text that somebody wrote, as the page shows it."""

    text: str
    html: SafeString
    length: str


@dataclass(frozen=True)
class Turn:
    """One message of the conversation."""

    role: str
    html: SafeString


@dataclass(frozen=True)
class Contents:
    """What the page shows of the task itself; everything else depends on what is asked."""

    pk: int
    turns: Sequence[Turn]
    completions: Sequence[Prose]
    language: str = ""


@dataclass(frozen=True)
class Card:
    """A completion as shown: a letter, its text and what is asked about it."""

    letter: str
    text: str
    html: SafeString
    length: str
    rating: ChoiceField | None
    questions: list[ChoiceField]
    bulk: str


def contents_of(shown: TaskShown) -> Contents:
    """The texts of a task, rendered."""
    return Contents(
        pk=shown.task.pk,
        turns=[Turn(turn["role"], markdown_kept(turn["content"])) for turn in shown.task.prompt.messages],
        completions=[Prose(text, markdown_kept(text), _length(text)) for text in shown.texts],
        language=language_of(shown.task.prompt),
    )


def language_of(prompt: Prompt) -> str:
    """The code of the language that a prompt and its completions are in, for `lang`; empty where none is known."""
    return language_parse(prompt.language) or ""


def page_context(
    shown: TaskShown,
    *,
    seating: str,
    person: int | str,
    problems: Mapping[str, str] | None = None,
    taken: frozenset[str] = frozenset(),
    contents: Contents | None = None,
) -> dict[str, Any]:
    """Everything `labeling/form.html` shows. `taken` are keys that answer no question, as actions have them."""
    contents = contents or contents_of(shown)
    return {
        "task": contents,
        "messages_shown": contents.turns,
        "text_language": contents.language,
        "cards": _cards(shown, contents.completions, problems or {}, taken),
        "seating": seating,
        "person": person,
        "fields": shown.fields,
        "revision": shown.draft.revision if shown.draft else 0,
        "kept_for_later": _kept_for_later(shown.sheet, shown.fields),
        "sensitivity": [category_label(key) for key in shown.task.prompt.sensitivity],
        **_asked(shown.sheet, shown.fields, problems or {}, shown.task.batch.project),
    }


def _asked(sheet: Sheet, fields: Mapping[str, str], problems: Mapping[str, str], project: Project) -> dict[str, Any]:
    """What is asked about the prompt and the comparison, and what the project's pages have in common."""
    about_completions = sheet.asked(Question.Scope.COMPLETION)
    return {
        "project": project,
        "protocol": sheet.protocol,
        "sheet": sheet,
        "questions_explained": [question for question in about_completions if question.help],
        "prompt_questions": question_fields(sheet.asked(Question.Scope.PROMPT), "answer-", fields, problems),
        "ranking_questions": question_fields(sheet.asked(Question.Scope.RANKING), "answer-", fields, problems),
        "preference": preference_field(sheet, fields, problems),
        "confidence": confidence_field(sheet, fields, problems),
        "ranking_problem": problems.get("ranking", ""),
        "ranking_example": ranking_example(sheet.letters, ties=sheet.protocol.ties_allowed),
        "rationale_problem": problems.get("rationale", ""),
        "rationale_limit": RATIONALE_LIMIT,
        "asks_edit": sheet.asks_edit,
        "edit_problem": problems.get("edit", ""),
        "edit_limit": EDIT_LIMIT,
        "problems": list(problems.values()),
        "severe": sheet.severe,
        "marks": sheet.marks,
        "can_bulk": sheet.stage != Stage.RANK
        and any(question.polarity == Question.Polarity.BAD for question in about_completions),
        "report_kinds": [(value, _(label)) for value, label in Report.Kind.choices if value != Report.Kind.SKIPS],
        "skip_reasons": [
            (value, _(label)) for value, label in TaskSkip.Reason.choices if value != TaskSkip.Reason.REPORTED
        ],
    }


def _cards(
    shown: TaskShown, completions: Sequence[Prose], problems: Mapping[str, str], taken: frozenset[str]
) -> list[Card]:
    sheet, fields = shown.sheet, shown.fields
    return [
        Card(
            letter=letter,
            text=said.text,
            html=said.html,
            length=said.length,
            rating=rating_field(sheet.protocol, letter, fields, problems),
            questions=flagged(
                question_fields(sheet.asked_about(slot), f"answer-{letter}-", fields, problems), taken=taken
            ),
            bulk=fields.get(f"bulk-{letter}", ""),
        )
        for letter, slot, said in zip(sheet.letters, sheet.order, completions, strict=True)
    ]


def _kept_for_later(sheet: Sheet, fields: Mapping[str, str]) -> list[tuple[str, str]]:
    """What was entered in the ranking stage by somebody who went back to the ratings."""
    later = ("ranking", "preference", "confidence", "rationale", "edit", "edit_of") if sheet.stage == Stage.RATE else ()
    return [(name, fields[name]) for name in later if fields.get(name)]


def _length(text: str) -> str:
    count = len(text.split())
    return ngettext("%(count)s word", "%(count)s words", count) % {"count": count}

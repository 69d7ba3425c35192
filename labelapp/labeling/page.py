"""The labeling page as its template needs it: one card per completion, every field with its value and problem."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labelapp.labeling.judgement import RATIONALE_LIMIT, Sheet, Stage
from labelapp.labeling.selectors import TaskShown, questions_of
from labelapp.models import Protocol, Question, TaskSkip


@dataclass(frozen=True)
class Choice:
    """One radio button."""

    value: str
    label: str
    checked: bool


@dataclass(frozen=True)
class ChoiceField:
    """A row of radio buttons."""

    name: str
    legend: str
    choices: list[Choice]
    problem: str = ""
    help: str = ""
    key: str = ""
    polarity: str = ""

    @property
    def given(self) -> Choice | None:
        """What was chosen, if anything."""
        return next((choice for choice in self.choices if choice.checked), None)


@dataclass(frozen=True)
class Card:
    """A completion as shown: a letter, its text and what is asked about it."""

    letter: str
    text: str
    words: int
    rating: ChoiceField | None
    questions: list[ChoiceField]


def page_context(shown: TaskShown, *, problems: Mapping[str, str], seating: str) -> dict[str, Any]:
    """Everything `labeling/task.html` shows."""
    sheet, fields = shown.sheet, shown.fields
    placed = list(zip(sheet.letters, sheet.order, shown.texts, strict=True))
    return {
        "task": shown.task,
        "project": shown.task.batch.project,
        "protocol": sheet.protocol,
        "sheet": sheet,
        "messages_shown": shown.task.prompt.messages,
        "cards": [
            Card(
                letter=letter,
                text=text,
                words=len(text.split()),
                rating=_rating(sheet.protocol, letter, fields, problems),
                questions=_questions(questions_of(sheet, slot), f"answer-{letter}-", fields, problems),
            )
            for letter, slot, text in placed
        ],
        "questions_explained": [question for question in sheet.asked(Question.Scope.COMPLETION) if question.help],
        "prompt_questions": _questions(sheet.asked(Question.Scope.PROMPT), "answer-", fields, problems),
        "ranking_questions": _questions(sheet.asked(Question.Scope.RANKING), "answer-", fields, problems),
        "preference": _preference(sheet, fields, problems),
        "confidence": _confidence(sheet, fields, problems),
        "ranking_problem": problems.get("ranking", ""),
        "rationale_problem": problems.get("rationale", ""),
        "rationale_limit": RATIONALE_LIMIT,
        "problems": list(problems.values()),
        "fields": fields,
        "seating": seating,
        "kept_for_later": _kept_for_later(sheet, fields),
        "revision": shown.draft.revision if shown.draft else 0,
        "skip_reasons": TaskSkip.Reason.choices,
    }


def _kept_for_later(sheet: Sheet, fields: Mapping[str, str]) -> list[tuple[str, str]]:
    """What was entered in the ranking stage by somebody who went back to the ratings."""
    later = ("ranking", "preference", "confidence", "rationale") if sheet.stage == Stage.RATE else ()
    return [(name, fields[name]) for name in later if fields.get(name)]


def _choices(values: list[tuple[str, str]], chosen: str) -> list[Choice]:
    return [Choice(value=value, label=label, checked=value == chosen) for value, label in values]


def _rating(
    protocol: Protocol, letter: str, fields: Mapping[str, str], problems: Mapping[str, str]
) -> ChoiceField | None:
    if not protocol.likert_points:
        return None
    name = f"likert-{letter}"
    points = [(str(point), str(point)) for point in range(1, protocol.likert_points + 1)]
    return ChoiceField(name, "Overall quality", _choices(points, fields.get(name, "")), problems.get(name, ""))


def _questions(
    questions: list[Question], prefix: str, fields: Mapping[str, str], problems: Mapping[str, str]
) -> list[ChoiceField]:
    return [
        ChoiceField(
            name=prefix + question.key,
            legend=question.text,
            choices=_choices(
                [("yes", "Yes"), ("no", "No"), *([("na", "n/a")] if question.allows_na else [])],
                fields.get(prefix + question.key, ""),
            ),
            problem=problems.get(prefix + question.key, ""),
            help=question.help,
            key=question.key,
            polarity="neutral" if question.polarity == Question.Polarity.DESCRIPTIVE else question.polarity,
        )
        for question in questions
    ]


def _preference(sheet: Sheet, fields: Mapping[str, str], problems: Mapping[str, str]) -> ChoiceField | None:
    """The scale between two completions, from "A significantly better" to "B significantly better"."""
    if not sheet.asks_preference:
        return None
    degrees = ["significantly better", "better", "slightly better", "negligibly better or unsure"]
    first = [(str(step), f"A {degree}") for step, degree in enumerate(degrees, start=1)]
    middle = [("5", "About equal")] if sheet.protocol.strength_steps == 9 else []
    start = 5 + len(middle)
    last = [(str(step), f"B {degree}") for step, degree in enumerate(reversed(degrees), start=start)]
    values = [*first, *middle, *last]
    return ChoiceField(
        "preference",
        "Which one is better?",
        _choices(values, fields.get("preference", "")),
        problems.get("preference", ""),
    )


def _confidence(sheet: Sheet, fields: Mapping[str, str], problems: Mapping[str, str]) -> ChoiceField | None:
    if not sheet.asks_confidence:
        return None
    values = [("1", "Guessing"), ("2", "Unsure"), ("3", "Fairly sure"), ("4", "Certain")]
    return ChoiceField(
        "confidence",
        "How sure are you?",
        _choices(values, fields.get("confidence", "")),
        problems.get("confidence", ""),
    )

"""The rows of radio buttons of the labeling form, each with what was chosen and what is wrong with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from django.utils.translation import gettext as _

from labelapp.labeling.sheet import Sheet
from labelapp.models import Protocol, Question

FLAG_KEYS = "qwtyuiopzxcvbfam"
"""The letters that answer questions about a completion with yes, in the order of the questions."""

Texts = Mapping[str, str]


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
    flag_key: str = ""

    @property
    def given(self) -> Choice | None:
        """What was chosen, if anything."""
        return next((choice for choice in self.choices if choice.checked), None)


def rating_field(protocol: Protocol, letter: str, fields: Texts, problems: Texts) -> ChoiceField | None:
    """The scale on which a completion is rated: points, or thumbs, or None where it is not."""
    if not protocol.likert_points:
        return None
    points = [(str(point), str(point)) for point in range(1, protocol.likert_points + 1)]
    if protocol.likert_points == 2:
        points = [("1", _("Bad")), ("2", _("Good"))]
    return _field(f"likert-{letter}", _("Overall quality"), points, fields, problems)


def question_fields(questions: Sequence[Question], prefix: str, fields: Texts, problems: Texts) -> list[ChoiceField]:
    """Yes, no, and where it is offered not applicable, for each question.

    The words of the default protocol are in the catalog; those that people wrote are shown as they are.
    """
    return [
        replace(
            _field(prefix + question.key, _(question.text), _answers(question), fields, problems),
            help=_(question.help) if question.help else "",
            key=question.key,
            polarity="neutral" if question.polarity == Question.Polarity.DESCRIPTIVE else question.polarity,
        )
        for question in questions
    ]


def flagged(asked: Sequence[ChoiceField], taken: frozenset[str]) -> list[ChoiceField]:
    """The questions about a completion, each with a letter of its own that no action has; those at the end may lack."""
    keys = [key for key in FLAG_KEYS if key not in taken]
    return [replace(field, flag_key=keys[place] if place < len(keys) else "") for place, field in enumerate(asked)]


def preference_field(sheet: Sheet, fields: Texts, problems: Texts) -> ChoiceField | None:
    """The scale between two completions, from "A significantly better" to "B significantly better"."""
    if not sheet.asks_preference:
        return None
    first = [
        _("A significantly better"), _("A better"), _("A slightly better"), _("A negligibly better or unsure"),
    ]  # fmt: skip
    last = [
        _("B negligibly better or unsure"), _("B slightly better"), _("B better"), _("B significantly better"),
    ]  # fmt: skip
    middle = [_("About equal")] if sheet.protocol.strength_steps == 9 else []
    values = [(str(step), label) for step, label in enumerate([*first, *middle, *last], start=1)]
    return _field("preference", _("Which one is better?"), values, fields, problems)


def confidence_field(sheet: Sheet, fields: Texts, problems: Texts) -> ChoiceField | None:
    """How sure the person is, from 1 to 4."""
    if not sheet.asks_confidence:
        return None
    values = [("1", _("Guessing")), ("2", _("Unsure")), ("3", _("Fairly sure")), ("4", _("Certain"))]
    return _field("confidence", _("How sure are you?"), values, fields, problems)


def _answers(question: Question) -> list[tuple[str, str]]:
    return [("yes", _("Yes")), ("no", _("No")), *([("na", _("n/a"))] if question.allows_na else [])]


def _field(name: str, legend: str, values: list[tuple[str, str]], fields: Texts, problems: Texts) -> ChoiceField:
    chosen = fields.get(name, "")
    choices = [Choice(value=value, label=label, checked=value == chosen) for value, label in values]
    return ChoiceField(name, legend, choices, problems.get(name, ""))

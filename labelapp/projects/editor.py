"""The form on which a protocol is written: its own fields, its questions, and buttons that move questions about.

Those buttons submit the form and get it back rearranged, unchecked, so it needs no script.
"""

from dataclasses import asdict, replace
from typing import Any

from django.http import QueryDict

from labelapp.models import Question
from labelapp.projects.forms import ProtocolForm, QuestionForm, QuestionFormSet
from labelapp.projects.specs import MAX_QUESTIONS, ProtocolSpec, QuestionSpec

PREFIX = "questions"
SAVE = "save"
_Row = dict[str, Any]


class ProtocolEditor:
    """Both forms as one. With a fixed name the name is not asked for."""

    def __init__(self, data: QueryDict | None, *, start: ProtocolSpec, name_fixed: bool = False) -> None:
        self.name_fixed = name_fixed
        fields = asdict(start)
        rows = fields.pop("questions")
        if data is not None and (action := data.get("action", SAVE)) != SAVE:
            fields |= {name: data.get(name) for name in ProtocolForm.base_fields}
            rows = _rearranged(_rows_read(data), action)
            data = None
        if data is None:
            self.form = ProtocolForm(initial=fields)
            self.questions = QuestionFormSet(initial=rows, prefix=PREFIX)
        else:
            # No initial values here: a question posted as it was shown would count as an untouched, empty row.
            self.form = ProtocolForm(_with_name(data, start.name) if name_fixed else data)
            self.questions = QuestionFormSet(data, prefix=PREFIX)

    @property
    def is_full(self) -> bool:
        """Whether no question can be added."""
        return len(self.questions.forms) >= MAX_QUESTIONS

    def is_valid(self) -> bool:
        """Whether it was submitted to be saved, and can be."""
        return all([self.form.is_valid(), self.questions.is_valid()])

    def has_errors(self) -> bool:
        """Whether something is to be mended before it can be saved."""
        return bool(self.form.errors or self.questions.total_error_count())

    def spec(self) -> ProtocolSpec:
        """The protocol as written. Only when valid."""
        return replace(ProtocolSpec(**self.form.cleaned_data), questions=self.questions.specs())


def _with_name(data: QueryDict, name: str) -> QueryDict:
    copied = data.copy()
    copied["name"] = name
    return copied


def _rows_read(data: QueryDict) -> list[_Row]:
    count = min(_whole(data.get(f"{PREFIX}-TOTAL_FORMS", "0")), MAX_QUESTIONS)
    return [
        {name: data.get(f"{PREFIX}-{index}-{name}", "") for name in QuestionForm.base_fields} for index in range(count)
    ]


def _rearranged(rows: list[_Row], action: str) -> list[_Row]:
    """Apply "add", "remove:3", "up:3" or "down:3"; anything else changes nothing."""
    verb, _, place = action.partition(":")
    if verb == "add" and len(rows) < MAX_QUESTIONS:
        return [*rows, asdict(QuestionSpec(key="", text="", scope=Question.Scope.COMPLETION))]
    index = _whole(place)
    if not 0 <= index < len(rows):
        return rows
    row = rows[index]
    others = rows[:index] + rows[index + 1 :]
    if verb == "remove":
        return others
    target = {"up": max(index - 1, 0), "down": index + 1}.get(verb, index)
    return [*others[:target], row, *others[target:]]


def _whole(text: str) -> int:
    """The number that a form gives, -1 where it gives none or one of more digits than Python reads."""
    try:
        return int(text)
    except ValueError:
        return -1

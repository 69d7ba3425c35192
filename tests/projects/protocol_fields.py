"""A protocol as a browser posts it."""

from dataclasses import asdict
from typing import Any

from labelapp.projects.specs import ProtocolSpec


def posted(spec: ProtocolSpec, **changed: str) -> dict[str, str]:
    """The fields of the form for `spec`; boxes that are not ticked are not posted."""
    fields = asdict(spec)
    questions = fields.pop("questions")
    fields |= {"questions-TOTAL_FORMS": len(questions), "questions-INITIAL_FORMS": 0}
    for index, question in enumerate(questions):
        fields |= {f"questions-{index}-{name}": value for name, value in question.items()}
    return {**{name: _value(value) for name, value in fields.items() if value is not False}, **changed}


def _value(value: Any) -> str:
    return "on" if value is True else str(value)

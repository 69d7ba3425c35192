"""A protocol as it is asked for, before it is a row, and every rule it has to keep."""

import re
from collections import Counter
from dataclasses import dataclass

from django.utils.translation import gettext_noop

from labelapp.models import Protocol, Question
from labelapp.models.tasks import MAX_COMPLETIONS

MAX_QUESTIONS = 40
MAX_GUIDELINES = 50_000
STRENGTH_STEPS = (0, 8, 9)
LIKERT_POINTS = (0, 2, 5, 7, 10)
_KEY = re.compile(r"[-a-zA-Z0-9_]{1,50}")
_UNWEIGHTED = (Question.Polarity.GOOD, Question.Polarity.DESCRIPTIVE)
_ABOUT_QUESTIONS = "questions"


@dataclass(frozen=True)
class QuestionSpec:
    """One yes/no question."""

    key: str
    text: str
    help: str = ""
    scope: str = Question.Scope.COMPLETION
    polarity: str = Question.Polarity.BAD
    severity: str = Question.Severity.MINOR
    allows_na: bool = False


@dataclass(frozen=True)
class ProtocolSpec:
    """What labelers are asked."""

    name: str
    guidelines: str = ""
    layout: str = Protocol.Layout.ONE_PAGE
    asks_ranking: bool = True
    ties_allowed: bool = True
    strength_steps: int = 8
    likert_points: int = 7
    likert_low: str = gettext_noop("Very poor")
    likert_high: str = gettext_noop("Excellent")
    questions_all_up_to: int = 4
    questions_sample: int = 2
    asks_confidence: bool = False
    asks_rationale: bool = False
    asks_edit: bool = False
    marks_contradictions: bool = True
    questions: tuple[QuestionSpec, ...] = ()


def protocol_problems(spec: ProtocolSpec) -> dict[str, str]:
    """What is wrong with a protocol apart from its questions, by field; empty when nothing is."""
    problems = {}
    if not 0 < len(spec.name.strip()) <= 100:
        problems["name"] = "A protocol needs a name of at most 100 characters."
    if len(spec.guidelines) > MAX_GUIDELINES:
        problems["guidelines"] = f"Guidelines take at most {MAX_GUIDELINES:,} characters; these are longer."
    if spec.layout not in Protocol.Layout.values:
        problems["layout"] = "Choose one of the layouts."
    if spec.strength_steps not in STRENGTH_STEPS:
        problems["strength_steps"] = "Choose 8 steps, 9 steps, or none."
    elif spec.strength_steps == 9 and not spec.ties_allowed:
        problems["strength_steps"] = "The ninth step is “about equal”: allow ties, or choose 8 steps."
    if spec.likert_points not in LIKERT_POINTS:
        problems["likert_points"] = "Choose 5, 7 or 10 points, thumbs down or up, or none."
    elif not spec.likert_points and not spec.asks_ranking:
        problems["likert_points"] = "Ask for a ranking, a rating, or both: with neither there is nothing to learn from."
    if spec.asks_edit and not spec.asks_ranking:
        problems["asks_edit"] = (
            "It is the ranking that says which completion is the best: ask for one, or do not offer to improve it."
        )
    if max(len(spec.likert_low), len(spec.likert_high)) > 60:
        problems["likert_low"] = "The words at the ends of the scale take at most 60 characters each."
    if not 0 <= spec.questions_sample <= spec.questions_all_up_to <= MAX_COMPLETIONS:
        problems["questions_sample"] = (
            "The random few cannot be more than the number up to which all are asked, "
            f"and a task has at most {MAX_COMPLETIONS} completions."
        )
    if len(spec.questions) > MAX_QUESTIONS:
        problems[_ABOUT_QUESTIONS] = (
            f"A protocol has at most {MAX_QUESTIONS} questions; these are {len(spec.questions)}."
        )
    return problems


def question_problems(spec: QuestionSpec) -> dict[str, str]:
    """What is wrong with one question by itself, by field; empty when nothing is."""
    problems = {}
    if not 0 < len(spec.text.strip()) <= 200:
        problems["text"] = "Write the question, in at most 200 characters."
    if len(spec.help) > 400:
        problems["help"] = "The explanation takes at most 400 characters."
    if not _KEY.fullmatch(spec.key):
        problems["key"] = "Use letters, digits, - and _ only, at most 50 of them."
    if spec.scope not in Question.Scope.values:
        problems["scope"] = "Choose what the question is about."
    if spec.polarity not in Question.Polarity.values:
        problems["polarity"] = "Choose whether yes is good, bad, or neither."
    if spec.severity not in Question.Severity.values:
        problems["severity"] = "Choose how much it weighs."
    elif spec.polarity in _UNWEIGHTED and spec.severity != Question.Severity.NONE:
        problems["severity"] = "Only a question whose yes is bad has a weight: choose “None” here."
    return problems


def repeated_keys(questions: tuple[QuestionSpec, ...]) -> set[str]:
    """Keys that more than one question uses."""
    return {key for key, count in Counter(question.key for question in questions).items() if count > 1}


def spec_of(protocol: Protocol) -> ProtocolSpec:
    """Read a stored protocol back. Costs a query unless its questions are prefetched."""
    questions = tuple(
        QuestionSpec(**{name: getattr(question, name) for name in QuestionSpec.__dataclass_fields__})
        for question in protocol.questions.all()
    )
    own = {name: getattr(protocol, name) for name in ProtocolSpec.__dataclass_fields__ if name != _ABOUT_QUESTIONS}
    return ProtocolSpec(**own, questions=questions)

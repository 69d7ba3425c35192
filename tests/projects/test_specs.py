"""The rules of protocols: each is said in words, and the database holds it too."""

import ast
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from labelapp.models import Project, Protocol, Question
from labelapp.projects import defaults
from labelapp.projects.defaults import COMPLETION_QUESTIONS, DEFAULT_PROTOCOL, PROMPT_QUESTIONS
from labelapp.projects.specs import (
    ProtocolSpec,
    QuestionSpec,
    protocol_problems,
    question_problems,
    repeated_keys,
    spec_of,
)
from labelapp.projects.worked_examples import WORKED_EXAMPLES

PLAIN = ProtocolSpec(name="Plain")
QUESTION = QuestionSpec(key="rude", text="Is rude")


@pytest.mark.parametrize(
    "fields",
    [
        {"strength_steps": 9},
        {"strength_steps": 0, "ties_allowed": False},
        {"likert_points": 0},
        {"asks_ranking": False, "likert_points": 5},
        {"questions_all_up_to": 2, "questions_sample": 2},
        {"questions_all_up_to": 0, "questions_sample": 0},
        {"layout": "two_stage"},
        {"likert_points": 2},
        {"likert_points": 2, "asks_ranking": False},
        {"asks_edit": True, "marks_contradictions": False},
    ],
)
def test_a_sound_protocol_has_no_problems_and_is_stored(project: Project, fields: dict[str, Any]) -> None:
    spec = replace(PLAIN, **fields)
    assert protocol_problems(spec) == {}
    assert Protocol.objects.create(project=project, name="Plain", **fields).pk


BROKEN_IN_THE_DATABASE = [
    ({"strength_steps": 7}, "strength_steps"),
    ({"strength_steps": 9, "ties_allowed": False}, "strength_steps"),
    ({"likert_points": 6}, "likert_points"),
    ({"likert_points": 0, "asks_ranking": False}, "likert_points"),
    ({"questions_all_up_to": 1, "questions_sample": 2}, "questions_sample"),
]


@pytest.mark.parametrize(("fields", "field"), BROKEN_IN_THE_DATABASE)
def test_what_the_database_refuses_is_said_in_words_first(project: Project, fields: dict[str, Any], field: str) -> None:
    assert list(protocol_problems(replace(PLAIN, **fields))) == [field]
    with pytest.raises(IntegrityError), transaction.atomic():
        Protocol.objects.create(project=project, name="Plain", **fields)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "n" * 101}, "name"),
        ({"guidelines": "g" * 50_001}, "guidelines"),
        ({"layout": "spiral"}, "layout"),
        ({"likert_high": "h" * 61}, "likert_low"),
        ({"asks_edit": True, "asks_ranking": False}, "asks_edit"),
        ({"questions_all_up_to": 10}, "questions_sample"),
        ({"questions": (QUESTION,) * 41}, "questions"),
    ],
)
def test_other_rules_are_said_in_words_too(fields: dict[str, Any], field: str) -> None:
    assert list(protocol_problems(replace(PLAIN, **fields))) == [field]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"polarity": "good"}, "severity"),
        ({"polarity": "descriptive", "severity": "severe"}, "severity"),
        ({"scope": "author"}, "scope"),
        ({"polarity": "odd"}, "polarity"),
        ({"severity": "deadly"}, "severity"),
    ],
)
def test_a_question_the_database_refuses_is_explained_first(
    protocol: Protocol, fields: dict[str, Any], field: str
) -> None:
    assert list(question_problems(replace(QUESTION, **fields))) == [field]
    with pytest.raises(IntegrityError), transaction.atomic():
        Question.objects.create(protocol=protocol, key="rude", text="Is rude", **fields)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"text": ""}, "text"),
        ({"text": "t" * 201}, "text"),
        ({"help": "h" * 401}, "help"),
        ({"key": "two words"}, "key"),
        ({"key": ""}, "key"),
        ({"key": "k" * 51}, "key"),
    ],
)
def test_a_question_needs_words_and_a_key(fields: dict[str, Any], field: str) -> None:
    assert list(question_problems(replace(QUESTION, **fields))) == [field]


def test_repeated_keys_are_found() -> None:
    assert repeated_keys((QUESTION, replace(QUESTION, key="kind"), QUESTION)) == {"rude"}


def test_a_stored_protocol_reads_back(protocol: Protocol) -> None:
    spec = spec_of(protocol)
    assert (spec.name, spec.likert_points, spec.strength_steps) == ("Helpfulness", 7, 8)
    assert [question.key for question in spec.questions] == ["harmful", "constraint", "ambiguous"]
    assert spec.questions[1].allows_na


def test_the_default_keeps_all_rules() -> None:
    assert protocol_problems(DEFAULT_PROTOCOL) == {}
    assert [question_problems(question) for question in DEFAULT_PROTOCOL.questions] == [{}] * 17
    assert repeated_keys(DEFAULT_PROTOCOL.questions) == set()


def test_the_default_asks_the_eleven_questions_with_the_right_polarity() -> None:
    assert [question.polarity for question in COMPLETION_QUESTIONS] == (
        ["bad"] * 3 + ["good"] + ["bad"] * 5 + ["descriptive"] * 2
    )
    severe = [question.key for question in COMPLETION_QUESTIONS if question.severity == "severe"]
    assert severe == ["sexual", "violent", "supports-harm", "demeans-group", "harmful-advice"]
    assert [question.key for question in COMPLETION_QUESTIONS if question.allows_na] == ["meets-constraints"]
    assert {question.scope for question in PROMPT_QUESTIONS} == {"prompt"}


def test_the_default_notes_about_prompts_what_changes_how_answers_are_read() -> None:
    assert [question.key.removeprefix("prompt-") for question in PROMPT_QUESTIONS] == (
        ["unclear", "intent-unclear", "closed-domain", "constraint", "sensitive", "seeks-harm"]
    )
    assert {question.polarity for question in PROMPT_QUESTIONS} == {"descriptive"}


def test_the_default_explains_every_question_that_does_not_explain_itself() -> None:
    bare = [question.key for question in DEFAULT_PROTOCOL.questions if not question.help]
    assert bare == ["sexual", "violent"]


def test_the_words_of_the_default_are_marked_for_translation() -> None:
    source = Path(defaults.__file__).read_text()
    marked = {
        "".join(part.value for part in ast.walk(call) if isinstance(part, ast.Constant) and isinstance(part.value, str))
        for call in ast.walk(ast.parse(source))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "_"
    }
    words = {word for question in DEFAULT_PROTOCOL.questions for word in (question.text, question.help) if word}
    assert words == marked


@pytest.mark.parametrize("example", WORKED_EXAMPLES, ids=lambda example: str(example["title"]))
def test_a_worked_example_is_one_that_the_default_protocol_could_ask(example: dict[str, Any]) -> None:
    completions = example["completions"]
    assert 2 <= len(completions) <= 4
    assert sorted(slot for tier in example["ranking"] for slot in tier) == list(range(len(completions)))
    assert all(1 <= each["likert"] <= each["points"] == DEFAULT_PROTOCOL.likert_points for each in completions)
    assert all(each["explanation"] for each in completions)
    rating = [[completions[slot]["likert"] for slot in tier] for tier in example["ranking"]]
    assert all(min(better) > max(worse) for better, worse in pairwise(rating))

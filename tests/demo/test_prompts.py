"""What the demo brings: read with the import's own reader, and shown with the page's own renderer."""

from collections.abc import Callable
from functools import cache

import pytest

from labelapp.accounts.sensitivity import CATEGORIES
from labelapp.datasets.rows import Row, row_parse
from labelapp.demo.seed import BATCH, LANGUAGES, PROMPTS
from labelapp.labeling.ordering import ranking_from_edges
from labelapp.projects.defaults import DEFAULT_PROTOCOL
from labelapp.prompts.rendering import render_markdown


@cache
def rows() -> list[Row]:
    return [row_parse(line) for line in PROMPTS.read_bytes().splitlines()]


def texts(row: Row) -> list[str]:
    return [completion.text for completion in row.completions]


def shown(row: Row) -> str:
    return "".join(render_markdown(text) for text in texts(row))


def count(holds: Callable[[Row], object]) -> int:
    return sum(bool(holds(row)) for row in rows())


def test_each_prompt_has_between_two_and_as_many_completions_as_a_task_shows() -> None:
    assert {len(row.completions) for row in rows()} == {2, 3, 4, 5, BATCH.k}


def test_no_id_stands_twice() -> None:
    ids = [row.prompt.external_id for row in rows()]
    assert all(ids)
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("what", "holds"),
    [
        ("several turns", lambda row: len(row.prompt.messages) > 1),
        ("a system message", lambda row: row.prompt.messages[0]["role"] == "system"),
        ("a table", lambda row: "<table" in shown(row)),
        ("a bulleted list", lambda row: "<ul" in shown(row)),
        ("a numbered list", lambda row: "<ol" in shown(row)),
        ("code", lambda row: "<pre" in shown(row)),
        ("a formula", lambda row: "<math" in shown(row)),
        ("markup that must stay text", lambda row: any("<script" in text for text in texts(row))),
        ("a long answer", lambda row: max(map(len, texts(row))) > 1500),
        ("identical completions", lambda row: len(set(texts(row))) < len(texts(row))),
        ("two completions", lambda row: len(row.completions) == 2),
        ("Chinese", lambda row: row.prompt.language == "zh-Hans"),
        ("a language from right to left", lambda row: row.prompt.language == "ar"),
        ("sensitive content", lambda row: row.prompt.sensitivity == ["medical"]),
        ("an answer by a person", lambda row: any(completion.model == "human" for completion in row.completions)),
        ("labels from outside", lambda row: row.judgements),
        ("a demonstration", lambda row: row.demonstrations),
    ],
)
def test_the_page_is_tried_with(what: str, holds: Callable[[Row], object]) -> None:
    assert count(holds) >= 1, what


def test_every_text_can_be_formatted() -> None:
    said = [message["content"] for row in rows() for message in row.prompt.messages]
    for text in [*said, *(text for row in rows() for text in texts(row))]:
        assert "data-why" not in render_markdown(text), text
        assert 'class="formula"' not in render_markdown(text), text


def test_the_people_of_the_demo_are_served_all_of_it() -> None:
    assert {row.prompt.language for row in rows()} == set(LANGUAGES)
    assert {category for row in rows() for category in row.prompt.sensitivity} <= CATEGORIES.keys()


def test_two_people_outside_labelled_and_wrote() -> None:
    judged = [judgement for row in rows() for judgement in row.judgements]
    wrote = [demonstration for row in rows() for demonstration in row.demonstrations]
    assert {judgement.annotator for judgement in judged} == {"garden-club-1", "garden-club-2"}
    assert {demonstration.annotator for demonstration in wrote} == {"garden-club-1", "garden-club-2"}


def test_some_labels_are_rankings_with_ties_and_some_are_no_ranking_at_all() -> None:
    rankings = [
        ranking_from_edges(judgement.edges, len(row.completions)) for row in rows() for judgement in row.judgements
    ]
    assert None in rankings
    assert any(ranking and max(map(len, ranking)) > 1 for ranking in rankings)
    assert any(ranking and max(map(len, ranking)) == 1 for ranking in rankings)


def test_answers_are_to_questions_that_the_default_protocol_asks() -> None:
    keys = {
        key
        for row in rows()
        for judgement in row.judgements
        for rating in judgement.ratings.values()
        for key in rating.answers
    }
    assert keys
    assert keys <= {question.key for question in DEFAULT_PROTOCOL.questions}

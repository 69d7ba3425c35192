"""Prompts on their way in."""

from collections.abc import Sequence
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from labelapp.models import Project, Prompt
from labelapp.prompts.content import PromptContent, content_hash, split_of
from labelapp.prompts.services import ImportedPrompts, prompts_import


def content(text: str, **fields: Any) -> PromptContent:
    return PromptContent(messages=[{"role": "user", "content": text}], **fields)


def bring(project: Project, *prompts: PromptContent) -> ImportedPrompts:
    return prompts_import(project=project, prompts=prompts)


def queries_for(project: Project, prompts: Sequence[PromptContent]) -> int:
    with CaptureQueriesContext(connection) as queries:
        prompts_import(project=project, prompts=prompts)
    return len(queries)


def test_everything_is_kept(project: Project) -> None:
    given = PromptContent(
        messages=[{"role": "system", "content": 'Be brief \\ "now".\n'}, {"role": "user", "content": "Why? 🍐\u2028"}],
        external_id="17",
        source="forum",
        author="user-3",
        language="en",
        sensitivity=["medical"],
        tags=["a, b", '{"c"}'],
    )
    imported = bring(project, given)
    prompt = Prompt.objects.get()
    assert imported == ([prompt.pk], 1, [])
    assert prompt.messages == given.messages
    assert prompt.content_hash == content_hash(given.messages)
    assert (prompt.external_id, prompt.source, prompt.author) == ("17", "forum", "user-3")
    assert (prompt.language, prompt.sensitivity, prompt.tags) == ("en", ["medical"], ["a, b", '{"c"}'])


def test_nothing_is_fine(project: Project) -> None:
    assert bring(project) == ([], 0, [])


def test_ids_come_in_the_order_given(project: Project) -> None:
    old = bring(project, content("c"), content("a"))
    imported = bring(project, content("a"), content("b"), content("c"), content("b"))
    texts = {prompt.pk: prompt.messages[0]["content"] for prompt in Prompt.objects.all()}
    assert [texts[pk] for pk in imported.ids] == ["a", "b", "c", "b"]
    assert (old.new, imported.new) == (2, 1)


def test_again_changes_nothing(project: Project) -> None:
    first = bring(project, content("a", tags=["x"]), content("b"))
    before = list(Prompt.objects.values())
    assert bring(project, content("a", tags=["x"]), content("b")) == (first.ids, 0, [])
    assert list(Prompt.objects.values()) == before


def test_the_first_words_stay(project: Project) -> None:
    bring(project, content("Why?", source="first", author="ann"))
    bring(project, content("Why?  \n", source="second", author="bob"))
    prompt = Prompt.objects.get()
    assert (prompt.messages[0]["content"], prompt.source, prompt.author) == ("Why?", "first", "ann")


@pytest.mark.parametrize("together", [True, False])
def test_what_is_known_grows(project: Project, together: bool) -> None:
    one = content("Why?", tags=["b"], sensitivity=["medical"])
    two = content("Why?", tags=["a", "b"], sensitivity=["hate"], language="en")
    for chunk in [[one, two]] if together else [[one], [two]]:
        bring(project, *chunk)
    prompt = Prompt.objects.get()
    assert (prompt.tags, prompt.sensitivity, prompt.language) == (["a", "b"], ["hate", "medical"], "en")


def test_a_known_language_stays(project: Project) -> None:
    bring(project, content("Warum?", language="de"))
    bring(project, content("Warum?", language="en", tags=["new"]))
    prompt = Prompt.objects.get()
    assert (prompt.language, prompt.tags) == ("de", ["new"])


@pytest.mark.parametrize(
    ("known", "given", "is_regrouped"),
    [
        ({}, {"sensitivity": ["medical"]}, True),
        ({"sensitivity": ["medical"]}, {"sensitivity": ["hate", "medical"]}, True),
        ({}, {"language": "de"}, True),
        ({"sensitivity": ["medical", "hate"]}, {"sensitivity": ["hate"], "tags": ["new"]}, False),
        ({"language": "de"}, {"language": "en", "tags": ["new"]}, False),
        ({}, {"tags": ["new"]}, False),
    ],
)
def test_prompts_that_are_for_other_people_now_are_told(
    project: Project, known: dict[str, Any], given: dict[str, Any], is_regrouped: bool
) -> None:
    old = bring(project, content("Why?", **known), content("How?"))
    again = bring(project, content("Why?", **given), content("How?"), content("New?", sensitivity=["hate"]))
    assert again.regrouped == (old.ids[:1] if is_regrouped else [])


def test_another_projects_prompt_is_not_for_other_people(project: Project) -> None:
    other = Project.objects.create(name="Other", slug="other")
    bring(other, content("Why?"))
    mine = bring(project, content("Why?"))
    assert bring(project, content("Why?", sensitivity=["hate"])).regrouped == mine.ids
    assert Prompt.objects.get(project=other).sensitivity == []


def test_projects_do_not_share_prompts(project: Project) -> None:
    other = Project.objects.create(name="Other", slug="other")
    assert bring(project, content("Why?")).new == 1
    assert bring(other, content("Why?")).new == 1
    assert Prompt.objects.count() == 2


def test_an_author_decides_the_split(project: Project) -> None:
    bring(project, *(content(f"Question {number}", author="ann") for number in range(30)))
    assert set(Prompt.objects.values_list("split", flat=True)) == {split_of(project.salt, "ann")}


def test_without_an_author_the_words_decide(project: Project) -> None:
    bring(project, *(content(f"Question {number}") for number in range(30)))
    for prompt in Prompt.objects.all():
        assert prompt.split == split_of(project.salt, prompt.content_hash)


def test_the_split_never_changes(project: Project) -> None:
    authors = [f"author {number}" for number in range(100)]
    bring(project, content("Why?"))
    before = Prompt.objects.get().split
    another = next(author for author in authors if split_of(project.salt, author) != before)
    bring(project, content("Why?", author=another))
    assert Prompt.objects.get().split == before


def test_it_costs_as_many_queries_for_3_as_for_300(project: Project) -> None:
    few = queries_for(project, [content(f"a{number}") for number in range(3)])
    assert queries_for(project, [content(f"b{number}") for number in range(300)]) == few <= 4
    again = queries_for(project, [content(f"b{number}") for number in range(300)])
    assert again <= 6

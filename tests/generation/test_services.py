"""Completions and their writers on their way in."""

import hashlib
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from labelapp.generation.content import CompletionContent
from labelapp.generation.services import completions_import, model_versions_named
from labelapp.models import Completion, ModelVersion, Project, Prompt
from labelapp.prompts.services import Imported
from tests import factories


@pytest.fixture
def prompt(project: Project) -> Prompt:
    return factories.prompt_make(project)


@pytest.fixture
def model(project: Project) -> int:
    return factories.model_make(project).pk


def bring(prompt: Prompt, model: int, *texts: str, **fields: Any) -> Imported:
    return completions_import(
        completions=[CompletionContent(prompt=prompt.pk, model=model, text=text, **fields) for text in texts]
    )


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_models_are_registered_by_name(project: Project) -> None:
    named = model_versions_named(project=project, names=["tiny-1", "human"])
    kinds = {version.name: version.kind for version in ModelVersion.objects.filter(pk__in=named.values())}
    assert kinds == {"tiny-1": ModelVersion.Kind.EXTERNAL, "human": ModelVersion.Kind.HUMAN}


def test_known_models_are_found_whatever_their_kind(project: Project) -> None:
    known = ModelVersion.objects.create(project=project, name="tiny-1", kind=ModelVersion.Kind.SFT)
    other = Project.objects.create(name="Other", slug="other")
    assert model_versions_named(project=project, names=["tiny-1"]) == {"tiny-1": known.pk}
    assert model_versions_named(project=other, names=["tiny-1"]) != {"tiny-1": known.pk}
    assert model_versions_named(project=project, names=[]) == {}


def test_everything_is_kept(prompt: Prompt, model: int) -> None:
    text = 'In late winter. 🍐\n\\ "so"'
    imported = bring(prompt, model, text, given_id="a", sampling={"temperature": 0.7, "stop": ["\n"]}, seed=-5)
    completion = Completion.objects.get()
    assert imported == ([completion.pk], 1)
    assert (completion.prompt_id, completion.model_version_id, completion.text) == (prompt.pk, model, text)
    assert (completion.text_hash, completion.source_key) == (sha256(text), "a")
    assert (completion.sampling, completion.seed) == ({"temperature": 0.7, "stop": ["\n"]}, -5)


def test_nothing_is_fine(project: Project) -> None:
    assert completions_import(completions=[]) == ([], 0)


def test_without_an_id_the_text_is_the_key(prompt: Prompt, model: int) -> None:
    first = bring(prompt, model, "Never.")
    assert bring(prompt, model, "Never.") == (first.ids, 0)
    assert bring(prompt, model, "Never.", occurrence=2).new == 1
    keys = set(Completion.objects.values_list("source_key", flat=True))
    assert keys == {sha256("Never."), f"{sha256('Never.')}:2"}


def test_ids_come_in_the_order_given(prompt: Prompt, model: int) -> None:
    bring(prompt, model, "b", "d")
    imported = bring(prompt, model, "a", "b", "c", "d", "b")
    texts = dict(Completion.objects.values_list("pk", "text"))
    assert [texts[pk] for pk in imported.ids] == ["a", "b", "c", "d", "b"]
    assert imported.new == 2


def test_an_id_that_comes_back_with_another_text_is_another_completion(prompt: Prompt, model: int) -> None:
    first = bring(prompt, model, "Never.", given_id="0")
    second = bring(prompt, model, "Always.", given_id="0")
    assert (first.new, second.new) == (1, 1)
    assert bring(prompt, model, "Never.", given_id="0") == (first.ids, 0)
    assert bring(prompt, model, "Always.", given_id="0") == (second.ids, 0)
    assert Completion.objects.get(pk=second.ids[0]).text == "Always."


def test_a_reused_id_is_seen_within_one_call(prompt: Prompt, model: int) -> None:
    imported = bring(prompt, model, "Never.", "Always.", "Never.", given_id="x" * 200)
    texts = dict(Completion.objects.values_list("pk", "text"))
    assert [texts[pk] for pk in imported.ids] == ["Never.", "Always.", "Never."]
    assert imported.new == 2


def test_prompts_and_models_keep_theirs_apart(project: Project, prompt: Prompt, model: int) -> None:
    other_prompt = factories.prompt_make(project, "And apples?")
    other_model = factories.model_make(project, "tiny-2").pk
    news = [bring(p, m, "Never.", given_id="0").new for p in (prompt, other_prompt) for m in (model, other_model)]
    assert news == [1, 1, 1, 1]


def test_it_costs_as_many_queries_for_3_as_for_300(prompt: Prompt, model: int) -> None:
    def count(*texts: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            bring(prompt, model, *texts)
        return len(queries)

    few = count("a", "b", "c")
    texts = [f"Text {number}" for number in range(300)]
    assert count(*texts) == few <= 3
    assert count(*texts) <= 4

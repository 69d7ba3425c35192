"""Prompts by labelers: taken in once, with who wrote them and how, and their time."""

from dataclasses import replace

import pytest
from django.db import IntegrityError, transaction

from labelapp.errors import ConflictError, DomainError
from labelapp.models import Annotator, AuditEntry, Project, Prompt, TimeEntry, User
from labelapp.prompts.content import PromptContent, split_of
from labelapp.prompts.services import prompts_import
from labelapp.writing.services import PromptDraft, prompt_write, prompts_asked_set
from tests.factories import labeler_make

Kind = Prompt.WrittenAs
PLAIN = PromptDraft(Kind.PLAIN, "Plan my vegetable beds.", language="en", sensitivity=["medical"])


@pytest.fixture(autouse=True)
def _asked_for(project: Project) -> None:
    Project.objects.filter(pk=project.pk).update(asks_prompts=True, use_cases="Plan a garden\n\nName a dish")


def test_a_prompt_comes_in_with_its_author(project: Project, annotator: Annotator) -> None:
    prompt = prompt_write(annotator=annotator, draft=PLAIN, seconds=95)
    assert prompt.messages == [{"role": "user", "content": "Plan my vegetable beds."}]
    assert (prompt.written_by_id, prompt.written_as, prompt.source) == (annotator.pk, "plain", "labelers")
    assert (prompt.language, prompt.sensitivity, prompt.tags) == ("en", ["medical"], [])
    assert prompt.author == f"annotator-{annotator.pk}"
    entry = TimeEntry.objects.get()
    assert (entry.annotator_id, entry.kind, entry.seconds) == (annotator.pk, "prompts", 95)


def test_all_prompts_of_one_person_are_of_one_split(project: Project, annotator: Annotator) -> None:
    splits = {
        prompt_write(annotator=annotator, draft=replace(PLAIN, text=f"Bed {number}?"), seconds=0).split
        for number in range(20)
    }
    assert splits == {split_of(project.salt, f"annotator-{annotator.pk}")}
    assert not TimeEntry.objects.exists()


def test_who_wrote_it_is_written_once(annotator: Annotator) -> None:
    prompt = prompt_write(annotator=annotator, draft=PLAIN, seconds=0)
    with pytest.raises(IntegrityError), transaction.atomic():
        Prompt.objects.filter(pk=prompt.pk).update(written_as="few_shot")


def test_the_use_case_becomes_a_tag(annotator: Annotator) -> None:
    draft = PromptDraft(Kind.USER_BASED, "What goes beside tomatoes?", use_case="Plan a garden")
    prompt = prompt_write(annotator=annotator, draft=draft, seconds=0)
    assert (prompt.tags, prompt.written_as) == (["Plan a garden"], "user_based")


def test_a_use_case_has_to_be_on_the_list(annotator: Annotator) -> None:
    with pytest.raises(DomainError, match="no longer on the project's list"):
        prompt_write(annotator=annotator, draft=PromptDraft(Kind.USER_BASED, "Hm?", use_case="Sing"), seconds=0)


def test_what_somebody_wrote_already_is_said_kindly_and_left_alone(project: Project, annotator: Annotator) -> None:
    prompt_write(annotator=annotator, draft=PLAIN, seconds=10)
    with pytest.raises(ConflictError, match="in your list below"):
        prompt_write(annotator=annotator, draft=PLAIN, seconds=10)
    other = labeler_make(project, "mia")
    with pytest.raises(ConflictError, match="Somebody already wrote"):
        prompt_write(annotator=other, draft=replace(PLAIN, sensitivity=["violence"], language="de"), seconds=10)
    assert TimeEntry.objects.count() == 1
    kept = Prompt.objects.get()
    assert (kept.sensitivity, kept.language, kept.written_by_id) == (["medical"], "en", annotator.pk)


def test_an_imported_prompt_is_not_taken_over(project: Project, annotator: Annotator) -> None:
    prompts_import(project=project, prompts=[PromptContent([{"role": "user", "content": PLAIN.text}])])
    with pytest.raises(ConflictError):
        prompt_write(annotator=annotator, draft=PLAIN, seconds=0)
    assert Prompt.objects.get().written_by_id is None


@pytest.mark.parametrize("text", ["", "  \n", "x" * 20_001])
def test_a_prompt_has_words_but_not_too_many(annotator: Annotator, text: str) -> None:
    with pytest.raises(DomainError):
        prompt_write(annotator=annotator, draft=replace(PLAIN, text=text), seconds=0)


def test_a_project_that_asks_for_none_takes_none(project: Project, annotator: Annotator, omar: User) -> None:
    prompts_asked_set(project=project, asks=False, use_cases=[], actor=omar)
    with pytest.raises(DomainError, match="asks for no prompts"):
        prompt_write(annotator=annotator, draft=PLAIN, seconds=0)
    assert not Prompt.objects.exists()


def test_what_is_asked_for_is_kept_and_noted(project: Project, omar: User) -> None:
    saved = prompts_asked_set(project=project, asks=True, use_cases=["Plan a garden", "Name a dish"], actor=omar)
    assert (saved.asks_prompts, saved.use_cases) == (True, "Plan a garden\nName a dish")
    assert AuditEntry.objects.get(verb="prompts_asked_set").data == {"asks": 1}


@pytest.mark.parametrize("cases", [["x" * 201], [f"Case {number}" for number in range(201)]])
def test_use_cases_are_few_and_short(project: Project, omar: User, cases: list[str]) -> None:
    with pytest.raises(DomainError):
        prompts_asked_set(project=project, asks=True, use_cases=cases, actor=omar)

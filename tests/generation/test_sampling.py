"""Which prompts a sampling job answers, and what it may be asked."""

from typing import Any

import pytest
from django.utils import timezone

from labelapp.errors import DomainError
from labelapp.generation.sampling import (
    SampleChoice,
    choice_fixed,
    completions_sample,
    prompts_chosen,
    prompts_drawn,
    prompts_of_model,
)
from labelapp.models import AuditEntry, Job, ModelVersion, Project, Prompt, User
from tests.factories import completion_make, model_make, prompt_make
from tests.generation.conftest import MakeModel, prompts_make, sample


def chosen(project: Project, *models: ModelVersion, **choice: Any) -> set[int]:
    found = prompts_chosen(project, SampleChoice(**choice), [model.pk for model in models])
    return set(found.values_list("pk", flat=True))


def test_the_job_says_what_was_asked(project: Project, omar: User, make_model: MakeModel) -> None:
    prompts_make(project, 1)
    one, two = make_model("one"), make_model("two")
    job = completions_sample(
        project=project,
        model_versions=[one, two],
        choice=SampleChoice(split="train", limit=3),
        options={"n": 2, "temperature": "0.5", "stop": "END\nSTOP"},
        created_by=omar,
        n_by_model={two.pk: 5},
    )
    job.refresh_from_db()
    assert (job.kind, job.queue, job.created_by, job.title) == ("sample", "compute", omar, "Sampling from one, two")
    assert job.payload["models"] == [{"model": one.pk, "n": 2}, {"model": two.pk, "n": 5}]
    assert (
        job.payload["options"] | {"temperature": 0.5, "stop": ["END", "STOP"], "top_p": 1.0} == job.payload["options"]
    )
    assert SampleChoice(**job.payload["choice"]) == SampleChoice(split="train", limit=3)
    assert AuditEntry.objects.get(verb="completions_sample").object_id == job.pk


def test_prompts_are_chosen_by_what_they_are(project: Project) -> None:
    validation, pears, apples = (
        prompt_make(project, "one", split="validation").pk,
        prompt_make(project, "two", source="book", tags=["pears", "short"]).pk,
        prompt_make(project, "three", source="book", tags=["apples"]).pk,
    )
    prompt_make(Project.objects.create(name="Other", slug="other"), "four")
    assert chosen(project) == {validation, pears, apples}
    assert chosen(project, split="train") == {pears, apples}
    assert chosen(project, source="book", tags=["pears"]) == {pears}
    assert chosen(project, prompts=[validation, apples]) == {validation, apples}
    assert chosen(project, newest_prompt=pears) == {validation, pears}


def test_prompts_in_quarantine_are_never_answered(project: Project) -> None:
    prompt_make(project, "one", quarantined_at=timezone.now())
    two = prompt_make(project, "two").pk
    assert chosen(project) == {two}


def test_only_new_prompts_leaves_out_what_each_model_answered(project: Project) -> None:
    one, two = model_make(project, "one"), model_make(project, "two")
    prompts = prompts_make(project, 4)
    for prompt, names in zip(prompts, [["one", "two"], ["one"], ["two"], []], strict=True):
        for name in names:
            completion_make(prompt, "x", name)
    ids = [prompt.pk for prompt in prompts]
    assert chosen(project, one, unsampled=True) == set(ids[2:])
    assert chosen(project, one, two, unsampled=True) == set(ids[1:])
    choice = SampleChoice(unsampled=True)
    assert prompts_of_model(ids, choice, one.pk) == ids[2:]
    assert prompts_of_model(ids, choice, two.pk) == [ids[1], ids[3]]
    assert prompts_of_model(ids, SampleChoice(), two.pk) == ids


def test_a_fixed_choice_knows_nothing_that_came_later(project: Project) -> None:
    model = model_make(project, "one")
    prompts = prompts_make(project, 3)
    fixed = choice_fixed(project, SampleChoice(unsampled=True))
    completion_make(prompts[0], "x", "one")
    prompt_make(project, "late")
    found = prompts_chosen(project, fixed, [model.pk])
    assert set(found) == set(prompts)
    assert len(prompts_of_model([prompt.pk for prompt in prompts], fixed, model.pk)) == 3


def test_the_draw_is_random_and_the_same_each_time(project: Project, make_model: MakeModel) -> None:
    model, ids = make_model(), [prompt.pk for prompt in prompts_make(project, 30)]
    one, two = sample(model), sample(model)
    drawn = prompts_drawn(one, SampleChoice(), [model.pk])
    assert drawn == prompts_drawn(one, SampleChoice(), [model.pk])
    assert sorted(drawn) == ids != drawn
    assert drawn != prompts_drawn(two, SampleChoice(), [model.pk])
    assert prompts_drawn(one, SampleChoice(limit=7), [model.pk]) == drawn[:7]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"n": 0}, "n: it must be at least 1"),
        ({"temperature": "warm"}, "temperature: it must be a number"),
        ({"beams": 4}, "beams: it is no option"),
    ],
)
def test_options_that_are_no_good_are_refused(
    project: Project, make_model: MakeModel, options: dict[str, Any], problem: str
) -> None:
    prompts_make(project, 1)
    with pytest.raises(DomainError, match=problem):
        completions_sample(
            project=project, model_versions=[make_model()], choice=SampleChoice(), options=options, created_by=None
        )
    assert not Job.objects.exists()


def test_a_models_own_number_has_the_same_limits(project: Project, make_model: MakeModel) -> None:
    prompts_make(project, 1)
    model = make_model()
    with pytest.raises(DomainError, match="n: it must be at most 64"):
        sample(model, n_by_model={model.pk: 65})


def test_models_that_cannot_write_are_refused(project: Project, make_model: MakeModel) -> None:
    prompts_make(project, 1)
    with pytest.raises(DomainError, match="only the name is known"):
        sample(model_make(project, "named"))
    retired = make_model("old")
    retired.state = ModelVersion.State.RETIRED
    with pytest.raises(DomainError, match="“old” is retired"):
        sample(retired)
    model = make_model("new")
    with pytest.raises(DomainError, match="named twice"):
        sample(model, model)
    other = Project.objects.create(name="Other", slug="other")
    with pytest.raises(DomainError, match="belongs to another project"):
        completions_sample(project=other, model_versions=[model], choice=SampleChoice(), options={}, created_by=None)
    with pytest.raises(DomainError, match="at least one model"):
        completions_sample(project=project, model_versions=[], choice=SampleChoice(), options={}, created_by=None)
    assert not Job.objects.exists()


def test_a_choice_that_holds_nothing_is_refused(project: Project, make_model: MakeModel) -> None:
    model = make_model()
    theirs = prompt_make(Project.objects.create(name="Other", slug="other"), "theirs")
    mine: Prompt = prompt_make(project, "mine")
    with pytest.raises(DomainError, match="No prompt fits"):
        sample(model, choice=SampleChoice(split="test"))
    with pytest.raises(DomainError, match="1 of the 2 prompts are not in this project"):
        sample(model, choice=SampleChoice(prompts=[mine.pk, theirs.pk]))
    with pytest.raises(DomainError, match="At least one prompt"):
        sample(model, choice=SampleChoice(limit=0))
    with pytest.raises(DomainError, match="At most 10,000,000 prompts can be drawn"):
        sample(model, choice=SampleChoice(limit=10_000_001))
    assert not Job.objects.exists()

from contextlib import nullcontext

import pytest
from django.db import IntegrityError, transaction

from labelapp.errors import ConflictError, DomainError
from labelapp.labeling.services.batches import (
    BatchPlan,
    PromptChoice,
    batch_create,
    batch_transition,
    choice_fixed,
    prompts_in_random_order,
    tasks_create,
)
from labelapp.models import (
    AuditEntry,
    Batch,
    ComparisonTask,
    Pool,
    Project,
    Prompt,
    Protocol,
    Seat,
    TaskCompletion,
    User,
)
from tests.factories import batch_with_tasks, completion_make, prompt_make, prompt_with_completions, protocol_make


def draft(project: Project, protocol: Protocol, **plan: object) -> Batch:
    return Batch.objects.create(project=project, protocol=protocol, name="Draft", **{"shared_share": 0, **plan})


def make_tasks(batch: Batch, choice: PromptChoice | None = None) -> int:
    choice = choice or PromptChoice()
    salt = batch.project.salt
    ids = prompts_in_random_order(batch, choice, salt)
    return tasks_create(batch=batch, prompt_ids=ids, choice=choice, probability=1.0, salt=salt)


def test_each_task_gets_its_overlap_of_open_seats(project: Project, protocol: Protocol) -> None:
    batch = batch_with_tasks(project, protocol, tasks=3, overlap=2, shared_overlap=2)
    assert ComparisonTask.objects.filter(batch=batch).count() == 3
    assert Seat.objects.filter(state=Seat.State.OPEN).count() == 6


def test_positions_grow_in_the_order_seats_are_made(project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=4)
    positions = list(Seat.objects.order_by("pk").values_list("position", flat=True))
    assert positions == sorted(set(positions))


def test_k_limits_the_completions_of_a_task(project: Project, protocol: Protocol) -> None:
    prompt_with_completions(project, k=6)
    batch = draft(project, protocol, k=3)
    assert make_tasks(batch) == 1
    assert TaskCompletion.objects.filter(task__batch=batch).count() == 3


def test_identical_texts_share_a_slot(project: Project, protocol: Protocol) -> None:
    prompt = prompt_make(project)
    for text, model in [("Cut in winter.", "a"), ("Cut in winter.", "b"), ("Never cut.", "a")]:
        completion_make(prompt, text, model)
    batch = draft(project, protocol)
    make_tasks(batch)
    slots = TaskCompletion.objects.filter(task__batch=batch)
    assert slots.count() == 3
    assert {slot.slot for slot in slots} == {0, 1}


def test_a_prompt_with_one_distinct_text_makes_no_comparison(project: Project, protocol: Protocol) -> None:
    prompt = prompt_make(project)
    completion_make(prompt, "Same.", "a")
    completion_make(prompt, "Same.", "b")
    assert make_tasks(draft(project, protocol)) == 0


def test_a_batch_of_single_completions_takes_it(project: Project, protocol: Protocol) -> None:
    completion_make(prompt_make(project), "Only one.")
    assert make_tasks(draft(project, protocol, k=1)) == 1


def test_a_batch_of_single_completions_draws_one_of_several(project: Project, protocol: Protocol) -> None:
    for index in range(8):
        prompt_with_completions(project, f"Question {index}?", k=3)
    batch = draft(project, protocol, k=1)
    assert make_tasks(batch) == 8
    drawn = TaskCompletion.objects.filter(task__batch=batch).select_related("completion")
    assert drawn.count() == 8
    assert len({each.completion.text[-2:] for each in drawn}) > 1


def test_making_tasks_twice_makes_them_once(project: Project, protocol: Protocol) -> None:
    prompt_with_completions(project)
    batch = draft(project, protocol)
    assert [make_tasks(batch), make_tasks(batch)] == [1, 0]
    assert Seat.objects.count() == 1


def test_shared_tasks_get_the_shared_overlap(project: Project, protocol: Protocol) -> None:
    batch = batch_with_tasks(project, protocol, tasks=40, k=2, shared_share=0.5, shared_overlap=3)
    overlaps = list(batch.tasks.values_list("overlap", flat=True))
    assert set(overlaps) == {1, 3}
    assert 8 <= overlaps.count(3) <= 32
    assert Seat.objects.count() == sum(overlaps)


def test_the_draw_is_the_same_each_time_and_another_in_another_project(project: Project, protocol: Protocol) -> None:
    for index in range(8):
        prompt_with_completions(project, f"Question {index}?", k=2)
    batch = draft(project, protocol)
    order = prompts_in_random_order(batch, PromptChoice(), project.salt)
    assert order == prompts_in_random_order(batch, PromptChoice(), project.salt)
    assert sorted(order) == sorted(prompts_in_random_order(batch, PromptChoice(), "another"))
    assert order != prompts_in_random_order(batch, PromptChoice(), "another")


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        (PromptChoice(split="test"), {"c"}),
        (PromptChoice(source="forum"), {"b"}),
        (PromptChoice(tags=["code"]), {"a", "b"}),
        (PromptChoice(tags=["code", "hard"]), {"a"}),
        (PromptChoice(), {"a", "b", "c"}),
    ],
)
def test_a_choice_restricts_prompts(
    project: Project, protocol: Protocol, choice: PromptChoice, chosen: set[str]
) -> None:
    rows: dict[str, dict[str, object]] = {
        "a": {"tags": ["code", "hard"]},
        "b": {"tags": ["code"], "source": "forum"},
        "c": {"split": Prompt.Split.TEST},
    }
    for name, fields in rows.items():
        completion_make(prompt_make(project, name, external_id=name, **fields), "Answer.")
    prompt_make(project, "without completions")
    ids = prompts_in_random_order(draft(project, protocol), choice, project.salt)
    assert set(Prompt.objects.filter(pk__in=ids).values_list("external_id", flat=True)) == chosen


def test_pools_follow_the_prompts_language_and_sensitivity(project: Project, protocol: Protocol) -> None:
    for language, sensitivity in [("en", []), ("de", []), ("en", ["violence", "abuse"])]:
        prompt = prompt_make(project, f"{language} {sensitivity}", language=language, sensitivity=sensitivity)
        completion_make(prompt, "One.")
        completion_make(prompt, "Two.")
    make_tasks(draft(project, protocol, skills=["law"]))
    pools = {(pool.language, tuple(pool.sensitivity), tuple(pool.skills)) for pool in Pool.objects.all()}
    assert pools == {("en", (), ("law",)), ("de", (), ("law",)), ("en", ("abuse", "violence"), ("law",))}


def test_a_fixed_choice_takes_nothing_newer(project: Project, protocol: Protocol) -> None:
    old = prompt_with_completions(project, "Old?", k=2)
    batch = draft(project, protocol)
    choice = choice_fixed(batch, PromptChoice())
    prompt_with_completions(project, "New?", k=2)
    completion_make(old, "Another answer.")
    assert make_tasks(batch, choice) == 1
    assert TaskCompletion.objects.filter(task__batch=batch, task__prompt=old).count() == 2


def test_a_fixed_choice_of_nothing_stays_nothing(project: Project, protocol: Protocol) -> None:
    batch = draft(project, protocol)
    choice = choice_fixed(batch, PromptChoice())
    prompt_with_completions(project)
    assert make_tasks(batch, choice) == 0


def test_the_order_goes_on_after_any_prompt(project: Project, protocol: Protocol) -> None:
    for index in range(8):
        prompt_with_completions(project, f"Question {index}?", k=2)
    batch = draft(project, protocol)
    order = prompts_in_random_order(batch, PromptChoice(), project.salt)
    for place, pk in enumerate(order, start=1):
        assert prompts_in_random_order(batch, PromptChoice(), project.salt, after=pk) == order[place:]


def test_create_marks_the_protocol_used_and_audits(project: Project, protocol: Protocol, omar: User) -> None:
    batch, job = batch_create(
        project=project,
        protocol=protocol,
        plan=BatchPlan(name="First"),
        choice=PromptChoice(),
        open_when_made=True,
        actor=omar,
    )
    protocol.refresh_from_db()
    assert protocol.used_at is not None
    assert (batch.state, job.kind) == (Batch.State.DRAFT, "batch_build")
    assert AuditEntry.objects.filter(verb="batch_create", object_id=batch.pk, actor_id=omar.pk).exists()


def test_a_used_protocol_is_refused_every_change(project: Project, protocol: Protocol, omar: User) -> None:
    plan = BatchPlan(name="First")
    batch_create(project=project, protocol=protocol, plan=plan, choice=PromptChoice(), open_when_made=True, actor=omar)
    with pytest.raises(IntegrityError, match="written once"), transaction.atomic():
        Protocol.objects.filter(pk=protocol.pk).update(guidelines="changed")
    with pytest.raises(IntegrityError, match="make a new version"), transaction.atomic():
        protocol.questions.update(text="changed")
    with pytest.raises(IntegrityError, match="make a new version"), transaction.atomic():
        protocol.questions.create(key="new", text="New")
    with pytest.raises(IntegrityError, match="make a new version"), transaction.atomic():
        protocol.questions.all().delete()


def test_create_refuses_another_projects_protocol(project: Project, omar: User) -> None:
    other = protocol_make(Project.objects.create(name="Other", slug="other"))
    with pytest.raises(DomainError, match="another project"):
        batch_create(
            project=project,
            protocol=other,
            plan=BatchPlan(name="First"),
            choice=PromptChoice(),
            open_when_made=True,
            actor=omar,
        )
    assert not Batch.objects.exists()


@pytest.mark.parametrize(("k", "likert_points", "refused"), [(1, 0, True), (2, 0, False), (1, 5, False)])
def test_create_refuses_a_batch_that_asks_nothing(
    project: Project, omar: User, k: int, likert_points: int, refused: bool
) -> None:
    with pytest.raises(DomainError, match="asks for no rating") if refused else nullcontext():
        batch_create(
            project=project,
            protocol=protocol_make(project, likert_points=likert_points),
            plan=BatchPlan(name="First", k=k),
            choice=PromptChoice(),
            open_when_made=True,
            actor=omar,
        )
    assert Batch.objects.exists() is not refused


def test_create_refuses_a_taken_name(project: Project, protocol: Protocol, omar: User) -> None:
    draft(project, protocol)
    with pytest.raises(ConflictError, match="already a batch called “Draft”"):
        batch_create(
            project=project,
            protocol=protocol,
            plan=BatchPlan(name="Draft"),
            choice=PromptChoice(),
            open_when_made=True,
            actor=omar,
        )


@pytest.mark.parametrize(
    ("start", "to", "allowed"),
    [
        ("open", "paused", True),
        ("paused", "open", True),
        ("open", "closed", True),
        ("paused", "closed", True),
        ("closed", "open", False),
        ("draft", "paused", False),
        ("open", "open", False),
    ],
)
def test_transitions(project: Project, protocol: Protocol, omar: User, start: str, to: str, *, allowed: bool) -> None:
    batch = batch_with_tasks(project, protocol, tasks=1)
    Batch.objects.filter(pk=batch.pk).update(state=start)
    if allowed:
        assert batch_transition(batch=batch, to=Batch.State(to), actor=omar).state == to
    else:
        with pytest.raises(ConflictError, match="cannot become"):
            batch_transition(batch=batch, to=Batch.State(to), actor=omar)
        assert Batch.objects.get(pk=batch.pk).state == start


def test_an_empty_batch_does_not_open(project: Project, protocol: Protocol, omar: User) -> None:
    with pytest.raises(ConflictError, match="no tasks yet"):
        batch_transition(batch=draft(project, protocol), to=Batch.State.OPEN, actor=omar)

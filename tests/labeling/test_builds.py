"""The job that makes a batch's tasks, disturbed in every way."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256

import pytest
from django.db import transaction

from labelapp.errors import ConflictError
from labelapp.jobs.execution import job_execute
from labelapp.jobs.registry import JobRun
from labelapp.jobs.services import job_claim, jobs_reap
from labelapp.labeling.builds import CHUNK, batch_build
from labelapp.labeling.services.batches import (
    BatchPlan,
    PromptChoice,
    batch_build_continue,
    batch_create,
    batch_transition,
)
from labelapp.models import AuditEntry, Batch, Completion, Job, Project, Prompt, Protocol, Seat, User
from tests.factories import model_make
from tests.jobs.conftest import age

State = Batch.State
Tasks = set[tuple[int, int, str, str, float]]


class KilledError(Exception):
    """What ends a worker in the middle of its work."""


class UndoneError(Exception):
    """What takes back a trial."""


def prompts_many(project: Project, start: int, end: int) -> None:
    """Prompts with two completions each."""
    texts = [f"Question {number}?" for number in range(start, end)]
    prompts = Prompt.objects.bulk_create(
        Prompt(project=project, messages=[], content_hash=sha256(text.encode()).hexdigest(), split="train")
        for text in texts
    )
    completions_add(prompts, "One.", "Two.")


def completions_add(prompts: list[Prompt], *texts: str) -> None:
    """The same answers to many prompts."""
    model = model_make(prompts[0].project)
    Completion.objects.bulk_create(
        Completion(prompt=prompt, model_version=model, text=text, text_hash=text.ljust(64, "0"), source_key=text)
        for prompt in prompts
        for text in texts
    )


def build_of(
    project: Project, protocol: Protocol, actor: User, *, limit: int | None = None, open_when_made: bool = True
) -> tuple[Batch, Job]:
    """A batch whose job waits."""
    plan = BatchPlan(name="First", k=3, shared_share=0.3, shared_overlap=2)
    choice = PromptChoice(limit=limit)
    return batch_create(
        project=project, protocol=protocol, plan=plan, choice=choice, open_when_made=open_when_made, actor=actor
    )


def tasks_of(batch: Batch) -> Tasks:
    """A batch's tasks without the numbers that the database gives out."""
    fields = ("prompt", "overlap", "completions_key", "selection_rule", "selection_probability")
    return set(batch.tasks.values_list(*fields))


def claimed(job: Job) -> JobRun:
    run = job_claim(job.pk)
    assert run is not None
    return run


def do(job: Job) -> Job:
    """What a worker does with a waiting job."""
    job_execute(claimed(job))
    job.refresh_from_db()
    return job


def undisturbed(batch: Batch, job: Job) -> tuple[Tasks, dict[str, object]]:
    """What the job makes and tells when nothing comes between; all of it is taken back."""
    with suppress(UndoneError), transaction.atomic():
        result = do(job).result
        tasks = tasks_of(batch)
        raise UndoneError
    assert not batch.tasks.exists()
    job.refresh_from_db()
    return tasks, result


def broken_off(job: Job, *, after: int, by: Callable[[JobRun], None] | None = None) -> JobRun:
    """A run that meets something in its chunk number `after`: by default its death, which saves no more."""
    run = claimed(job)
    told: list[int | None] = []

    def listener(_message: str | None, done: int | None, _total: int | None) -> None:
        told.append(done)
        if len(told) == after + 1:  # the first progress is told before the first chunk
            if by is None:
                raise KilledError
            by(run)

    return replace(run, listener=listener)


def next_attempt(run: JobRun) -> Job:
    """What happens after a worker's death: the reaper requeues the job."""
    age(run.job, 100)
    assert jobs_reap() == 1
    return Job.objects.get(pk=run.job.pk)


def stop(run: JobRun) -> None:
    Job.objects.filter(pk=run.job.pk).update(cancel_requested=True)


@pytest.mark.parametrize("limit", [None, CHUNK + 100])
def test_a_killed_build_is_resumed_to_what_it_would_have_been(
    project: Project, protocol: Protocol, omar: User, limit: int | None
) -> None:
    prompts_many(project, 0, 2 * CHUNK)
    batch, job = build_of(project, protocol, omar, limit=limit)
    whole, result = undisturbed(batch, job)
    run = broken_off(job, after=2)
    with pytest.raises(KilledError):
        batch_build(run)
    assert batch.tasks.count() == CHUNK
    prompts_many(project, 2 * CHUNK, 4 * CHUNK)
    completions_add(list(Prompt.objects.filter(project=project)), "Three.")
    assert do(next_attempt(run)).result == result
    assert tasks_of(batch) == whole
    assert len(whole) == (limit or 2 * CHUNK)
    assert {task[-1] for task in whole} == {0.6 if limit else 1.0}
    assert Seat.objects.count() == sum(task[1] for task in whole)


def test_what_comes_between_fixing_and_the_first_chunk_is_left_out(
    project: Project, protocol: Protocol, omar: User
) -> None:
    prompts_many(project, 0, 20)
    batch, job = build_of(project, protocol, omar, limit=10)
    run = broken_off(job, after=0, by=lambda _run: prompts_many(project, 20, 60))
    job_execute(run)
    assert {task[-1] for task in tasks_of(batch)} == {0.5}
    assert batch.tasks.count() == 10


def test_a_prompt_that_becomes_eligible_later_shifts_nothing(project: Project, protocol: Protocol, omar: User) -> None:
    """Old prompts may gain a language; the draw goes on after the last prompt drawn, not at a number in a list."""
    prompts_many(project, 0, CHUNK + 100)
    prompts = list(Prompt.objects.order_by("content_hash"))
    known = [prompt.pk for prompt in prompts[:-40]]
    Prompt.objects.filter(pk__in=known).update(language="de")
    plan = BatchPlan(name="First", k=3, languages=["de"])
    batch, job = batch_create(
        project=project, protocol=protocol, plan=plan, choice=PromptChoice(), open_when_made=True, actor=omar
    )
    run = broken_off(job, after=2)
    with pytest.raises(KilledError):
        batch_build(run)
    Prompt.objects.filter(project=project).update(language="de")
    do(next_attempt(run))
    assert set(known) <= set(batch.tasks.values_list("prompt", flat=True))
    assert set(batch.tasks.values_list("selection_probability", flat=True)) == {1.0}


@pytest.mark.parametrize("how", ["failed", "cancelled"])
def test_a_broken_build_is_finished_by_another_job(project: Project, protocol: Protocol, omar: User, how: str) -> None:
    prompts_many(project, 0, 2 * CHUNK)
    batch, job = build_of(project, protocol, omar, limit=CHUNK + 100)
    whole, result = undisturbed(batch, job)
    job_execute(broken_off(job, after=2) if how == "failed" else broken_off(job, after=1, by=stop))
    assert Job.objects.get(pk=job.pk).state == how
    assert batch.tasks.count() == CHUNK
    prompts_many(project, 2 * CHUNK, 3 * CHUNK)
    again = do(batch_build_continue(batch=batch, actor=omar))
    assert (again.state, again.result) == (Job.State.SUCCEEDED, result)
    assert tasks_of(batch) == whole
    assert Batch.objects.get().state == State.OPEN
    assert AuditEntry.objects.filter(verb="batch_build_continue", object_id=batch.pk, actor_id=omar.pk).exists()


def test_a_draw_survives_a_job_that_never_began(project: Project, protocol: Protocol, omar: User) -> None:
    prompts_many(project, 0, CHUNK + 50)
    batch, job = build_of(project, protocol, omar)
    job_execute(broken_off(job, after=2))
    second = batch_build_continue(batch=batch, actor=omar)
    Job.objects.filter(pk=second.pk).update(state=Job.State.CANCELLED, finished_at=second.created_at)
    prompts_many(project, CHUNK + 50, CHUNK + 90)
    do(batch_build_continue(batch=batch, actor=omar))
    assert batch.tasks.count() == CHUNK + 50


@pytest.mark.parametrize("state", [Job.State.QUEUED, Job.State.RUNNING, Job.State.SUCCEEDED])
def test_only_a_broken_build_is_continued(project: Project, protocol: Protocol, omar: User, state: Job.State) -> None:
    prompts_many(project, 0, 2)
    batch, job = build_of(project, protocol, omar)
    if state == Job.State.RUNNING:
        claimed(job)
    elif state == Job.State.SUCCEEDED:
        do(job)
    with pytest.raises(ConflictError, match="left to make"):
        batch_build_continue(batch=batch, actor=omar)
    assert Job.objects.count() == 1


def test_a_broken_build_is_continued_once(project: Project, protocol: Protocol, omar: User) -> None:
    prompts_many(project, 0, 2)
    batch, job = build_of(project, protocol, omar)
    job_execute(broken_off(job, after=1))
    batch_build_continue(batch=batch, actor=omar)
    with pytest.raises(ConflictError):
        batch_build_continue(batch=batch, actor=omar)


def test_a_batch_whose_build_was_stopped_can_be_closed(project: Project, protocol: Protocol, omar: User) -> None:
    prompts_many(project, 0, 2)
    batch, job = build_of(project, protocol, omar)
    job_execute(broken_off(job, after=0, by=stop))
    assert batch_transition(batch=batch, to=State.CLOSED, actor=omar).state == State.CLOSED
    with pytest.raises(ConflictError, match="closed"):
        batch_build_continue(batch=batch, actor=omar)


def test_closing_a_batch_ends_the_making_of_its_tasks(project: Project, protocol: Protocol, omar: User) -> None:
    prompts_many(project, 0, 2 * CHUNK)
    batch, job = build_of(project, protocol, omar)

    def close(_run: JobRun) -> None:
        batch_transition(batch=batch, to=State.CLOSED, actor=omar)

    job_execute(broken_off(job, after=1, by=close))
    job.refresh_from_db()
    assert job.state == Job.State.SUCCEEDED
    assert (job.result["tasks"], batch.tasks.count()) == (CHUNK, CHUNK)
    assert "closed before all" in job.result["stopped"]
    assert Batch.objects.get().state == State.CLOSED


@pytest.mark.parametrize("states", [[State.OPEN], [State.OPEN, State.PAUSED], [State.CLOSED]])
def test_a_batch_whose_state_changed_meanwhile_keeps_it(
    project: Project, protocol: Protocol, omar: User, states: list[Batch.State]
) -> None:
    prompts_many(project, 0, 10)
    batch, job = build_of(project, protocol, omar)

    def change(_run: JobRun) -> None:
        for state in states:
            batch_transition(batch=batch, to=state, actor=omar)

    job_execute(broken_off(job, after=1, by=change))
    job.refresh_from_db()
    assert (job.state, job.result["tasks"]) == (Job.State.SUCCEEDED, 10)
    assert Batch.objects.get().state == states[-1]


def test_a_build_of_nothing_ends_well(project: Project, protocol: Protocol, omar: User) -> None:
    batch, job = build_of(project, protocol, omar)
    assert do(job).result == {"tasks": 0, "prompts_without_enough_completions": 0}
    assert Batch.objects.get(pk=batch.pk).state == State.DRAFT

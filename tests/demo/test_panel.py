"""The simulated panel: what it says, and how it takes its seats beside people."""

import random
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import fmean
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from labelapp.demo.gold import gold_reward
from labelapp.demo.language import answer_write, instructions
from labelapp.demo.panel import PANEL, Panelist, Taste, form_filled, gold_taste, panel_judgement
from labelapp.demo.panel_work import KIND, Pass, panel_add, panel_of, panel_start, seats_label
from labelapp.demo.selectors import panel_exists
from labelapp.errors import ConflictError, DomainError
from labelapp.jobs.execution import job_execute
from labelapp.jobs.registry import JobCancelledError, JobRun
from labelapp.jobs.services import job_cancel, job_claim
from labelapp.labeling.judgement import judgement_read
from labelapp.labeling.selectors import task_shown
from labelapp.labeling.services.batches import PromptChoice, tasks_create
from labelapp.labeling.services.seats import seat_take
from labelapp.labeling.sheet import Sheet
from labelapp.models import Annotation, Annotator, Batch, Job, Project, Protocol, Seat, TaskSkip, User
from tests.factories import batch_with_tasks, completion_make, labeler_make, prompt_make

pytestmark = pytest.mark.django_db

LENGTH = Taste(lambda prompt, completion: float(len(completion)), [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0])
SHARP = Panelist("Sharp", noise=0.0)


def notes_batch(project: Project, protocol: Protocol, *, tasks: int = 4, k: int = 4, **plan: Any) -> Batch:
    """An open batch of the demo's language."""
    batch = Batch.objects.create(
        project=project, protocol=protocol, name="Notes", state=Batch.State.OPEN, k=k, **{"shared_share": 0, **plan}
    )
    chance = random.Random(5)
    prompts = []
    for asked in instructions(5, tasks):
        prompt = prompt_make(project, asked.text)
        for quality in range(k):
            completion_make(prompt, answer_write(asked, chance, quality / k))
        prompts.append(prompt.pk)
    tasks_create(batch=batch, prompt_ids=prompts, choice=PromptChoice(), probability=1.0, salt=project.salt)
    return batch


def claimed(job: Job) -> JobRun:
    run = job_claim(job.pk)
    assert run is not None
    return run


def run_panel(batch: Batch) -> Job:
    job = panel_start(batch=batch, actor=None)
    job_execute(claimed(job))
    return Job.objects.get(pk=job.pk)


def sheet_of(protocol: Protocol, k: int) -> Sheet:
    return Sheet(protocol=protocol, questions=[], order=list(range(k)), questioned=frozenset())


# --- What a panelist says ---------------------------------------------------------------------------------------------


def test_a_panelist_without_noise_ranks_by_value(project: Project, protocol: Protocol) -> None:
    fields = form_filled(sheet_of(protocol, 4), [1.0, 3.0, 0.0, 2.9], LENGTH.typical)
    assert fields["ranking"] == "B=D A C"


def test_values_in_a_row_do_not_all_become_one_tie(protocol: Protocol) -> None:
    fields = form_filled(sheet_of(protocol, 4), [0.0, 0.2, 0.4, 0.6], LENGTH.typical)
    assert fields["ranking"] == "D=C B=A"


def test_a_protocol_without_ties_gets_a_strict_order(protocol: Protocol) -> None:
    protocol.ties_allowed = False
    fields = form_filled(sheet_of(protocol, 3), [0.1, 0.0, 0.2], LENGTH.typical)
    assert fields["ranking"] == "C A B"


@pytest.mark.parametrize(
    ("lead", "eight", "nine"),
    [(3.0, "1", "1"), (1.5, "2", "2"), (0.6, "3", "3"), (0.3, "4", "4"), (0.1, "4", "5"), (-0.3, "5", "6")],
)
def test_the_step_between_two_says_by_how_much(protocol: Protocol, lead: float, eight: str, nine: str) -> None:
    for steps, step in ((8, eight), (9, nine)):
        protocol.strength_steps = steps
        assert form_filled(sheet_of(protocol, 2), [lead, 0.0], LENGTH.typical)["preference"] == step


def test_the_rating_follows_the_quantiles_of_what_is_typical(protocol: Protocol) -> None:
    fields = form_filled(sheet_of(protocol, 4), [-5.0, 10.0, 35.0, 99.0], LENGTH.typical)
    assert [fields[f"likert-{letter}"] for letter in "ABCD"] == ["1", "2", "4", "7"]


def test_typical_notes_use_the_whole_scale(protocol: Protocol) -> None:
    typical = gold_taste().typical
    points = {form_filled(sheet_of(protocol, 1), [value], typical)["likert-A"] for value in typical}
    assert points == set("1234567")


@pytest.mark.parametrize("k", [1, 2, 3, 9])
@pytest.mark.parametrize("steps", [0, 8, 9])
@pytest.mark.parametrize("layout", ["one_page", "two_stage"])
@pytest.mark.parametrize("asks", [{}, {"likert_points": 0}, {"asks_ranking": False}, {"likert_points": 10}])
def test_every_protocol_takes_the_form(
    protocol: Protocol, k: int, steps: int, layout: str, asks: dict[str, Any]
) -> None:
    protocol.strength_steps, protocol.layout, protocol.asks_confidence = steps, layout, True
    for name, value in asks.items():
        setattr(protocol, name, value)
    sheet = sheet_of(protocol, k)
    fields = form_filled(sheet, [float(slot) for slot in range(k)], LENGTH.typical)
    reading = judgement_read(replace(sheet, stage=Sheet.stage_of(protocol, k, fields)), fields)
    assert reading.problems == {}
    assert reading.judgement
    if k > 1 and protocol.asks_ranking:
        assert reading.judgement.tiers == [[slot] for slot in reversed(range(k))]


def test_a_judgement_is_the_same_every_time(project: Project, protocol: Protocol) -> None:
    batch = notes_batch(project, protocol, tasks=1)
    panel_add(project=project, actor=None)
    task = batch.tasks.get()
    for member in panel_of(project):
        shown = task_shown(task_id=task.pk, annotator=member.annotator)
        said = [
            panel_judgement(panelist=member.panelist, annotator=member.annotator, shown=shown, taste=gold_taste())
            for _ in range(2)
        ]
        assert said[0] is not None
        assert said[0] == said[1]


def test_what_is_not_the_demos_is_beyond_them(project: Project, protocol: Protocol) -> None:
    task = batch_with_tasks(project, protocol, tasks=1).tasks.get()
    [annotator, *_] = panel_add(project=project, actor=None)
    shown = task_shown(task_id=task.pk, annotator=annotator)
    assert panel_judgement(panelist=SHARP, annotator=annotator, shown=shown, taste=gold_taste()) is None


def agreement(project: Project, batch: Batch, panelist: Panelist) -> float:
    """The share of strict pairs in which the panelist says what gold says."""
    [annotator, *_] = panel_add(project=project, actor=None)
    right = []
    for task in batch.tasks.all():
        shown = task_shown(task_id=task.pk, annotator=annotator)
        said = panel_judgement(panelist=panelist, annotator=annotator, shown=shown, taste=gold_taste())
        assert said is not None
        text = dict(zip(shown.sheet.order, shown.texts, strict=True))
        gold = {slot: gold_reward(task.prompt.messages[-1]["content"], text[slot]) for slot in text}
        right += [gold[i] > gold[j] for i, j, outcome, _, _ in said.edges if outcome == ">" and gold[i] != gold[j]]
    return fmean(right)


def test_noise_and_carelessness_cost_agreement_with_gold(project: Project, protocol: Protocol) -> None:
    batch = notes_batch(project, protocol, tasks=40)
    noisy, careless = replace(SHARP, noise=2.0), replace(SHARP, careless=1.0)
    sharp, blurred, random_clicks = (agreement(project, batch, panelist) for panelist in (SHARP, noisy, careless))
    assert sharp == 1.0
    assert 0.55 < blurred < 0.95
    assert 0.35 < random_clicks < 0.65


def test_who_likes_length_prefers_the_longer_of_two_equals(project: Project, protocol: Protocol) -> None:
    asked = instructions(9, 1)[0]
    prompt = prompt_make(project, asked.text)
    long = completion_make(prompt, f"Dear {asked.name},\n\nI saw the moon, the sun and all the stars of the sky.")
    completion_make(prompt, f"Dear {asked.name},\n\nI saw it.")
    batch = Batch.objects.create(project=project, protocol=protocol, name="Two", state=Batch.State.OPEN, k=2)
    tasks_create(batch=batch, prompt_ids=[prompt.pk], choice=PromptChoice(), probability=1.0, salt=project.salt)
    task = batch.tasks.get()
    [annotator, *_] = panel_add(project=project, actor=None)
    shown = task_shown(task_id=task.pk, annotator=annotator)
    liking = replace(SHARP, length_liking=2.0)
    said = panel_judgement(panelist=liking, annotator=annotator, shown=shown, taste=gold_taste())
    longer = task.task_completions.get(completion=long).slot
    assert said is not None
    assert said.tiers == [[longer], [1 - longer]]


# --- Who they are -----------------------------------------------------------------------------------------------------


def test_the_panel_is_simulated_and_comes_once(project: Project) -> None:
    assert not panel_exists(project)
    assert panel_add(project=project, actor=None) == panel_add(project=project, actor=None)
    assert panel_exists(project)
    members = Annotator.objects.filter(name__in=[panelist.name for panelist in PANEL])
    assert [(member.kind, member.user) for member in members] == [("simulated", None)] * 5


def test_the_command_brings_the_panel_in(project: Project, capsys: Any) -> None:
    call_command("panel", "add", "--project", project.slug)
    assert panel_exists(project)
    assert "Amira (simulated)" in capsys.readouterr().out


def test_the_command_knows_the_project_or_says_so(db: Any) -> None:
    with pytest.raises(CommandError, match="no project with the short name “nowhere”"):
        call_command("panel", "add", "--project", "nowhere")


# --- How they label ---------------------------------------------------------------------------------------------------


def test_the_panel_fills_every_seat_with_different_annotators(project: Project, protocol: Protocol) -> None:
    batch = notes_batch(project, protocol, tasks=12, overlap=3, shared_overlap=3)
    panel_add(project=project, actor=None)
    job = run_panel(batch)
    assert (job.state, job.result) == (Job.State.SUCCEEDED, {"labels": 36, "beyond": 0})
    assert (job.done, job.total) == (36, 36)
    assert not Seat.objects.exclude(state=Seat.State.FILLED).exists()
    for task in batch.tasks.all():
        labels = task.annotations.all()
        assert len({label.annotator_id for label in labels}) == 3
        assert not any(label.surplus or label.paid_seconds for label in labels)


def test_the_work_is_shared_evenly(project: Project, protocol: Protocol) -> None:
    batch = notes_batch(project, protocol, tasks=10)
    panel_add(project=project, actor=None)
    run_panel(batch)
    assert {row.annotations.count() for row in Annotator.objects.filter(kind="simulated")} == {2}


def test_seats_that_five_cannot_fill_stay_open(project: Project, protocol: Protocol) -> None:
    batch = notes_batch(project, protocol, tasks=3, overlap=7, shared_overlap=7)
    panel_add(project=project, actor=None)
    assert run_panel(batch).result["labels"] == 15
    assert Seat.objects.filter(state=Seat.State.OPEN).count() == 6


def test_what_a_person_holds_stays_theirs(project: Project, protocol: Protocol, annotator: Annotator) -> None:
    batch = notes_batch(project, protocol, tasks=3)
    panel_add(project=project, actor=None)
    held = seat_take(annotator_id=annotator.pk)
    assert run_panel(batch).result["labels"] == 2
    assert held is not None
    assert Seat.objects.get(pk=held.pk).annotator == annotator


def test_other_batches_are_left_alone(project: Project, protocol: Protocol) -> None:
    other = notes_batch(project, protocol, tasks=2)
    Batch.objects.filter(pk=other.pk).update(name="Other", priority=9)
    batch = batch_of_same_prompts(other)
    panel_add(project=project, actor=None)
    run_panel(batch)
    assert Annotation.objects.filter(task__batch=batch).count() == 2
    assert not Annotation.objects.filter(task__batch=other).exists()


def batch_of_same_prompts(other: Batch) -> Batch:
    batch = Batch.objects.create(
        project=other.project, protocol=other.protocol, name="Mine", state=Batch.State.OPEN, shared_share=0
    )
    prompts = list(other.tasks.values_list("prompt", flat=True))
    tasks_create(batch=batch, prompt_ids=prompts, choice=PromptChoice(), probability=1.0, salt=other.project.salt)
    return batch


def test_a_batch_that_asks_for_skills_is_not_for_the_panel(project: Project, protocol: Protocol) -> None:
    batch = notes_batch(project, protocol, tasks=2, skills=["poetry"])
    panel_add(project=project, actor=None)
    assert run_panel(batch).result["labels"] == 0


def test_prompts_beyond_the_panel_are_passed_on(project: Project, protocol: Protocol) -> None:
    batch = notes_batch(project, protocol, tasks=2)
    strange = prompt_make(project, "How do I prune a pear tree?")
    for answer in ("Carefully.", "Never."):
        completion_make(strange, answer)
    tasks_create(batch=batch, prompt_ids=[strange.pk], choice=PromptChoice(), probability=1.0, salt=project.salt)
    panel_add(project=project, actor=None)
    result = run_panel(batch).result
    assert result["labels"] == 2
    assert 1 <= result["beyond"] <= 5
    assert TaskSkip.objects.filter(task__prompt=strange).count() == result["beyond"]
    assert not Annotation.objects.filter(task__prompt=strange).exists()


def test_a_killed_job_goes_on_and_labels_nothing_twice(project: Project, protocol: Protocol) -> None:
    batch = notes_batch(project, protocol, tasks=30, overlap=1)
    panel_add(project=project, actor=None)
    job = panel_start(batch=batch, actor=None)
    first = claimed(job)
    with pytest.raises(RuntimeError):
        job_work_until(first, labels=25)
    Job.objects.filter(pk=job.pk).update(state=Job.State.QUEUED)
    second = claimed(job)
    assert second.job.cursor["labels"] == 25
    assert Annotation.objects.count() == 25
    job_execute(second)
    assert Job.objects.get(pk=job.pk).result["labels"] == 30
    assert Annotation.objects.count() == 30


def job_work_until(run: JobRun, *, labels: int) -> None:
    """Die once so many labels are committed, in the midst of the next."""

    def die(prompt: str, completion: str) -> float | None:
        if Annotation.objects.count() > labels + 1:
            raise RuntimeError("killed")
        return gold_taste().value(prompt, completion)

    seats_label(run, Taste(die, gold_taste().typical))


def test_it_stops_when_asked(project: Project, protocol: Protocol, omar: User) -> None:
    batch = notes_batch(project, protocol, tasks=3)
    panel_add(project=project, actor=None)
    job = panel_start(batch=batch, actor=None)
    run = claimed(job)
    job_cancel(job=Job.objects.get(pk=job.pk), actor=omar)
    with pytest.raises(JobCancelledError):
        seats_label(run, gold_taste())
    assert not Annotation.objects.exists()
    assert not Seat.objects.exclude(state=Seat.State.OPEN).exists()


def test_people_and_panel_share_a_task(project: Project, protocol: Protocol) -> None:
    batch = notes_batch(project, protocol, tasks=4, overlap=2, shared_overlap=2)
    person = labeler_make(project, "Pia")
    panel_add(project=project, actor=None)
    held = seat_take(annotator_id=person.pk)
    assert held is not None
    run_panel(batch)
    assert Seat.objects.filter(task=held.task, state=Seat.State.FILLED).count() == 1
    assert Seat.objects.filter(state=Seat.State.FILLED).count() == 7


# --- When they may ----------------------------------------------------------------------------------------------------


def test_without_a_panel_it_says_how_to_get_one(project: Project, protocol: Protocol) -> None:
    with pytest.raises(DomainError, match=r"manage\.py panel add --project garden-helper"):
        panel_start(batch=notes_batch(project, protocol), actor=None)


def test_the_panel_refuses_what_is_not_the_demos(project: Project, protocol: Protocol) -> None:
    panel_add(project=project, actor=None)
    with pytest.raises(DomainError, match="no opinion of these prompts"):
        panel_start(batch=batch_with_tasks(project, protocol), actor=None)


def test_the_panel_is_asked_once_at_a_time_and_only_of_open_batches(project: Project, protocol: Protocol) -> None:
    panel_add(project=project, actor=None)
    batch = notes_batch(project, protocol)
    panel_start(batch=batch, actor=None)
    with pytest.raises(ConflictError, match="at work"):
        panel_start(batch=batch, actor=None)
    Batch.objects.filter(pk=batch.pk).update(state=Batch.State.PAUSED)
    with pytest.raises(ConflictError, match=r"is paused\. Open it first"):
        panel_start(batch=batch, actor=None)


def test_the_admins_button_starts_the_panel(
    project: Project, protocol: Protocol, omar: User, rita: User, client_of: Callable[[User], Client]
) -> None:
    panel_add(project=project, actor=None)
    url = f"/projects/{project.slug}/batches/{notes_batch(project, protocol).pk}/panel/"
    assert client_of(rita).post(url).status_code == 403
    response = client_of(omar).post(url)
    job = Job.objects.get(kind=KIND)
    assert (response.status_code, response["Location"]) == (302, f"/jobs/{job.pk}/")
    assert job.created_by == omar


def test_who_starts_it_gives_back_what_they_hold(project: Project, protocol: Protocol, omar: User) -> None:
    batch = notes_batch(project, protocol)
    panel_add(project=project, actor=None)
    held = seat_take(annotator_id=Annotator.objects.get(user=omar).pk)
    assert held is not None
    panel_start(batch=batch, actor=omar)
    assert not Seat.objects.filter(state=Seat.State.HELD).exists()


def test_it_labels_fast_enough_for_a_demo(project: Project, protocol: Protocol) -> None:
    batch = notes_batch(project, protocol, tasks=100)
    panel_add(project=project, actor=None)
    start = time.monotonic()
    run_panel(batch)
    assert 100 / (time.monotonic() - start) > 15


def test_a_cursor_reads_back(project: Project) -> None:
    assert Pass(**{"position": 3, "labels": 2, "beyond": 0, "labels_before": 1}).labels == 2

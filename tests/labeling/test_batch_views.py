from collections.abc import Callable
from hashlib import sha256

import pytest
from django.test import Client
from django.utils import timezone

import labelapp.labeling.tasks  # noqa: F401 (registers the handler, as in a worker)
from labelapp.jobs.execution import job_execute
from labelapp.jobs.services import job_claim
from labelapp.models import Annotation, Batch, Job, Project, Protocol, Seat, User
from tests.factories import (
    annotation_make,
    batch_to_write,
    batch_with_tasks,
    demonstration_make,
    external_make,
    prompt_make,
    prompt_with_completions,
)
from tests.labeling.test_builds import broken_off, build_of, prompts_many, stop
from tests.query_counts import query_count

ClientOf = Callable[[User], Client]
BATCHES = "/projects/garden-helper/batches/"


def run(job: Job) -> None:
    """What a worker does with a waiting job."""
    claimed = job_claim(job.pk)
    assert claimed is not None
    job_execute(claimed)


def test_a_batch_is_made_from_the_form_by_its_job(
    client_of: ClientOf, omar: User, project: Project, protocol: Protocol
) -> None:
    for index in range(3):
        prompt_with_completions(project, f"Question {index}?", k=3)
    fields = {"name": "First", "protocol": protocol.pk, "k": 3, "overlap": 2, "shared_percent": 0}
    more = {"work": "comparison", "shared_overlap": 2, "priority": 0, "open_when_made": "on"}
    response = client_of(omar).post(BATCHES + "new/", {**fields, **more})
    job = Job.objects.get(kind="batch_build")
    assert response["Location"] == f"/jobs/{job.pk}/"
    run(job)
    batch = Batch.objects.get()
    assert batch.state == Batch.State.OPEN
    assert Seat.objects.filter(pool__batch=batch).count() == 6
    job.refresh_from_db()
    assert job.result == {"tasks": 3, "prompts_without_enough_completions": 0}
    html = client_of(omar).get(f"/jobs/{job.pk}/").content.decode()
    assert "Tasks made" in html
    assert f'href="{BATCHES}{batch.pk}/"' in html


def test_a_killed_build_goes_on_where_it_was(
    client_of: ClientOf, omar: User, project: Project, protocol: Protocol
) -> None:
    """The job is run twice; the second run finds its cursor at the end and makes nothing more."""
    prompt_with_completions(project)
    fields = {"name": "First", "protocol": protocol.pk, "k": 4, "overlap": 1, "shared_percent": 0}
    client_of(omar).post(BATCHES + "new/", {**fields, "work": "comparison", "shared_overlap": 1, "priority": 0})
    job = Job.objects.get(kind="batch_build")
    run(job)
    Job.objects.filter(pk=job.pk).update(state="queued", finished_at=None)
    run(job)
    assert Seat.objects.count() == 1
    assert Batch.objects.get().state == Batch.State.DRAFT


def test_a_form_with_errors_comes_back(client_of: ClientOf, omar: User, project: Project) -> None:
    response = client_of(omar).post(BATCHES + "new/", {"name": "First"})
    assert response.status_code == 422
    assert not Batch.objects.exists()


def test_a_batch_page_tells_how_far_it_is(
    client_of: ClientOf, rita: User, project: Project, protocol: Protocol
) -> None:
    batch = batch_with_tasks(project, protocol, tasks=2)
    annotation_make(batch.tasks.earliest("pk"), external_make(project, "crowd-7"))
    html = client_of(rita).get(f"{BATCHES}{batch.pk}/").content.decode()
    assert "crowd-7" in html
    assert "Close for good" not in html
    assert Annotation.objects.count() == 1


def test_a_batch_of_answers_is_made_of_prompts_without_completions(
    client_of: ClientOf, omar: User, project: Project, protocol: Protocol
) -> None:
    prompt_make(project, "Nobody answered this.")
    prompt_make(project, "Hidden away.", quarantined_at=timezone.now())
    fields = {"name": "Ideal", "protocol": protocol.pk, "k": 4, "overlap": 2, "shared_percent": 0, "quota": "7"}
    more = {"work": "demonstration", "shared_overlap": 2, "priority": 0, "open_when_made": "on"}
    client_of(omar).post(BATCHES + "new/", {**fields, **more})
    run(Job.objects.get(kind="batch_build"))
    batch = Batch.objects.get()
    task = batch.tasks.get()
    assert (batch.state, batch.quota, task.seats.count()) == (Batch.State.OPEN, 7, 2)
    assert task.completions_key == sha256(b"").hexdigest()
    assert not task.task_completions.exists()
    html = client_of(omar).get(f"{BATCHES}{batch.pk}/").content.decode()
    assert "Write the ideal answer" in html
    assert "at most 7" in html
    assert "Completions per task" not in html


def test_a_batch_page_counts_demonstrations(
    client_of: ClientOf, rita: User, project: Project, protocol: Protocol
) -> None:
    batch = batch_to_write(project, protocol, tasks=1)
    for name, surplus in [("crowd-7", False), ("crowd-8", True)]:
        demonstration_make(batch.tasks.get(), external_make(project, name), "Cut it in winter.", surplus=surplus)
    html = client_of(rita).get(f"{BATCHES}{batch.pk}/").content.decode()
    assert "crowd-7" in html
    assert "crowd-8" in html
    assert "<dt>Surplus</dt><dd>1</dd>" in html
    assert "Who wrote" in html


@pytest.mark.parametrize(("to", "state"), [("paused", "paused"), ("closed", "closed")])
def test_the_state_is_changed(
    client_of: ClientOf, omar: User, project: Project, protocol: Protocol, to: str, state: str
) -> None:
    batch = batch_with_tasks(project, protocol, tasks=1)
    response = client_of(omar).post(f"{BATCHES}{batch.pk}/state/", {"to": to})
    assert response["Location"] == f"{BATCHES}{batch.pk}/"
    assert Batch.objects.get().state == state


@pytest.mark.parametrize(("to", "status"), [("open", 409), ("gone", 400), ("", 400), ("draft", 400)])
def test_a_change_that_cannot_be_is_refused_in_words(
    client_of: ClientOf, omar: User, project: Project, protocol: Protocol, to: str, status: int
) -> None:
    batch = batch_with_tasks(project, protocol, tasks=1)
    response = client_of(omar).post(f"{BATCHES}{batch.pk}/state/", {"to": to})
    assert response.status_code == status
    assert Batch.objects.get().state == Batch.State.OPEN


def test_another_projects_batch_is_not_found(client_of: ClientOf, omar: User, project: Project) -> None:
    other = Project.objects.create(name="Other", slug="other")
    batch = Batch.objects.create(project=other, name="Theirs", protocol=other.protocols.create(name="P"))
    assert client_of(omar).get(f"{BATCHES}{batch.pk}/").status_code == 404
    assert client_of(omar).post(f"{BATCHES}{batch.pk}/state/", {"to": "closed"}).status_code == 404


def test_a_stopped_build_is_finished_from_the_batches_page(
    client_of: ClientOf, omar: User, rita: User, project: Project, protocol: Protocol
) -> None:
    prompts_many(project, 0, 3)
    batch, job = build_of(project, protocol, omar)
    page, words = f"{BATCHES}{batch.pk}/", "Finish making its tasks"
    assert words not in client_of(omar).get(page).content.decode()
    job_execute(broken_off(job, after=0, by=stop))
    assert words in client_of(omar).get(page).content.decode()
    assert words not in client_of(rita).get(page).content.decode()
    response = client_of(omar).post(page + "build/")
    again = Job.objects.latest("pk")
    assert response["Location"] == f"/jobs/{again.pk}/"
    run(again)
    assert batch.tasks.count() == 3
    html = client_of(omar).get(page).content.decode()
    assert words not in html
    assert f"/jobs/{again.pk}/" in html


def test_a_build_that_needs_no_finishing_is_refused(
    client_of: ClientOf, omar: User, project: Project, protocol: Protocol
) -> None:
    batch = batch_with_tasks(project, protocol, tasks=1)
    assert client_of(omar).post(f"{BATCHES}{batch.pk}/build/").status_code == 409
    assert not Job.objects.exists()


def test_the_list_comes_in_pages(client_of: ClientOf, omar: User, project: Project, protocol: Protocol) -> None:
    for number in range(26):
        Batch.objects.create(project=project, protocol=protocol, name=f"Batch no. {number:02}")
    first, second = (client_of(omar).get(BATCHES, {"page": page}).content.decode() for page in (1, 2))
    assert ("no. 25" in first, "no. 01" in first, "no. 00" in first) == (True, True, False)
    assert ("no. 25" in second, "no. 00" in second) == (False, True)
    assert "Page 1 of 2" in first


def test_the_list_costs_the_same_for_many_batches(
    client_of: ClientOf, omar: User, project: Project, protocol: Protocol
) -> None:
    client = client_of(omar)
    batch_with_tasks(project, protocol, tasks=1)
    few = query_count(client, BATCHES)
    for _ in range(9):
        batch_with_tasks(project, protocol, tasks=1)
    assert query_count(client, BATCHES) == few

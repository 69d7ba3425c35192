"""The overview of a project."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from labelapp.models import (
    Annotator,
    Batch,
    ComparisonTask,
    Demonstration,
    Job,
    Project,
    Prompt,
    Protocol,
    Seat,
    User,
)
from tests import factories
from tests.query_counts import query_count

SignIn = Callable[[User], Client]


@pytest.fixture
def url(project: Project) -> str:
    return reverse("project", args=[project.slug])


def _figure(text: str, name: str) -> str:
    return text.split(f"<dt>{name}</dt><dd>")[1].split("</dd>")[0]


def test_it_counts_what_came_in(
    client_of: SignIn, omar: User, annotator: Annotator, project: Project, protocol: Protocol, url: str
) -> None:
    tasks = list(ComparisonTask.objects.filter(batch=factories.batch_with_tasks(project, protocol, tasks=2, k=3)))
    label = factories.annotation_make(tasks[0], annotator)
    factories.annotation_make(tasks[0], annotator, supersedes=label)
    factories.annotation_make(tasks[1], factories.external_make(project))
    Demonstration.objects.create(prompt=tasks[0].prompt, annotator=annotator, text="Cut.", text_hash="1")
    text = client_of(omar).get(url).text
    assert _figure(text, "Prompts") == "2"
    assert _figure(text, "Completions by 1 model") == "6"
    assert _figure(text, "Labels") == "2"
    assert _figure(text, "Demonstrations") == "1"
    assert "Of the labels, 1 came from people here, 1 came with imports." in " ".join(text.split())


def test_it_counts_nothing_of_other_projects(client_of: SignIn, omar: User, project: Project, url: str) -> None:
    other = Project.objects.create(name="Other", slug="other")
    batch = factories.batch_with_tasks(other, factories.protocol_make(other))
    factories.annotation_make(batch.tasks.all()[0], factories.external_make(other))
    text = client_of(omar).get(url).text
    assert [_figure(text, name) for name in ("Prompts", "Labels", "Demonstrations")] == ["0", "0", "0"]
    assert batch.name not in text


def test_it_shows_how_far_open_batches_are(
    client_of: SignIn, rita: User, annotator: Annotator, project: Project, protocol: Protocol, url: str
) -> None:
    batch = factories.batch_with_tasks(project, protocol, tasks=4, name="Spring")
    seat = Seat.objects.filter(task__batch=batch).earliest("pk")
    Seat.objects.filter(pk=seat.pk).update(state=Seat.State.FILLED, annotator=annotator)
    Batch.objects.create(project=project, protocol=protocol, name="Old one", state=Batch.State.CLOSED)
    text = client_of(rita).get(url).text
    assert "1 of 4" in text
    assert '<progress max="4" value="1"' in text
    assert "Old one" not in text


def test_it_shows_admins_the_latest_jobs(client_of: SignIn, omar: User, rita: User, project: Project, url: str) -> None:
    for number in range(6):
        Job.objects.create(project=project, kind="prompts_import", title=f"File {number}")
    text = client_of(omar).get(url).text
    assert "File 5" in text
    assert "File 0" not in text
    assert "File 5" not in client_of(rita).get(url).text


def test_a_labeler_sees_their_own_work_and_nothing_else(
    client_of: SignIn, lena: User, annotator: Annotator, project: Project, protocol: Protocol, url: str
) -> None:
    batch = factories.batch_with_tasks(project, protocol, name="Spring")
    factories.annotation_make(batch.tasks.all()[0], annotator)
    text = client_of(lena).get(url).text
    assert "You labeled <strong>1</strong> task" in text
    assert reverse("label", args=[project.slug]) in text
    assert "Spring" in text
    for hidden in ["What came in", reverse("prompts", args=[project.slug])]:
        assert hidden not in text


def test_tabs_follow_the_role(
    client_of: SignIn, lena: User, rita: User, omar: User, project: Project, url: str
) -> None:
    def tabs(user: User) -> list[str]:
        text = client_of(user).get(url).text
        names = ["prompts", "protocols", "members", "profile"]
        return [name for name in names if f'"{reverse(name, args=[project.slug])}"' in text]

    assert tabs(lena) == ["profile"]
    assert tabs(rita) == ["prompts", "protocols", "profile"]
    assert tabs(omar) == ["prompts", "protocols", "members", "profile"]


def _fill(project: Project, protocol: Protocol, count: int) -> None:
    for _ in range(count):
        batch = factories.batch_with_tasks(project, protocol, tasks=1, k=2)
        Job.objects.create(project=project, kind="prompts_import", title=batch.name)


def test_it_costs_the_same_for_3_batches_as_for_30(
    client_of: SignIn, omar: User, project: Project, protocol: Protocol, url: str
) -> None:
    client = client_of(omar)
    _fill(project, protocol, 3)
    few = query_count(client, url)
    _fill(project, protocol, 27)
    assert Prompt.objects.count() == 30
    assert query_count(client, url) == few

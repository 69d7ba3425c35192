"""Home: what a person can label, and what they look after."""

from collections.abc import Callable

from django.test import Client
from django.urls import reverse

from labelapp.accounts.services import membership_end, membership_grant
from labelapp.models import Annotation, Annotator, Batch, ComparisonTask, Membership, Project, Protocol, Role, User
from tests import factories
from tests.query_counts import query_count

SignIn = Callable[[User], Client]


def test_it_offers_a_labeler_the_labeling_page(client_of: SignIn, lena: User, project: Project) -> None:
    page = client_of(lena).get(reverse("home"))
    assert "Garden helper" in page.text
    assert "Start labeling" in page.text
    assert reverse("label", args=[project.slug]) in page.text
    assert "Create project" not in page.text


def test_it_leads_an_admin_to_the_project(client_of: SignIn, omar: User, project: Project) -> None:
    page = client_of(omar).get(reverse("home"))
    assert "Open project" in page.text
    assert "Start labeling" not in page.text


def test_it_counts_only_own_labels(
    client_of: SignIn, lena: User, annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    task = ComparisonTask.objects.filter(batch=factories.batch_with_tasks(project, protocol))[0]
    first = factories.annotation_make(task, annotator)
    factories.annotation_make(task, annotator, supersedes=first)
    factories.annotation_make(task, factories.external_make(project))
    page = client_of(lena).get(reverse("home"))
    assert "You labeled <strong>1</strong> task," in page.text
    assert Annotation.objects.count() == 3


def test_it_says_when_no_batch_is_open(client_of: SignIn, lena: User, project: Project, protocol: Protocol) -> None:
    client, nothing = client_of(lena), "No batch is open"
    assert nothing in client.get(reverse("home")).text
    batch = factories.batch_with_tasks(project, protocol)
    assert nothing not in client.get(reverse("home")).text
    Batch.objects.filter(pk=batch.pk).update(state=Batch.State.PAUSED)
    assert nothing in client.get(reverse("home")).text


def test_it_tells_a_person_without_a_project_how_to_get_in(client_of: SignIn, stan: User) -> None:
    page = client_of(stan).get(reverse("home"))
    assert "You are in no project yet" in page.text
    assert "Garden helper" not in page.text


def test_it_offers_site_admins_to_create_a_project(client_of: SignIn, stan: User) -> None:
    User.objects.filter(pk=stan.pk).update(is_staff=True)
    page = client_of(stan).get(reverse("home"))
    assert reverse("project_create") in page.text


def test_it_forgets_a_project_whose_membership_ended(client_of: SignIn, lena: User, omar: User) -> None:
    membership_end(membership=Membership.objects.get(user=lena), actor=omar)
    assert "Garden helper" not in client_of(lena).get(reverse("home")).text


def _join_projects(user: User, count: int) -> None:
    for number in range(count):
        project = Project.objects.create(name=f"Project {number}", slug=f"project-{Project.objects.count()}")
        membership_grant(project=project, user=user, role=Role.LABELER, actor=None)


def test_it_costs_the_same_for_3_projects_as_for_30(client_of: SignIn, stan: User) -> None:
    _join_projects(stan, 3)
    client = client_of(stan)
    few = query_count(client, reverse("home"))
    _join_projects(stan, 27)
    assert query_count(client, reverse("home")) == few

"""The list of one's projects."""

from collections.abc import Callable

from django.test import Client
from django.urls import reverse

from labelapp.accounts.services import membership_end, membership_grant
from labelapp.models import Batch, Membership, Project, Protocol, Role, User
from tests import factories
from tests.query_counts import query_count

SignIn = Callable[[User], Client]
URL = "/projects/"


def test_it_lists_own_projects_with_role_and_counts(
    client_of: SignIn, omar: User, lena: User, project: Project, protocol: Protocol
) -> None:
    factories.batch_with_tasks(project, protocol, tasks=1)
    Batch.objects.create(project=project, protocol=protocol, name="Closed", state=Batch.State.CLOSED)
    text = client_of(omar).get(URL).text
    assert "Garden helper" in text
    assert '<td data-label="Your role">Admin</td>' in text
    assert '<td data-label="Members" class="num">2</td>' in text
    assert '<td data-label="Open batches" class="num">1</td>' in text


def test_it_hides_projects_of_others(client_of: SignIn, stan: User, omar: User) -> None:
    text = client_of(stan).get(URL).text
    assert "Garden helper" not in text
    assert "You are in no project yet" in text


def test_it_counts_members_in_force_only(client_of: SignIn, omar: User, lena: User) -> None:
    membership_end(membership=Membership.objects.get(user=lena), actor=omar)
    assert '<td data-label="Members" class="num">1</td>' in client_of(omar).get(URL).text


def test_only_site_admins_are_offered_to_create(client_of: SignIn, stan: User, omar: User) -> None:
    create = reverse("project_create")
    assert create not in client_of(omar).get(URL).text
    User.objects.filter(pk=stan.pk).update(is_staff=True)
    assert create in client_of(stan).get(URL).text


def _join_projects(user: User, count: int) -> None:
    for number in range(count):
        project = Project.objects.create(name=f"Project {number}", slug=f"project-{Project.objects.count()}")
        membership_grant(project=project, user=user, role=Role.ADMIN, actor=None)


def test_it_costs_the_same_for_3_projects_as_for_30(client_of: SignIn, stan: User) -> None:
    _join_projects(stan, 3)
    client = client_of(stan)
    few = query_count(client, URL)
    _join_projects(stan, 27)
    assert query_count(client, URL) == few

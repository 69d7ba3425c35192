"""Creating a project."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from labelapp.errors import DomainError
from labelapp.models import Annotator, AuditEntry, Membership, PracticeExample, Project, Protocol, Role, User
from labelapp.projects.defaults import DEFAULT_PROTOCOL
from labelapp.projects.services import project_create
from labelapp.projects.specs import spec_of
from labelapp.projects.worked_examples import WORKED_EXAMPLES

SignIn = Callable[[User], Client]


@pytest.fixture
def site_admin(db: None) -> User:
    return User.objects.create_superuser(email="ada@example.com", name="Ada")


def test_it_makes_the_project_its_admin_and_its_protocol(client_of: SignIn, site_admin: User) -> None:
    form = {"name": "  Support   answers ", "description": "For the shop."}
    page = client_of(site_admin).post(reverse("project_create"), form)
    project = Project.objects.get()
    assert page.headers["Location"] == reverse("project", args=["support-answers"])
    assert (project.name, project.slug, project.description) == ("Support answers", "support-answers", "For the shop.")
    assert Membership.objects.get(project=project, user=site_admin).role == Role.ADMIN
    assert Annotator.objects.filter(project=project, user=site_admin).exists()
    assert spec_of(Protocol.objects.get(project=project)) == DEFAULT_PROTOCOL


def test_it_comes_with_worked_examples_of_its_protocol(site_admin: User) -> None:
    project = project_create(name="Support", created_by=site_admin)
    examples = PracticeExample.objects.filter(project=project)
    assert [example.title for example in examples] == [each["title"] for each in WORKED_EXAMPLES]
    assert {example.protocol_name for example in examples} == {DEFAULT_PROTOCOL.name}


def test_it_is_written_down(site_admin: User) -> None:
    project = project_create(name="Support", created_by=site_admin)
    verbs = AuditEntry.objects.filter(project_id=project.pk, actor_id=site_admin.pk).order_by("pk")
    assert list(verbs.values_list("verb", flat=True)) == ["membership_grant", "project_create", "protocol_create"]


def test_only_site_admins_may(client_of: SignIn, omar: User) -> None:
    client = client_of(omar)
    page = client.get(reverse("project_create"))
    assert page.status_code == 403
    assert "Only site administrators create projects" in page.text
    assert client.post(reverse("project_create"), {"name": "Mine"}).status_code == 403
    assert Project.objects.count() == 1


@pytest.mark.parametrize(("name", "problem"), [("  ", "This field is required"), ("x" * 101, "at most 100 characters")])
def test_it_refuses_a_bad_name(client_of: SignIn, site_admin: User, name: str, problem: str) -> None:
    page = client_of(site_admin).post(reverse("project_create"), {"name": name})
    assert page.status_code == 422
    assert problem in page.text
    with pytest.raises(DomainError):
        project_create(name=name, created_by=site_admin)
    assert not Project.objects.exists()


@pytest.mark.parametrize(
    ("names", "slugs"),
    [
        (["Pears", "pears!", "PEARS"], ["pears", "pears-2", "pears-3"]),
        (["New", "new"], ["new-2", "new-3"]),
        (["梨の木"], ["project"]),
        (["x" * 100, "x" * 99], ["x" * 54, "x" * 54 + "-2"]),
    ],
)
def test_every_project_gets_an_address_of_its_own(site_admin: User, names: list[str], slugs: list[str]) -> None:
    assert [project_create(name=name, created_by=site_admin).slug for name in names] == slugs


@pytest.mark.django_db(transaction=True)
def test_two_at_once_get_two_addresses(site_admin: User) -> None:
    def create(_number: int) -> str:
        try:
            return project_create(name="Pears", created_by=site_admin).slug
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=4) as pool:
        assert sorted(pool.map(create, range(4))) == ["pears", "pears-2", "pears-3", "pears-4"]

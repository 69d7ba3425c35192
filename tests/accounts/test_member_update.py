"""Changing what a member may do, and ending a membership."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from labelapp.accounts.services import LAST_ADMIN, membership_grant
from labelapp.models import Annotator, AuditEntry, Membership, Project, Role, User

SignIn = Callable[[User], Client]


def _url(user: User, name: str = "member_update") -> str:
    membership = Membership.objects.select_related("project").get(user=user)
    return reverse(name, args=[membership.project.slug, membership.pk])


def _fields(**changed: str) -> dict[str, str]:
    return {"role": "labeler", "skills": "", "group": "training", **changed}


def test_it_changes_role_skills_and_group(client_of: SignIn, omar: User, lena: User) -> None:
    fields = _fields(role="reviewer", skills="Python, medicine,, python ", group="held_out")
    page = client_of(omar).post(_url(lena), fields, follow=True)
    assert "Saved: Lena." in page.text
    annotator = Annotator.objects.get(user=lena)
    assert Membership.objects.get(user=lena).role == Role.REVIEWER
    assert annotator.skills == ["medicine", "python"]
    assert annotator.group == Annotator.Group.HELD_OUT


def test_it_writes_no_role_change_where_there_is_none(client_of: SignIn, omar: User, lena: User) -> None:
    before = AuditEntry.objects.filter(verb="membership_grant").count()
    client_of(omar).post(_url(lena), _fields(skills="python"))
    assert AuditEntry.objects.filter(verb="membership_grant").count() == before


def test_it_shows_what_is_set(client_of: SignIn, omar: User, lena: User) -> None:
    Annotator.objects.filter(user=lena).update(skills=["law", "python"], group="held_out")
    text = client_of(omar).get(_url(lena)).text
    assert 'value="law, python"' in text
    assert '<option value="held_out" selected>' in text


def test_it_keeps_the_last_admin_and_saves_nothing_of_the_form(client_of: SignIn, omar: User) -> None:
    page = client_of(omar).post(_url(omar), _fields(skills="python"))
    assert page.status_code == 422
    assert LAST_ADMIN in page.text
    assert Membership.objects.get(user=omar).role == Role.ADMIN
    assert Annotator.objects.get(user=omar).skills == []


def test_an_admin_who_steps_down_lands_on_a_page_that_opens(
    client_of: SignIn, omar: User, lena: User, project: Project
) -> None:
    membership_grant(project=project, user=lena, role=Role.ADMIN, actor=None)
    page = client_of(omar).post(_url(omar), _fields(role="reviewer"), follow=True)
    assert page.status_code == 200
    assert page.redirect_chain == [(reverse("home"), 302)]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"role": "owner"}, "not one of the available choices"),
        ({"group": "both"}, "not one of the available choices"),
        ({"skills": "x" * 51}, "too long: at most 50 characters"),
        ({"skills": ",".join(f"s{number}" for number in range(31))}, "These are 31; at most 30"),
        ({"skills": "a\x00b"}, "invisible character"),
    ],
)
def test_it_refuses(client_of: SignIn, omar: User, lena: User, fields: dict[str, str], problem: str) -> None:
    page = client_of(omar).post(_url(lena), _fields(**{"role": "admin", **fields}))
    assert page.status_code == 422
    assert problem in page.text
    assert Membership.objects.get(user=lena).role == Role.LABELER


def test_it_finds_no_member_of_another_project(client_of: SignIn, omar: User, stan: User, project: Project) -> None:
    other = Project.objects.create(name="Other", slug="other")
    member = membership_grant(project=other, user=stan, role=Role.LABELER, actor=None)
    url = reverse("member_update", args=[project.slug, member.pk])
    assert client_of(omar).post(url, _fields(role="admin")).status_code == 404
    assert Membership.objects.get(user=stan).role == Role.LABELER


def test_ending_closes_the_project_and_keeps_the_annotator(client_of: SignIn, omar: User, lena: User) -> None:
    page = client_of(omar).post(_url(lena, "member_end"), follow=True)
    assert "Lena is no longer a member" in page.text
    assert client_of(lena).get(reverse("project", args=["garden-helper"])).status_code == 404
    assert Annotator.objects.filter(user=lena).exists()


def test_an_ended_membership_is_not_changed_any_more(client_of: SignIn, omar: User, lena: User) -> None:
    client = client_of(omar)
    client.post(_url(lena, "member_end"))
    assert client.post(_url(lena), _fields()).status_code == 404
    assert client.post(_url(lena, "member_end")).status_code == 404
    assert Membership.objects.get(user=lena).ended_at is not None


def test_the_last_admin_cannot_leave(client_of: SignIn, omar: User) -> None:
    page = client_of(omar).post(_url(omar, "member_end"))
    assert page.status_code == 400
    assert LAST_ADMIN in page.text
    assert Membership.objects.get(user=omar).ended_at is None

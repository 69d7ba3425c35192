"""Making and withdrawing invitation links."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from django.test import Client
from django.urls import reverse

from labelapp.models import AuditEntry, Invitation, Project, Role, User

SignIn = Callable[[User], Client]


def _link(text: str) -> str:
    return str(re.findall(r'readonly value="([^"]+)"', text)[0])


def _secret(text: str) -> str:
    return _link(text).rstrip("/").split("/")[-1]


def _make(client: Client, project: Project, **fields: str) -> str:
    form = {"role": "labeler", "note": "Nia", **fields}
    return client.post(reverse("invitation_create", args=[project.slug]), form).text


def test_it_shows_a_link_that_works(client_of: SignIn, omar: User, project: Project) -> None:
    text = _make(client_of(omar), project)
    link = _link(text)
    assert link.startswith("http://testserver/invitations/")
    assert Client().get(urlsplit(link).path).status_code == 200
    invitation = Invitation.objects.get()
    assert (invitation.role, invitation.note, invitation.created_by) == (Role.LABELER, "Nia", omar)


def test_the_link_is_shown_this_once_and_kept_by_no_cache(client_of: SignIn, omar: User, project: Project) -> None:
    client = client_of(omar)
    secret = _secret(_make(client, project))
    assert secret not in client.get(reverse("members", args=[project.slug])).text
    page = client.post(reverse("invitation_create", args=[project.slug]), {"role": "labeler"})
    assert "no-store" in page.headers["Cache-Control"]


def test_it_refuses_an_unknown_role(client_of: SignIn, omar: User, project: Project) -> None:
    text = _make(client_of(omar), project, role="owner")
    assert "owner is not one of the available choices" in text
    assert not Invitation.objects.exists()


def test_it_refuses_a_note_that_is_too_long(client_of: SignIn, omar: User, project: Project) -> None:
    assert "at most 150 characters" in _make(client_of(omar), project, note="n" * 151)
    assert not Invitation.objects.exists()


def test_withdrawing_closes_the_link(client_of: SignIn, omar: User, project: Project) -> None:
    client = client_of(omar)
    secret = _secret(_make(client, project))
    page = client.post(reverse("invitation_revoke", args=[project.slug, Invitation.objects.get().pk]), follow=True)
    assert "The link no longer works" in page.text
    assert Client().get(reverse("invitation", args=[secret])).status_code == 410
    assert AuditEntry.objects.filter(verb="invitation_revoke", actor_id=omar.pk).exists()


def test_it_withdraws_no_link_of_another_project(client_of: SignIn, omar: User, project: Project) -> None:
    other = Project.objects.create(name="Other", slug="other")
    client = client_of(omar)
    _make(client, project)
    Invitation.objects.update(project=other)
    page = client.post(reverse("invitation_revoke", args=[project.slug, Invitation.objects.get().pk]))
    assert page.status_code == 404
    assert Invitation.objects.get().revoked_at is None

"""What an invitation link opens."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from labelapp.accounts.adapter import SESSION_KEY
from labelapp.accounts.services import invitation_accept, invitation_create, invitation_revoke, membership_grant
from labelapp.models import Annotator, Invitation, Membership, Project, Role, User

SignIn = Callable[[User], Client]


@pytest.fixture
def secret(project: Project, omar: User) -> str:
    return invitation_create(project=project, role=Role.REVIEWER, created_by=omar)[1]


@pytest.fixture
def url(secret: str) -> str:
    return reverse("invitation", args=[secret])


def _role_of(user: User) -> str | None:
    return Membership.objects.filter(user=user, ended_at__isnull=True).values_list("role", flat=True).first()


def test_it_shows_project_and_role_to_anybody_and_remembers_the_link(client: Client, url: str, secret: str) -> None:
    page = client.get(url)
    assert page.status_code == 200
    assert "Garden helper" in page.text
    assert "Reviewer" in page.text
    assert reverse("account_signup") in page.text
    assert f"{reverse('account_login')}?next={url}" in page.text
    assert client.session[SESSION_KEY] == secret


def test_it_is_not_used_up_by_looking_or_by_a_post_without_signing_in(client: Client, url: str) -> None:
    client.get(url)
    assert client.post(url).status_code == 200
    assert Invitation.objects.filter(accepted_at__isnull=True).exists()


def test_it_lets_a_signed_in_person_join(client_of: SignIn, stan: User, url: str) -> None:
    client = client_of(stan)
    assert "Join the project" in client.get(url).text
    assert _role_of(stan) is None
    page = client.post(url, follow=True)
    assert "Welcome to Garden helper" in page.text
    assert _role_of(stan) == Role.REVIEWER
    assert Annotator.objects.filter(user=stan).exists()


def test_it_makes_a_new_account_a_member(client: Client, url: str) -> None:
    client.get(url)
    form = {"name": "Nia", "email": "nia@example.com", "password1": "pear tree 1234", "password2": "pear tree 1234"}
    page = client.post(reverse("account_signup"), form, follow=True)
    assert page.redirect_chain == [(reverse("home"), 302)]
    assert "Garden helper" in page.text
    assert _role_of(User.objects.get(email="nia@example.com")) == Role.REVIEWER


def test_it_serves_one_person(client_of: SignIn, stan: User, url: str) -> None:
    client_of(stan).post(url)
    nia = User.objects.create_user(email="nia@example.com", name="Nia")
    page = client_of(nia).post(url)
    assert page.status_code == 410
    assert "This invitation is closed" in page.text
    assert _role_of(nia) is None


def test_it_is_not_wasted_on_somebody_who_has_the_role(client_of: SignIn, omar: User, url: str) -> None:
    page = client_of(omar).post(url)
    assert "You are in this project already, as Admin" in page.text
    assert Invitation.objects.filter(accepted_at__isnull=True).exists()


def test_it_raises_a_smaller_role(client_of: SignIn, lena: User, url: str) -> None:
    client_of(lena).post(url)
    assert _role_of(lena) == Role.REVIEWER


@pytest.mark.parametrize("way", ["member_end", "member_update"])
def test_an_admin_who_was_removed_does_not_come_back_by_a_link_of_their_own(
    client_of: SignIn, omar: User, rita: User, project: Project, way: str
) -> None:
    membership_grant(project=project, user=rita, role=Role.ADMIN, actor=omar)
    _, secret = invitation_create(project=project, role=Role.ADMIN, created_by=rita)
    membership = Membership.objects.get(user=rita)
    fields = {"role": "labeler", "skills": "", "group": "training"}
    client_of(omar).post(reverse(way, args=[project.slug, membership.pk]), fields)
    page = client_of(rita).post(reverse("invitation", args=[secret]))
    assert page.status_code == 410
    assert _role_of(rita) == (None if way == "member_end" else Role.LABELER)


@pytest.mark.parametrize("way", ["used", "withdrawn", "expired", "misspelt"])
def test_it_says_plainly_that_a_link_is_closed(
    client: Client, url: str, secret: str, stan: User, omar: User, way: str
) -> None:
    invitation = Invitation.objects.get()
    match way:
        case "used":
            invitation_accept(secret=secret, user=stan)
        case "withdrawn":
            invitation_revoke(invitation=invitation, actor=omar)
        case "expired":
            Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        case "misspelt":
            url = url.replace(secret, secret[:-1])
    page = client.get(url)
    assert page.status_code == 410
    assert "This invitation is closed" in page.text
    assert "Garden helper" not in page.text
    assert SESSION_KEY not in client.session


def test_a_closed_link_left_in_the_session_opens_no_sign_up(client: Client, url: str, omar: User) -> None:
    client.get(url)
    invitation_revoke(invitation=Invitation.objects.get(), actor=omar)
    form = {"name": "Nia", "email": "nia@example.com", "password1": "pear tree 1234", "password2": "pear tree 1234"}
    client.post(reverse("account_signup"), form)
    assert not User.objects.filter(email="nia@example.com").exists()


def test_it_escapes_what_the_project_calls_itself(client: Client, url: str, project: Project) -> None:
    Project.objects.filter(pk=project.pk).update(name="<b>bold</b>", description="<script>1</script>")
    page = client.get(url)
    assert "&lt;b&gt;bold" in page.text
    assert "<script>1" not in page.text

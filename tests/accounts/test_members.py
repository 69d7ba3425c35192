"""The members page."""

from collections.abc import Callable
from datetime import UTC, datetime

from django.test import Client
from django.urls import reverse
from django.utils import timezone

from labelapp.accounts.services import annotator_update, invitation_accept, invitation_create, membership_end
from labelapp.models import Annotator, ComparisonTask, Draft, Invitation, Membership, Project, Protocol, Role, User
from tests import factories
from tests.query_counts import query_count

SignIn = Callable[[User], Client]


def test_it_lists_people_with_what_matters_for_their_tasks(
    client_of: SignIn, omar: User, annotator: Annotator, project: Project
) -> None:
    annotator_update(annotator=annotator, actor=omar, languages=["de", "pt-BR"], skills=["medicine"])
    text = client_of(omar).get(reverse("members", args=[project.slug])).text
    for shown in ["Lena", "lena@example.com", "Omar", "German, Brazilian Portuguese", "medicine", "2 members"]:
        assert shown in text


def test_it_lists_admins_first_then_reviewers_then_labelers(
    client_of: SignIn, omar: User, rita: User, lena: User, project: Project
) -> None:
    User.objects.filter(pk=omar.pk).update(name="Zoe")
    text = client_of(omar).get(reverse("members", args=[project.slug])).text
    emails = [user.email for user in (omar, rita, lena)]
    assert sorted(emails, key=text.index) == emails


def test_it_shows_when_somebody_was_last_active(
    client_of: SignIn, omar: User, annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    client, url = client_of(omar), reverse("members", args=[project.slug])
    assert "Not yet" in client.get(url).text
    task = ComparisonTask.objects.filter(batch=factories.batch_with_tasks(project, protocol))[0]
    long_ago = datetime(2020, 2, 3, 4, 5, tzinfo=UTC)
    Draft.objects.create(annotator=annotator, task=task, opened_at=long_ago, saved_at=long_ago)
    assert "3 Feb 2020, 04:05</time>" in client.get(url).text
    label = factories.annotation_make(task, annotator)
    assert f"{label.created_at:%H:%M}</time>" in client.get(url).text


def test_it_leaves_out_those_who_left(client_of: SignIn, omar: User, lena: User, project: Project) -> None:
    membership_end(membership=Membership.objects.get(user=lena), actor=omar)
    assert "Lena" not in client_of(omar).get(reverse("members", args=[project.slug])).text


def test_it_lists_links_that_are_open_and_no_others(
    client_of: SignIn, omar: User, stan: User, project: Project
) -> None:
    invitation_create(project=project, role=Role.LABELER, created_by=omar, note="Open one")
    expired, _ = invitation_create(project=project, role=Role.LABELER, created_by=omar, note="Expired one")
    Invitation.objects.filter(pk=expired.pk).update(expires_at=timezone.now())
    _, secret = invitation_create(project=project, role=Role.LABELER, created_by=omar, note="Used one")
    invitation_accept(secret=secret, user=stan)
    text = client_of(omar).get(reverse("members", args=[project.slug])).text
    assert "Open one" in text
    assert "Expired one" not in text
    assert "Used one" not in text


def test_it_pages(client_of: SignIn, omar: User, project: Project) -> None:
    for number in range(51):
        factories.labeler_make(project, f"person{number:02}")
    client, url = client_of(omar), reverse("members", args=[project.slug])
    first, second = client.get(url).text, client.get(url, {"page": "2"}).text
    assert "person48" in first
    assert "person49" not in first
    assert "person49" in second
    assert "1 to 50 of 52" in first


def _fill(project: Project, omar: User, start: int, end: int) -> None:
    for number in range(start, end):
        factories.labeler_make(project, f"person{number}")
        invitation_create(project=project, role=Role.LABELER, created_by=omar)


def test_it_costs_the_same_for_3_people_as_for_30(client_of: SignIn, omar: User, project: Project) -> None:
    client, url = client_of(omar), reverse("members", args=[project.slug])
    _fill(project, omar, 0, 3)
    few = query_count(client, url)
    _fill(project, omar, 3, 30)
    assert query_count(client, url) == few

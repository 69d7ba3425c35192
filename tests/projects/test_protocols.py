"""Reading protocols: the list and one version."""

from collections.abc import Callable
from dataclasses import replace

from django.test import Client
from django.urls import reverse
from django.utils import timezone

from labelapp.models import Project, Protocol, User
from labelapp.projects.defaults import DEFAULT_PROTOCOL
from labelapp.projects.services import protocol_create, protocol_revise
from tests import factories
from tests.query_counts import query_count

SignIn = Callable[[User], Client]


def _url(protocol: Protocol) -> str:
    return reverse("protocol", args=[protocol.project.slug, protocol.pk])


def test_the_list_shows_the_newest_version_of_each(client_of: SignIn, rita: User, project: Project) -> None:
    first = protocol_create(project=project, spec=DEFAULT_PROTOCOL, actor=None)
    second = protocol_revise(protocol=first, spec=replace(DEFAULT_PROTOCOL, questions=()), actor=None)
    text = client_of(rita).get(reverse("protocols", args=[project.slug])).text
    assert _url(second) in text
    assert _url(first) not in text
    assert '<td data-label="Questions" class="num">0</td>' in text


def test_the_list_says_whether_a_protocol_is_used(client_of: SignIn, rita: User, project: Project) -> None:
    client, url = client_of(rita), reverse("protocols", args=[project.slug])
    first = protocol_create(project=project, spec=DEFAULT_PROTOCOL, actor=None)
    assert "Not used yet" in client.get(url).text
    Protocol.objects.filter(pk=first.pk).update(used_at=timezone.now())
    assert "In use" in client.get(url).text
    protocol_revise(protocol=first, spec=replace(DEFAULT_PROTOCOL, questions=()), actor=None)
    assert "An older version is in use" in client.get(url).text


def test_only_admins_are_offered_to_write(client_of: SignIn, rita: User, omar: User, protocol: Protocol) -> None:
    for name, args in [("protocols", []), ("protocol", [protocol.pk])]:
        url = reverse(name, args=[protocol.project.slug, *args])
        write = reverse("protocol_create", args=[protocol.project.slug])
        revise = reverse("protocol_revise", args=[protocol.project.slug, protocol.pk])
        assert any(link in client_of(omar).get(url).text for link in (write, revise))
        assert not any(link in client_of(rita).get(url).text for link in (write, revise))


def test_an_empty_list_says_what_to_do(client_of: SignIn, omar: User, project: Project) -> None:
    text = client_of(omar).get(reverse("protocols", args=[project.slug])).text
    assert "No protocol yet" in text


def test_a_version_shows_settings_questions_and_guidelines(client_of: SignIn, rita: User, project: Project) -> None:
    spec = replace(DEFAULT_PROTOCOL, guidelines="Be **kind**.\n\n<script>alert(1)</script>")
    text = client_of(rita).get(_url(protocol_create(project=project, spec=spec, actor=None))).text
    assert "<strong>kind</strong>" in text
    assert "<script>alert" not in text
    assert "1 to 7, from “Very poor” to “Excellent”" in text
    assert "Questions about the prompt" in text
    assert "is good, or not applicable" in text
    assert "Questions about the ranking" not in text


def test_thumbs_and_what_else_is_asked_are_said_in_words(client_of: SignIn, rita: User, project: Project) -> None:
    spec = replace(DEFAULT_PROTOCOL, likert_points=2, asks_edit=True, asks_confidence=True, marks_contradictions=False)
    text = client_of(rita).get(_url(protocol_create(project=project, spec=spec, actor=None))).text
    assert "Thumbs down or up" in text
    assert "1 to 2" not in text
    assert "how sure the labeler is, a better text of the best completion</dd>" in text
    assert "Not marked" in text


def test_the_default_asks_for_nothing_else(client_of: SignIn, rita: User, project: Project) -> None:
    text = client_of(rita).get(_url(protocol_create(project=project, spec=DEFAULT_PROTOCOL, actor=None))).text
    assert "Marked, except in a fifth of the tasks" in text
    assert "<dd>Nothing</dd>" in text


def test_a_version_links_to_its_siblings(client_of: SignIn, rita: User, project: Project) -> None:
    first = protocol_create(project=project, spec=DEFAULT_PROTOCOL, actor=None)
    second = protocol_revise(protocol=first, spec=replace(DEFAULT_PROTOCOL, questions=()), actor=None)
    protocol_create(project=project, spec=replace(DEFAULT_PROTOCOL, name="Unrelated"), actor=None)
    text = client_of(rita).get(_url(first)).text
    assert _url(second) in text
    assert "Unrelated" not in text


def test_a_used_version_says_that_it_stays(client_of: SignIn, rita: User, protocol: Protocol) -> None:
    Protocol.objects.filter(pk=protocol.pk).update(used_at=timezone.now())
    assert "it never changes again" in client_of(rita).get(_url(protocol)).text


def test_a_protocol_of_another_project_is_not_there(client_of: SignIn, omar: User, project: Project) -> None:
    elsewhere = factories.protocol_make(Project.objects.create(name="Other", slug="other"))
    for name in ["protocol", "protocol_revise"]:
        assert client_of(omar).get(reverse(name, args=[project.slug, elsewhere.pk])).status_code == 404


def test_the_list_costs_the_same_for_3_protocols_as_for_30(client_of: SignIn, rita: User, project: Project) -> None:
    client, url = client_of(rita), reverse("protocols", args=[project.slug])
    for number in range(3):
        factories.protocol_make(project, name=f"Protocol {number}")
    few = query_count(client, url)
    for number in range(3, 30):
        factories.protocol_make(project, name=f"Protocol {number}")
    assert query_count(client, url) == few

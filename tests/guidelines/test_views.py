"""The guidelines on a page and as a panel, their examples, and the time that reading takes."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from labelapp.accounts.shortcuts import shortcuts_set
from labelapp.guidelines.openings import opening_sign
from labelapp.guidelines.services import example_create
from labelapp.models import Annotator, GuidelineExample, GuidelineVisit, Project, Protocol, TimeEntry, User
from tests.factories import batch_with_tasks, protocol_make
from tests.query_counts import query_count

ClientOf = Callable[[User], Client]
TEXT = "Be kind.\n\n## Ties\n\nTies are <b>fine</b>."
PANEL = {"HX-Request": "true"}


@pytest.fixture
def protocol(project: Project) -> Protocol:
    return protocol_make(project, guidelines=TEXT)


@pytest.fixture
def url(project: Project) -> str:
    return reverse("guidelines", args=[project.slug])


def revised(protocol: Protocol, text: str) -> Protocol:
    return protocol_make(protocol.project, version=protocol.version + 1, guidelines=text)


def test_the_page_shows_the_text_with_its_contents(
    client_of: ClientOf, lena: User, protocol: Protocol, url: str
) -> None:
    page = client_of(lena).get(url).text
    assert '<h2 id="ties-1" data-searched>Ties</h2>' in page
    assert 'href="#ties-1"' in page
    assert "&lt;b&gt;fine" in page
    assert "Helpfulness, version 1" in page
    assert "Versions" not in page


def test_a_project_without_guidelines_says_who_writes_them(client_of: ClientOf, lena: User, url: str) -> None:
    assert "There are no guidelines yet" in client_of(lena).get(url).text


def test_other_guidelines_in_use_are_a_click_away(
    client_of: ClientOf, lena: User, project: Project, protocol: Protocol, url: str
) -> None:
    other = protocol_make(project, name="Safety", guidelines="Be safe.")
    batch_with_tasks(project, protocol, tasks=1, priority=5)
    batch_with_tasks(project, other, tasks=1)
    lenas = client_of(lena)
    page = lenas.get(url).text
    assert "Be kind." in page
    assert f'href="{url}?protocol={other.pk}">Safety</a>' in page
    assert "Be safe." in lenas.get(url, {"protocol": other.pk}).text


def test_what_changed_is_marked_once(client_of: ClientOf, lena: User, protocol: Protocol, omar: User, url: str) -> None:
    lenas = client_of(lena)
    lenas.get(url)
    revised(protocol, TEXT + "\n\nSay so.")
    example_create(project=protocol.project, protocol_name=protocol.name, title="Poems", text="Read.", actor=omar)
    page = lenas.get(url).text
    assert "1 change since version 1. It is marked below." in page
    assert '<ins class="change" data-change="new">' in page
    assert "1 new example since your last visit" in page
    again = lenas.get(url).text
    assert "<ins" not in again
    assert "Nothing has changed since your last visit" in again


def test_what_was_removed_and_what_it_said_before_can_be_unfolded(
    client_of: ClientOf, lena: User, protocol: Protocol, url: str
) -> None:
    lenas = client_of(lena)
    lenas.get(url)
    revised(protocol, "Be kind and exact.\n\n## Ties")
    page = lenas.get(url).text
    assert "What it said before" in page
    assert "Removed here" in page
    assert page.count("<del>") == 2


def test_versions_can_be_compared(client_of: ClientOf, lena: User, protocol: Protocol, url: str) -> None:
    second = revised(protocol, "Other.\n\n## Ties\n\nTies are <b>fine</b>.")
    lenas = client_of(lena)
    compare = f"{url}?protocol={second.pk}&amp;compare={protocol.pk}"
    assert compare in lenas.get(url).text
    page = lenas.get(url, {"protocol": second.pk, "compare": protocol.pk}).text
    assert "1 change since version 1" in page
    assert "same as in version 2" in lenas.get(url, {"protocol": second.pk, "compare": second.pk}).text


@pytest.mark.parametrize("fields", [{"protocol": "0"}, {"protocol": "x"}, {"compare": "0"}])
def test_a_version_that_is_not_there_is_not_found(
    client_of: ClientOf, lena: User, protocol: Protocol, url: str, fields: dict[str, str]
) -> None:
    assert client_of(lena).get(url, fields).status_code == 404


def test_search_needs_no_script(client_of: ClientOf, lena: User, protocol: Protocol, url: str) -> None:
    lenas = client_of(lena)
    page = lenas.get(url, {"q": "ties are"}).text
    assert "<mark>Ties are</mark>" in page
    assert "Found once" in page
    assert "Found 0 times" in lenas.get(url, {"q": "plums"}).text
    assert "<mark>" not in lenas.get(url, {"q": "\x00<b>\x00" * 50}).text


def test_the_panel_is_a_bare_fragment_that_begins_with_the_keys(
    client_of: ClientOf, lena: User, protocol: Protocol, url: str
) -> None:
    shortcuts_set(user=lena, changes={"tie": "t"})
    response = client_of(lena).get(url, headers=PANEL)
    page = response.text
    assert "<html" not in page
    assert "HX-Request" in response.headers["Vary"]
    assert page.index("<kbd>T</kbd>") < page.index("Be kind.")
    assert reverse("shortcuts") in page
    assert '<h4 id="ties-1"' in page
    # Its time is the task's, whose clock runs on.
    assert "data-opening" not in page


def test_the_panel_says_when_keys_are_off(client_of: ClientOf, lena: User, protocol: Protocol, url: str) -> None:
    shortcuts_set(user=lena, changes={}, off=True)
    page = client_of(lena).get(url, headers=PANEL).text
    assert "You switched all keys off" in page
    assert "<kbd>" not in page


def test_the_panel_has_keys_where_there_are_no_guidelines(client_of: ClientOf, lena: User, url: str) -> None:
    page = client_of(lena).get(url, headers=PANEL).text
    assert "<kbd>J</kbd>" in page
    assert "No guidelines were written" in page


def test_a_look_at_a_key_is_no_visit_and_reading_for_a_while_is_one(
    client_of: ClientOf, lena: User, protocol: Protocol, url: str
) -> None:
    lenas = client_of(lena)
    lenas.get(url, headers=PANEL)
    assert not GuidelineVisit.objects.exists()
    assert lenas.post(reverse("guidelines_seen", args=["garden-helper"]), {"protocol": protocol.pk}).status_code == 204
    assert GuidelineVisit.objects.get().protocol == protocol


def test_nothing_of_another_project_is_seen(client_of: ClientOf, lena: User, protocol: Protocol) -> None:
    theirs = protocol_make(Project.objects.create(name="Other", slug="other"))
    seen = reverse("guidelines_seen", args=["garden-helper"])
    assert client_of(lena).post(seen, {"protocol": theirs.pk}).status_code == 404
    assert not GuidelineVisit.objects.exists()


def test_reading_time_is_counted(
    client_of: ClientOf, lena: User, annotator: Annotator, monkeypatch: pytest.MonkeyPatch, project: Project
) -> None:
    slip = opening_sign(annotator, TimeEntry.Kind.GUIDELINES)
    later = timezone.now() + timedelta(minutes=2)
    monkeypatch.setattr("labelapp.guidelines.services.timezone.now", lambda: later)
    time_url = reverse("guidelines_time", args=[project.slug])
    response = client_of(lena).post(time_url, {"opening": slip, "seconds": "90"})
    assert response.json() == {"seconds": 90}
    assert TimeEntry.objects.get().seconds == 90


@pytest.mark.parametrize("seconds", ["", "x", "-4", "1e9", "9" * 30])
def test_a_time_that_is_no_number_is_none(
    client_of: ClientOf, lena: User, annotator: Annotator, project: Project, seconds: str
) -> None:
    slip = opening_sign(annotator, TimeEntry.Kind.GUIDELINES)
    response = client_of(lena).post(
        reverse("guidelines_time", args=[project.slug]), {"opening": slip, "seconds": seconds}
    )
    assert response.json() == {"seconds": 0}
    assert not TimeEntry.objects.exists()


def test_time_without_a_slip_is_refused(
    client_of: ClientOf, lena: User, annotator: Annotator, project: Project
) -> None:
    assert client_of(lena).post(reverse("guidelines_time", args=[project.slug]), {"seconds": "9"}).status_code == 400


def test_reviewers_add_examples_and_admins_take_them_away(
    client_of: ClientOf, rita: User, omar: User, protocol: Protocol
) -> None:
    page = reverse("guideline_examples", args=["garden-helper"])
    ritas, omars = client_of(rita), client_of(omar)
    form = {"protocol_name": protocol.name, "title": "Poems", "text": "Read **both**."}
    assert ritas.post(page, form).status_code == 302
    example = GuidelineExample.objects.get()
    withdraw = reverse("guideline_example_withdraw", args=["garden-helper", example.pk])
    assert "<strong>both</strong>" in ritas.get(page).text
    assert withdraw not in ritas.get(page).text
    assert withdraw in omars.get(page).text
    assert omars.post(withdraw, follow=True).status_code == 200
    assert "Poems" not in ritas.get(page).text
    assert "withdrawn already" in omars.post(withdraw).text


@pytest.mark.parametrize("changed", [{"title": ""}, {"text": ""}, {"protocol_name": "Nothing"}])
def test_an_example_without_words_comes_back(
    client_of: ClientOf, rita: User, protocol: Protocol, changed: dict[str, str]
) -> None:
    form = {"protocol_name": protocol.name, "title": "Poems", "text": "Read.", **changed}
    response = client_of(rita).post(reverse("guideline_examples", args=["garden-helper"]), form)
    assert response.status_code == 422
    assert not GuidelineExample.objects.exists()


def test_the_page_costs_the_same_for_any_number_of_examples_and_versions(
    client_of: ClientOf, lena: User, omar: User, protocol: Protocol, url: str
) -> None:
    lenas = client_of(lena)
    lenas.get(url)
    few = query_count(lenas, url)
    for number in range(2, 12):
        made = protocol_make(protocol.project, version=number, guidelines=f"{TEXT}\n\n{number}", created_by=omar)
        example_create(project=protocol.project, protocol_name=made.name, title=f"{number}", text="x", actor=omar)
    lenas.get(url)
    assert query_count(lenas, url) == few
    assert few <= 15


def test_the_panel_costs_eight_queries(client_of: ClientOf, lena: User, protocol: Protocol, url: str) -> None:
    lenas = client_of(lena)
    with CaptureQueriesContext(connection) as queries:
        assert lenas.get(url, {"protocol": protocol.pk}, headers=PANEL).status_code == 200
    assert len(queries) == 8


def test_the_list_of_examples_costs_the_same_for_2_as_for_20(
    client_of: ClientOf, omar: User, protocol: Protocol
) -> None:
    omars, page = client_of(omar), reverse("guideline_examples", args=["garden-helper"])
    given = {"project": protocol.project, "protocol_name": protocol.name, "text": "x", "actor": omar}
    for number in range(2):
        example_create(title=f"{number}", **given)
    few = query_count(omars, page)
    for number in range(18):
        example_create(title=f"more {number}", **given)
    assert query_count(omars, page) == few

"""One's own profile in a project."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from labelapp.labeling.services.seats import seat_reserve, seat_take
from labelapp.models import Annotator, Batch, Pool, Project, Protocol, Seat, User
from tests import factories

SignIn = Callable[[User], Client]


@pytest.fixture
def url(project: Project) -> str:
    return reverse("profile", args=[project.slug])


def test_it_saves_languages_by_name_or_code(client_of: SignIn, lena: User, annotator: Annotator, url: str) -> None:
    page = client_of(lena).post(url, {"languages": "english, Deutsch,PT-br, , sw"}, follow=True)
    assert "Saved." in page.text
    annotator.refresh_from_db()
    assert annotator.languages == ["de", "en", "pt-BR", "sw"]
    assert "German, English, Brazilian Portuguese, Swahili" in page.text


def test_it_reads_the_commas_of_chinese_keyboards(
    client_of: SignIn, lena: User, annotator: Annotator, url: str
) -> None:
    client_of(lena).post(url, {"languages": "简体中文\uff0cenglish\u3001日本語"})
    annotator.refresh_from_db()
    assert annotator.languages == ["en", "ja", "zh-Hans"]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"languages": "Klingonish"}, "“Klingonish” is not a language that we know"),
        ({"languages": " , "}, "This field is required"),
        ({"languages": "en", "accepts_sensitive": ["everything"]}, "everything is not one of the available choices"),
    ],
)
def test_it_refuses_what_it_does_not_know(
    client_of: SignIn, lena: User, annotator: Annotator, url: str, fields: dict[str, Any], problem: str
) -> None:
    page = client_of(lena).post(url, fields)
    assert page.status_code == 422
    assert problem in page.text
    annotator.refresh_from_db()
    assert annotator.languages == ["en"]


def test_sensitive_content_is_off_until_ticked_and_off_again_when_unticked(
    client_of: SignIn, lena: User, annotator: Annotator, url: str
) -> None:
    client = client_of(lena)
    assert annotator.accepts_sensitive == []
    client.post(url, {"languages": "en", "accepts_sensitive": ["violence", "hate"]})
    annotator.refresh_from_db()
    assert annotator.accepts_sensitive == ["hate", "violence"]
    page = client.post(url, {"languages": "en"}, follow=True)
    assert "From now on you are shown nothing more of what you took away." in page.text
    annotator.refresh_from_db()
    assert annotator.accepts_sensitive == []


def test_opting_out_takes_away_what_is_held_and_what_is_reserved(
    client_of: SignIn, lena: User, annotator: Annotator, project: Project, protocol: Protocol, url: str
) -> None:
    factories.batch_with_tasks(project, protocol, tasks=2, k=2)
    Pool.objects.update(sensitivity=["violence"])
    client = client_of(lena)
    client.post(url, {"languages": "en", "accepts_sensitive": ["violence"]})
    held = seat_take(annotator_id=annotator.pk)
    assert held is not None
    assert seat_reserve(annotator_id=annotator.pk) is not None
    client.post(url, {"languages": "en"})
    assert client.get(reverse("task", args=[held.task_id])).status_code == 302
    assert "No task for you now" in client.get(reverse("label", args=[project.slug])).text
    assert not Seat.objects.filter(annotator=annotator).exists()


def test_it_offers_categories_that_the_work_brought_along(
    client_of: SignIn, lena: User, project: Project, protocol: Protocol, url: str
) -> None:
    batch = Batch.objects.create(project=project, protocol=protocol, name="Imported")
    Pool.objects.create(batch=batch, sensitivity=["gore_pictures", "sexual"])
    text = client_of(lena).get(url).text
    assert "Gore pictures" in text
    assert text.count('value="sexual"') == 1


def test_a_category_accepted_before_stays_on_offer(
    client_of: SignIn, lena: User, annotator: Annotator, url: str
) -> None:
    Annotator.objects.filter(pk=annotator.pk).update(accepts_sensitive=["old-kind"])
    assert 'value="old-kind"' in client_of(lena).get(url).text


def test_it_changes_nobody_else(client_of: SignIn, lena: User, rita: User, url: str) -> None:
    client_of(lena).post(url, {"languages": "French"})
    assert Annotator.objects.get(user=rita).languages == ["en"]

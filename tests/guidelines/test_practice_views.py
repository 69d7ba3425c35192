"""Practice in the browser, with and without a script, and writing worked examples."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from labelapp.guidelines.practice import cards_of
from labelapp.guidelines.services import practice_create
from labelapp.models import Annotation, Annotator, PracticeExample, Project, Protocol, TimeEntry, User
from tests.guidelines.test_practice import SPEC
from tests.query_counts import query_count

ClientOf = Callable[[User], Client]
HTMX = {"HX-Request": "true"}
FORM = {
    **{"protocol_name": "Helpfulness", "title": "Pears", "prompt": "How?\n---\nWhich tree?\r\n---\nA pear."},
    **{"text-A": "In winter.", "explanation-A": "Right.", "likert-A": "6"},
    **{"text-B": "Never.", "explanation-B": "", "likert-B": ""},
    **{"ranking": "a b", "explanation": "One is right."},
}


@pytest.fixture
def example(project: Project, protocol: Protocol, omar: User) -> PracticeExample:
    return practice_create(project=project, spec=SPEC, actor=omar)


@pytest.fixture
def url(example: PracticeExample) -> str:
    return reverse("practice_example", args=["garden-helper", example.pk])


def best_first(example: PracticeExample, annotator: Annotator) -> str:
    """A strict ranking of the example, in the letters that this person sees."""
    cards = cards_of(example, project=annotator.project, annotator=annotator)
    letters = {card.slot: card.letter for card in cards}
    return " ".join(letters[slot] for slot in (0, 2, 1))


def test_the_list_leads_to_the_examples(client_of: ClientOf, lena: User, project: Project, url: str) -> None:
    page = client_of(lena).get(reverse("practice", args=[project.slug])).text
    assert f'href="{url}"' in page
    assert "3 completions" in page


def test_an_empty_list_says_so(client_of: ClientOf, lena: User, project: Project) -> None:
    assert "Nothing to practise on yet" in client_of(lena).get(reverse("practice", args=[project.slug])).text


def test_an_example_gives_nothing_away_before_one_has_answered(client_of: ClientOf, lena: User, url: str) -> None:
    page = client_of(lena).get(url).text
    assert "How do I prune a pear tree?" in page
    assert page.count('name="likert-') == 21
    assert page.count('name="place-') == 9
    for secret in ("Right.", "Wrong.", "Two say the same."):
        assert secret not in page


def test_it_explains_at_once_and_keeps_nothing(
    client_of: ClientOf, lena: User, annotator: Annotator, example: PracticeExample, url: str
) -> None:
    fields = {"ranking": best_first(example, annotator), "likert-A": "6"}
    page = client_of(lena).post(url, fields, headers=HTMX).text
    assert "<html" not in page
    assert "You see 2 of 3 pairs as the team does." in page
    for words in ("Right.", "Wrong.", "Two say the same.", "2 of 7"):
        assert words in page
    assert not Annotation.objects.exists()


def test_it_works_without_a_script(
    client_of: ClientOf, lena: User, annotator: Annotator, example: PracticeExample, url: str
) -> None:
    fields = {"place-A": "1", "place-B": "1", "place-C": "1", "likert-B": "3"}
    page = client_of(lena).post(url, fields).text
    assert "<html" in page
    assert "What the team says" in page
    assert "A=B=C" in page
    assert page.count(" checked") == 4


def test_without_a_ranking_it_says_what_is_missing(client_of: ClientOf, lena: User, url: str) -> None:
    lenas = client_of(lena)
    assert lenas.post(url, {"ranking": "A"}).status_code == 422
    fragment = lenas.post(url, {"ranking": "A"}, headers=HTMX)
    assert fragment.status_code == 200
    assert "Still to be placed: B, C." in fragment.text
    assert "Two say the same." not in fragment.text


def test_only_the_time_is_kept(
    client_of: ClientOf,
    lena: User,
    annotator: Annotator,
    example: PracticeExample,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noted: list[int] = []
    monkeypatch.setattr(
        "labelapp.guidelines.practice_views.time_note", lambda **given: noted.append(given["seconds"]) or 0
    )
    lenas = client_of(lena)
    opening = lenas.get(url).context["opening"]
    ranking = best_first(example, annotator)
    for seconds in ("75", "", "x"):
        lenas.post(url, {"opening": opening, "seconds": seconds, "ranking": ranking}, headers=HTMX)
    assert noted == [75, 0, 0]
    assert "What the team says" in lenas.post(url, {"opening": "stale", "ranking": ranking}, headers=HTMX).text
    assert len(noted) == 3


def test_practice_time_is_its_own_kind(
    client_of: ClientOf, lena: User, annotator: Annotator, example: PracticeExample, url: str
) -> None:
    TimeEntry.objects.all().delete()
    opening = client_of(lena).get(url).context["opening"]
    client_of(lena).post(url, {"opening": opening, "seconds": "0", "ranking": "A"}, headers=HTMX)
    assert set(TimeEntry.objects.values_list("kind", flat=True)) <= {"practice"}


def test_the_next_example_is_a_click_away(
    client_of: ClientOf, lena: User, project: Project, omar: User, example: PracticeExample, url: str
) -> None:
    second = practice_create(project=project, spec=SPEC, actor=omar)
    lenas, second_url = client_of(lena), reverse("practice_example", args=[project.slug, second.pk])
    assert second_url in lenas.get(url).text
    assert "Next:" not in lenas.get(second_url).text


def test_an_admin_writes_an_example(client_of: ClientOf, omar: User, protocol: Protocol) -> None:
    response = client_of(omar).post(reverse("practice_example_create", args=["garden-helper"]), FORM)
    made = PracticeExample.objects.get()
    assert response.headers["Location"] == reverse("practice_example", args=["garden-helper", made.pk])
    assert [(turn["role"], turn["content"]) for turn in made.messages] == (
        [("user", "How?"), ("assistant", "Which tree?"), ("user", "A pear.")]
    )
    assert made.completions == [
        {"text": "In winter.", "explanation": "Right.", "likert": 6, "points": 7},
        {"text": "Never.", "explanation": ""},
    ]
    assert made.ranking == [[0], [1]]


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"ranking": "a"}, "Still to be placed: B."),
        ({"ranking": "a b c"}, "C is not among the completions A to B."),
        ({"text-B": ""}, "This field is required"),
        ({"text-D": "Late.", "ranking": "a b c"}, "Fill the completions in order"),
        ({"likert-A": "8"}, "This protocol rates from 1 to 7."),
        ({"prompt": "How?\n---\nSo."}, "has to end with what the user says"),
        ({"protocol_name": "Nothing"}, "Select a valid choice"),
    ],
)
def test_what_is_wrong_is_said_beside_the_field(
    client_of: ClientOf, omar: User, protocol: Protocol, changed: dict[str, str], problem: str
) -> None:
    response = client_of(omar).post(reverse("practice_example_create", args=["garden-helper"]), {**FORM, **changed})
    assert response.status_code == 422
    assert problem in response.text
    assert not PracticeExample.objects.exists()


def test_a_rating_is_refused_where_none_is_asked(client_of: ClientOf, omar: User, protocol: Protocol) -> None:
    Protocol.objects.filter(pk=protocol.pk).update(likert_points=0)
    response = client_of(omar).post(reverse("practice_example_create", args=["garden-helper"]), FORM)
    assert "This protocol asks for no rating." in response.text


def test_an_admin_edits_what_is_there_and_takes_it_away(
    client_of: ClientOf, omar: User, example: PracticeExample
) -> None:
    omars, edit = client_of(omar), reverse("practice_example_edit", args=["garden-helper", example.pk])
    page = omars.get(edit).text
    assert 'value="A=C B"' in page
    assert "In late winter.</textarea>" in page
    shown = omars.get(edit).context["form"].initial
    form = {name: "" if value is None else str(value) for name, value in shown.items()}
    assert omars.post(edit, {**form, "title": "Plums"}).status_code == 302
    example.refresh_from_db()
    assert (example.title, example.completions, example.ranking) == ("Plums", SPEC.completions, SPEC.ranking)
    assert omars.post(reverse("practice_example_withdraw", args=["garden-helper", example.pk])).status_code == 302
    assert not PracticeExample.objects.exists()


def test_the_pages_cost_the_same_for_1_example_as_for_10(
    client_of: ClientOf, lena: User, omar: User, project: Project, example: PracticeExample, url: str
) -> None:
    lenas = client_of(lena)
    pages = [reverse("practice", args=[project.slug]), url]
    few = [query_count(lenas, page) for page in pages]
    for _ in range(9):
        practice_create(project=project, spec=SPEC, actor=omar)
    assert [query_count(lenas, page) for page in pages] == few

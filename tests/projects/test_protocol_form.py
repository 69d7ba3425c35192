"""Writing a protocol and its next versions in the browser, with no script."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from django.test import Client
from django.urls import reverse

from labelapp.models import Project, Protocol, User
from labelapp.projects.defaults import DEFAULT_PROTOCOL
from labelapp.projects.services import protocol_create
from labelapp.projects.specs import ProtocolSpec, QuestionSpec, spec_of
from tests.projects.protocol_fields import posted

SignIn = Callable[[User], Client]
SPEC = ProtocolSpec(
    name="Tone",
    guidelines="Be kind.",
    questions=(
        QuestionSpec(key="rude", text="Is rude"),
        QuestionSpec(key="warm", text="Is warm", polarity="good", severity="none", allows_na=True),
        QuestionSpec(key="long", text="Is too long"),
    ),
)


@pytest.fixture
def client(client_of: SignIn, omar: User) -> Client:
    return client_of(omar)


@pytest.fixture
def url(project: Project) -> str:
    return reverse("protocol_create", args=[project.slug])


def _texts(page: str) -> list[str]:
    """The texts of the questions as the form shows them, in order."""
    inputs = re.findall(r"<input[^>]* name=\"questions-\d+-text\"[^>]*>", page)
    return [(re.findall(r'value="([^"]*)"', tag) or [""])[0] for tag in inputs]


def _resubmit(page: str) -> dict[str, str]:
    """What the browser would post from a page: its ticked boxes, chosen options and typed words."""
    fields = dict(re.findall(r'<input type="(?:text|hidden|number)" name="([^"]+)" value="([^"]*)"', page))
    for name, options in re.findall(r'<select name="([^"]+)".*?>(.*?)</select>', page, re.DOTALL):
        fields[name] = re.findall(r'<option value="([^"]*)" selected', options)[0]
    fields |= dict.fromkeys(re.findall(r'<input type="checkbox" name="([^"]+)"[^>]* checked', page), "on")
    return fields


def test_it_starts_with_the_default_questions_and_no_name(client: Client, url: str) -> None:
    page = client.get(url).text
    assert _texts(page) == [question.text.replace("'", "&#x27;") for question in DEFAULT_PROTOCOL.questions]
    assert 'name="name" maxlength="100" required' in page
    assert 'value="General quality"' not in page


def test_what_it_shows_can_be_saved_as_it_is(client: Client, url: str, project: Project) -> None:
    form = _resubmit(client.get(url).text) | {"name": "Mine", "guidelines": DEFAULT_PROTOCOL.guidelines}
    form = {name: value.replace("&#x27;", "'") for name, value in form.items()}
    page = client.post(url, form, follow=True)
    assert "Mine is there" in page.text
    assert spec_of(Protocol.objects.get()) == replace(DEFAULT_PROTOCOL, name="Mine")


def test_it_saves_what_was_written(client: Client, url: str, project: Project) -> None:
    page = client.post(url, posted(SPEC))
    made = Protocol.objects.get()
    assert page.headers["Location"] == reverse("protocol", args=[project.slug, made.pk])
    assert spec_of(made) == SPEC


def test_it_asks_for_thumbs_and_an_edit_and_leaves_marks_out(client: Client, url: str) -> None:
    spec = replace(SPEC, likert_points=2, asks_edit=True, marks_contradictions=False)
    client.post(url, posted(spec))
    made = Protocol.objects.get()
    assert (made.likert_points, made.asks_edit, made.marks_contradictions) == (2, True, False)


def test_an_edit_without_a_ranking_is_refused_in_words(client: Client, url: str) -> None:
    page = client.post(url, posted(replace(SPEC, asks_edit=True, asks_ranking=False)))
    assert page.status_code == 422
    assert "It is the ranking that says which completion is the best" in page.text


@pytest.mark.parametrize(
    ("action", "order"),
    [
        ("add", ["Is rude", "Is warm", "Is too long", ""]),
        ("remove:1", ["Is rude", "Is too long"]),
        ("up:2", ["Is rude", "Is too long", "Is warm"]),
        ("down:0", ["Is warm", "Is rude", "Is too long"]),
        ("up:0", ["Is rude", "Is warm", "Is too long"]),
        ("down:2", ["Is rude", "Is warm", "Is too long"]),
        ("remove:7", ["Is rude", "Is warm", "Is too long"]),
        ("remove:-1", ["Is rude", "Is warm", "Is too long"]),
        ("nonsense:1", ["Is rude", "Is warm", "Is too long"]),
    ],
)
def test_its_buttons_move_questions_and_save_nothing(client: Client, url: str, action: str, order: list[str]) -> None:
    page = client.post(url, posted(SPEC, action=action))
    assert page.status_code == 200
    assert _texts(page.text) == order
    assert not Protocol.objects.exists()


def test_a_button_keeps_what_was_typed_even_where_it_is_wrong(client: Client, url: str) -> None:
    form = posted(SPEC, action="add", name="Half done", questions_sample="x", guidelines="So far <b>")
    page = client.post(url, form).text
    assert 'value="Half done"' in page
    assert 'value="x"' in page
    assert "So far &lt;b&gt;</textarea>" in page
    assert 'name="questions-1-allows_na" id="id_questions-1-allows_na" aria-describedby' not in page
    assert re.search(r'name="questions-1-allows_na"[^>]* checked', page)
    assert not re.search(r'name="questions-0-allows_na"[^>]* checked', page)
    assert 'class="errors"' not in page


@pytest.mark.parametrize("verb", ["remove", "up", "down"])
@pytest.mark.parametrize("place", ["9" * 5000, "-1", "3", "x", ""])
def test_a_place_where_no_question_stands_moves_nothing(client: Client, url: str, verb: str, place: str) -> None:
    page = client.post(url, posted(SPEC, action=f"{verb}:{place}"))
    assert page.status_code == 200
    assert _texts(page.text) == ["Is rude", "Is warm", "Is too long"]


@pytest.mark.parametrize(("total", "shown"), [("9" * 5000, 0), ("-1", 0), ("many", 0), ("2", 2)])
def test_a_count_of_questions_that_cannot_be_read_is_none(client: Client, url: str, total: str, shown: int) -> None:
    page = client.post(url, posted(SPEC, action="remove:x", **{"questions-TOTAL_FORMS": total}))
    assert page.status_code == 200
    assert len(_texts(page.text)) == shown


def test_an_added_question_can_be_filled_and_saved(client: Client, url: str) -> None:
    form = _resubmit(client.post(url, posted(SPEC, action="add")).text)
    form |= {"guidelines": "", "questions-3-text": "Cites its sources"}
    assert client.post(url, form).status_code == 302
    added = spec_of(Protocol.objects.get()).questions[3]
    assert added == QuestionSpec(key="cites-its-sources", text="Cites its sources")


def test_an_added_question_left_empty_does_not_count(client: Client, url: str) -> None:
    form = _resubmit(client.post(url, posted(SPEC, action="add")).text)
    assert client.post(url, form).status_code == 302
    assert len(spec_of(Protocol.objects.get()).questions) == 3


def test_a_text_in_letters_without_a_slug_still_gets_a_key(client: Client, url: str) -> None:
    form = posted(replace(SPEC, questions=(QuestionSpec(key="", text="礼儀正しい"),)))
    client.post(url, form)
    assert spec_of(Protocol.objects.get()).questions[0].key == "question"


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"name": ""}, "This field is required"),
        ({"strength_steps": "9", "ties_allowed": ""}, "The ninth step is “about equal”"),
        ({"strength_steps": "7"}, "not one of the available choices"),
        ({"likert_points": "0", "asks_ranking": ""}, "Ask for a ranking, a rating, or both"),
        ({"questions_sample": "5"}, "The random few cannot be more"),
        ({"questions_all_up_to": "10"}, "less than or equal to 9"),
        ({"questions-0-polarity": "good"}, "Only a question whose yes is bad has a weight"),
        ({"questions-0-text": ""}, "This field is required"),
        ({"questions-0-key": "two words"}, "Use letters, digits, - and _ only"),
        ({"questions-0-key": "warm"}, "Another question has this name too"),
        ({"questions-TOTAL_FORMS": "41"}, "at most 40"),
        ({"questions-TOTAL_FORMS": "many"}, "ManagementForm data is missing"),
        ({"questions-TOTAL_FORMS": "9" * 5000}, "ManagementForm data is missing"),
    ],
)
def test_it_refuses_with_words_and_saves_nothing(
    client: Client, url: str, changed: dict[str, str], problem: str
) -> None:
    fields = {name: value for name, value in posted(SPEC, **changed).items() if value or name not in _BOXES}
    page = client.post(url, fields)
    assert page.status_code == 422
    assert problem in page.text
    assert "Nothing was saved yet" in page.text
    assert not Protocol.objects.exists()


_BOXES = {"ties_allowed", "asks_ranking"}


def test_a_taken_name_is_said_at_the_name(client: Client, url: str, project: Project) -> None:
    protocol_create(project=project, spec=SPEC, actor=None)
    page = client.post(url, posted(SPEC))
    assert page.status_code == 422
    assert "There is a protocol “Tone” here already" in page.text
    assert Protocol.objects.count() == 1


def test_no_more_questions_than_fit(client: Client, url: str) -> None:
    many = tuple(QuestionSpec(key=f"q{number}", text=f"Question {number}") for number in range(40))
    page = client.post(url, posted(replace(SPEC, questions=many), action="add")).text
    assert len(_texts(page)) == 40
    assert "Add a question" not in page


@pytest.fixture
def revise_url(project: Project) -> str:
    made = protocol_create(project=project, spec=SPEC, actor=None)
    return reverse("protocol_revise", args=[project.slug, made.pk])


def test_revising_starts_from_the_old_version(client: Client, revise_url: str) -> None:
    page = client.get(revise_url).text
    assert _texts(page) == ["Is rude", "Is warm", "Is too long"]
    assert "Be kind.</textarea>" in page
    assert 'name="name"' not in page


def test_revising_saves_a_new_version_under_the_same_name(client: Client, revise_url: str) -> None:
    page = client.post(revise_url, posted(SPEC, name="Renamed", guidelines="Be kinder.\r\n\r\nAlways."), follow=True)
    assert "This is version 2 now" in page.text
    newest = Protocol.objects.get(version=2)
    assert spec_of(newest) == replace(SPEC, guidelines="Be kinder.\n\nAlways.")
    assert spec_of(Protocol.objects.get(version=1)) == SPEC


def test_revising_without_a_change_is_refused(client: Client, revise_url: str) -> None:
    page = client.post(revise_url, posted(SPEC))
    assert page.status_code == 422
    assert "Nothing differs from version 1" in page.text
    assert Protocol.objects.count() == 1


def test_the_default_protocol_unchanged_is_no_new_version(client: Client, project: Project) -> None:
    made = protocol_create(project=project, spec=DEFAULT_PROTOCOL, actor=None)
    form = posted(DEFAULT_PROTOCOL, guidelines=DEFAULT_PROTOCOL.guidelines.replace("\n", "\r\n"))
    page = client.post(reverse("protocol_revise", args=[project.slug, made.pk]), form)
    assert "Nothing differs from version 1" in page.text


def test_buttons_work_on_revisions_too(client: Client, revise_url: str) -> None:
    page = client.post(revise_url, posted(SPEC, action="remove:0")).text
    assert _texts(page) == ["Is warm", "Is too long"]
    assert Protocol.objects.count() == 1

"""The word differences beside a task: for those who work on it, under their letters, and harmless."""

import re
from collections.abc import Callable
from html import unescape

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from labelapp.labeling.selectors import task_shown
from labelapp.labeling.services.seats import seat_take
from labelapp.models import Annotator, ComparisonTask, Draft, Project, Protocol, Seat, TaskCompletion, User
from tests import factories

SignIn = Callable[[User], Client]


@pytest.fixture
def task(project: Project, protocol: Protocol) -> ComparisonTask:
    factories.batch_with_tasks(project, protocol, tasks=1, k=3)
    return ComparisonTask.objects.get()


def _diff(client: Client, task: ComparisonTask, **letters: str) -> str:
    response = client.get(reverse("task_diff", kwargs={"pk": task.pk}), letters or {"a": "A", "b": "B"})
    assert response.status_code == 200
    return response.text


def _text(fragment: str, other: str) -> str:
    """What a fragment shows of one completion: without what only the other has."""
    body = fragment.split('class="word-diff"')[1].split(">", 1)[1].removesuffix("</div>\n")
    body = re.sub(r'<span class="visually-hidden">.*?</span>', "", body)
    return unescape(re.sub(r"<[^>]+>", "", re.sub(rf"<{other}>.*?</{other}>", "", body, flags=re.DOTALL)))


@pytest.mark.parametrize(("a", "b"), ["AB", "BA", "AC", "CB"])
def test_it_compares_by_the_letters_that_this_person_sees(
    client_of: SignIn, lena: User, annotator: Annotator, task: ComparisonTask, a: str, b: str
) -> None:
    assert seat_take(annotator_id=annotator.pk)
    fragment = _diff(client_of(lena), task, a=a, b=b)
    texts = dict(zip("ABC", task_shown(task_id=task.pk, annotator=annotator).texts, strict=True))
    assert _text(fragment, "ins") == texts[a]
    assert _text(fragment, "del") == texts[b]
    assert f"1 word stands only in {a}." in fragment
    assert "<html" not in fragment


def test_who_holds_drafted_or_answered_sees_it_and_nobody_else(
    client_of: SignIn, lena: User, rita: User, annotator: Annotator, task: ComparisonTask
) -> None:
    url, letters = reverse("task_diff", kwargs={"pk": task.pk}), {"a": "A", "b": "B"}
    browser = client_of(lena)
    assert browser.get(url, letters).status_code == 404
    assert seat_take(annotator_id=annotator.pk)
    assert browser.get(url, letters).status_code == 200
    assert client_of(rita).get(url, letters).status_code == 404
    Seat.objects.update(state=Seat.State.OPEN, annotator=None, held_at=None, lease_until=None)
    assert browser.get(url, letters).status_code == 404
    now = timezone.now()
    draft = Draft.objects.create(task=task, annotator=annotator, content={}, revision=1, opened_at=now, saved_at=now)
    assert browser.get(url, letters).status_code == 200
    draft.delete()
    factories.annotation_make(task, annotator)
    assert browser.get(url, letters).status_code == 200


@pytest.mark.parametrize("letters", [{"a": "A", "b": "A"}, {"a": "A", "b": "D"}, {"a": "A"}, {"a": "", "b": "AB"}])
def test_it_says_which_letters_it_needs(
    client_of: SignIn, lena: User, annotator: Annotator, task: ComparisonTask, letters: dict[str, str]
) -> None:
    assert seat_take(annotator_id=annotator.pk)
    response = client_of(lena).get(reverse("task_diff", kwargs={"pk": task.pk}), letters)
    assert response.status_code == 400
    assert "two different completions" in response.text


def test_hostile_texts_are_inert_and_hidden_characters_in_sight(
    client_of: SignIn, lena: User, annotator: Annotator, task: ComparisonTask
) -> None:
    first = factories.completion_make(task.prompt, "<script>alert(1)</script> pay\u202epal")
    second = factories.completion_make(task.prompt, "<img src=x onerror=alert(1)> pay\u200bpal")
    for slot, completion in enumerate([first, second]):
        TaskCompletion.objects.filter(task=task, slot=slot).delete()
        TaskCompletion.objects.create(task=task, completion=completion, slot=slot)
    TaskCompletion.objects.filter(task=task, slot=2).delete()
    assert seat_take(annotator_id=annotator.pk)
    fragment = _diff(client_of(lena), task)
    tags = set(re.findall(r"<(/?\w+)", fragment))
    assert tags == {word for tag in ("p", "del", "ins", "div", "span") for word in (tag, f"/{tag}")}
    assert "⟦U+202E⟧" in fragment
    assert "⟦U+200B⟧" in fragment
    assert "\u202e" not in fragment
    shown = _text(fragment, "ins") + _text(fragment, "del")
    assert "<script>alert(1)</script>" in shown
    assert "<img src=x onerror=alert(1)>" in shown


def test_no_model_is_named(client_of: SignIn, lena: User, annotator: Annotator, task: ComparisonTask) -> None:
    assert seat_take(annotator_id=annotator.pk)
    assert "tiny-1" not in _diff(client_of(lena), task)

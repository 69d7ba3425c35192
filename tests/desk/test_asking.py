"""Asking from a task: the script's way and the form's."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from labelapp.labeling.seating import seating_new, seating_sign
from labelapp.labeling.services.seats import task_skip
from labelapp.models import Annotator, Batch, ComparisonTask, Draft, Inquiry, Seat, TaskSkip, User
from tests import factories

SignIn = Callable[[User], Client]
FETCH = {"X-Requested-With": "fetch"}
TEXT = {"text": "Is a short answer better?"}


@pytest.fixture
def url(held: ComparisonTask) -> str:
    return reverse("task_ask", args=[held.pk])


def test_the_script_is_answered_in_json_and_the_seat_is_kept(
    client_of: SignIn, lena: User, annotator: Annotator, held: ComparisonTask, url: str
) -> None:
    answer = client_of(lena).post(url, TEXT, headers=FETCH)
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    asked = Inquiry.objects.get()
    assert (asked.annotator, asked.task, asked.text) == (annotator, held, TEXT["text"])
    assert Seat.objects.get(annotator=annotator).state == Seat.State.HELD


def test_the_script_is_told_what_is_wrong(client_of: SignIn, lena: User, url: str) -> None:
    empty = client_of(lena).post(url, {"text": " "}, headers=FETCH)
    assert empty.status_code == 400
    assert "There is no question yet" in empty.json()["problem"]
    assert Client().post(url, TEXT, headers=FETCH).status_code == 401
    assert not Inquiry.objects.exists()


def test_the_form_leads_back_to_the_task(client_of: SignIn, lena: User, held: ComparisonTask, url: str) -> None:
    page = client_of(lena).post(url, TEXT, follow=True)
    assert page.redirect_chain[-1][0] == reverse("task", args=[held.pk])
    assert "Your question is on its way" in page.text
    refused = client_of(lena).post(url, {"text": ""}, follow=True)
    assert "There is no question yet" in refused.text


def test_the_form_leads_back_to_the_page_for_writing_where_an_answer_is_written(
    client_of: SignIn, lena: User, held: ComparisonTask, url: str
) -> None:
    Batch.objects.update(work=Batch.Work.DEMONSTRATION)
    answer = client_of(lena).post(url, TEXT)
    assert answer.headers["Location"] == reverse("write_task", args=[held.pk])


def test_whoever_signed_out_meanwhile_comes_back_to_the_task(held: ComparisonTask, url: str) -> None:
    answer = Client().post(url, TEXT)
    assert answer.status_code == 302
    assert answer.headers["Location"].endswith(f"?next={reverse('task', args=[held.pk])}")


def test_nobody_asks_about_a_task_they_were_not_shown(client_of: SignIn, rita: User, stan: User, url: str) -> None:
    assert client_of(rita).post(url, TEXT, headers=FETCH).status_code == 404
    assert client_of(stan).post(url, TEXT, headers=FETCH).status_code == 404
    assert not Inquiry.objects.exists()


def test_a_task_that_was_submitted_can_be_asked_about(
    client_of: SignIn, rita: User, held: ComparisonTask, url: str
) -> None:
    factories.annotation_make(held, Annotator.objects.get(user=rita))
    page = client_of(rita).post(url, TEXT, follow=True)
    assert page.redirect_chain[-1][0] == reverse("my_work", args=[held.batch.project.slug])
    assert TEXT["text"] in page.text


def test_a_draft_is_enough(client_of: SignIn, rita: User, held: ComparisonTask, url: str) -> None:
    seat = Seat.objects.get(task=held)
    now = seat.held_at
    Draft.objects.create(annotator=Annotator.objects.get(user=rita), task=held, opened_at=now, saved_at=now)
    assert client_of(rita).post(url, TEXT, headers=FETCH).json() == {"ok": True}


def test_a_page_whose_seat_was_given_away_can_still_ask_by_its_slip(
    client_of: SignIn, lena: User, annotator: Annotator, held: ComparisonTask, url: str
) -> None:
    seat = Seat.objects.get(annotator=annotator)
    slip = seating_sign(seating_new(task_id=held.pk, annotator_id=annotator.pk, seat=seat, draft=None))
    task_skip(annotator_id=annotator.pk, task=held, reason=TaskSkip.Reason.OTHER)
    client = client_of(lena)
    assert client.post(url, TEXT, headers=FETCH).status_code == 404
    assert client.post(url, {**TEXT, "seating": slip + "x"}, headers=FETCH).status_code == 404
    assert client.post(url, {**TEXT, "seating": slip}, headers=FETCH).json() == {"ok": True}

"""The pages of the writing room as people meet them."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from labelapp.labeling.services.seats import seats_expire
from labelapp.models import (
    Annotator,
    Batch,
    Demonstration,
    Draft,
    Project,
    Prompt,
    Protocol,
    Seat,
    TaskSkip,
    User,
)
from tests.datasets.freezing import annotation_age
from tests.factories import batch_to_write, batch_with_tasks, demonstration_make, external_make, prompt_make
from tests.query_counts import query_count

ClientOf = Callable[[User], Client]
WRITE = "/projects/garden-helper/write/"
PASTE = "Prune in winter. " * 20


@pytest.fixture
def labeler(client_of: ClientOf, lena: User) -> Client:
    return client_of(lena)


@pytest.fixture
def here(labeler: Client, batch: Batch) -> str:
    """The address of the task that lena was given."""
    response = labeler.get(WRITE)
    assert response.status_code == 302
    return response["Location"]


def slip(labeler: Client, address: str) -> str:
    """What the form of a page carries."""
    html = labeler.get(address).content.decode()
    return html.split('name="seating" value="')[1].split('"')[0]


def submit(labeler: Client, here: str, **fields: str) -> HttpResponse:
    """Send the page's form."""
    sent = {"seating": fields.pop("seating", "") or slip(labeler, here), "active_seconds": "5", "paid_seconds": "7"}
    response: HttpResponse = labeler.post(here + "submit/", {**sent, "answer": "In late winter.", **fields})
    return response


def test_the_next_prompt_is_given_and_kept(labeler: Client, here: str) -> None:
    seat = Seat.objects.get(state="held")
    assert here == f"/write/{seat.task_id}/"
    assert labeler.get(WRITE)["Location"] == here
    html = labeler.get(here).content.decode()
    assert seat.task.prompt.messages[0]["content"] in html
    assert 'class="completion"' not in html


def test_an_answer_is_sent_and_the_next_prompt_follows(labeler: Client, here: str, annotator: Annotator) -> None:
    response = submit(labeler, here)
    assert response["Location"] == WRITE
    made = Demonstration.objects.get()
    assert (made.text, made.annotator_id, made.surplus) == ("In late winter.", annotator.pk, False)
    assert (made.active_seconds is not None, made.pasted_share) == (True, None)
    assert labeler.get(WRITE)["Location"] not in ("", here)


def test_the_same_form_sent_twice_is_one_answer(labeler: Client, here: str) -> None:
    seating = slip(labeler, here)
    assert [submit(labeler, here, seating=seating).status_code for _ in range(2)] == [302, 302]
    assert Demonstration.objects.count() == 1


def test_an_empty_answer_comes_back(labeler: Client, here: str) -> None:
    response = submit(labeler, here, answer=" ")
    html = response.content.decode()
    assert response.status_code == 422
    assert "Write an answer first." in html
    assert 'aria-invalid="true"' in html


def test_much_paste_is_asked_about_once(labeler: Client, here: str) -> None:
    seating = slip(labeler, here)
    fields = {"seating": seating, "answer": PASTE, "pasted": "0-330"}
    asked = submit(labeler, here, **fields)
    html = asked.content.decode()
    assert (asked.status_code, Demonstration.objects.count()) == (422, 0)
    assert "Part of this was pasted. Where is it from?" in html
    assert 'name="pasted_asked" value="1"' in html
    assert PASTE.strip() in html
    assert submit(labeler, here, **fields, pasted_asked="1", pasted_source="").status_code == 302
    made = Demonstration.objects.get()
    assert made.pasted_share == pytest.approx(330 / 340, abs=0.001)
    assert made.pasted_source == ""


def test_a_source_is_kept(labeler: Client, here: str) -> None:
    submit(labeler, here, answer=PASTE, pasted="0-330", pasted_asked="1", pasted_source="My garden notes")
    assert Demonstration.objects.get().pasted_source == "My garden notes"


def test_the_question_about_paste_stays_while_something_else_is_mended(labeler: Client, here: str) -> None:
    html = submit(labeler, here, answer="", pasted="", pasted_asked="1", pasted_source="Notes").content.decode()
    assert 'name="pasted_asked" value="1"' in html
    assert 'value="Notes"' in html


def test_drafts_are_those_of_the_labeling_page(labeler: Client, here: str) -> None:
    fields = {"seating": slip(labeler, here), "revision": "1", "answer": "In late", "pasted": "0-2"}
    saved = labeler.post(here.replace("/write/", "/label/") + "draft/", fields)
    assert saved.json()["seat"] == "held"
    html = labeler.get(here).content.decode()
    assert "In late</textarea>" in html
    assert 'name="pasted" value="0-2"' in html
    submit(labeler, here)
    assert not Draft.objects.exists()


def test_what_came_too_late_is_surplus(labeler: Client, here: str, project: Project) -> None:
    seating = slip(labeler, here)
    Seat.objects.filter(state="held").update(lease_until=timezone.now() - timedelta(minutes=1))
    seats_expire()
    task = int(here.split("/")[2])
    other = external_make(project)
    Seat.objects.filter(task=task).update(state="filled", annotator=other)
    submit(labeler, here, seating=seating)
    assert Demonstration.objects.get(annotator__user__isnull=False).surplus
    assert "given to somebody else" in labeler.get(WRITE, follow=True).content.decode()


def test_a_draft_outlives_the_seat(labeler: Client, here: str) -> None:
    labeler.post(here.replace("/write/", "/label/") + "draft/", {"seating": slip(labeler, here), "revision": "1"})
    Seat.objects.filter(state="held").update(lease_until=timezone.now() - timedelta(minutes=1))
    seats_expire()
    assert "given to somebody else" in labeler.get(here).content.decode()


def test_a_skipped_prompt_goes_back(labeler: Client, here: str) -> None:
    fields = {"seating": slip(labeler, here), "reason": "distressing", "note": "No."}
    assert labeler.post(here + "skip/", fields)["Location"] == WRITE
    skip = TaskSkip.objects.get()
    assert (skip.reason, skip.note) == ("distressing", "No.")
    assert labeler.get(here).status_code == 404
    assert labeler.get(WRITE)["Location"] != here


def test_who_was_signed_out_is_told_so_and_comes_back(client_of: ClientOf, labeler: Client, here: str) -> None:
    stranger = Client()
    answer = stranger.post(here + "submit/", {"answer": "x"}, headers={"X-Requested-With": "fetch"})
    assert answer.status_code == 401
    assert labeler.get(here + "submit/")["Location"] == here


def test_a_reported_prompt_leads_to_the_next_one_to_write(labeler: Client, here: str) -> None:
    fields = {"seating": slip(labeler, here), "kind": "personal_data"}
    assert labeler.post(here.replace("/write/", "/label/") + "report/", fields)["Location"] == WRITE
    assert labeler.get(WRITE)["Location"] != here


def test_the_address_of_the_labeling_page_leads_here(labeler: Client, here: str) -> None:
    assert labeler.get(here.replace("/write/", "/label/"))["Location"] == here


def test_an_answer_can_be_corrected_and_then_not(labeler: Client, here: str) -> None:
    submit(labeler, here)
    first = Demonstration.objects.get()
    assert labeler.get(here)["Location"] == here + "correct/"
    html = labeler.get(here + "correct/").content.decode()
    assert "In late winter.</textarea>" in html
    assert "data-draft-url" not in html
    seating = slip(labeler, here + "correct/")
    fixed = labeler.post(here + "correct/", {"seating": seating, "answer": "In late winter, above a bud."})
    assert fixed["Location"] == WRITE
    second = Demonstration.objects.get(supersedes=first)
    assert second.text == "In late winter, above a bud."
    assert "above a bud.</textarea>" in labeler.get(here + "correct/").content.decode()
    annotation_age(first, 25)
    html = labeler.get(here + "correct/").content.decode()
    assert "can no longer be changed" in html
    assert 'id="submit"' not in html
    late = {"seating": slip(labeler, here + "correct/"), "answer": "New."}
    assert labeler.post(here + "correct/", late).status_code == 409


def test_an_empty_correction_comes_back(labeler: Client, here: str) -> None:
    submit(labeler, here)
    sent = {"seating": slip(labeler, here + "correct/"), "answer": ""}
    assert labeler.post(here + "correct/", sent).status_code == 422
    assert Demonstration.objects.count() == 1


def test_only_the_author_sees_a_correction(client_of: ClientOf, rita: User, labeler: Client, here: str) -> None:
    submit(labeler, here)
    assert client_of(rita).get(here + "correct/").status_code == 404


def test_a_task_of_completions_is_not_written_to(labeler: Client, project: Project, protocol: Protocol) -> None:
    task = batch_with_tasks(project, protocol, tasks=1).tasks.get()
    labeler.get("/projects/garden-helper/label/")
    for page in ("", "correct/"):
        assert labeler.get(f"/write/{task.pk}/{page}").status_code == 404


def test_sensitive_prompts_are_veiled_and_named(
    labeler: Client, project: Project, protocol: Protocol, annotator: Annotator
) -> None:
    Annotator.objects.filter(pk=annotator.pk).update(accepts_sensitive=["medical"])
    batch_to_write(project, protocol, tasks=1, prompt={"sensitivity": ["medical"]})
    html = labeler.get(WRITE, follow=True).content.decode()
    assert '<details class="veil">' in html
    assert "Illness, injury and medical detail" in html


def test_the_length_of_accepted_answers_is_the_guide(
    labeler: Client, here: str, project: Project, protocol: Protocol
) -> None:
    assert "Most answers here" not in labeler.get(here).content.decode()
    other = batch_to_write(project, protocol, tasks=10, name="Before")
    writer = external_make(project)
    for number, task in enumerate(other.tasks.order_by("pk")):
        made = demonstration_make(task, writer, "word " * (20 + 10 * number))
        annotation_age(made, 25 if number < 9 else 23)
    assert "Most answers here" not in labeler.get(here).content.decode()
    annotation_age(Demonstration.objects.latest("pk"), 25)
    assert "Most answers here have 30 to 100 words." in labeler.get(here).content.decode()


def test_the_preview_is_made_safe(labeler: Client, client_of: ClientOf, stan: User) -> None:
    text = "**bold** <script>alert(1)</script> [x](javascript:alert(1))"
    html = labeler.post(WRITE + "preview/", {"answer": text}).content.decode()
    assert "<strong>bold</strong>" in html
    assert "<script" not in html
    assert 'href="javascript' not in html
    assert client_of(stan).post(WRITE + "preview/", {"answer": text}).status_code == 404


def test_nothing_to_write_shows_what_one_wrote(labeler: Client, here: str, annotator: Annotator) -> None:
    submit(labeler, here)
    submit(labeler, labeler.get(WRITE)["Location"], answer="Above a bud.")
    html = labeler.get(WRITE).content.decode()
    assert "No prompt waits for your answer now" in html
    assert html.count("/correct/") == 2
    assert "Can be corrected until" in html


def test_the_list_of_answers_costs_the_same_for_many(
    labeler: Client, project: Project, protocol: Protocol, annotator: Annotator
) -> None:
    tasks = batch_to_write(project, protocol, tasks=12).tasks.order_by("pk")
    Seat.objects.all().delete()
    demonstration_make(tasks[0], annotator, "One.")
    few = query_count(labeler, WRITE)
    for task in tasks[1:]:
        demonstration_make(task, annotator, "Many.")
    assert query_count(labeler, WRITE) == few


def test_a_task_page_costs_few_queries(labeler: Client, here: str) -> None:
    assert query_count(labeler, here) <= 14


def test_prompts_of_other_batches_are_not_given(labeler: Client, project: Project) -> None:
    prompt_make(project, "Of no batch.")
    assert "No prompt waits" in labeler.get(WRITE).content.decode()
    assert Prompt.objects.count() == 1

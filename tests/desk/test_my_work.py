"""My work: what was done and how it stands, answers, outcomes, and paid time by day."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from labelapp.desk.services import inquiry_answer, inquiry_make
from labelapp.labeling import selectors
from labelapp.labeling.seating import seating_new, seating_sign
from labelapp.labeling.services.seats import seat_take
from labelapp.models import (
    Annotator,
    Batch,
    ComparisonTask,
    Demonstration,
    Inquiry,
    Project,
    Prompt,
    Protocol,
    Report,
    Seat,
    TaskSkip,
    TimeDispute,
    TimeEntry,
    User,
)
from labelapp.templatetags.desk import duration
from tests import factories
from tests.query_counts import query_count

SignIn = Callable[[User], Client]


@pytest.fixture
def url(project: Project) -> str:
    return reverse("my_work", args=[project.slug])


def _task(project: Project, protocol: Protocol, **plan: object) -> ComparisonTask:
    return factories.batch_with_tasks(project, protocol, tasks=1, k=2, **plan).tasks.get()


def _judgement(annotator: Annotator, seat: Seat) -> dict[str, str]:
    slip = seating_sign(seating_new(task_id=seat.task_id, annotator_id=annotator.pk, seat=seat, draft=None))
    return {"seating": slip, "preference": "1", "likert-A": "7", "likert-B": "2"}


def _demonstration(annotator: Annotator, text: str = "Prune it in winter.", **fields: object) -> Demonstration:
    prompt = fields.pop("prompt", None) or factories.prompt_make(annotator.project, text=f"{text}?")
    return Demonstration.objects.create(
        prompt=prompt, annotator=annotator, text=text, text_hash=uuid4().hex * 2, idempotency_key=uuid4(), **fields
    )


def test_it_says_what_comes_here_while_there_is_nothing(client_of: SignIn, lena: User, url: str) -> None:
    text = client_of(lena).get(url).text
    for words in ("Nothing yet", "You can ask from any task", "You have reported nothing", "No paid time"):
        assert words in text


def test_a_label_shows_prompt_times_and_until_when_it_can_be_corrected(
    client_of: SignIn, lena: User, annotator: Annotator, project: Project, protocol: Protocol, url: str
) -> None:
    factories.annotation_make(_task(project, protocol), annotator, paid_seconds=754, active_seconds=95)
    text = client_of(lena).get(url).text
    assert "Batch 1: question 0?" in text
    assert "Paid 13 min, active 2 min." in text
    assert "Can be corrected until" in text


def test_a_label_can_be_corrected_until_it_is_settled_or_frozen(
    client_of: SignIn,
    lena: User,
    annotator: Annotator,
    project: Project,
    protocol: Protocol,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
    tmp_path: Path,
) -> None:
    settings.ARTIFACT_ROOT = tmp_path
    batch = factories.batch_with_tasks(project, protocol, tasks=1, k=2)
    seat = seat_take(annotator_id=annotator.pk)
    assert seat is not None
    client = client_of(lena)
    client.post(reverse("task_submit", args=[seat.task_id]), _judgement(annotator, seat))
    correct = reverse("task_correct", args=[batch.tasks.get().pk])
    assert correct in client.get(url).text
    monkeypatch.setattr(selectors, "CORRECTION_TIME", timedelta(0))
    settled = client.get(url).text
    assert correct not in settled
    assert "Settled" in settled
    monkeypatch.undo()
    assert correct in client.get(url).text
    factories.snapshot_make(project)
    assert correct not in client.get(url).text


def test_a_written_answer_leads_to_its_own_correction(
    client_of: SignIn, lena: User, annotator: Annotator, held: ComparisonTask, url: str
) -> None:
    Batch.objects.update(work=Batch.Work.DEMONSTRATION)
    _demonstration(annotator)
    client = client_of(lena)
    assert "Settled" in client.get(url).text  # it came with no task: there is no page to correct it on
    _demonstration(annotator, prompt=held.prompt, task=held, surplus=True)
    assert reverse("write_correct", args=[held.pk]) in client.get(url).text


def test_what_came_late_was_replaced_or_is_settled_is_said(
    client_of: SignIn, lena: User, annotator: Annotator, project: Project, protocol: Protocol, url: str
) -> None:
    first = factories.annotation_make(_task(project, protocol), annotator)
    text = client_of(lena).get(url).text
    assert "Came late, after its place was taken; counted for pay" in text
    factories.annotation_make(first.task, annotator, supersedes=first)
    text = client_of(lena).get(url).text
    assert "Replaced by your correction" in text
    assert "a correction" in text


def test_labels_and_written_answers_stand_in_one_list_newest_first(
    client_of: SignIn, lena: User, annotator: Annotator, project: Project, protocol: Protocol, url: str
) -> None:
    factories.annotation_make(_task(project, protocol), annotator)
    _demonstration(annotator)
    factories.annotation_make(_task(project, protocol), annotator)
    text = client_of(lena).get(url).text
    places = [text.index(words) for words in ("Batch 2: question", "Prune it in winter.?", "Batch 1: question")]
    assert places == sorted(places)


def test_it_lists_25_on_a_page(
    client_of: SignIn, lena: User, annotator: Annotator, project: Project, protocol: Protocol, url: str
) -> None:
    batch = factories.batch_with_tasks(project, protocol, tasks=27, k=2)
    for task in batch.tasks.all():
        factories.annotation_make(task, annotator)
    client = client_of(lena)
    assert client.get(url).text.count("Can be corrected until") == 25
    assert client.get(url, {"page": "2"}).text.count("Can be corrected until") == 2


def test_nobody_elses_work_is_there(
    client_of: SignIn, rita: User, annotator: Annotator, held: ComparisonTask, url: str
) -> None:
    factories.annotation_make(held, annotator)
    inquiry_make(annotator=annotator, task=held, text="Is a short answer better?")
    TimeEntry.objects.create(annotator=annotator, kind=TimeEntry.Kind.BREAK, seconds=300)
    text = client_of(rita).get(url).text
    assert "Pears" not in text
    assert "short answer" not in text
    assert "5 min" not in text


def test_veiled_prompts_are_named_not_quoted(
    client_of: SignIn, lena: User, annotator: Annotator, held: ComparisonTask, url: str
) -> None:
    factories.annotation_make(held, annotator)
    prompts = Prompt.objects.filter(pk=held.prompt_id)
    prompts.update(sensitivity=["self-harm"])
    text = client_of(lena).get(url).text
    assert "Sensitive content: Self-harm and suicide" in text
    assert "question 0?" not in text
    prompts.update(quarantined_at=timezone.now())
    text = client_of(lena).get(url).text
    assert "A prompt that is kept away" in text


def test_an_answer_is_new_once(
    client_of: SignIn, lena: User, rita: User, annotator: Annotator, held: ComparisonTask, url: str
) -> None:
    inquiry = inquiry_make(annotator=annotator, task=held, text="Is a short answer better?")
    client, new = client_of(lena), '<span class="badge" data-tone="info">New</span>'
    assert "waits for an answer" in client.get(url).text
    inquiry_answer(inquiry=inquiry, actor=rita, answer="Yes, **mostly**.")
    first = client.get(url).text
    assert new in first
    assert "<strong>mostly</strong>" in first
    assert Inquiry.objects.get().seen_at is not None
    assert new not in client.get(url).text


def test_home_tells_of_an_answer_until_it_was_seen(
    client_of: SignIn, lena: User, rita: User, annotator: Annotator, held: ComparisonTask, url: str
) -> None:
    inquiry = inquiry_make(annotator=annotator, task=held, text="Is a short answer better?")
    client, home = client_of(lena), reverse("home")
    assert "answer to your question" not in client.get(home).text
    inquiry_answer(inquiry=inquiry, actor=rita, answer="Yes.")
    assert "1 answer to your question" in client.get(home).text
    client.get(url)
    assert "answer to your question" not in client.get(home).text


def test_reports_and_skips_tell_what_became_of_them(
    client_of: SignIn, lena: User, annotator: Annotator, held: ComparisonTask, url: str
) -> None:
    report = Report.objects.create(project=held.batch.project, task=held, annotator=annotator, kind="broken", note="A?")
    TaskSkip.objects.create(task=held, annotator=annotator, reason="distressing")
    client = client_of(lena)
    text = client.get(url).text
    assert "Something on the page is broken" in text
    assert "Waits for a reviewer" in text
    assert "The content is distressing" in text
    Report.objects.filter(pk=report.pk).update(state="removed", closed_at=timezone.now(), answer="Thank you.")
    text = client.get(url).text
    assert "the task stays away" in text
    assert "Thank you." in text


def test_paid_time_of_a_day_is_all_of_it(
    client_of: SignIn, lena: User, annotator: Annotator, held: ComparisonTask, url: str
) -> None:
    factories.annotation_make(held, annotator, paid_seconds=600)
    _demonstration(annotator, paid_seconds=1200)
    for kind, seconds in (("guidelines", 300), ("break", 900), ("break", 60)):
        TimeEntry.objects.create(annotator=annotator, kind=kind, seconds=seconds)
    yesterday = timezone.now() - timedelta(days=1)
    TimeEntry.objects.create(annotator=annotator, kind="practice", seconds=5400, created_at=yesterday)
    old = timezone.now() - timedelta(days=14)
    TimeEntry.objects.create(annotator=annotator, kind="prompts", seconds=60, created_at=old)
    client = client_of(lena)
    text = client.get(url).text
    assert "<strong>51 min</strong>" in text
    assert "Comparing 10 min, Writing answers 20 min, Breaks 16 min, Reading the guidelines 5 min" in text
    assert "<strong>1 h 30 min</strong>" in text
    assert "Writing prompts" not in text
    assert "Paid time today: 51 min." in client.get(reverse("home")).text


def test_missing_time_is_said_per_day(
    client_of: SignIn, lena: User, annotator: Annotator, project: Project, url: str
) -> None:
    day = timezone.localdate() - timedelta(days=1)
    client, send = client_of(lena), reverse("dispute_create", args=[project.slug])
    assert f'value="{day.isoformat()}"' in client.get(url, {"day": day.isoformat()}).text
    fields = {"day": day.isoformat(), "minutes": "12", "text": "The page was reloaded."}
    assert client.post(send, fields | {"minutes": "0"}).status_code == 422
    assert "Noted." in client.post(send, fields, follow=True).text
    dispute = TimeDispute.objects.get()
    assert (dispute.annotator, dispute.day, dispute.claimed_seconds) == (annotator, day, 720)
    again = client.post(send, fields | {"text": "And once more."})
    assert again.status_code == 422
    assert "You have already asked about this day" in again.text
    assert "Waits for an admin" in client.get(url).text


@pytest.mark.parametrize("day", ["yesterday", "2026-99-99", "'"])
def test_a_day_in_the_address_that_is_none_does_no_harm(client_of: SignIn, lena: User, url: str, day: str) -> None:
    assert client_of(lena).get(url, {"day": day}).status_code == 200


def _fill(project: Project, protocol: Protocol, annotator: Annotator, count: int) -> None:
    batch = factories.batch_with_tasks(project, protocol, tasks=count, k=2)
    for number, task in enumerate(batch.tasks.all()):
        factories.annotation_make(task, annotator)
        _demonstration(annotator, f"{batch.name} {number}")
        Inquiry.objects.create(annotator=annotator, task=task, text="Why?")
        Report.objects.create(project=project, task=task, annotator=annotator, kind="other")
        TaskSkip.objects.create(task=task, annotator=annotator, reason="other")
        TimeDispute.objects.create(annotator=annotator, day=timezone.localdate(), claimed_seconds=60, text="Lost.")


def test_it_costs_the_same_for_2_of_each_as_for_12(
    client_of: SignIn, lena: User, annotator: Annotator, project: Project, protocol: Protocol, url: str
) -> None:
    _fill(project, protocol, annotator, 2)
    client = client_of(lena)
    few = query_count(client, url)
    _fill(project, protocol, annotator, 10)
    assert query_count(client, url) == few <= 20


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "–"), (0, "0 s"), (59, "59 s"), (60, "1 min"), (3570, "1 h 00 min"), (3900, "1 h 05 min")],
)
def test_durations_are_said_as_people_say_them(seconds: int | None, words: str) -> None:
    assert duration(seconds) == words

"""The desk: who sees what waits, in which order, and what they decide."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from labelapp.desk.services import dispute_make, inquiry_make
from labelapp.labeling.services.seats import task_skip
from labelapp.models import (
    Annotator,
    AuditEntry,
    ComparisonTask,
    GuidelineExample,
    Inquiry,
    ModelVersion,
    Project,
    Prompt,
    Report,
    TaskSkip,
    TimeDispute,
    TimeEntry,
    User,
)
from tests import factories
from tests.query_counts import query_count

SignIn = Callable[[User], Client]


@pytest.fixture
def desk(project: Project) -> str:
    return reverse("desk", args=[project.slug])


@pytest.fixture
def inquiry(held: ComparisonTask, annotator: Annotator) -> Inquiry:
    return inquiry_make(annotator=annotator, task=held, text="Is a <b>short</b> answer better?")


def _url(name: str, row: Inquiry | TimeDispute | Report, project: Project) -> str:
    return reverse(name, args=[project.slug, row.pk])


def _report(task: ComparisonTask, annotator: Annotator | None, kind: Report.Kind) -> Report:
    return Report.objects.create(project=task.batch.project, task=task, annotator=annotator, kind=kind)


def test_an_empty_desk_says_so(client_of: SignIn, omar: User, desk: str) -> None:
    text = client_of(omar).get(desk).text
    for words in ("No report is open", "No question waits", "Nobody says that paid time is missing"):
        assert words in text


def test_personal_data_comes_first_and_then_who_waited_longest(
    client_of: SignIn, rita: User, held: ComparisonTask, annotator: Annotator, desk: str
) -> None:
    _report(held, annotator, Report.Kind.OTHER)
    _report(held, annotator, Report.Kind.BROKEN)
    _report(held, annotator, Report.Kind.PERSONAL_DATA)
    text = client_of(rita).get(desk).text
    order = [text.index(words) for words in ("It contains personal data", "Something else", "Something on the page")]
    assert order == sorted(order)
    assert "Lena" in text


def test_a_report_that_the_system_made_has_no_person(
    client_of: SignIn, rita: User, held: ComparisonTask, desk: str
) -> None:
    _report(held, None, Report.Kind.SKIPS)
    assert "Nobody: the system noted it" in client_of(rita).get(desk).text


def test_reviewers_do_not_see_disputes_about_pay(
    client_of: SignIn, rita: User, omar: User, annotator: Annotator, desk: str
) -> None:
    dispute_make(annotator=annotator, day=timezone.localdate(), claimed_seconds=600, text="The page was reloaded.")
    assert "The page was reloaded." in client_of(omar).get(desk).text
    assert "The page was reloaded." not in client_of(rita).get(desk).text


def test_the_tabs_count_what_waits_for_the_role(
    client_of: SignIn, lena: User, rita: User, omar: User, inquiry: Inquiry, annotator: Annotator, project: Project
) -> None:
    dispute_make(annotator=annotator, day=timezone.localdate(), claimed_seconds=600, text="Lost.")
    _report(inquiry.task, annotator, Report.Kind.BROKEN)
    overview = reverse("project", args=[project.slug])
    badge = '<span class="badge badge-plain count">{}<span class="visually-hidden">'
    assert badge.format(3) in client_of(omar).get(overview).text
    assert badge.format(2) in client_of(rita).get(overview).text
    labelers = client_of(lena).get(overview).text
    assert badge.format("") not in labelers
    assert "/desk/" not in labelers


def test_a_question_is_shown_with_the_askers_letters_and_no_model(
    client_of: SignIn, rita: User, lena: User, inquiry: Inquiry, project: Project
) -> None:
    labeling = client_of(lena).get(reverse("task", args=[inquiry.task_id])).text
    text = client_of(rita).get(_url("inquiry", inquiry, project)).text
    assert "Is a &lt;b&gt;short&lt;/b&gt; answer better?" in text
    first, second = (f"question {number}? Answer number {n}." for number in (0,) for n in (0, 1))
    assert (text.index(first) < text.index(second)) == (labeling.index(first) < labeling.index(second))
    assert ModelVersion.objects.get().name not in text


def test_an_answer_can_become_an_example(
    client_of: SignIn, rita: User, lena: User, inquiry: Inquiry, project: Project
) -> None:
    url = _url("inquiry", inquiry, project)
    client = client_of(rita)
    assert client.post(url, {"answer": ""}).status_code == 422
    page = client.post(url, {"answer": "Yes, **mostly**.", "becomes_example": "on"}, follow=True)
    assert "It stands in the guidelines as an example now." in page.text
    example = GuidelineExample.objects.get()
    assert (example.title, example.text) == ("Is a <b>short</b> answer better?", "Yes, **mostly**.")
    shown = client.get(url).text
    assert "<strong>mostly</strong>" in shown
    assert "Not read yet" in shown


def test_a_title_alone_makes_no_example(client_of: SignIn, rita: User, inquiry: Inquiry, project: Project) -> None:
    fields = {"answer": "Yes.", "example_title": "Short answers"}
    assert client_of(rita).post(_url("inquiry", inquiry, project), fields).status_code == 302
    assert not GuidelineExample.objects.exists()


def test_the_second_answer_is_refused_and_its_words_stay_on_the_page(
    client_of: SignIn, rita: User, omar: User, inquiry: Inquiry, project: Project
) -> None:
    url = _url("inquiry", inquiry, project)
    client_of(rita).post(url, {"answer": "Yes."})
    late = client_of(omar).post(url, {"answer": "No."})
    assert late.status_code == 422
    assert Inquiry.objects.get().answer == "Yes."


def test_sensitive_text_is_veiled_until_somebody_asks_and_that_is_noted(
    client_of: SignIn, rita: User, inquiry: Inquiry, project: Project
) -> None:
    Prompt.objects.filter(pk=inquiry.task.prompt_id).update(sensitivity=["violence"])
    client, url = client_of(rita), _url("inquiry", inquiry, project)
    veiled = client.get(url).text
    assert "Violence and gore" in veiled
    assert "question 0?" not in veiled
    assert not AuditEntry.objects.filter(verb="task_reveal").exists()
    assert "question 0?" in client.post(url, {"reveal": "1"}).text
    entry = AuditEntry.objects.get(verb="task_reveal")
    assert (entry.actor_id, entry.project_id, entry.object_type, entry.object_id) == (
        *(rita.pk, project.pk),
        *("inquiry", inquiry.pk),
    )
    assert "question 0?" not in client.get(url).text


def test_lists_do_not_tell_what_is_veiled(
    client_of: SignIn, rita: User, inquiry: Inquiry, annotator: Annotator, desk: str
) -> None:
    _report(inquiry.task, annotator, Report.Kind.BROKEN)
    _report(inquiry.task, annotator, Report.Kind.PERSONAL_DATA)
    prompts = Prompt.objects.filter(pk=inquiry.task.prompt_id)
    client = client_of(rita)
    assert client.get(desk).text.count("Pears: question 0?") == 2
    prompts.update(sensitivity=["hate"])
    assert "question 0?" not in client.get(desk).text
    prompts.update(sensitivity=[], quarantined_at=timezone.now())
    assert "question 0?" not in client.get(desk).text


def test_a_dispute_stands_beside_what_was_counted(
    client_of: SignIn, omar: User, annotator: Annotator, held: ComparisonTask, project: Project
) -> None:
    day = timezone.localdate()
    factories.annotation_make(held, annotator, paid_seconds=600)
    TimeEntry.objects.create(annotator=annotator, kind=TimeEntry.Kind.BREAK, seconds=300)
    dispute = dispute_make(annotator=annotator, day=day, claimed_seconds=1200, text="Lost.")
    client, url = client_of(omar), _url("dispute", dispute, project)
    text = client.get(url).text
    assert "Comparing 10 min, Breaks 5 min" in text
    assert 'value="20"' in text
    assert client.post(url, {"minutes": "0"}).status_code == 422
    assert "Granted." in client.post(url, {"minutes": "20", "answer": "Sorry."}, follow=True).text
    assert TimeEntry.objects.get(kind=TimeEntry.Kind.GRANTED).seconds == 1200
    assert "Granted: 20 min" in client.get(url).text


def test_a_dispute_cannot_be_decided_by_a_reviewer(
    client_of: SignIn, rita: User, annotator: Annotator, project: Project
) -> None:
    dispute = dispute_make(annotator=annotator, day=timezone.localdate(), claimed_seconds=60, text="Lost.")
    assert client_of(rita).post(_url("dispute", dispute, project), {"minutes": "1"}).status_code == 403
    assert not TimeEntry.objects.exists()


def _fill(project: Project, protocol: object, count: int) -> None:
    batch = project.batches.get()
    for number in range(count):
        person = factories.labeler_make(project, f"person-{Annotator.objects.count()}-{number}")
        task = batch.tasks.earliest("pk")
        _report(task, person, Report.Kind.OTHER)
        inquiry_make(annotator=person, task=task, text="Why?")
        dispute_make(annotator=person, day=timezone.localdate(), claimed_seconds=60, text="Lost.")
        task_skip(annotator_id=person.pk, task=task, reason=TaskSkip.Reason.OTHER)


def test_it_costs_the_same_for_2_of_each_as_for_60(
    client_of: SignIn, omar: User, held: ComparisonTask, project: Project, protocol: object, desk: str
) -> None:
    _fill(project, protocol, 2)
    client = client_of(omar)
    few = query_count(client, desk)
    _fill(project, protocol, 58)
    assert query_count(client, desk) == few <= 9
    assert client.get(desk).text.count("More wait.") == 3

"""A report on the desk: what is shown of its task, and what follows from the decision."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from labelapp.labeling.services.reports import report_make
from labelapp.labeling.services.seats import task_skip
from labelapp.models import Annotator, AuditEntry, ComparisonTask, Project, Prompt, Report, Seat, TaskSkip, User
from tests import factories

SignIn = Callable[[User], Client]


def _made(task: ComparisonTask, annotator: Annotator, kind: Report.Kind, **more: str) -> tuple[Report, str]:
    report = report_make(annotator_id=annotator.pk, task=task, kind=kind, **more)
    return report, reverse("report", args=[task.batch.project.slug, report.pk])


def test_personal_data_is_veiled_until_it_is_asked_for(
    client_of: SignIn, rita: User, held: ComparisonTask, annotator: Annotator
) -> None:
    report, url = _made(held, annotator, Report.Kind.PERSONAL_DATA, note="A telephone number.")
    client = client_of(rita)
    veiled = client.get(url).text
    assert "Reported as personal data" in veiled
    assert "A telephone number." in veiled
    assert "question 0?" not in veiled
    shown = client.post(url, {"reveal": "1"})
    assert shown.status_code == 200
    assert "question 0?" in shown.text
    assert "Answer number 1." in shown.text
    assert "no-store" in shown.headers["Cache-Control"]
    entry = AuditEntry.objects.get(verb="task_reveal")
    assert (entry.actor_id, entry.object_type, entry.object_id, entry.data) == (rita.pk, "report", report.pk, {})


def test_what_needs_no_veil_is_shown_and_not_noted(
    client_of: SignIn, rita: User, held: ComparisonTask, annotator: Annotator
) -> None:
    _report, url = _made(held, annotator, Report.Kind.BROKEN)
    assert "question 0?" in client_of(rita).get(url).text
    assert not AuditEntry.objects.filter(verb="task_reveal").exists()


def test_what_stays_away_is_told_to_who_reported_it(
    client_of: SignIn, rita: User, lena: User, held: ComparisonTask, annotator: Annotator, project: Project
) -> None:
    report, url = _made(held, annotator, Report.Kind.PERSONAL_DATA)
    fields = {"state": "removed", "answer": "Thank you: it really is a number."}
    page = client_of(rita).post(url, fields, follow=True)
    assert "Decided." in page.text
    report.refresh_from_db()
    assert (report.state, report.closed_by) == (Report.State.REMOVED, rita)
    assert Prompt.objects.get(pk=held.prompt_id).quarantined_at is not None
    assert Seat.objects.get(task=held).state == Seat.State.WITHDRAWN
    mine = client_of(lena).get(reverse("my_work", args=[project.slug])).text
    assert "Thank you: it really is a number." in mine
    assert "the task stays away" in mine


def test_what_goes_on_with_a_category_goes_to_those_who_accept_it(
    client_of: SignIn, rita: User, held: ComparisonTask, annotator: Annotator
) -> None:
    _report, url = _made(held, annotator, Report.Kind.SENSITIVE)
    client = client_of(rita)
    assert "Reported as sensitive" in client.get(url).text
    assert client.post(url, {"state": "released", "sensitivity": ["violence"]}).status_code == 302
    assert Prompt.objects.get(pk=held.prompt_id).sensitivity == ["violence"]
    seat = Seat.objects.get(task=held)
    assert (seat.state, seat.pool.sensitivity) == (Seat.State.OPEN, ["violence"])


def test_categories_that_the_prompt_has_are_not_asked_again(
    client_of: SignIn, rita: User, held: ComparisonTask, annotator: Annotator
) -> None:
    Prompt.objects.filter(pk=held.prompt_id).update(sensitivity=["violence"])
    _report, url = _made(held, annotator, Report.Kind.OTHER)
    text = client_of(rita).get(url).text
    assert 'value="violence"' not in text
    assert 'value="hate"' in text


def test_three_skips_come_with_their_reasons(
    client_of: SignIn, rita: User, held: ComparisonTask, project: Project
) -> None:
    for name, note in (("nora", ""), ("otto", "Which tree?"), ("pia", "")):
        person = factories.labeler_make(project, name)
        task_skip(annotator_id=person.pk, task=held, reason=TaskSkip.Reason.UNCLEAR, note=note)
    report = Report.objects.get(kind=Report.Kind.SKIPS)
    text = client_of(rita).get(reverse("report", args=[project.slug, report.pk])).text
    assert text.count("The prompt is too unclear to judge") == 3
    assert "Which tree?" in text


@pytest.mark.parametrize("fields", [{}, {"state": "open"}, {"state": "removed", "sensitivity": ["everything"]}])
def test_a_decision_that_is_none_decides_nothing(
    client_of: SignIn, rita: User, held: ComparisonTask, annotator: Annotator, fields: dict[str, object]
) -> None:
    report, url = _made(held, annotator, Report.Kind.BROKEN)
    assert client_of(rita).post(url, fields).status_code == 422
    report.refresh_from_db()
    assert report.state == Report.State.OPEN


def test_the_second_decision_is_refused(
    client_of: SignIn, rita: User, omar: User, held: ComparisonTask, annotator: Annotator
) -> None:
    report, url = _made(held, annotator, Report.Kind.BROKEN)
    client_of(rita).post(url, {"state": "released"})
    late = client_of(omar).post(url, {"state": "removed"})
    assert late.status_code == 422
    assert "closed already" in late.text
    report.refresh_from_db()
    assert report.state == Report.State.RELEASED

"""Questions and their answers, disputes and their decisions."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from labelapp.desk.services import (
    QUESTIONS_OPEN,
    answers_seen,
    dispute_decide,
    dispute_make,
    inquiry_answer,
    inquiry_make,
)
from labelapp.errors import ConflictError, DomainError
from labelapp.models import (
    Annotator,
    AuditEntry,
    ComparisonTask,
    GuidelineExample,
    Inquiry,
    Project,
    TimeDispute,
    TimeEntry,
    User,
)
from tests import factories

TODAY = timezone.localdate


@pytest.fixture
def inquiry(held: ComparisonTask, annotator: Annotator) -> Inquiry:
    return inquiry_make(annotator=annotator, task=held, text="Is a short answer better?")


@pytest.fixture
def dispute(annotator: Annotator) -> TimeDispute:
    return dispute_make(annotator=annotator, day=TODAY(), claimed_seconds=600, text="The page was reloaded.")


def test_a_question_sent_twice_is_asked_once(held: ComparisonTask, annotator: Annotator, inquiry: Inquiry) -> None:
    again = inquiry_make(annotator=annotator, task=held, text="  Is a short answer better?\x00 ")
    assert again == inquiry
    inquiry_answer(inquiry=inquiry, actor=User.objects.earliest("pk"), answer="Yes.")
    assert inquiry_make(annotator=annotator, task=held, text="Is a short answer better?") != inquiry


@pytest.mark.parametrize(("text", "problem"), [(" \n ", "There is no question yet"), ("a" * 2001, "2001 characters")])
def test_a_question_has_words_and_not_too_many(
    held: ComparisonTask, annotator: Annotator, text: str, problem: str
) -> None:
    with pytest.raises(DomainError, match=problem):
        inquiry_make(annotator=annotator, task=held, text=text)
    assert not Inquiry.objects.exists()


def test_only_so_many_questions_of_one_person_wait(
    held: ComparisonTask, annotator: Annotator, project: Project, rita: User
) -> None:
    for number in range(QUESTIONS_OPEN):
        inquiry_make(annotator=annotator, task=held, text=f"Question {number}?")
    with pytest.raises(ConflictError, match="20 questions of yours wait"):
        inquiry_make(annotator=annotator, task=held, text="One more?")
    assert inquiry_make(annotator=factories.labeler_make(project, "nora"), task=held, text="May I?").pk
    inquiry_answer(inquiry=Inquiry.objects.earliest("pk"), actor=rita, answer="Yes.")
    assert inquiry_make(annotator=annotator, task=held, text="One more?").pk


def test_an_answer_is_noted_without_its_words(inquiry: Inquiry, rita: User, project: Project) -> None:
    assert inquiry_answer(inquiry=inquiry, actor=rita, answer="Only if nothing is *missing*.") is None
    inquiry.refresh_from_db()
    assert (inquiry.answer, inquiry.answered_by) == ("Only if nothing is *missing*.", rita)
    assert inquiry.answered_at is not None
    entry = AuditEntry.objects.get(verb="inquiry_answer")
    assert (entry.actor_id, entry.project_id, entry.object_id, entry.data) == (rita.pk, project.pk, inquiry.pk, {})
    assert not GuidelineExample.objects.exists()


def test_a_question_is_answered_once(inquiry: Inquiry, rita: User, omar: User) -> None:
    inquiry_answer(inquiry=inquiry, actor=rita, answer="Yes.")
    with pytest.raises(ConflictError, match="answered a moment ago"):
        inquiry_answer(inquiry=inquiry, actor=omar, answer="No.", example_title="Short answers")
    inquiry.refresh_from_db()
    assert (inquiry.answer, inquiry.answered_by) == ("Yes.", rita)
    assert not GuidelineExample.objects.exists()


def test_an_answer_becomes_an_example_of_the_batchs_protocol(inquiry: Inquiry, rita: User, project: Project) -> None:
    made = inquiry_answer(inquiry=inquiry, actor=rita, answer="Yes.", example_title="Short answers")
    assert made == GuidelineExample.objects.get()
    assert (made.project, made.protocol_name, made.title, made.text) == (
        project,
        "Helpfulness",
        "Short answers",
        "Yes.",
    )
    assert (made.inquiry, made.created_by) == (inquiry, rita)


def test_an_example_that_is_refused_leaves_the_question_open(inquiry: Inquiry, rita: User) -> None:
    with pytest.raises(DomainError, match="title"):
        inquiry_answer(inquiry=inquiry, actor=rita, answer="Yes.", example_title="a" * 201)
    inquiry.refresh_from_db()
    assert inquiry.answered_at is None


def test_answers_are_seen_once_and_by_the_person_alone(inquiry: Inquiry, annotator: Annotator, rita: User) -> None:
    assert answers_seen(annotator=annotator) == 0
    inquiry_answer(inquiry=inquiry, actor=rita, answer="Yes.")
    assert answers_seen(annotator=Annotator.objects.get(user=rita)) == 0
    assert answers_seen(annotator=annotator) == 1
    inquiry.refresh_from_db()
    first = inquiry.seen_at
    assert first is not None
    assert answers_seen(annotator=annotator) == 0
    inquiry.refresh_from_db()
    assert inquiry.seen_at == first


def test_a_claim_sent_twice_is_one_and_another_for_the_day_waits(annotator: Annotator, dispute: TimeDispute) -> None:
    same = {"annotator": annotator, "day": TODAY(), "claimed_seconds": 600}
    assert dispute_make(**same, text="The page was reloaded.") == dispute
    with pytest.raises(ConflictError, match="already asked about this day"):
        dispute_make(**same, text="And once more.")
    assert dispute_make(**same | {"day": TODAY() - timedelta(days=1)}, text="Yesterday too.") != dispute


@pytest.mark.parametrize(("days", "problem"), [(1, "still to come"), (-93, "92 days")])
def test_a_claim_is_about_a_day_within_reach(annotator: Annotator, days: int, problem: str) -> None:
    with pytest.raises(DomainError, match=problem):
        dispute_make(annotator=annotator, day=TODAY() + timedelta(days=days), claimed_seconds=60, text="Lost.")
    assert not TimeDispute.objects.exists()


def test_granted_time_is_paid_from_now_on(dispute: TimeDispute, omar: User, annotator: Annotator) -> None:
    decided = dispute_decide(dispute=dispute, actor=omar, granted_seconds=300, answer="Half of it shows in the log.")
    assert (decided.state, decided.granted_seconds) == (TimeDispute.State.GRANTED, 300)
    assert (decided.closed_by, decided.answer) == (omar, "Half of it shows in the log.")
    entry = TimeEntry.objects.get()
    assert (entry.annotator, entry.kind, entry.seconds) == (annotator, TimeEntry.Kind.GRANTED, 300)
    assert timezone.localdate(entry.created_at) == TODAY()
    noted = AuditEntry.objects.get(verb="dispute_decide")
    assert noted.data == {"state": "granted", "seconds": 300}


def test_declining_needs_words_and_pays_nothing(dispute: TimeDispute, omar: User) -> None:
    with pytest.raises(DomainError, match="Say why"):
        dispute_decide(dispute=dispute, actor=omar, granted_seconds=0, answer="")
    decided = dispute_decide(dispute=dispute, actor=omar, granted_seconds=0, answer="The time is counted already.")
    assert (decided.state, decided.granted_seconds) == (TimeDispute.State.DECLINED, None)
    assert not TimeEntry.objects.exists()


def test_a_claim_is_decided_once(dispute: TimeDispute, omar: User, rita: User) -> None:
    dispute_decide(dispute=dispute, actor=omar, granted_seconds=300, answer="")
    with pytest.raises(ConflictError, match="decided a moment ago"):
        dispute_decide(dispute=dispute, actor=rita, granted_seconds=600, answer="")
    assert TimeEntry.objects.get().seconds == 300


def test_nobody_decides_about_their_own_time(omar: User) -> None:
    own = Annotator.objects.get(user=omar)
    dispute = dispute_make(annotator=own, day=TODAY(), claimed_seconds=3600, text="A long day.")
    with pytest.raises(DomainError, match="your own time"):
        dispute_decide(dispute=dispute, actor=omar, granted_seconds=3600, answer="")
    assert not TimeEntry.objects.exists()


def test_the_database_refuses_an_answer_without_words(inquiry: Inquiry) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Inquiry.objects.filter(pk=inquiry.pk).update(answered_at=timezone.now())

"""Writes of the desk: questions with their answers, and disputes about paid time with their decisions."""

from datetime import date, timedelta

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from labelapp.accounts.audit import audit_record
from labelapp.errors import ConflictError, DomainError
from labelapp.guidelines.services import example_create
from labelapp.labeling.services.seats import annotator_lock
from labelapp.models import Annotator, ComparisonTask, GuidelineExample, Inquiry, TimeDispute, TimeEntry, User

QUESTION_LIMIT = 2_000
QUESTIONS_OPEN = 20
"""Most questions of one person in one project that wait for an answer."""

DISPUTE_DAYS = 92
"""How far back a day can be disputed: a quarter of a year."""


@transaction.atomic
def inquiry_make(*, annotator: Annotator, task: ComparisonTask, text: str) -> Inquiry:
    """Ask the reviewers about a task. The same words again, before they are answered, are the same question.

    Raises DomainError for no words or too many, ConflictError when too many questions wait already.
    """
    words = text.replace("\x00", "").strip()
    if not words:
        raise DomainError(_("There is no question yet. Write what you want to know, then send it."))
    if len(words) > QUESTION_LIMIT:
        raise DomainError(
            _("This question has %(length)d characters; at most %(limit)d fit. Shorten it, then send it again.")
            % {"length": len(words), "limit": QUESTION_LIMIT}
        )
    annotator_lock(annotator.pk)
    waiting = Inquiry.objects.filter(annotator=annotator, answered_at__isnull=True)
    earlier = waiting.filter(task=task, text=words).first()
    if earlier:
        return earlier
    if waiting.count() >= QUESTIONS_OPEN:
        raise ConflictError(
            _("%(count)d questions of yours wait for an answer. Ask again when the first of them is answered.")
            % {"count": QUESTIONS_OPEN}
        )
    return Inquiry.objects.create(annotator=annotator, task=task, text=words)


@transaction.atomic
def inquiry_answer(*, inquiry: Inquiry, actor: User, answer: str, example_title: str = "") -> GuidelineExample | None:
    """Answer a question, once; with a title the question and its answer become a guideline example, returned.

    Raises ConflictError when somebody has answered it meanwhile.
    """
    asked = Inquiry.objects.select_for_update(no_key=True).get(pk=inquiry.pk)
    if asked.answered_at is not None:
        raise ConflictError("This question was answered a moment ago by somebody else. Reload the page to read it.")
    asked.answer, asked.answered_by, asked.answered_at = answer, actor, timezone.now()
    asked.save(update_fields=["answer", "answered_by", "answered_at"])
    project = inquiry.task.batch.project
    audit_record(actor=actor, verb="inquiry_answer", subject=asked, project_id=project.pk)
    if not example_title:
        return None
    return example_create(
        project=project,
        protocol_name=inquiry.task.batch.protocol.name,
        title=example_title,
        text=answer,
        actor=actor,
        inquiry=asked,
    )


def answers_seen(*, annotator: Annotator) -> int:
    """Note that a person was shown the answers to their questions; return how many were new."""
    new = Inquiry.objects.filter(annotator=annotator, answered_at__isnull=False, seen_at__isnull=True)
    return new.update(seen_at=timezone.now())


@transaction.atomic
def dispute_make(*, annotator: Annotator, day: date, claimed_seconds: int, text: str) -> TimeDispute:
    """Say that paid time is missing on a day. The same claim again is the same dispute.

    Raises DomainError for a day to come or long gone, ConflictError while another claim for the day is open.
    """
    today = timezone.localdate()
    if day > today:
        raise DomainError(_("This day is still to come. Choose the day on which time is missing."))
    if day < today - timedelta(days=DISPUTE_DAYS):
        raise DomainError(
            _("Time can be disputed for %(days)d days. For a day before that, talk to an admin.")
            % {"days": DISPUTE_DAYS}
        )
    annotator_lock(annotator.pk)
    earlier = TimeDispute.objects.filter(annotator=annotator, day=day, state=TimeDispute.State.OPEN).first()
    if earlier and (earlier.claimed_seconds, earlier.text) == (claimed_seconds, text):
        return earlier
    if earlier:
        raise ConflictError(_("You have already asked about this day. An admin will look at it and answer."))
    return TimeDispute.objects.create(annotator=annotator, day=day, claimed_seconds=claimed_seconds, text=text)


@transaction.atomic
def dispute_decide(*, dispute: TimeDispute, actor: User, granted_seconds: int, answer: str) -> TimeDispute:
    """Grant seconds, which count as paid from now on, or with 0 decline in words.

    Raises DomainError for a refusal without words, and where actor and labeler are one person; ConflictError when it
    was decided before.
    """
    found = TimeDispute.objects.select_for_update(no_key=True, of=("self",)).select_related("annotator")
    decided = found.get(pk=dispute.pk)
    if decided.state != TimeDispute.State.OPEN:
        raise ConflictError("This was decided a moment ago by somebody else. Reload the page to see how.")
    if decided.annotator.user_id == actor.pk:
        raise DomainError("This is about your own time. Ask another admin to decide it.")
    if not granted_seconds and not answer:
        raise DomainError("Say why no time is granted: the person reads your words.")
    decided.state = TimeDispute.State.GRANTED if granted_seconds else TimeDispute.State.DECLINED
    decided.granted_seconds = granted_seconds or None
    decided.answer, decided.closed_by, decided.closed_at = answer, actor, timezone.now()
    decided.save(update_fields=["state", "granted_seconds", "answer", "closed_by", "closed_at"])
    if granted_seconds:
        TimeEntry.objects.create(annotator=decided.annotator, kind=TimeEntry.Kind.GRANTED, seconds=granted_seconds)
    audit_record(
        actor=actor,
        verb="dispute_decide",
        subject=decided,
        project_id=decided.annotator.project_id,
        state=decided.state,
        seconds=granted_seconds,
    )
    return decided

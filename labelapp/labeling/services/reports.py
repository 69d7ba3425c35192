"""Reports about tasks: what happens at once, and what follows when reviewers have looked at it."""

from collections.abc import Sequence

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from labelapp.accounts.audit import audit_record
from labelapp.errors import ConflictError, DomainError
from labelapp.labeling.services.pools import pool_for, seats_move, seats_rehome
from labelapp.labeling.services.seats import annotator_lock, seat_transition, task_leave
from labelapp.models import Annotator, ComparisonTask, Project, Prompt, Report, Seat, TaskSkip, User

Kind, State = Report.Kind, Report.State
TAKES_AWAY = frozenset({Kind.PERSONAL_DATA, Kind.NEEDS_EXPERT, Kind.SENSITIVE})
"""Kinds of reports after which the reporter goes on with another task."""
NO_SKILL = gettext_noop(
    "Say what an expert for this task must know, in a word or two: it goes to people with that skill."
)
CLOSED = "This report was closed already: {state}. Reload the page to see what was decided."


@transaction.atomic
def report_make(
    *,
    annotator_id: int,
    task: ComparisonTask,
    kind: Report.Kind,
    note: str = "",
    skill: str = "",
    paid_seconds: int | None = None,
) -> Report:
    """Put a task before reviewers; twice is once. What follows at once depends on the kind.

    Personal data: the prompt is in quarantine, and nobody has a seat at any of its tasks. Needs an expert: the task's
    seats go to people with the skill. Sensitive: the task waits for triage. Each of these takes the task from the
    reporter for good (an expert keeps what needs one), its time paid as for a skip; the others are only noted.
    Raises DomainError where an expert is asked for without a skill, and for kinds that people do not report.
    """
    skill = skill.strip().lower()[:50]
    if kind == Kind.SKIPS:
        raise DomainError(_("Skips are reported by themselves. Choose what is the matter with this task."))
    if kind == Kind.NEEDS_EXPERT and not skill:
        raise DomainError(_(NO_SKILL))
    annotator = annotator_lock(annotator_id)
    project = Project.objects.select_for_update(no_key=True).get(pk=task.batch.project_id)
    known = Report.objects.filter(task=task, annotator=annotator, kind=kind, state=State.OPEN).first()
    if known:
        return known
    report = Report.objects.create(
        project=project, task=task, annotator=annotator, kind=kind, note=note.strip()[:1000], skill=skill
    )
    if kind in TAKES_AWAY and not (kind == Kind.NEEDS_EXPERT and skill in annotator.skills):
        reason = TaskSkip.Reason.REPORTED
        task_leave(annotator=annotator, task=task, reason=reason, note="", paid_seconds=paid_seconds)
    if kind == Kind.PERSONAL_DATA:
        _quarantine(report, annotator)
    elif kind == Kind.NEEDS_EXPERT:
        _to_experts(report, annotator)
    elif kind == Kind.SENSITIVE:
        _withdraw(Seat.objects.filter(task=task).exclude(state=Seat.State.HELD))
    return report


@transaction.atomic
def report_close(
    *, report: Report, state: Report.State, actor: User, answer: str = "", sensitivity: Sequence[str] = ()
) -> Report:
    """Decide about a report: the task goes on (RELEASED), or it stays away for good (REMOVED).

    Removed for personal data, the prompt stays in quarantine. `sensitivity` names categories that the prompt has
    besides; its seats go to people who accept them. Closing it the same way again changes nothing; raises
    ConflictError when it was closed in the other way.
    """
    # In the order in which others lock them: the project, the report, its seats.
    Project.objects.select_for_update(no_key=True).get(pk=report.project_id)
    locked = (
        Report.objects.select_for_update(no_key=True, of=("self",)).select_related("task__prompt").get(pk=report.pk)
    )
    if locked.state == state:
        return locked
    if locked.state != State.OPEN:
        raise ConflictError(CLOSED.format(state=locked.get_state_display().lower()))
    locked.state, locked.answer, locked.closed_by, locked.closed_at = (
        state,
        answer.strip()[:1000],
        actor,
        timezone.now(),
    )
    locked.save(update_fields=["state", "answer", "closed_by", "closed_at"])
    _learn(locked, sensitivity)
    if state == State.REMOVED:
        _withdraw(Seat.objects.filter(task=locked.task).exclude(state=Seat.State.HELD))
    else:
        _release(locked)
    audit_record(actor=actor, verb="report_close", subject=locked, project_id=locked.project_id, state=state.value)
    return locked


def _to_experts(report: Report, annotator: Annotator) -> None:
    """Move what nobody works on, and what the reporter holds, to people who have the skill besides."""
    mine = Q(annotator=annotator) | ~Q(state=Seat.State.HELD)
    seats = Seat.objects.select_for_update(no_key=True, of=("self",)).select_related("pool", "annotator")
    seats = seats.filter(mine, task=report.task).exclude(state=Seat.State.FILLED)
    for seat in seats.order_by("state", "pk"):
        old = seat.pool
        skills = sorted({*old.skills, report.skill})
        pool = pool_for(
            batch_id=old.batch_id, prompt=report.task.prompt, skills=skills, purpose=old.purpose, boost=old.boost
        )
        seats_move([seat], pool)


def _quarantine(report: Report, annotator: Annotator) -> None:
    """From now on nobody is shown the prompt or has a seat at its tasks, and nothing learns from it."""
    prompt = report.task.prompt
    new = Prompt.objects.filter(pk=prompt.pk, quarantined_at__isnull=True).update(quarantined_at=timezone.now())
    if new:
        audit_record(
            actor=annotator.user,
            verb="prompt_quarantine",
            subject=prompt,
            project_id=report.project_id,
            report=report.pk,
        )
    _withdraw(Seat.objects.filter(task__prompt=prompt))


def _withdraw(seats: QuerySet[Seat]) -> None:
    """Take seats out of the queue, and from whoever has them; what they have entered stays as their draft."""
    locked = seats.select_for_update(no_key=True, of=("self",)).exclude(state=Seat.State.FILLED).order_by("state", "pk")
    seat_transition(Seat.objects.filter(pk__in=[seat.pk for seat in locked]), Seat.State.WITHDRAWN)


def _learn(report: Report, sensitivity: Sequence[str]) -> None:
    """Note what a prompt was found to be, and seat only those who accept it."""
    prompt = report.task.prompt
    known = sorted({*prompt.sensitivity, *sensitivity})
    if known != sorted(prompt.sensitivity):
        Prompt.objects.filter(pk=prompt.pk).update(sensitivity=known)
        seats_rehome(project=report.project, prompt_ids=[prompt.pk])


def _release(report: Report) -> None:
    """Lift the quarantine where nothing else keeps it, and put the seats back that nothing else keeps away."""
    prompt = report.task.prompt
    others = Report.objects.filter(task__prompt=prompt, kind=Kind.PERSONAL_DATA).exclude(state=State.RELEASED)
    if report.kind == Kind.PERSONAL_DATA and not others.exists():
        Prompt.objects.filter(pk=prompt.pk).update(quarantined_at=None)
    seat_transition(Seat.objects.filter(task__prompt=prompt, state=Seat.State.WITHDRAWN), Seat.State.OPEN)

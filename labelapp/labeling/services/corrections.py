"""Corrections: a person's later word on a task, which takes the place of their earlier one."""

from collections.abc import Sequence

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone
from django.utils.translation import gettext as _

from labelapp.errors import ConflictError
from labelapp.labeling.judgement import Judgement
from labelapp.labeling.selectors import CORRECTION_TIME, correctable_until, frozen_before
from labelapp.labeling.services.annotations import Effort, Seating, annotation_insert, effort_within
from labelapp.labeling.services.seats import annotator_lock
from labelapp.models import Annotation, Annotator, Batch, ComparisonTask, Protocol


def annotation_standing(*, annotator: Annotator, task: ComparisonTask) -> Annotation | None:
    """What the person last said about the task, if they have submitted it."""
    later = Annotation.objects.filter(supersedes=OuterRef("pk"))
    return Annotation.objects.filter(task=task, annotator=annotator).exclude(Exists(later)).first()


def correction_problem(*, annotator: Annotator, task: ComparisonTask) -> str:
    """Why the person's annotation of the task can no longer be corrected; empty while it can."""
    chain = list(Annotation.objects.filter(task=task, annotator=annotator).order_by("pk"))
    first, standing = chain[0], chain[-1]
    if first.imported_by_id is not None:
        return _("This answer was imported. It can only be corrected where it came from.")
    frozen = frozen_before(annotator.project_id, Batch.Work.COMPARISON)
    if correctable_until(first.created_at, standing.created_at, frozen):
        return ""
    if timezone.now() >= first.created_at + CORRECTION_TIME:
        return _("This answer is settled: it was submitted more than 24 hours ago. Tell a reviewer what is wrong.")
    return _("This answer is settled: it is in a snapshot that models learn from. Tell a reviewer what is wrong.")


@transaction.atomic
def annotation_correct(
    *, seating: Seating, judgement: Judgement, protocol: Protocol, order_shown: Sequence[int], effort: Effort
) -> Annotation:
    """Put a judgement in the place of the person's standing one; the seat stays as it is, and surplus stays surplus.

    The same key again returns the correction that it made. Raises ConflictError when there is nothing to correct, when
    the time for it is over, or when it was corrected from another tab meanwhile.
    """
    annotator = annotator_lock(seating.annotator_id)
    task = ComparisonTask.objects.get(pk=seating.task_id)
    made = Annotation.objects.filter(idempotency_key=seating.key).first()
    if made:
        return made
    standing = annotation_standing(annotator=annotator, task=task)
    if standing is None:
        raise ConflictError(_("You have not submitted this task yet, so there is nothing to correct."))
    if problem := correction_problem(annotator=annotator, task=task):
        raise ConflictError(problem)
    if standing.created_at > seating.opened_at:
        raise ConflictError(_("This answer was corrected in another tab meanwhile. Reload to see it."))
    return annotation_insert(
        Annotation(seat_id=standing.seat_id, surplus=standing.surplus, supersedes=standing),
        seating=seating,
        judgement=judgement,
        protocol=protocol,
        order_shown=order_shown,
        effort=effort_within(effort, seating.opened_at),
    )

"""Going back: a person's own answer to a task, filled in again, to be corrected while that is possible."""

import uuid
from collections.abc import Sequence

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from labelapp.errors import ConflictError
from labelapp.labeling.door import annotator_for_task, sent_by_the_page
from labelapp.labeling.flow import task_page
from labelapp.labeling.fragments import form_html
from labelapp.labeling.judgement import judgement_read
from labelapp.labeling.notation import preference_write, ranking_write
from labelapp.labeling.presentation import LETTERS
from labelapp.labeling.seating import seating_read, seating_sign
from labelapp.labeling.selectors import TaskShown, task_shown
from labelapp.labeling.services.annotations import Seating
from labelapp.labeling.services.corrections import annotation_correct, annotation_standing, correction_problem
from labelapp.labeling.sheet import Stage
from labelapp.labeling.views import effort_read, form_fields
from labelapp.models import Annotation, Annotator, Question


@sent_by_the_page
@never_cache
@require_http_methods(["GET", "POST"])
def task_correct(request: HttpRequest, pk: int) -> HttpResponse:
    """The person's standing answer on one page; sent, it takes the place of what they said before."""
    annotator, task = annotator_for_task(request.user, pk)
    standing = annotation_standing(annotator=annotator, task=task)
    if standing is None:
        raise Http404
    if request.method == "GET":
        if problem := correction_problem(annotator=annotator, task=task):
            raise ConflictError(problem)
        shown = _shown(annotator, standing)
        return task_page(request, task.batch.project, _form(request, shown, _slip(annotator, shown)))
    seating = seating_read(request.POST.get("seating", ""), task_id=pk, annotator_id=annotator.pk)
    fields = form_fields(request.POST)
    shown = task_shown(task_id=pk, annotator=annotator, posted=fields, first_seat=seating.first_seat, stage=Stage.WHOLE)
    reading = judgement_read(shown.sheet, fields, shown.texts)
    if reading.judgement is None:
        form = _form(request, shown, request.POST["seating"], reading.problems)
        return task_page(request, task.batch.project, form, status=422)
    annotation_correct(
        seating=seating,
        judgement=reading.judgement,
        protocol=shown.sheet.protocol,
        order_shown=shown.sheet.order,
        effort=effort_read(request.POST),
    )
    messages.success(request, _("Your answer was corrected. What you said before is kept, but no longer counts."))
    return redirect("my_work", slug=task.batch.project.slug)


def _shown(annotator: Annotator, standing: Annotation) -> TaskShown:
    """The task on one page, as the person answered it; they are asked again what they were asked then."""
    shown = task_shown(task_id=standing.task_id, annotator=annotator, posted={}, stage=Stage.WHOLE)
    about_prompt = {question.key for question in shown.sheet.questions if question.scope == Question.Scope.PROMPT}
    first_seat = bool(about_prompt & standing.answers.keys())
    fields = fields_of(standing, shown.sheet.order, shown.sheet.protocol.strength_steps)
    return task_shown(
        task_id=standing.task_id, annotator=annotator, posted=fields, first_seat=first_seat, stage=Stage.WHOLE
    )


def fields_of(annotation: Annotation, order: Sequence[int], steps: int) -> dict[str, str]:
    """The fields of the form from which the annotation would be read, in the letters of this order."""
    fields = {f"answer-{key}": answer for key, answer in annotation.answers.items() if answer}
    if annotation.ranking and len(order) == 2 and steps:
        fields["preference"] = preference_write(annotation.edges[0], steps, order)
    elif annotation.ranking:
        fields["ranking"] = ranking_write(annotation.ranking, order)
    for rating in annotation.ratings.all():
        letter = LETTERS[order.index(rating.slot)]
        fields |= {f"answer-{letter}-{key}": answer for key, answer in rating.answers.items() if answer}
        fields[f"bulk-{letter}"] = ",".join(rating.in_bulk)
        if rating.likert:
            fields[f"likert-{letter}"] = str(rating.likert)
    if annotation.edit is not None and annotation.edit_of is not None:
        fields |= {"edit": annotation.edit.text, "edit_of": LETTERS[order.index(annotation.edit_of)]}
    if annotation.confidence:
        fields["confidence"] = str(annotation.confidence)
    return {**fields, "rationale": annotation.rationale}


def _slip(annotator: Annotator, shown: TaskShown) -> str:
    return seating_sign(
        Seating(
            task_id=shown.task.pk,
            annotator_id=annotator.pk,
            key=uuid.uuid4(),
            opened_at=timezone.now(),
            first_seat=shown.sheet.first_seat,
        )
    )


def _form(request: HttpRequest, shown: TaskShown, seating: str, problems: dict[str, str] | None = None) -> SafeString:
    """The labeling form, which is sent here and keeps no drafts."""
    here = reverse("task_correct", kwargs={"pk": shown.task.pk})
    done = reverse("my_work", kwargs={"slug": shown.task.batch.project.slug})
    return form_html(
        request, shown, seating=seating, problems=problems, correction=True, submit_url=here, next_url=done
    )

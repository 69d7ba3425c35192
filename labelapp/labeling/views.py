"""The labeling page and what it sends: drafts, heartbeats, skips, reports and submits."""

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import HttpResponseStopPolling

from labelapp.accounts.access import membership_for
from labelapp.errors import DomainError
from labelapp.labeling.door import annotator_for_task, sent_by_script, sent_by_the_page
from labelapp.labeling.flow import onward, stage_show, task_form, task_page
from labelapp.labeling.fragments import form_html
from labelapp.labeling.judgement import judgement_read
from labelapp.labeling.seating import seating_read
from labelapp.labeling.selectors import TaskShown, drafts_open, held_elsewhere, task_shown, task_waits
from labelapp.labeling.services.annotations import Effort, Seating, annotation_submit, draft_save
from labelapp.labeling.services.reports import report_make
from labelapp.labeling.services.seats import Renewal, seat_heartbeat, seat_reserve, seat_take, task_skip
from labelapp.labeling.sheet import Stage
from labelapp.models import Annotation, Annotator, Batch, Report, Seat, TaskSkip

DRAFT_FIELD_LIMIT = 400
APART = frozenset({"csrfmiddlewaretoken", "seating", "revision", "base", "adopted", "ahead"})
"""Fields of the form that are not what somebody entered."""


@never_cache
@require_GET
def label(request: HttpRequest, slug: str) -> HttpResponse:
    """Take the next task and show it, or say that there is none now."""
    membership = membership_for(request.user, slug)
    annotator = Annotator.objects.get(project=membership.project, user=membership.user)
    seat = seat_take(annotator_id=annotator.pk)
    if seat is None:
        context = {"project": membership.project, "held_elsewhere": held_elsewhere(annotator=annotator)}
        return render(request, "labeling/nothing.html", context)
    return task_page(request, membership.project, task_form(request, annotator, seat.task_id, seat))


@never_cache
@require_GET
def label_ahead(request: HttpRequest, slug: str) -> HttpResponse:
    """Keep the next task for somebody who works on one, and send its form; 204 when there is none."""
    membership = membership_for(request.user, slug)
    annotator = Annotator.objects.get(project=membership.project, user=membership.user)
    seat = seat_reserve(annotator_id=annotator.pk)
    if seat is None:
        return HttpResponse(status=204)
    return HttpResponse(task_form(request, annotator, seat.task_id, seat))


@never_cache
@require_GET
def label_waiting(request: HttpRequest, slug: str) -> HttpResponse:
    """Tell somebody who waits that there is a task for them, without taking it; 204 while there is none."""
    membership = membership_for(request.user, slug)
    annotator = Annotator.objects.get(project=membership.project, user=membership.user)
    if not task_waits(annotator=annotator):
        return HttpResponse(status=204)
    return HttpResponseStopPolling(render(request, "labeling/waiting.html", {"project": membership.project}).content)


@never_cache
@require_GET
def task(request: HttpRequest, pk: int) -> HttpResponse:
    """A task that the person holds or left a draft on. Anybody else of the project is led to their next one."""
    annotator, found = annotator_for_task(request.user, pk)
    if found.batch.work == Batch.Work.DEMONSTRATION:
        return redirect("write_task", pk=pk)
    held = Seat.objects.filter(annotator=annotator, task=pk, state=Seat.State.HELD)
    seat = held.filter(pool__sensitivity__contained_by=annotator.accepts_sensitive).first()
    if seat is None and not drafts_open(annotator=annotator).filter(task=pk).exists():
        messages.info(request, _gone(annotator, pk))
        return redirect("label", slug=found.batch.project.slug)
    return task_page(request, found.batch.project, task_form(request, annotator, pk, seat))


@sent_by_the_page
@require_http_methods(["GET", "POST"])
def task_draft(request: HttpRequest, pk: int) -> HttpResponse:
    """Save the form as it stands. Refusals are JSON too: the page says their sentence."""
    if request.method == "GET":
        return redirect("task", pk=pk)
    annotator, _task = annotator_for_task(request.user, pk)
    revision = _number(request.POST, "revision")
    try:
        seating = seating_read(request.POST.get("seating", ""), task_id=pk, annotator_id=annotator.pk)
        if not revision:
            raise DomainError(_("This draft has no revision number. Reload the page; your last draft is kept."))
        pages = [request.POST.get("page", ""), *request.POST.get("adopted", "").split(",")]
        content, base = form_fields(request.POST), _number(request.POST, "base")
        renewal = draft_save(seating=seating, content=content, revision=revision, base=base, pages=pages)
    except DomainError as error:
        return JsonResponse({"problem": error.message}, status=error.status)
    saved = {"saved_at": timezone.now().isoformat(), "revision": revision}
    return JsonResponse({**saved, **_seats_state(renewal, request.POST)})


@sent_by_the_page
@require_POST
def task_heartbeat(request: HttpRequest, pk: int) -> HttpResponse:
    """Keep the seat while somebody works, and what is reserved for them."""
    annotator, _task = annotator_for_task(request.user, pk)
    idle_seconds = _number(request.POST, "idle_seconds") or 0
    renewal = seat_heartbeat(annotator_id=annotator.pk, task_id=pk, idle_seconds=idle_seconds)
    return JsonResponse(_seats_state(renewal, request.POST))


@sent_by_the_page
@require_http_methods(["GET", "POST"])
def task_skip_view(request: HttpRequest, pk: int) -> HttpResponse:
    """Pass on the task and go to the next."""
    if request.method == "GET":
        return redirect("task", pk=pk)
    annotator, skipped = annotator_for_task(request.user, pk)
    seating_read(request.POST.get("seating", ""), task_id=pk, annotator_id=annotator.pk)
    raw = request.POST.get("reason", "")
    reason = TaskSkip.Reason(raw) if raw in TaskSkip.Reason.values else TaskSkip.Reason.OTHER
    paid_seconds = _number(request.POST, "paid_seconds")
    task_skip(annotator_id=annotator.pk, task=skipped, reason=reason, note=_note(request), paid_seconds=paid_seconds)
    return onward(request, annotator)


@sent_by_the_page
@require_http_methods(["GET", "POST"])
def task_report(request: HttpRequest, pk: int) -> HttpResponse:
    """Tell reviewers what is the matter with a task; where that takes it away, go to the next."""
    if request.method == "GET":
        return redirect("task", pk=pk)
    annotator, reported = annotator_for_task(request.user, pk)
    seating_read(request.POST.get("seating", ""), task_id=pk, annotator_id=annotator.pk)
    kind = request.POST.get("kind", "")
    if kind not in Report.Kind.values:
        raise DomainError(_("Say what is the matter with this task: choose one of the reports."))
    report_make(
        annotator_id=annotator.pk,
        task=reported,
        kind=Report.Kind(kind),
        note=_note(request),
        skill=request.POST.get("skill", "").replace("\x00", ""),
        paid_seconds=_number(request.POST, "paid_seconds"),
    )
    if TaskSkip.objects.filter(task=reported, annotator=annotator).exists():
        if reported.batch.work == Batch.Work.DEMONSTRATION:
            return redirect("write", slug=reported.batch.project.slug)
        return onward(request, annotator)
    return JsonResponse({"ok": True}) if sent_by_script(request) else redirect("task", pk=pk)


@sent_by_the_page
@require_http_methods(["GET", "POST"])
def task_submit(request: HttpRequest, pk: int) -> HttpResponse:
    """Store the judgement and go to the next task; a form with problems comes back as it was, with status 422.

    In a two-stage task the ratings come first: they are kept as the draft, and the ranking is asked next.
    """
    if request.method == "GET":
        return redirect("task", pk=pk)
    annotator, submitted = annotator_for_task(request.user, pk)
    seating = seating_read(request.POST.get("seating", ""), task_id=pk, annotator_id=annotator.pk)
    fields = form_fields(request.POST)
    shown = task_shown(task_id=pk, annotator=annotator, posted=fields, first_seat=seating.first_seat)
    if not shown.texts:
        raise Http404  # it asks for an answer, not for a comparison
    if shown.sheet.stage == Stage.RANK and "back" in request.POST:
        return _stage_enter(request, annotator, shown, seating, Stage.RATE)
    reading = judgement_read(shown.sheet, fields, shown.texts)
    if reading.judgement is None:
        form = form_html(request, shown, seating=request.POST["seating"], problems=reading.problems)
        return task_page(request, submitted.batch.project, form, status=422)
    if shown.sheet.stage == Stage.RATE:
        return _stage_enter(request, annotator, shown, seating, Stage.RANK)
    annotation = annotation_submit(
        seating=seating,
        judgement=reading.judgement,
        protocol=shown.sheet.protocol,
        order_shown=shown.sheet.order,
        effort=effort_read(request.POST),
    )
    told = _("Your last answer came after its place was given to somebody else. It is kept, and its time is counted.")
    return onward(request, annotator, notice=told if annotation.surplus else "")


def effort_read(data: Mapping[str, Any]) -> Effort:
    """The seconds that the page counted."""
    stages = {stage: _number(data, f"active_{stage}") for stage in (Stage.RATE.value, Stage.RANK.value)}
    return Effort(
        active_seconds=_number(data, "active_seconds"),
        paid_seconds=_number(data, "paid_seconds"),
        by_stage={stage: seconds for stage, seconds in stages.items() if seconds is not None},
    )


def form_fields(data: Mapping[str, Any]) -> dict[str, str]:
    """What was entered into a posted form, without NUL, which PostgreSQL cannot store."""
    kept = [name for name in data if name not in APART]
    return {name.replace("\x00", ""): str(data[name]).replace("\x00", "") for name in kept[:DRAFT_FIELD_LIMIT]}


def _gone(annotator: Annotator, pk: int) -> str:
    if Annotation.objects.filter(annotator=annotator, task=pk).exists():
        return _("You have already submitted this task; here is your next one.")
    return _("This task went back to the queue; here is your next one.")


def _stage_enter(
    request: HttpRequest, annotator: Annotator, shown: TaskShown, seating: Seating, stage: Stage
) -> HttpResponse:
    revision = shown.draft.revision + 1 if shown.draft else 1
    draft_save(seating=seating, content={**shown.fields, "stage": stage.value}, revision=revision)
    return stage_show(request, annotator, shown.task.pk)


def _seats_state(renewal: Renewal, data: Mapping[str, Any]) -> dict[str, str]:
    """What the person has: the seat they work at, and the one reserved that their page knows of."""
    ahead = _number(data, "ahead")
    kept = "" if ahead is None else "kept" if renewal.ahead == ahead else "gone"
    return {"seat": "held" if renewal.seat else "given away", "ahead": kept}


def _note(request: HttpRequest) -> str:
    return str(request.POST.get("note", "")).replace("\x00", "").strip()


def _number(data: Mapping[str, Any], name: str) -> int | None:
    raw = str(data.get(name, ""))
    return int(raw) if raw.isdecimal() and len(raw) < 10 else None

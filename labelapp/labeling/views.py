"""The labeling page and what it sends: drafts, heartbeats, skips and submits."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import HttpResponseStopPolling

from labelapp.accounts.access import membership_for
from labelapp.errors import DomainError
from labelapp.labeling.judgement import Stage, judgement_read
from labelapp.labeling.page import page_context
from labelapp.labeling.seating import seating_new, seating_read, seating_sign
from labelapp.labeling.selectors import TaskShown, drafts_open, held_elsewhere, task_shown, task_waits
from labelapp.labeling.services.annotations import Effort, Seating, annotation_submit, draft_save
from labelapp.labeling.services.seats import seat_heartbeat, seat_take, task_skip
from labelapp.models import Annotator, ComparisonTask, Seat, TaskSkip, User

DRAFT_FIELD_LIMIT = 400
SIGNED_OUT = "You were signed out. Sign in again in another tab; your answer is kept here."
SURPLUS = "Your last answer came after its place was given to somebody else. It is kept, and its time is counted."


def annotator_for_task(user: User | AnonymousUser, task_id: int) -> tuple[Annotator, ComparisonTask]:
    """The user as annotator of the task's project, when they are a member in force. Raises Http404 otherwise."""
    task = get_object_or_404(ComparisonTask.objects.select_related("batch__project"), pk=task_id)
    membership = membership_for(user, task.batch.project.slug)
    return Annotator.objects.get(project=membership.project, user=membership.user), task


def sent_by_the_page(view: Callable[[HttpRequest, int], HttpResponse]) -> Callable[[HttpRequest, int], HttpResponse]:
    """For what the labeling page sends. Whoever was signed out meanwhile comes back to the task, not to its address.

    The page's script is answered 401 then, which unlike a redirect it can see; it keeps the form and tries again.
    """

    @login_not_required
    @wraps(view)
    def answered(request: HttpRequest, pk: int) -> HttpResponse:
        if request.user.is_authenticated:
            return view(request, pk)
        if request.headers.get("X-Requested-With") == "fetch":
            return JsonResponse({"problem": SIGNED_OUT}, status=401)
        return redirect_to_login(reverse("task", kwargs={"pk": pk}))

    return answered


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
    return _task_page(request, annotator, seat.task_id, seat)


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
    """A task that the person holds or left a draft on; anybody else's task does not exist for them."""
    annotator, _task = annotator_for_task(request.user, pk)
    seat = Seat.objects.filter(annotator=annotator, task=pk, state=Seat.State.HELD).first()
    if seat is None and not drafts_open(annotator=annotator).filter(task=pk).exists():
        raise Http404
    return _task_page(request, annotator, pk, seat)


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
            raise DomainError("This draft has no revision number. Reload the page; your last draft is kept.")
        seat = draft_save(seating=seating, content=_form_fields(request.POST), revision=revision)
    except DomainError as error:
        return JsonResponse({"problem": error.message}, status=error.status)
    return JsonResponse({"saved_at": timezone.now().isoformat(), "revision": revision, "seat": _seat_state(seat)})


@sent_by_the_page
@require_POST
def task_heartbeat(request: HttpRequest, pk: int) -> HttpResponse:
    """Keep the seat while somebody works."""
    annotator, _task = annotator_for_task(request.user, pk)
    idle_seconds = _number(request.POST, "idle_seconds") or 0
    seat = seat_heartbeat(annotator_id=annotator.pk, task_id=pk, idle_seconds=idle_seconds)
    return JsonResponse({"seat": _seat_state(seat)})


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
    note = request.POST.get("note", "").replace("\x00", "").strip()
    task_skip(annotator_id=annotator.pk, task=skipped, reason=reason, note=note)
    return redirect("label", slug=skipped.batch.project.slug)


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
    fields = _form_fields(request.POST)
    shown = task_shown(task_id=pk, annotator=annotator, posted=fields)
    if shown.sheet.stage == Stage.RANK and "back" in request.POST:
        return _stage_enter(shown, seating, Stage.RATE)
    reading = judgement_read(shown.sheet, fields)
    if reading.judgement is None:
        context = page_context(shown, problems=reading.problems, seating=request.POST["seating"])
        return render(request, "labeling/task.html", context, status=422)
    if shown.sheet.stage == Stage.RATE:
        return _stage_enter(shown, seating, Stage.RANK)
    annotation = annotation_submit(
        seating=seating,
        judgement=reading.judgement,
        protocol=shown.sheet.protocol,
        order_shown=shown.sheet.order,
        effort=Effort(_number(request.POST, "active_seconds"), _number(request.POST, "paid_seconds")),
    )
    if annotation.surplus:
        messages.info(request, SURPLUS)
    return redirect("label", slug=submitted.batch.project.slug)


def _stage_enter(shown: TaskShown, seating: Seating, stage: Stage) -> HttpResponse:
    revision = shown.draft.revision + 1 if shown.draft else 1
    draft_save(seating=seating, content={**shown.fields, "stage": stage.value}, revision=revision)
    return redirect("task", pk=shown.task.pk)


def _task_page(request: HttpRequest, annotator: Annotator, task_id: int, seat: Seat | None) -> HttpResponse:
    shown = task_shown(task_id=task_id, annotator=annotator)
    seating = seating_new(task_id=task_id, annotator_id=annotator.pk, seat=seat, draft=shown.draft)
    context = page_context(shown, problems={}, seating=seating_sign(seating))
    context["seat_lost"] = seat is None
    return render(request, "labeling/task.html", context)


def _form_fields(data: Mapping[str, Any]) -> dict[str, str]:
    """The judgement's fields of a posted form, without the slip, the token and NUL, which PostgreSQL cannot store."""
    kept = [name for name in data if name not in {"csrfmiddlewaretoken", "seating", "revision"}]
    return {name.replace("\x00", ""): str(data[name]).replace("\x00", "") for name in kept[:DRAFT_FIELD_LIMIT]}


def _seat_state(seat: Seat | None) -> str:
    return "held" if seat else "given away"


def _number(data: Mapping[str, Any], name: str) -> int | None:
    raw = str(data.get(name, ""))
    return int(raw) if raw.isdecimal() and len(raw) < 10 else None

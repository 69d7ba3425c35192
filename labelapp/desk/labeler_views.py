"""What labelers do here: ask about a task, look at their own work, and say where paid time is missing."""

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from labelapp.accounts.access import membership_for
from labelapp.desk import mine
from labelapp.desk.forms import DisputeForm
from labelapp.desk.services import answers_seen, dispute_make, inquiry_make
from labelapp.errors import DomainError
from labelapp.labeling.door import annotator_for_task, sent_by_the_page
from labelapp.labeling.seating import seating_read
from labelapp.models import Annotation, Annotator, Batch, ComparisonTask, Demonstration, Draft, Membership, Seat


@sent_by_the_page
@require_POST
def task_ask(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask the reviewers about a task that the person was shown; the seat stays theirs. Scripts are answered JSON."""
    annotator, task = annotator_for_task(request.user, pk)
    at_work = _at_work(annotator, task)
    if not at_work and not _was_shown(annotator, task, request.POST):
        raise Http404
    problem = None
    try:
        inquiry_make(annotator=annotator, task=task, text=request.POST.get("text", ""))
    except DomainError as error:
        problem = error
    if request.headers.get("X-Requested-With") == "fetch":
        answer = {"problem": problem.message} if problem else {"ok": True}
        return JsonResponse(answer, status=problem.status if problem else 200)
    if problem:
        messages.error(request, problem.message)
    else:
        messages.success(request, _("Your question is on its way. The answer comes under “My work”."))
    if not at_work:
        return redirect("my_work", slug=task.batch.project.slug)
    return redirect("write_task" if task.batch.work == Batch.Work.DEMONSTRATION else "task", pk=pk)


@never_cache
@require_GET
def my_work(request: HttpRequest, slug: str) -> HttpResponse:
    """One's own labels, questions, reports, skips and paid time; answers count as seen once they were shown here."""
    membership = membership_for(request.user, slug)
    return _my_work_page(request, membership, DisputeForm(initial=_day_chosen(request.GET)))


@require_POST
def dispute_create(request: HttpRequest, slug: str) -> HttpResponse:
    """Say that paid time is missing on a day."""
    membership = membership_for(request.user, slug)
    form = DisputeForm(request.POST)
    if form.is_valid():
        try:
            dispute_make(
                annotator=_own(membership),
                day=form.cleaned_data["day"],
                claimed_seconds=form.cleaned_data["minutes"] * 60,
                text=form.cleaned_data["text"],
            )
        except DomainError as refusal:
            form.add_error("day", refusal.message)
        else:
            messages.success(request, _("Noted. An admin looks at it, and the answer comes here."))
            return redirect(reverse("my_work", args=[slug]) + "#time")
    return _my_work_page(request, membership, form)


def _my_work_page(request: HttpRequest, membership: Membership, form: DisputeForm) -> HttpResponse:
    annotator = _own(membership)
    page, done = mine.work_done(annotator, request.GET.get("page"))
    context = {
        "membership": membership,
        "page_obj": page,
        "done": done,
        "inquiries": mine.inquiries_of(annotator),
        "reports": mine.reports_of(annotator),
        "skips": mine.skips_of(annotator),
        "disputes": mine.disputes_of(annotator),
        "days": mine.paid_days(annotator),
        "form": form,
    }
    if request.method == "GET":
        answers_seen(annotator=annotator)
    return render(request, "desk/my_work.html", context, status=422 if form.errors else 200)


def _own(membership: Membership) -> Annotator:
    return Annotator.objects.get(project=membership.project, user=membership.user)


def _day_chosen(fields: Mapping[str, Any]) -> dict[str, str]:
    return {"day": fields["day"]} if fields.get("day") else {}


def _at_work(annotator: Annotator, task: ComparisonTask) -> bool:
    """Whether the task's page opens for the person: it is theirs now, or they have begun it."""
    mine_now = {"annotator": annotator, "task": task}
    held = Seat.objects.filter(**mine_now, state=Seat.State.HELD)
    return held.exists() or Draft.objects.filter(**mine_now).exists()


def _was_shown(annotator: Annotator, task: ComparisonTask, fields: Mapping[str, Any]) -> bool:
    """Whether they submitted the task, or their page carries the slip of a seat that was given away meanwhile."""
    done = {"annotator": annotator, "task": task}
    if Annotation.objects.filter(**done).exists() or Demonstration.objects.filter(**done).exists():
        return True
    try:
        seating_read(fields.get("seating", ""), task_id=task.pk, annotator_id=annotator.pk)
    except DomainError:
        return False
    return True

"""The desk: what labelers reported, asked and disputed, and the decisions about it."""

from typing import Any, TypeVar

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from labelapp.accounts.access import membership_for
from labelapp.accounts.audit import audit_record
from labelapp.desk import mine, triage
from labelapp.desk.forms import AnswerForm, DisputeDecisionForm, ReportDecisionForm
from labelapp.desk.services import dispute_decide, inquiry_answer
from labelapp.errors import DomainError
from labelapp.labeling.services.reports import report_close
from labelapp.models import Inquiry, Membership, Report, Role, TimeDispute

Row = TypeVar("Row", Report, Inquiry)


@require_GET
def desk(request: HttpRequest, slug: str) -> HttpResponse:
    """Everything that waits for a decision, the longest waiting first. Disputes about pay are for admins only."""
    membership = membership_for(request.user, slug, at_least=Role.REVIEWER)
    context = {
        "membership": membership,
        "reports": triage.reports_open(membership.project),
        "inquiries": triage.inquiries_open(membership.project),
        "disputes": triage.disputes_open(membership.project) if membership.role == Role.ADMIN else None,
        "decided": triage.reports_decided(membership.project),
    }
    return render(request, "desk/desk.html", context)


@never_cache
@require_http_methods(["GET", "POST"])
def report(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """One report with its task, to decide. A veiled text is shown when asked for, and who asked is noted."""
    membership = membership_for(request.user, slug, at_least=Role.REVIEWER)
    found = get_object_or_404(_with_task(Report.objects.filter(project=membership.project)), pk=pk)
    prompt = found.task.prompt
    form = ReportDecisionForm(_decision(request), categories=triage.categories_to_add(prompt))
    if form.is_valid():
        try:
            report_close(
                report=found,
                state=Report.State(form.cleaned_data["state"]),
                actor=membership.user,
                answer=form.cleaned_data["answer"],
                sensitivity=form.cleaned_data["sensitivity"],
            )
        except DomainError as refusal:
            form.add_error(None, refusal.message)
        else:
            messages.success(request, "Decided. The person who reported it reads your answer under “My work”.")
            return redirect("desk", slug)
    context = {
        "membership": membership,
        "report": found,
        "skips": triage.skips_of_task(found),
        "form": form,
        **_task_context(request, membership, found, triage.veils(prompt, found.kind)),
    }
    return render(request, "desk/report.html", context, status=422 if form.errors else 200)


@never_cache
@require_http_methods(["GET", "POST"])
def inquiry(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """One question with its task, to answer; the answer may become a guideline example."""
    membership = membership_for(request.user, slug, at_least=Role.REVIEWER)
    questions = _with_task(Inquiry.objects.filter(task__batch__project=membership.project))
    found = get_object_or_404(questions, pk=pk)
    form = AnswerForm(_decision(request))
    if form.is_valid():
        title = form.cleaned_data["example_title"] or found.text
        example_title = " ".join(title.split())[:200] if form.cleaned_data["becomes_example"] else ""
        try:
            inquiry_answer(
                inquiry=found,
                actor=membership.user,
                answer=form.cleaned_data["answer"],
                example_title=example_title,
            )
        except DomainError as refusal:
            form.add_error(None, refusal.message)
        else:
            shared = " It stands in the guidelines as an example now." if example_title else ""
            messages.success(request, f"Answered.{shared}")
            return redirect("desk", slug)
    context = {
        "membership": membership,
        "inquiry": found,
        "form": form,
        **_task_context(request, membership, found, triage.veils(found.task.prompt)),
    }
    return render(request, "desk/inquiry.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
def dispute(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """One claim of missing time beside what was counted on that day, to decide."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    claims = TimeDispute.objects.filter(annotator__project=membership.project)
    found = get_object_or_404(claims.select_related("annotator__user", "closed_by"), pk=pk)
    form = DisputeDecisionForm(request.POST or None, initial={"minutes": round(found.claimed_seconds / 60)})
    if form.is_valid():
        try:
            decided = dispute_decide(
                dispute=found,
                actor=membership.user,
                granted_seconds=form.cleaned_data["minutes"] * 60,
                answer=form.cleaned_data["answer"],
            )
        except DomainError as refusal:
            form.add_error(None, refusal.message)
        else:
            messages.success(request, f"{decided.get_state_display()}. The person reads it under “My work”.")
            return redirect("desk", slug)
    context = {
        "membership": membership,
        "dispute": found,
        "form": form,
        "day": mine.paid_day(found.annotator, found.day),
    }
    return render(request, "desk/dispute.html", context, status=422 if form.errors else 200)


def _decision(request: HttpRequest) -> QueryDict | None:
    """What was posted to decide, not to lift the veil."""
    return request.POST if request.method == "POST" and "reveal" not in request.POST else None


def _with_task(rows: QuerySet[Row]) -> QuerySet[Row]:
    return rows.select_related("task__prompt", "task__batch__project", "task__batch__protocol", "annotator__user")


def _task_context(
    request: HttpRequest, membership: Membership, subject: Report | Inquiry, veils: list[str]
) -> dict[str, Any]:
    """The task for the template. A veiled text leaves the server only when it was asked for, and that is noted."""
    revealed = request.method == "POST" and "reveal" in request.POST
    if veils and revealed:
        audit_record(actor=membership.user, verb="task_reveal", subject=subject, project_id=membership.project_id)
    shown = triage.task_seen(subject.task, subject.annotator) if revealed or not veils else None
    return {"seen": shown, "veils": veils}

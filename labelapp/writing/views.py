"""Pages for writing: the ideal answer to a prompt, prompts by labelers, and what a project asks of them."""

import random
from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from labelapp.accounts.access import membership_for
from labelapp.errors import DomainError
from labelapp.labeling.door import annotator_for_task, sent_by_the_page
from labelapp.labeling.page import language_of
from labelapp.labeling.seating import seating_new, seating_read, seating_sign
from labelapp.labeling.selectors import drafts_open
from labelapp.labeling.services.annotations import Effort
from labelapp.labeling.services.seats import seat_take, task_skip
from labelapp.models import Annotator, Batch, ComparisonTask, Membership, Prompt, Report, Role, Seat, TaskSkip
from labelapp.writing.answers import TEXT_LIMIT, Reading, answer_read, said, words_count
from labelapp.writing.forms import FORMS, PromptForm, PromptsAskedForm
from labelapp.writing.selectors import (
    WritingShown,
    language_likely,
    length_guide,
    prompts_written,
    use_cases_of,
    writing_shown,
    written_for,
    written_recently,
)
from labelapp.writing.services import demonstration_correct, demonstration_submit, prompt_write, prompts_asked_set
from labelapp.writing.words import words

PAGE_SIZE = 25
FIELDS = ("answer", "pasted", "pasted_source", "pasted_asked", "active_seconds", "paid_seconds")


@never_cache
@require_GET
def write(request: HttpRequest, slug: str) -> HttpResponse:
    """Take the next prompt that waits for an ideal answer, or say that there is none and show what one wrote."""
    membership = membership_for(request.user, slug)
    annotator = _annotator_of(membership)
    seat = seat_take(annotator_id=annotator.pk, work=Batch.Work.DEMONSTRATION)
    if seat:
        return redirect("write_task", pk=seat.task_id)
    context = {"membership": membership, "written": written_recently(annotator=annotator)}
    return render(request, "writing/nothing.html", context)


@never_cache
@require_GET
def write_task(request: HttpRequest, pk: int) -> HttpResponse:
    """A task that the person holds or left a draft on. One that they answered leads to the correction of it."""
    annotator, task = _task_for(request, pk)
    if written_for(annotator=annotator, task=task):
        return redirect("write_correct", pk=pk)
    seat = Seat.objects.filter(annotator=annotator, task=pk, state=Seat.State.HELD).first()
    if seat is None and not drafts_open(annotator=annotator).filter(task=pk).exists():
        raise Http404
    shown = writing_shown(task_id=pk, annotator=annotator)
    seating = seating_new(task_id=pk, annotator_id=annotator.pk, seat=seat, draft=shown.draft)
    context = _context(shown, seating_sign(seating)) | {"seat_lost": seat is None}
    return render(request, "writing/task.html", context)


@sent_by_the_page
@require_http_methods(["GET", "POST"])
def write_submit(request: HttpRequest, pk: int) -> HttpResponse:
    """Store the answer and go to the next prompt; a form with problems comes back as it was, with status 422."""
    if request.method == "GET":
        return redirect("write_task", pk=pk)
    annotator, task = _task_for(request, pk)
    seating = seating_read(request.POST.get("seating", ""), task_id=pk, annotator_id=annotator.pk)
    fields = _fields(request)
    reading = answer_read(fields)
    if reading.problems or reading.asks_source:
        shown = writing_shown(task_id=pk, annotator=annotator, posted=fields)
        return _again(request, _context(shown, request.POST["seating"]), reading)
    demonstration = demonstration_submit(seating=seating, answer=reading.answer, effort=_effort(fields))
    if demonstration.surplus:
        messages.info(
            request,
            _("Your last answer came after its place was given to somebody else. It is kept, and its time is counted."),
        )
    return redirect("write", slug=task.batch.project.slug)


@sent_by_the_page
@require_http_methods(["GET", "POST"])
def write_skip(request: HttpRequest, pk: int) -> HttpResponse:
    """Pass on the prompt and go to the next."""
    if request.method == "GET":
        return redirect("write_task", pk=pk)
    annotator, task = _task_for(request, pk)
    seating_read(request.POST.get("seating", ""), task_id=pk, annotator_id=annotator.pk)
    raw = request.POST.get("reason", "")
    reason = TaskSkip.Reason(raw) if raw in TaskSkip.Reason.values else TaskSkip.Reason.OTHER
    note, paid_seconds = said(request.POST.get("note", "")).strip(), _number(_fields(request), "paid_seconds")
    task_skip(annotator_id=annotator.pk, task=task, reason=reason, note=note, paid_seconds=paid_seconds)
    return redirect("write", slug=task.batch.project.slug)


@sent_by_the_page
@never_cache
@require_http_methods(["GET", "POST"])
def write_correct(request: HttpRequest, pk: int) -> HttpResponse:
    """The person's answer as it stands, to be improved while it can be."""
    annotator, task = _task_for(request, pk)
    written = written_for(annotator=annotator, task=task)
    if written is None:
        raise Http404
    demonstration = written.demonstration
    fields = _fields(request) if request.method == "POST" else {"answer": demonstration.text}
    shown = writing_shown(task_id=pk, annotator=annotator, posted=fields)
    if request.method == "GET":
        seating = seating_new(task_id=pk, annotator_id=annotator.pk, seat=None, draft=None)
        context = _context(shown, seating_sign(seating)) | {"written": written}
        return render(request, "writing/task.html", context)
    seating = seating_read(request.POST.get("seating", ""), task_id=pk, annotator_id=annotator.pk)
    reading = answer_read(fields)
    if reading.problems or reading.asks_source:
        return _again(request, _context(shown, request.POST["seating"]) | {"written": written}, reading)
    demonstration_correct(seating=seating, answer=reading.answer, effort=_effort(fields))
    messages.success(request, _("Your correction is kept."))
    return redirect("write", slug=task.batch.project.slug)


@require_POST
def write_preview(request: HttpRequest, slug: str) -> HttpResponse:
    """What is being written, as others will see it."""
    membership_for(request.user, slug)
    return render(request, "writing/preview.html", {"text": said(request.POST.get("answer", ""))[:TEXT_LIMIT]})


@never_cache
@require_http_methods(["GET", "POST"])
def write_prompt(request: HttpRequest, slug: str) -> HttpResponse:
    """Write a prompt of one of the three kinds, and see those that one wrote."""
    membership = membership_for(request.user, slug)
    annotator = _annotator_of(membership)
    form = _prompt_form(request, membership, annotator)
    if request.method == "POST" and form.is_valid():
        try:
            prompt_write(annotator=annotator, draft=form.draft(), seconds=form.seconds)
        except DomainError as error:
            form.add_error(None, error.message)
        else:
            messages.success(request, _("Thank you, your prompt is kept. Another one?"))
            return redirect(f"{reverse('write_prompt', args=[slug])}?kind={form.kind.value}")
    page = Paginator(prompts_written(annotator=annotator), PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "membership": membership,
        "form": form,
        "kinds": Prompt.WrittenAs.choices,
        "page_obj": page,
        "words": words(),
    }
    return render(request, "writing/prompt.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
def write_settings(request: HttpRequest, slug: str) -> HttpResponse:
    """Say whether labelers may write prompts, and for which use cases."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    project = membership.project
    saved = {"asks_prompts": project.asks_prompts, "use_cases": project.use_cases}
    form = PromptsAskedForm(request.POST or None, initial=saved)
    if request.method == "POST" and form.is_valid():
        asks, lines = form.cleaned_data["asks_prompts"], form.lines()
        try:
            prompts_asked_set(project=project, asks=asks, use_cases=lines, actor=membership.user)
        except DomainError as error:
            form.add_error(None, error.message)
        else:
            messages.success(request, "Saved.")
            return redirect("write_settings", slug=slug)
    context = {"membership": membership, "form": form}
    return render(request, "writing/settings.html", context, status=422 if form.errors else 200)


def _annotator_of(membership: Membership) -> Annotator:
    return Annotator.objects.get(project=membership.project, user=membership.user)


def _task_for(request: HttpRequest, pk: int) -> tuple[Annotator, ComparisonTask]:
    """The user as annotator of a task whose answer is to be written. Raises Http404 for others."""
    annotator, task = annotator_for_task(request.user, pk)
    if task.batch.work != Batch.Work.DEMONSTRATION:
        raise Http404
    return annotator, task


def _prompt_form(request: HttpRequest, membership: Membership, annotator: Annotator) -> PromptForm:
    """The form of the kind that was chosen. Who writes for a use case is shown one of the project's by chance."""
    cases = use_cases_of(membership.project)
    kind = request.GET.get("kind", "")
    if kind not in FORMS or (kind == Prompt.WrittenAs.USER_BASED and not cases):
        kind = Prompt.WrittenAs.PLAIN.value
    use_case = ""
    if kind == Prompt.WrittenAs.USER_BASED:
        use_case = said(request.POST.get("use_case", "")) or random.choice(cases)  # noqa: S311 (a draw, no secret)
    initial = {"language": language_likely(annotator)}
    return FORMS[kind](request.POST or None, annotator=annotator, use_case=use_case, initial=initial)


def _context(shown: WritingShown, seating: str) -> dict[str, Any]:
    """Everything `writing/task.html` shows."""
    prompt, batch = shown.task.prompt, shown.task.batch
    return {
        "task": shown.task,
        "project": batch.project,
        "protocol": batch.protocol,
        "messages_shown": prompt.messages,
        "text_language": language_of(prompt),
        "sensitivity": shown.sensitivity,
        "fields": shown.fields,
        "count": words_count(shown.fields.get("answer", "")),
        "guide": length_guide(prompt),
        "limit": TEXT_LIMIT,
        "seating": seating,
        "revision": shown.draft.revision if shown.draft else 0,
        "skip_reasons": [choice for choice in TaskSkip.Reason.choices if choice[0] != TaskSkip.Reason.REPORTED],
        "report_kinds": [choice for choice in Report.Kind.choices if choice[0] != Report.Kind.SKIPS],
        "words": words(),
    }


def _again(request: HttpRequest, context: dict[str, Any], reading: Reading) -> HttpResponse:
    """The form as it was sent, with what has to be looked at."""
    problems = list(reading.problems.values())
    context |= {"problems": problems, "asks_source": reading.asks_source, "bad": reading.problems}
    return render(request, "writing/task.html", context, status=422)


def _fields(request: HttpRequest) -> dict[str, str]:
    return {name: request.POST[name] for name in FIELDS if name in request.POST}


def _effort(fields: Mapping[str, str]) -> Effort:
    return Effort(active_seconds=_number(fields, "active_seconds"), paid_seconds=_number(fields, "paid_seconds"))


def _number(fields: Mapping[str, str], name: str) -> int | None:
    raw = fields.get(name, "")
    return int(raw) if raw.isdecimal() and len(raw) < 10 else None

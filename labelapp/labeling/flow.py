"""From one task to the next: the form of a seat, and the answer to what ends a task."""

from urllib.parse import quote

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.safestring import SafeString

from labelapp.accounts.shortcuts import shortcuts_of
from labelapp.labeling.door import sent_by_script
from labelapp.labeling.fragments import form_html
from labelapp.labeling.seating import seating_new, seating_sign
from labelapp.labeling.selectors import task_shown
from labelapp.labeling.services.seats import seat_onward, seat_take
from labelapp.labeling.words import words
from labelapp.models import Annotator, Project, Seat


def task_form(request: HttpRequest, annotator: Annotator, task_id: int, seat: Seat | None) -> SafeString:
    """The form of a task, as the person's draft left it, with a fresh slip. Without a seat it says that it was lost."""
    shown = task_shown(task_id=task_id, annotator=annotator)
    seating = seating_new(
        task_id=task_id,
        annotator_id=annotator.pk,
        seat=seat,
        draft=shown.draft,
        first_seat=shown.sheet.first_seat,
    )
    return form_html(request, shown, seating=seating_sign(seating), seat_lost=seat is None)


def task_page(request: HttpRequest, project: Project, form: SafeString, *, status: int = 200) -> HttpResponse:
    """The whole labeling page around a form."""
    context = {"project": project, "form": form, "words": words(), "shortcuts": shortcuts_of(request.user)}
    return render(request, "labeling/task.html", context, status=status)


def onward(request: HttpRequest, annotator: Annotator, *, notice: str = "") -> HttpResponse:
    """The answer after a task is done with: to the next one.

    A browser is sent to the label page. The script says which task it has `ahead`: when that is held now, the answer is
    the form of the one after it, else that of the task held instead; X-Show says which of the two it is.
    """
    if not sent_by_script(request):
        if notice:
            messages.info(request, notice)
        return redirect("label", slug=annotator.project.slug)
    raw = request.POST.get("ahead", "")
    ahead = int(raw) if raw.isdecimal() and len(raw) < 19 else None
    shown, seat = seat_onward(annotator_id=annotator.pk, task_id=ahead) if ahead else (None, None)
    how = "ahead"
    if shown is None:
        seat = seat_take(annotator_id=annotator.pk)
        how = "body" if seat else "none"
        if notice:
            messages.info(request, notice)  # the page that it goes to shows it
    response = HttpResponse(task_form(request, annotator, seat.task_id, seat) if seat else "")
    return _told(response, how, notice)


def stage_show(request: HttpRequest, annotator: Annotator, task_id: int) -> HttpResponse:
    """The answer when a task goes into its other stage."""
    if not sent_by_script(request):
        return redirect("task", pk=task_id)
    seat = Seat.objects.filter(annotator=annotator, task=task_id, state=Seat.State.HELD).first()
    return _told(HttpResponse(task_form(request, annotator, task_id, seat)), "body", "")


def _told(response: HttpResponse, how: str, notice: str) -> HttpResponse:
    response["X-Show"] = how
    response["Cache-Control"] = "no-store"
    if notice:
        response["X-Notice"] = quote(notice)
    return response

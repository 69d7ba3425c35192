"""The words in which two completions of a task differ, for whoever works on it."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from labelapp.errors import DomainError
from labelapp.labeling.door import annotator_for_task
from labelapp.labeling.page import language_of
from labelapp.labeling.presentation import LETTERS
from labelapp.labeling.selectors import task_shown
from labelapp.labeling.word_diff import word_diff
from labelapp.models import Annotation, Annotator, Draft, Seat
from labelapp.prompts.hidden_characters import reveal_hidden

MINE = [Seat.State.HELD, Seat.State.RESERVED]


@never_cache
@require_GET
def task_diff(request: HttpRequest, pk: int) -> HttpResponse:
    """Two completions by the letters under which this person sees them, as a fragment for the panel of the page."""
    annotator, _task = annotator_for_task(request.user, pk)
    if not _works_on(annotator, pk):
        raise Http404
    shown = task_shown(task_id=pk, annotator=annotator)
    texts = dict(zip(LETTERS, shown.texts, strict=False))
    first, second = request.GET.get("a", ""), request.GET.get("b", "")
    if first == second or not {first, second} <= texts.keys():
        raise DomainError(_("Name two different completions of this task by their letters, as in A and B."))
    diff = word_diff(reveal_hidden(texts[first]), reveal_hidden(texts[second]))
    context = {"diff": diff, "first": first, "second": second, "text_language": language_of(shown.task.prompt)}
    return render(request, "labeling/diff.html", context)


def _works_on(annotator: Annotator, task_id: int) -> bool:
    seats = Seat.objects.filter(annotator=annotator, task=task_id, state__in=MINE)
    written = (kind.objects.filter(annotator=annotator, task=task_id) for kind in (Draft, Annotation))
    return seats.exists() or any(rows.exists() for rows in written)

"""Pages about batches, for admins (and to look at, for reviewers)."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from labelapp.accounts.access import membership_for
from labelapp.errors import DomainError
from labelapp.labeling.forms import BatchForm
from labelapp.labeling.selectors import batch_progress, build_broken, build_last, labels_by_person
from labelapp.labeling.services.batches import ALLOWED, batch_build_continue, batch_create, batch_transition
from labelapp.models import Batch, Role

PAGE_SIZE = 25
NOUNS = {
    Batch.Work.COMPARISON: {"many": "Labels", "who": "Who labelled"},
    Batch.Work.DEMONSTRATION: {"many": "Demonstrations", "who": "Who wrote"},
}
TRANSITION_WORDS = {
    Batch.State.OPEN: "Open for labeling",
    Batch.State.PAUSED: "Pause",
    Batch.State.CLOSED: "Close for good",
}


@require_GET
def batches(request: HttpRequest, slug: str) -> HttpResponse:
    """The batches of a project with their progress, newest first."""
    membership = membership_for(request.user, slug, at_least=Role.REVIEWER)
    found = Batch.objects.filter(project=membership.project).select_related("protocol").order_by("-pk")
    page = Paginator(found, PAGE_SIZE).get_page(request.GET.get("page"))
    progress = batch_progress(Batch.objects.filter(pk__in=[batch.pk for batch in page]))
    context = {"membership": membership, "page_obj": page, "rows": [(batch, progress[batch.pk]) for batch in page]}
    return render(request, "labeling/batches.html", context)


@require_http_methods(["GET", "POST"])
def batch_create_view(request: HttpRequest, slug: str) -> HttpResponse:
    """Make a batch from prompts that are there."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    form = BatchForm(request.POST or None, project=membership.project)
    if request.method == "POST" and form.is_valid():
        try:
            _batch, job = batch_create(
                project=membership.project,
                protocol=form.cleaned_data["protocol"],
                plan=form.plan(),
                choice=form.choice(),
                open_when_made=form.cleaned_data["open_when_made"],
                actor=membership.user,
            )
        except DomainError as error:
            form.add_error(None, error.message)
        else:
            return redirect("job", pk=job.pk)
    context = {"membership": membership, "form": form}
    return render(request, "labeling/batch_create.html", context, status=422 if form.errors else 200)


@require_GET
def batch(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """One batch: what it asks, how far it is, who labelled."""
    membership = membership_for(request.user, slug, at_least=Role.REVIEWER)
    found = get_object_or_404(Batch.objects.select_related("protocol"), pk=pk, project=membership.project)
    job = build_last(found)
    context = {
        "membership": membership,
        "batch": found,
        "nouns": NOUNS[Batch.Work(found.work)],
        "shared_percent": round(found.shared_share * 100),
        "progress": batch_progress(Batch.objects.filter(pk=found.pk))[found.pk],
        "people": labels_by_person(found),
        "job": job,
        "can_finish": build_broken(found, job) is not None,
        "transitions": [
            (to, TRANSITION_WORDS[to]) for to in TRANSITION_WORDS if to in ALLOWED[Batch.State(found.state)]
        ],
    }
    return render(request, "labeling/batch.html", context)


@require_POST
def batch_state(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Open, pause or close a batch."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    found = get_object_or_404(Batch, pk=pk, project=membership.project)
    wanted = request.POST.get("to", "")
    if wanted not in TRANSITION_WORDS:
        raise DomainError("Choose to open, pause or close the batch.")
    changed = batch_transition(batch=found, to=Batch.State(wanted), actor=membership.user)
    messages.success(request, f"“{changed.name}” is now {changed.get_state_display().lower()}.")
    return redirect("batch", slug=slug, pk=pk)


@require_POST
def batch_build(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Make the tasks that a failed or stopped job left to make."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    found = get_object_or_404(Batch, pk=pk, project=membership.project)
    job = batch_build_continue(batch=found, actor=membership.user)
    return redirect("job", pk=job.pk)

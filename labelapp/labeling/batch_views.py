"""Pages about batches, for admins (and to look at, for reviewers)."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from labelapp.accounts.access import membership_for
from labelapp.errors import DomainError
from labelapp.labeling.forms import BatchForm
from labelapp.labeling.selectors import batch_progress, labels_by_person
from labelapp.labeling.services.batches import ALLOWED, batch_create, batch_transition
from labelapp.models import Batch, Job, Role

TRANSITION_WORDS = {
    Batch.State.OPEN: "Open for labeling",
    Batch.State.PAUSED: "Pause",
    Batch.State.CLOSED: "Close for good",
}


@require_GET
def batches(request: HttpRequest, slug: str) -> HttpResponse:
    """All batches of a project with their progress."""
    membership = membership_for(request.user, slug, at_least=Role.REVIEWER)
    found = Batch.objects.filter(project=membership.project).select_related("protocol").order_by("-created_at")
    progress = batch_progress(found)
    rows = [(batch, progress[batch.pk]) for batch in found]
    context = {"membership": membership, "rows": rows}
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
    context = {
        "membership": membership,
        "batch": found,
        "shared_percent": round(found.shared_share * 100),
        "progress": batch_progress(Batch.objects.filter(pk=found.pk))[found.pk],
        "people": labels_by_person(found),
        "job": Job.objects.filter(project=membership.project, kind="batch_build", payload__batch=found.pk).first(),
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

"""Pages of snapshots: admins make them, reviewers look at them."""

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from labelapp.accounts.access import membership_for
from labelapp.artifacts.services import artifact_localise
from labelapp.datasets import selectors
from labelapp.datasets.snapshot_diff import snapshot_diff as diff_of
from labelapp.datasets.snapshot_forms import FreezeForm
from labelapp.datasets.snapshots import snapshot_freeze
from labelapp.errors import DomainError
from labelapp.models import Role, Snapshot
from trainer.records import MANIFEST, SPLITS, TABLES

PAGE_SIZE = 25
OTHERS_SHOWN = 20
DIFF_ROWS = 50_000
"""A page compares snapshots of up to so many rows each; it reads and verifies all of both while somebody waits."""


@require_GET
def snapshots(request: HttpRequest, slug: str) -> HttpResponse:
    """The project's snapshots, newest first."""
    membership = membership_for(request.user, slug, at_least=Role.REVIEWER)
    page = Paginator(selectors.snapshots_of(membership.project), PAGE_SIZE).get_page(request.GET.get("page"))
    running = list(selectors.freezes_running(membership.project))
    context = {"membership": membership, "page_obj": page, "running": running}
    return render(request, "datasets/snapshots.html", context)


@require_http_methods(["GET", "POST"])
def snapshot_create(request: HttpRequest, slug: str) -> HttpResponse:
    """Choose which labels to freeze; it is done in the background."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    form = FreezeForm(request.POST if request.method == "POST" else None, project=membership.project)
    if form.is_valid():
        options = form.cleaned_data["options"]
        try:
            job = snapshot_freeze(project=membership.project, options=options, created_by=membership.user)
        except DomainError as error:
            form.add_error(None, error.message)
        else:
            return redirect("job", pk=job.pk)
    context = {"membership": membership, "form": form}
    return render(request, "datasets/snapshot_create.html", context, status=422 if form.errors else 200)


@require_GET
def snapshot(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """One snapshot: what is in it, what is not, and why."""
    membership = membership_for(request.user, slug, at_least=Role.REVIEWER)
    found = selectors.snapshot_of(membership.project, pk)
    splits = found.counts.get("splits", {})
    tables = [
        (table, found.counts.get(table, 0), [splits.get(table, {}).get(s, 0) for s in SPLITS]) for table in TABLES
    ]
    context = {
        "membership": membership,
        "snapshot": found,
        "options": selectors.options_in_words(found),
        "tables": tables,
        "splits": SPLITS,
        "left_out": selectors.left_out_in_words(found),
        "demonstrations_left_out": selectors.left_out_in_words(found, "demonstrations_left_out"),
        "others": selectors.snapshots_of(membership.project).exclude(pk=found.pk)[:OTHERS_SHOWN],
    }
    return render(request, "datasets/snapshot.html", context)


@require_GET
def snapshot_manifest(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The manifest, as a file."""
    membership = membership_for(request.user, slug, at_least=Role.REVIEWER)
    found = selectors.snapshot_of(membership.project, pk)
    content = (artifact_localise(found.folder) / MANIFEST).read_bytes()
    name = f"snapshot-{found.digest[:8]}-{MANIFEST}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(content, content_type="application/json", headers=headers)


@require_GET
def snapshot_diff(request: HttpRequest, slug: str, pk: int, other: int) -> HttpResponse:
    """What changed from the other snapshot to this one, and why."""
    membership = membership_for(request.user, slug, at_least=Role.REVIEWER)
    found = selectors.snapshot_of(membership.project, pk)
    earlier = selectors.snapshot_of(membership.project, other)
    _size_check(membership.project.slug, earlier, found)
    diff = diff_of(earlier, found)
    return render(request, "datasets/snapshot_diff.html", {"membership": membership, "snapshot": found, "diff": diff})


def _size_check(slug: str, first: Snapshot, second: Snapshot) -> None:
    rows = max(sum(snapshot.counts.get(table, 0) for table in TABLES) for snapshot in (first, second))
    if rows > DIFF_ROWS:
        command = f"manage.py snapshot diff --project {slug} {first.digest[:12]} {second.digest[:12]}"
        raise DomainError(
            f"These snapshots are too large to compare on a page: one has {rows:,} rows, and a page takes {DIFF_ROWS:,}"
            f" at most. Compare them on the server, with `python {command}`."
        )

"""Pages of jobs, for admins."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from labelapp.accounts.access import job_for, membership_for
from labelapp.jobs import services
from labelapp.jobs.selectors import job_version, jobs_of
from labelapp.models import Role

PAGE_SIZE = 50
STOP_POLLING = 286
"""The status that tells htmx to ask no more."""


@require_GET
def jobs(request: HttpRequest, slug: str) -> HttpResponse:
    """The project's jobs, newest first."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    page = Paginator(jobs_of(membership.project), PAGE_SIZE).get_page(request.GET.get("page"))
    return render(request, "jobs/jobs.html", {"membership": membership, "page_obj": page})


@require_GET
def job(request: HttpRequest, pk: int) -> HttpResponse:
    """One job and how far it has come."""
    found = job_for(request.user, pk)
    membership = membership_for(request.user, found.project.slug)
    context = {"membership": membership, "job": found, "version": job_version(found)}
    return render(request, "jobs/job.html", context)


@require_GET
def job_progress(request: HttpRequest, pk: int) -> HttpResponse:
    """The changing part of a job's page, for polling: 204 when it has not changed, 286 when it never will again."""
    found = job_for(request.user, pk)
    version = job_version(found)
    if request.GET.get("seen") == version and not found.is_finished:
        return HttpResponse(status=204)
    status = STOP_POLLING if found.is_finished else 200
    return render(request, "jobs/progress.html", {"job": found, "version": version}, status=status)


@require_POST
def job_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Stop a job."""
    found = job_for(request.user, pk)
    membership = membership_for(request.user, found.project.slug)
    services.job_cancel(job=found, actor=membership.user)
    messages.success(request, f"“{found.title}” stops as soon as it can.")
    return redirect("job", found.pk)

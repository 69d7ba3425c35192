"""Pages about sampling from models: admins start it, reviewers look at what came."""

from pathlib import PurePath

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from labelapp.accounts.access import membership_for
from labelapp.errors import DomainError
from labelapp.generation.forms import ModelForm, SamplingForm
from labelapp.generation.model_versions import model_version_base
from labelapp.generation.sampling import completions_sample
from labelapp.generation.selectors import completions_sampled, model_shares, samplings_of
from labelapp.jobs.selectors import job_version
from labelapp.models import Role

PAGE_SIZE = 25
COMPLETIONS_PER_PAGE = 24


@require_GET
def samplings(request: HttpRequest, slug: str) -> HttpResponse:
    """What was sampled so far, newest first."""
    membership = membership_for(request.user, slug, at_least=Role.REVIEWER)
    page = Paginator(samplings_of(membership.project), PAGE_SIZE).get_page(request.GET.get("page"))
    return render(request, "generation/samplings.html", {"membership": membership, "page_obj": page})


@require_http_methods(["GET", "POST"])
def sampling_create(request: HttpRequest, slug: str) -> HttpResponse:
    """Ask models for completions."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    project = membership.project
    chosen = [int(pk) for pk in request.GET.getlist("model") if pk.isdecimal() and len(pk) < 19]
    # With the seed of an earlier sampling, a model would write the same answers again.
    form = SamplingForm(
        request.POST if request.method == "POST" else None,
        project=project,
        chosen=chosen,
        seed=samplings_of(project).count(),
    )
    if request.method == "POST" and form.is_valid():
        asked = form.asked()
        try:
            job = completions_sample(
                project=project,
                model_versions=list(asked),
                choice=form.choice(),
                options=form.options(),
                created_by=membership.user,
                n_by_model={model.pk: number for model, number in asked.items()},
            )
        except DomainError as error:
            form.add_error(None, error.message)
        else:
            return redirect("sampling", slug, job.pk)
    is_refused = request.method == "POST"
    context = {"membership": membership, "form": form}
    return render(request, "generation/sampling_create.html", context, status=422 if is_refused else 200)


@require_GET
def sampling(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """One sampling: how far it is, what was asked, and the completions that are there."""
    membership = membership_for(request.user, slug, at_least=Role.REVIEWER)
    job = get_object_or_404(samplings_of(membership.project).select_related("project"), pk=pk)
    page = Paginator(completions_sampled(job), COMPLETIONS_PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "membership": membership,
        "job": job,
        "version": job_version(job),
        "page_obj": page,
        "shares": model_shares(job),
        "choice": job.payload["choice"],
        "options": {name: value for name, value in job.payload["options"].items() if name != "n"},
    }
    return render(request, "generation/sampling.html", context)


@require_http_methods(["GET", "POST"])
def model_create(request: HttpRequest, slug: str) -> HttpResponse:
    """Register a base model; the one that this site offers with one click."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    form = ModelForm(request.POST if request.method == "POST" else None, actor=membership.user)
    if request.method == "POST" and form.is_valid():
        try:
            model = model_version_base(project=membership.project, actor=membership.user, **form.cleaned_data)
        except DomainError as error:
            form.add_error(None, error.message)
        else:
            messages.success(request, f"“{model.name}” is registered. Completions can be sampled from it now.")
            return redirect(f"{reverse('sampling_create', args=[slug])}?model={model.pk}")
    is_refused = request.method == "POST"
    offered = settings.BASE_MODEL
    context = {"membership": membership, "form": form, "offered": offered, "offered_name": PurePath(offered).name}
    return render(request, "generation/model_create.html", context, status=422 if is_refused else 200)

"""Pages of runs and models, for admins (and to look at, for reviewers)."""

import json

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from labelapp.accounts.access import membership_for
from labelapp.artifacts.archives import folder_response
from labelapp.errors import DomainError
from labelapp.models import Membership, ModelVersion, Role, Run, RunKind
from labelapp.training import comparing, scoring, services
from labelapp.training.commands import command_of
from labelapp.training.evaluation import report_of
from labelapp.training.forms import RUN_FORMS, CombineForm, RunForm, ScoreForm
from labelapp.training.selectors import (
    card_of,
    flat,
    lineage_of,
    members_of,
    members_with,
    models_made_from,
    models_of,
    options_ordered,
    run_version,
    run_view,
    runs_of,
    scores_of,
)
from labelapp.training.sizes import number_words, parameter_count

PAGE_SIZE = 25
STOP_POLLING = 286
"""The status that tells htmx to ask no more."""


@require_GET
def runs(request: HttpRequest, slug: str) -> HttpResponse:
    """The project's runs, newest first."""
    membership = membership_for(request.user, slug, at_least=Role.REVIEWER)
    rows = runs_of(membership.project).prefetch_related(members_with())
    page = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    live = any(not run.job.is_finished for run in page)
    return render(request, "training/runs.html", {"membership": membership, "page_obj": page, "live": live})


@require_http_methods(["GET", "POST"])
def run_create(request: HttpRequest, slug: str) -> HttpResponse:
    """Start a run; `?kind=` says which kind the form is for."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    kind = _kind(request.GET.get("kind", RunKind.REWARD))
    names = ("snapshot", "start", "model_1")
    initial = {name: request.GET[name] for name in names if request.GET.get(name, "").isdigit()}
    form = RUN_FORMS.get(kind, RunForm)(
        request.POST if request.method == "POST" else None, initial=initial, project=membership.project, kind=kind
    )
    if request.method == "POST" and form.is_valid():
        try:
            made = _begin(form, membership)
        except DomainError as error:
            form.add_error(None, error.message)
        else:
            return redirect("run", slug=slug, pk=made.pk)
    context = {"membership": membership, "form": form, "kind": kind, "kinds": RunKind.choices}
    return render(request, "training/run_create.html", context, status=422 if form.errors else 200)


@require_GET
def run_suggested(request: HttpRequest, slug: str) -> HttpResponse:
    """What suits the starting model that was just chosen: a sentence, and the fields that nobody had written in."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    kind, given = _kind(request.GET.get("kind", RunKind.REWARD)), request.GET.dict()
    if kind in RUN_FORMS:
        raise Http404
    form = RunForm(project=membership.project, kind=kind)
    changed = [form[name].as_widget(attrs={"hx-swap-oob": "true"}) for name in form.refresh(given)]
    context = {"membership": membership, "form": form, "kind": kind, "changed": changed}
    return render(request, "training/suggestion.html", context)


@require_GET
def run(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """One run: how far it is, what it measures, what it was made from."""
    membership = membership_for(request.user, slug, at_least=Role.REVIEWER)
    found = get_object_or_404(runs_of(membership.project).select_related("reference"), pk=pk)
    context = {
        "membership": membership,
        "view": run_view(found),
        "run": found,
        "members": members_of(found),
        "version": run_version(found),
        "report": report_of(found.report),
        "options": flat(options_ordered(found)),
        "command": command_of(found),
        "has_card": bool(found.result and card_of(found.result)),
        "config": flat(found.config.get("resolved", {})),
    }
    return render(request, "training/run.html", context)


@require_GET
def run_progress(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The changing part of a run's page, for polling: 204 when it has not changed, 286 when it never will again."""
    membership = membership_for(request.user, slug, at_least=Role.REVIEWER)
    found = get_object_or_404(runs_of(membership.project), pk=pk)
    version = run_version(found)
    if request.GET.get("seen") == version and not found.job.is_finished:
        return HttpResponse(status=204)
    context = {
        "membership": membership,
        "view": run_view(found),
        "run": found,
        "version": version,
        "report": report_of(found.report),
    }
    status = STOP_POLLING if found.job.is_finished else 200
    return render(request, "training/progress.html", context, status=status)


@require_GET
def runs_compare(request: HttpRequest, slug: str) -> HttpResponse:
    """Two to six runs beside each other: `?run=1&run=2`."""
    membership = membership_for(request.user, slug, at_least=Role.REVIEWER)
    chosen = list(dict.fromkeys(int(pk) for pk in request.GET.getlist("run") if pk.isdecimal() and len(pk) < 19))
    found = runs_of(membership.project).select_related("reference").prefetch_related(members_with())
    rows = found.in_bulk(chosen)
    if len(rows) < len(chosen):
        raise Http404
    is_enough = comparing.LEAST <= len(chosen) <= comparing.MOST
    comparison = comparing.comparison_make([rows[pk] for pk in chosen]) if is_enough else None
    context = {"membership": membership, "comparison": comparison, "chosen": len(chosen), "most": comparing.MOST}
    return render(request, "training/compare.html", context)


@require_GET
def run_report(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """What the trainer measured, as it wrote it."""
    membership = membership_for(request.user, slug, at_least=Role.REVIEWER)
    found = get_object_or_404(Run.objects.exclude(report={}), pk=pk, project=membership.project)
    text = json.dumps(found.report, ensure_ascii=False, indent=1)
    return _download(text, "application/json", f"{found.name}-report.json")


@require_POST
def run_resume(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Go on with a run that failed or was stopped."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    found = get_object_or_404(Run, pk=pk, project=membership.project)
    services.run_resume(run=found, actor=membership.user)
    where = "begins again" if found.kind == RunKind.COMBINE else "goes on from its last checkpoint"
    messages.success(request, f"“{found.name}” {where}.")
    return redirect("run", slug=slug, pk=pk)


@require_GET
def models(request: HttpRequest, slug: str) -> HttpResponse:
    """The project's models and other writers of completions, newest first."""
    membership = membership_for(request.user, slug, at_least=Role.REVIEWER)
    rows = models_of(membership.project).prefetch_related(members_with("made_by__members"))
    page = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    return render(request, "training/models.html", {"membership": membership, "page_obj": page})


@require_GET
def model(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """One model: where it came from, what came from it."""
    membership = membership_for(request.user, slug, at_least=Role.REVIEWER)
    found = get_object_or_404(models_of(membership.project).select_related("weights"), pk=pk)
    made_by = runs_of(membership.project).filter(result=found).first()
    context = {
        "membership": membership,
        "model": found,
        "made_by": made_by,
        "lineage": lineage_of(found),
        "members": members_of(made_by) if made_by else [],
        "children": models_made_from(found),
        "parameters": number_words(count) if (count := parameter_count(found)) else "",
        "report": report_of(made_by.report) if made_by else None,
        "config": flat(options_ordered(made_by)) if made_by else [],
        "has_card": bool(card_of(found)),
        "scores": scores_of(found),
        "can_score": found.kind == ModelVersion.Kind.REWARD and found.state == ModelVersion.State.READY,
        "form": ScoreForm(project=membership.project),
    }
    return render(request, "training/model.html", context)


@require_GET
def model_card(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The model card that lies beside the weights."""
    membership = membership_for(request.user, slug, at_least=Role.REVIEWER)
    found = get_object_or_404(models_of(membership.project).select_related("weights"), pk=pk)
    text = card_of(found)
    if not text:
        raise Http404
    return _download(text, "text/markdown; charset=utf-8", f"{found.name}-card.md")


@require_GET
def model_files(request: HttpRequest, slug: str, pk: int) -> HttpResponseBase:
    """The folder of a model that was made here, as one tar file."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    found = get_object_or_404(ModelVersion, pk=pk, project=membership.project, weights__isnull=False)
    return folder_response(request, found.weights)  # type: ignore[arg-type]


@require_POST
def model_score(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Have a reward model score completions."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    found = get_object_or_404(ModelVersion, pk=pk, project=membership.project)
    form = ScoreForm(request.POST, project=membership.project)
    if not form.is_valid():
        raise DomainError("Choose one of the project's batches, or all completions.")
    job = scoring.completions_score(
        reward=found, batch=form.cleaned_data["batch"], project=membership.project, created_by=membership.user
    )
    return redirect("job", pk=job.pk)


def _begin(form: RunForm | CombineForm, membership: Membership) -> Run:
    """Start what a form that is valid asks for."""
    asked = form.cleaned_data
    if isinstance(form, CombineForm):
        return services.run_combine(
            project=membership.project,
            name=asked["name"],
            members=form.members,
            snapshot=asked["snapshot"],
            options=form.options(),
            created_by=membership.user,
        )
    return services.run_start(
        project=membership.project,
        kind=form.kind,
        name=asked["name"],
        snapshot=asked["snapshot"],
        start=asked["start"],
        reference=asked.get("reference"),
        options=form.options(),
        created_by=membership.user,
    )


def _download(text: str, content_type: str, name: str) -> HttpResponse:
    disposition = content_disposition_header(as_attachment=True, filename=name) or "attachment"
    return HttpResponse(text, content_type=content_type, headers={"Content-Disposition": disposition})


def _kind(value: str) -> RunKind:
    if value not in RunKind.values:
        raise Http404
    return RunKind(value)

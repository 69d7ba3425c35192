"""Pages of projects and their protocols."""

from dataclasses import replace
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from labelapp.accounts.access import membership_for, site_admin_require
from labelapp.desk.selectors import home_of
from labelapp.errors import ConflictError
from labelapp.labeling.selectors import batch_progress
from labelapp.models import Protocol, Question, Role
from labelapp.projects import selectors, services
from labelapp.projects.defaults import DEFAULT_PROTOCOL
from labelapp.projects.editor import ProtocolEditor
from labelapp.projects.forms import ProjectForm
from labelapp.projects.specs import spec_of


@require_GET
def projects(request: HttpRequest) -> HttpResponse:
    """The person's projects."""
    return render(request, "projects/projects.html", {"memberships": selectors.memberships_with_counts(request.user)})


@require_http_methods(["GET", "POST"])
def project_create(request: HttpRequest) -> HttpResponse:
    """Start a project. For site administrators."""
    user = site_admin_require(request.user)
    form = ProjectForm(request.POST or None)
    if form.is_valid():
        project = services.project_create(created_by=user, **form.cleaned_data)
        messages.success(request, f"{project.name} is ready. Next: import prompts, and invite people.")
        return redirect("project", project.slug)
    return render(request, "projects/project_form.html", {"form": form}, status=422 if form.errors else 200)


@require_GET
def project(request: HttpRequest, slug: str) -> HttpResponse:
    """How a project stands; a labeler sees their own part of it."""
    membership = membership_for(request.user, slug)
    if membership.role == Role.LABELER:
        desk = home_of(request.user, membership.project)[0]
        return render(request, "projects/desk.html", {"membership": membership, "desk": desk})
    at_work = selectors.batches_at_work(membership.project)
    done = batch_progress(at_work)
    context = {
        "membership": membership,
        "progress": [(batch, done[batch.pk]) for batch in at_work],
        "intake": selectors.intake(membership.project),
        "jobs": selectors.jobs_recent(membership.project),
    }
    return render(request, "projects/project.html", context)


@require_GET
def protocols(request: HttpRequest, slug: str) -> HttpResponse:
    """What labelers are asked, by protocol."""
    membership = membership_for(request.user, slug, at_least=Role.REVIEWER)
    newest = selectors.protocols_newest(membership.project)
    return render(request, "projects/protocols.html", {"membership": membership, "protocols": newest})


@require_GET
def protocol(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """One version of a protocol, to read."""
    membership = membership_for(request.user, slug, at_least=Role.REVIEWER)
    found = get_object_or_404(Protocol, project=membership.project, pk=pk)
    questions = list(found.questions.all())
    by_scope = [(scope, [question for question in questions if question.scope == scope]) for scope in Question.Scope]
    context = {
        "membership": membership,
        "protocol": found,
        "by_scope": [(scope, asked) for scope, asked in by_scope if asked],
        "versions": selectors.protocol_versions(found),
        "also_asked": [words for words, asked in _also_asked(found) if asked],
    }
    return render(request, "projects/protocol.html", context)


@require_http_methods(["GET", "POST"])
def protocol_create(request: HttpRequest, slug: str) -> HttpResponse:
    """Write a protocol, starting from the default one."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    editor = ProtocolEditor(request.POST or None, start=replace(DEFAULT_PROTOCOL, name=""))
    if editor.is_valid():
        try:
            made = services.protocol_create(project=membership.project, spec=editor.spec(), actor=membership.user)
        except ConflictError as refusal:
            editor.form.add_error("name", refusal.message)
        else:
            messages.success(request, f"{made.name} is there. Choose it when you make a batch.")
            return redirect("protocol", slug, made.pk)
    return _protocol_form(request, {"membership": membership, "editor": editor})


@require_http_methods(["GET", "POST"])
def protocol_revise(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Write the next version of a protocol, starting from one that exists."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    found = get_object_or_404(Protocol, project=membership.project, pk=pk)
    editor = ProtocolEditor(request.POST or None, start=spec_of(found), name_fixed=True)
    if editor.is_valid():
        try:
            made = services.protocol_revise(protocol=found, spec=editor.spec(), actor=membership.user)
        except ConflictError as refusal:
            editor.form.add_error(None, refusal.message)
        else:
            messages.success(request, f"This is version {made.version} now. Batches made before keep theirs.")
            return redirect("protocol", slug, made.pk)
    return _protocol_form(request, {"membership": membership, "editor": editor, "protocol": found})


def _also_asked(protocol: Protocol) -> list[tuple[str, bool]]:
    return [
        ("how sure the labeler is", protocol.asks_confidence),
        ("reasons", protocol.asks_rationale),
        ("a better text of the best completion", protocol.asks_edit),
    ]


def _protocol_form(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    status = 422 if context["editor"].has_errors() else 200
    return render(request, "projects/protocol_form.html", context, status=status)

"""Pages of rounds: admins turn the ring, reviewers look at it."""

from typing import Any

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from labelapp.accounts.access import membership_for
from labelapp.demo.selectors import panel_waits
from labelapp.errors import DomainError
from labelapp.models import Membership, Role, Round
from labelapp.rounds import services
from labelapp.rounds.drawing import ring_drawing
from labelapp.rounds.forms import RoundForm
from labelapp.rounds.options import round_options_read
from labelapp.rounds.selectors import (
    ArrowState,
    arrow_now,
    ring_version,
    round_choices,
    round_facts,
    round_ring,
    rounds_facts,
    rounds_of,
)

PAGE_SIZE = 25
COUNTED = ("sample", "label", "freeze", "reward")
STEPS = {
    "sample": services.round_sample,
    "label": services.round_label,
    "freeze": services.round_freeze,
    "reward": services.round_reward,
    "policy": services.round_policy,
}


@require_GET
def rounds(request: HttpRequest, slug: str) -> HttpResponse:
    """The rounds of a project, newest first, and where each stands."""
    membership = membership_for(request.user, slug, at_least=Role.REVIEWER)
    page = Paginator(rounds_of(membership.project), PAGE_SIZE).get_page(request.GET.get("page"))
    rings = [(facts.round, round_ring(facts)) for facts in rounds_facts(list(page))]
    rows = [
        {"found": found, "now": arrow_now(arrows), "counted": [arrow for arrow in arrows if arrow.name in COUNTED]}
        for found, arrows in rings
    ]
    titles = [arrow.title for arrow in rings[0][1] if arrow.name in COUNTED] if rings else []
    return render(
        request, "rounds/rounds.html", {"membership": membership, "page_obj": page, "rows": rows, "titles": titles}
    )


@require_http_methods(["GET", "POST"])
def round_create(request: HttpRequest, slug: str) -> HttpResponse:
    """Start a round."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    form = RoundForm(request.POST if request.method == "POST" else None, project=membership.project)
    if request.method == "POST" and form.is_valid():
        try:
            made = services.round_start(
                project=membership.project,
                policy=form.cleaned_data["policy"],
                options=form.options(),
                created_by=membership.user,
            )
        except DomainError as error:
            form.add_error(None, error.message)
        else:
            return redirect("round", slug, made.number)
    context = {"membership": membership, "form": form}
    return render(request, "rounds/round_create.html", context, status=422 if form.errors else 200)


@require_GET
def round_page(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """One round: its ring, and how it is done."""
    membership = membership_for(request.user, slug, at_least=Role.REVIEWER)
    context = _ring_context(membership, _found(membership, number))
    options = round_options_read(context["found"].options)
    context |= {"options": options, "choices": round_choices(options)}
    return render(request, "rounds/round.html", context)


@require_GET
def round_progress(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """The ring alone, for polling: 204 while it shows the same."""
    membership = membership_for(request.user, slug, at_least=Role.REVIEWER)
    context = _ring_context(membership, _found(membership, number))
    if request.GET.get("seen") == context["version"]:
        return HttpResponse(status=204)
    return render(request, "rounds/ring.html", context)


@require_POST
def round_step(request: HttpRequest, slug: str, number: int, step: str) -> HttpResponse:
    """Start one step of a round, or the next round with what it made."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    found = _found(membership, number)
    if step == "next":
        found = services.round_next(round=found, actor=membership.user)
    elif step in STEPS:
        STEPS[step](round=found, actor=membership.user)
    else:
        raise Http404
    return redirect("round", slug, found.number)


def _found(membership: Membership, number: int) -> Round:
    return get_object_or_404(rounds_of(membership.project), number=number)


def _ring_context(membership: Membership, found: Round) -> dict[str, Any]:
    arrows = round_ring(round_facts(found))
    return {
        "membership": membership,
        "found": found,
        "arrows": arrows,
        "now": arrow_now(arrows),
        "drawing": ring_drawing(arrows),
        "version": ring_version(arrows),
        "live": any(arrow.state == ArrowState.RUNNING for arrow in arrows),
        "panel": panel_waits(found.batch),
    }

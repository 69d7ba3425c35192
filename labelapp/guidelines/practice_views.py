"""Practice: worked examples with an instant explanation, and the pages on which admins write them."""

from itertools import groupby
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from labelapp.accounts.access import membership_for
from labelapp.errors import DomainError
from labelapp.guidelines.forms import PracticeForm, practice_initial
from labelapp.guidelines.openings import opening_read, opening_sign
from labelapp.guidelines.practice import Answer, answer_read, cards_of
from labelapp.guidelines.services import practice_create, practice_update, practice_withdraw, time_note
from labelapp.guidelines.views import annotator_of
from labelapp.models import Annotator, Membership, PracticeExample, Role, TimeEntry


@require_GET
def practice(request: HttpRequest, slug: str) -> HttpResponse:
    """The worked examples of a project, by protocol."""
    membership = membership_for(request.user, slug)
    examples = PracticeExample.objects.filter(project=membership.project).order_by("protocol_name", "position", "pk")
    grouped = [(name, list(own)) for name, own in groupby(examples, key=lambda example: example.protocol_name)]
    return render(request, "guidelines/practice.html", {"membership": membership, "grouped": grouped})


@never_cache
@require_http_methods(["GET", "POST"])
def practice_example(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Rank and rate a worked example, and compare with the team at once. The answer is shown, and not kept."""
    membership = membership_for(request.user, slug)
    example = get_object_or_404(PracticeExample, project=membership.project, pk=pk)
    annotator = annotator_of(membership)
    cards = cards_of(example, project=membership.project, annotator=annotator)
    context: dict[str, Any] = {"membership": membership, "example": example, "fields": request.POST}
    answer: Answer | str | None = None
    if request.method == "POST":
        answer = answer_read(example, cards, request.POST.dict())
        _time_note(request, annotator)
    problem = answer if isinstance(answer, str) else ""
    context |= {"answer": None if problem else answer, "problem": problem}
    if request.headers.get("HX-Request"):
        return render(request, "guidelines/practice_answer.html", context)
    context |= {
        "cards": [
            (
                card,
                _choices(request, f"place-{card.letter}", len(cards)),
                _choices(request, f"likert-{card.letter}", card.points),
            )
            for card in cards
        ],
        "opening": request.POST.get("opening") or opening_sign(annotator, TimeEntry.Kind.PRACTICE),
        "next": _next(example),
    }
    return render(request, "guidelines/practice_example.html", context, status=422 if problem else 200)


@require_http_methods(["GET", "POST"])
def practice_example_create(request: HttpRequest, slug: str) -> HttpResponse:
    """Write a worked example."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    form = PracticeForm(request.POST or None, project=membership.project)
    if form.is_valid():
        made = practice_create(project=membership.project, spec=form.spec(), actor=membership.user)
        messages.success(request, f"Labelers can practise on “{made.title}” now.")
        return redirect("practice_example", slug, made.pk)
    return _form_page(request, membership, form)


@require_http_methods(["GET", "POST"])
def practice_example_edit(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Write a worked example anew."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    example = get_object_or_404(PracticeExample.objects.select_related("project"), project=membership.project, pk=pk)
    form = PracticeForm(request.POST or None, project=membership.project, initial=practice_initial(example))
    if form.is_valid():
        practice_update(example=example, spec=form.spec(), actor=membership.user)
        messages.success(request, f"Saved: {form.cleaned_data['title']}.")
        return redirect("practice_example", slug, pk)
    return _form_page(request, membership, form, example)


@require_POST
def practice_example_withdraw(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Take a worked example away."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    example = get_object_or_404(PracticeExample, project=membership.project, pk=pk)
    practice_withdraw(example=example, actor=membership.user)
    messages.success(request, f"“{example.title}” is gone.")
    return redirect("practice", slug)


def _form_page(
    request: HttpRequest, membership: Membership, form: PracticeForm, example: PracticeExample | None = None
) -> HttpResponse:
    context = {"membership": membership, "form": form, "example": example}
    return render(request, "guidelines/practice_form.html", context, status=422 if form.errors else 200)


def _choices(request: HttpRequest, name: str, highest: int) -> list[tuple[int, bool]]:
    given = request.POST.get(name, "")
    return [(number, given == str(number)) for number in range(1, highest + 1)]


def _next(example: PracticeExample) -> PracticeExample | None:
    """The example after this one, of the same protocol."""
    own = list(PracticeExample.objects.filter(project=example.project_id, protocol_name=example.protocol_name))
    after = own.index(example) + 1
    return own[after] if after < len(own) else None


def _time_note(request: HttpRequest, annotator: Annotator) -> None:
    """Count the time until now: what the page's script measured, else all of it, up to the limit of one opening."""
    try:
        opening = opening_read(request.POST.get("opening", ""), annotator=annotator)
    except DomainError:
        return  # a page of yesterday: its answer is worth showing all the same
    raw = request.POST.get("seconds", "")
    passed = int((timezone.now() - opening.opened_at).total_seconds())
    seconds = int(raw) if raw.isdecimal() and len(raw) < 7 else passed
    time_note(annotator=annotator, kind=opening.kind, seconds=seconds, opened_at=opening.opened_at)

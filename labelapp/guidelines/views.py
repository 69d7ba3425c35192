"""Guidelines, on a page or beside a task; their examples; and the time that reading takes."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django.views.decorators.vary import vary_on_headers

from labelapp.accounts.access import membership_for
from labelapp.accounts.shortcuts import ACTIONS, key_shown, shortcuts_of
from labelapp.guidelines import selectors
from labelapp.guidelines.forms import ExampleForm
from labelapp.guidelines.openings import opening_read, opening_sign
from labelapp.guidelines.services import example_create, example_withdraw, time_note, visit_record
from labelapp.models import Annotator, GuidelineExample, Membership, Role, TimeEntry

EXAMPLES_PER_PAGE = 25
QUERY_LIMIT = 100


def annotator_of(membership: Membership) -> Annotator:
    """The annotator as whom a member labels."""
    return Annotator.objects.get(project=membership.project, user=membership.user)


@never_cache
@vary_on_headers("HX-Request")
@require_GET
def guidelines(request: HttpRequest, slug: str) -> HttpResponse:
    """The guidelines of a protocol; to htmx the bare panel, which begins with the person's keys.

    The page counts as a visit: the next time, what changed after it is marked. The panel, which is also opened to look
    up a key, says by `guidelines_seen` when it has been read for a while.
    """
    membership = membership_for(request.user, slug)
    annotator = annotator_of(membership)
    in_panel, asked = bool(request.headers.get("HX-Request")), request.GET.get("protocol")
    # The panel beside a task names its protocol, and has no use for the others.
    at_work = selectors.protocols_at_work(membership.project) if asked is None or not in_panel else []
    protocol = selectors.protocol_shown(membership.project, asked, at_work)
    keys = shortcuts_of(membership.user)
    context = {
        "membership": membership,
        "keys": [(key_shown(key), ACTIONS[name].label) for name, key in keys.items()],
        "in_panel": in_panel,
    }
    if protocol is not None:
        query = request.GET.get("q", "").replace("\x00", "")[:QUERY_LIMIT]
        reading = selectors.reading_of(
            annotator=annotator, protocol=protocol, compared=request.GET.get("compare"), query=query
        )
        context |= {
            "reading": reading,
            "others": [other for other in at_work if other.name != protocol.name],
            "has_practice": not in_panel and selectors.has_practice(protocol),
            # Beside a task its own clock runs on, so that the panel's time is paid already.
            "opening": "" if in_panel else opening_sign(annotator, TimeEntry.Kind.GUIDELINES),
        }
    template = "guidelines/panel.html" if in_panel else "guidelines/guidelines.html"
    response = render(request, template, context)
    if protocol is not None and not in_panel:
        visit_record(annotator=annotator, protocol=protocol)
    return response


@require_POST
def guidelines_seen(request: HttpRequest, slug: str) -> HttpResponse:
    """Note that somebody has had the panel with the guidelines of a protocol open for a while."""
    membership = membership_for(request.user, slug)
    protocol = selectors.protocol_shown(membership.project, request.POST.get("protocol", ""), [])
    if protocol is not None:
        visit_record(annotator=annotator_of(membership), protocol=protocol)
    return HttpResponse(status=204)


@require_POST
def guidelines_time(request: HttpRequest, slug: str) -> JsonResponse:
    """Count the time that a page was read. Sent by the page when it is left, and answered to nobody."""
    membership = membership_for(request.user, slug)
    annotator = annotator_of(membership)
    opening = opening_read(request.POST.get("opening", ""), annotator=annotator)
    raw = request.POST.get("seconds", "")
    seconds = int(raw) if raw.isdecimal() and len(raw) < 7 else 0
    counted = time_note(annotator=annotator, kind=opening.kind, seconds=seconds, opened_at=opening.opened_at)
    return JsonResponse({"seconds": counted})


@require_http_methods(["GET", "POST"])
def guideline_examples(request: HttpRequest, slug: str) -> HttpResponse:
    """The examples of all guidelines, newest first, and a form for one more."""
    membership = membership_for(request.user, slug, at_least=Role.REVIEWER)
    form = ExampleForm(request.POST or None, project=membership.project)
    if form.is_valid():
        example_create(project=membership.project, actor=membership.user, **form.cleaned_data)
        messages.success(request, _("The example stands in the guidelines now."))
        return redirect("guideline_examples", slug)
    found = GuidelineExample.objects.filter(project=membership.project, withdrawn_at__isnull=True)
    rows = found.select_related("created_by").order_by("-created_at", "-pk")
    page = Paginator(rows, EXAMPLES_PER_PAGE).get_page(request.GET.get("page"))
    context = {"membership": membership, "form": form, "page_obj": page}
    return render(request, "guidelines/examples.html", context, status=422 if form.errors else 200)


@require_POST
def guideline_example_withdraw(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Take an example out of the guidelines."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    example = get_object_or_404(GuidelineExample, project=membership.project, pk=pk)
    example_withdraw(example=example, actor=membership.user)
    messages.success(request, _("The example no longer stands in the guidelines."))
    return redirect("guideline_examples", slug)

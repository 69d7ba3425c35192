"""Breaks, as the labeling page reports them."""

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from labelapp.accounts.access import membership_for
from labelapp.labeling.services.breaks import break_note
from labelapp.models import Annotator


@login_not_required
@require_POST
def label_break(request: HttpRequest, slug: str) -> HttpResponse:
    """Pay a break that has ended. The page's script is told 401 when signed out, and reports it again later."""
    if not request.user.is_authenticated:
        return JsonResponse({"problem": _("You were signed out. Sign in again.")}, status=401)
    membership = membership_for(request.user, slug)
    annotator = Annotator.objects.get(project=membership.project, user=membership.user)
    raw = request.POST.get("seconds", "")
    seconds = int(raw) if raw.isdecimal() and len(raw) < 10 else 0
    return JsonResponse({"paid": break_note(annotator_id=annotator.pk, seconds=seconds)})

"""The panel's one button, for admins."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from labelapp.accounts.access import membership_for
from labelapp.demo.panel_work import panel_start
from labelapp.models import Batch, Role


@require_POST
def panel_label(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Let the simulated panel label what is open in a batch."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    batch = get_object_or_404(Batch, pk=pk, project=membership.project)
    job = panel_start(batch=batch, actor=membership.user)
    return redirect("job", pk=job.pk)

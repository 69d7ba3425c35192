"""Pages of imports, for admins."""

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from labelapp.accounts.access import membership_for
from labelapp.artifacts.responses import artifact_response
from labelapp.datasets.forms import ImportForm
from labelapp.datasets.selectors import imports_of, rejects_of
from labelapp.datasets.services import import_create
from labelapp.errors import DomainError
from labelapp.models import Role

PAGE_SIZE = 50


@require_GET
def imports(request: HttpRequest, slug: str) -> HttpResponse:
    """Past imports and what came of them."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    page = Paginator(imports_of(membership.project), PAGE_SIZE).get_page(request.GET.get("page"))
    return render(request, "datasets/imports.html", {"membership": membership, "page_obj": page})


@require_http_methods(["GET", "POST"])
def import_upload(request: HttpRequest, slug: str) -> HttpResponse:
    """Choose a file; its import goes on in the background."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    form = ImportForm(request.POST, request.FILES) if request.method == "POST" else ImportForm()
    if form.is_valid():
        upload = form.cleaned_data["file"]
        try:
            job = import_create(
                project=membership.project,
                name=upload.name,
                chunks=upload.chunks(),
                strict=form.cleaned_data["strict"],
                created_by=membership.user,
            )
        except DomainError as error:
            form.add_error("file", error.message)
        else:
            return redirect("job", pk=job.pk)
    context = {"membership": membership, "form": form}
    return render(request, "datasets/import_upload.html", context, status=422 if form.errors else 200)


@require_GET
def import_rejects(request: HttpRequest, slug: str, pk: int) -> HttpResponseBase:
    """The rejected rows of an import, as a file."""
    membership = membership_for(request.user, slug, at_least=Role.ADMIN)
    return artifact_response(request, rejects_of(membership.project, pk))

"""Requests as views receive them."""

from django.http import HttpRequest, QueryDict

from labelapp.models import User


class SignedInRequest(HttpRequest):
    """A request that LoginRequiredMiddleware let through: somebody is signed in."""

    user: User


def posted(request: HttpRequest) -> QueryDict | None:
    """The fields of a submitted form, or None where the page was only asked for."""
    return request.POST if request.method == "POST" else None

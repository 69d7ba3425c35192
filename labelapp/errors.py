"""The one error that services raise, and the one place that turns it into a page."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


class DomainError(Exception):
    """Something a person asked for cannot be done. The text says what, where, and how to mend it."""

    status = 400

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ConflictError(DomainError):
    """It could have been done a moment ago, or was done already."""

    status = 409


class DeniedError(DomainError):
    """A member of the project asked for something that their role may not do."""

    status = 403


class DomainErrorMiddleware:
    """Shows a DomainError as a page, or as its bare fragment to htmx."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Render the error with its status; leave every other exception to Django."""
        if not isinstance(error, DomainError):
            return None
        template = "components/error.html" if request.headers.get("HX-Request") else "error.html"
        return render(request, template, {"error": error}, status=error.status)

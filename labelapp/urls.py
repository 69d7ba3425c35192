"""All routes: each room brings its own."""

from importlib.util import find_spec

from django.urls import include, path

ROOMS = (
    *("accounts", "projects", "jobs", "prompts", "generation", "labeling", "writing"),
    *("guidelines", "desk", "datasets", "training", "rounds", "ops", "demo"),
)

urlpatterns = [
    path("accounts/", include("allauth.account.urls")),
    *(path("", include(f"labelapp.{room}.urls")) for room in ROOMS if find_spec(f"labelapp.{room}.urls")),
]

"""All routes: each room brings its own."""

from importlib.util import find_spec

from django.contrib.auth.decorators import login_not_required
from django.urls import include, path
from django.views.i18n import set_language

ROOMS = (
    *("accounts", "projects", "jobs", "prompts", "generation", "labeling", "writing"),
    *("guidelines", "desk", "datasets", "training", "rounds", "ops", "demo"),
)

urlpatterns = [
    path("accounts/", include("allauth.account.urls")),
    path("language/", login_not_required(set_language), name="set_language"),
    *(path("", include(f"labelapp.{room}.urls")) for room in ROOMS if find_spec(f"labelapp.{room}.urls")),
]

"""Addresses of guidelines and practice."""

from django.urls import path

from labelapp.guidelines import practice_views, views

_GUIDELINES = "projects/<slug:slug>/guidelines/"
_PRACTICE = "projects/<slug:slug>/practice/"

urlpatterns = [
    path(_GUIDELINES, views.guidelines, name="guidelines"),
    path(f"{_GUIDELINES}seen/", views.guidelines_seen, name="guidelines_seen"),
    path(f"{_GUIDELINES}time/", views.guidelines_time, name="guidelines_time"),
    path(f"{_GUIDELINES}examples/", views.guideline_examples, name="guideline_examples"),
    path(
        f"{_GUIDELINES}examples/<int:pk>/withdraw/",
        views.guideline_example_withdraw,
        name="guideline_example_withdraw",
    ),
    path(_PRACTICE, practice_views.practice, name="practice"),
    path(f"{_PRACTICE}new/", practice_views.practice_example_create, name="practice_example_create"),
    path(f"{_PRACTICE}<int:pk>/", practice_views.practice_example, name="practice_example"),
    path(f"{_PRACTICE}<int:pk>/edit/", practice_views.practice_example_edit, name="practice_example_edit"),
    path(f"{_PRACTICE}<int:pk>/withdraw/", practice_views.practice_example_withdraw, name="practice_example_withdraw"),
]

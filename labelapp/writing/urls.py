"""Routes of the writing room."""

from django.urls import path

from labelapp.writing import views

urlpatterns = [
    path("projects/<slug:slug>/write/", views.write, name="write"),
    path("projects/<slug:slug>/write/preview/", views.write_preview, name="write_preview"),
    path("projects/<slug:slug>/write/prompt/", views.write_prompt, name="write_prompt"),
    path("projects/<slug:slug>/write/settings/", views.write_settings, name="write_settings"),
    path("write/<int:pk>/", views.write_task, name="write_task"),
    path("write/<int:pk>/submit/", views.write_submit, name="write_submit"),
    path("write/<int:pk>/skip/", views.write_skip, name="write_skip"),
    path("write/<int:pk>/correct/", views.write_correct, name="write_correct"),
]

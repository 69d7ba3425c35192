"""Routes of the training room."""

from django.urls import path

from labelapp.training import views

urlpatterns = [
    path("projects/<slug:slug>/runs/", views.runs, name="runs"),
    path("projects/<slug:slug>/runs/new/", views.run_create, name="run_create"),
    path("projects/<slug:slug>/runs/new/suggested/", views.run_suggested, name="run_suggested"),
    path("projects/<slug:slug>/runs/compare/", views.runs_compare, name="runs_compare"),
    path("projects/<slug:slug>/runs/<int:pk>/", views.run, name="run"),
    path("projects/<slug:slug>/runs/<int:pk>/progress/", views.run_progress, name="run_progress"),
    path("projects/<slug:slug>/runs/<int:pk>/resume/", views.run_resume, name="run_resume"),
    path("projects/<slug:slug>/runs/<int:pk>/report.json", views.run_report, name="run_report"),
    path("projects/<slug:slug>/models/<int:pk>/card.md", views.model_card, name="model_card"),
    path("projects/<slug:slug>/models/<int:pk>/files.tar", views.model_files, name="model_files"),
    path("projects/<slug:slug>/models/", views.models, name="models"),
    path("projects/<slug:slug>/models/<int:pk>/", views.model, name="model"),
    path("projects/<slug:slug>/models/<int:pk>/score/", views.model_score, name="model_score"),
]

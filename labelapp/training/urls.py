"""Routes of the training room."""

from django.urls import path

from labelapp.training import views

urlpatterns = [
    path("projects/<slug:slug>/runs/", views.runs, name="runs"),
    path("projects/<slug:slug>/runs/new/", views.run_create, name="run_create"),
    path("projects/<slug:slug>/runs/<int:pk>/", views.run, name="run"),
    path("projects/<slug:slug>/runs/<int:pk>/progress/", views.run_progress, name="run_progress"),
    path("projects/<slug:slug>/runs/<int:pk>/resume/", views.run_resume, name="run_resume"),
    path("projects/<slug:slug>/models/", views.models, name="models"),
    path("projects/<slug:slug>/models/<int:pk>/", views.model, name="model"),
    path("projects/<slug:slug>/models/<int:pk>/score/", views.model_score, name="model_score"),
]

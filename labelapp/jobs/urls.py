"""Addresses of jobs."""

from django.urls import path

from labelapp.jobs import views

urlpatterns = [
    path("projects/<slug:slug>/jobs/", views.jobs, name="jobs"),
    path("jobs/<int:pk>/", views.job, name="job"),
    path("jobs/<int:pk>/progress/", views.job_progress, name="job_progress"),
    path("jobs/<int:pk>/cancel/", views.job_cancel, name="job_cancel"),
]

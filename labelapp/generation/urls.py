"""Addresses of samplings, and where a base model is registered."""

from django.urls import path

from labelapp.generation import views

urlpatterns = [
    path("projects/<slug:slug>/samplings/", views.samplings, name="samplings"),
    path("projects/<slug:slug>/samplings/new/", views.sampling_create, name="sampling_create"),
    path("projects/<slug:slug>/samplings/<int:pk>/", views.sampling, name="sampling"),
    path("projects/<slug:slug>/models/new/", views.model_create, name="model_create"),
]

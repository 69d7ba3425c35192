"""Addresses of prompts."""

from django.urls import path

from labelapp.prompts import views

urlpatterns = [
    path("projects/<slug:slug>/prompts/", views.prompts, name="prompts"),
    path("projects/<slug:slug>/prompts/<int:pk>/", views.prompt, name="prompt"),
]

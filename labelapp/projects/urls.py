"""Addresses of projects and their protocols."""

from django.urls import path

from labelapp.projects import views

urlpatterns = [
    path("projects/", views.projects, name="projects"),
    path("projects/new/", views.project_create, name="project_create"),
    path("projects/<slug:slug>/", views.project, name="project"),
    path("projects/<slug:slug>/protocols/", views.protocols, name="protocols"),
    path("projects/<slug:slug>/protocols/new/", views.protocol_create, name="protocol_create"),
    path("projects/<slug:slug>/protocols/<int:pk>/", views.protocol, name="protocol"),
    path("projects/<slug:slug>/protocols/<int:pk>/revise/", views.protocol_revise, name="protocol_revise"),
]

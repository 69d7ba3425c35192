"""Addresses of imports."""

from django.urls import path

from labelapp.datasets import views

urlpatterns = [
    path("projects/<slug:slug>/imports/", views.imports, name="imports"),
    path("projects/<slug:slug>/imports/new/", views.import_upload, name="import_upload"),
    path("projects/<slug:slug>/imports/<int:pk>/rejects/", views.import_rejects, name="import_rejects"),
]

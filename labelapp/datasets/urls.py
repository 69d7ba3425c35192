"""Addresses of imports and snapshots."""

from django.urls import path

from labelapp.datasets import snapshot_views, views

urlpatterns = [
    path("projects/<slug:slug>/imports/", views.imports, name="imports"),
    path("projects/<slug:slug>/imports/new/", views.import_upload, name="import_upload"),
    path("projects/<slug:slug>/imports/<int:pk>/rejects/", views.import_rejects, name="import_rejects"),
    path("projects/<slug:slug>/snapshots/", snapshot_views.snapshots, name="snapshots"),
    path("projects/<slug:slug>/snapshots/new/", snapshot_views.snapshot_create, name="snapshot_create"),
    path("projects/<slug:slug>/snapshots/<int:pk>/", snapshot_views.snapshot, name="snapshot"),
    path(
        "projects/<slug:slug>/snapshots/<int:pk>/manifest/", snapshot_views.snapshot_manifest, name="snapshot_manifest"
    ),
    path(
        "projects/<slug:slug>/snapshots/<int:pk>/diff/<int:other>/", snapshot_views.snapshot_diff, name="snapshot_diff"
    ),
]

"""Addresses of the demo room."""

from django.urls import path

from labelapp.demo import views

urlpatterns = [
    path("projects/<slug:slug>/batches/<int:pk>/panel/", views.panel_label, name="panel_label"),
]

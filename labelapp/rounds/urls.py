"""Addresses of the rounds room."""

from django.urls import path

from labelapp.rounds import views

urlpatterns = [
    path("projects/<slug:slug>/rounds/", views.rounds, name="rounds"),
    path("projects/<slug:slug>/rounds/new/", views.round_create, name="round_create"),
    path("projects/<slug:slug>/rounds/<int:number>/", views.round_page, name="round"),
    path("projects/<slug:slug>/rounds/<int:number>/progress/", views.round_progress, name="round_progress"),
    path("projects/<slug:slug>/rounds/<int:number>/<str:step>/", views.round_step, name="round_step"),
]

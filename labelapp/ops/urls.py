"""Routes of the pages for those who run the site."""

from django.urls import path

from labelapp.ops import views

urlpatterns = [path("health", views.health, name="health")]

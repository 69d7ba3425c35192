"""Routes of the desk, and of the pages where labelers ask and look at their own work."""

from django.urls import path

from labelapp.desk import labeler_views, views

urlpatterns = [
    path("label/<int:pk>/ask/", labeler_views.task_ask, name="task_ask"),
    path("projects/<slug:slug>/mine/", labeler_views.my_work, name="my_work"),
    path("projects/<slug:slug>/mine/disputes/", labeler_views.dispute_create, name="dispute_create"),
    path("projects/<slug:slug>/desk/", views.desk, name="desk"),
    path("projects/<slug:slug>/desk/reports/<int:pk>/", views.report, name="report"),
    path("projects/<slug:slug>/desk/questions/<int:pk>/", views.inquiry, name="inquiry"),
    path("projects/<slug:slug>/desk/disputes/<int:pk>/", views.dispute, name="dispute"),
]

"""Routes of the labeling room."""

from django.urls import path
from django.views.decorators.gzip import gzip_page

from labelapp.labeling import batch_views, break_views, correction_views, diff_views, views

urlpatterns = [
    path("projects/<slug:slug>/label/", gzip_page(views.label), name="label"),
    path("projects/<slug:slug>/label/ahead/", gzip_page(views.label_ahead), name="label_ahead"),
    path("projects/<slug:slug>/label/waiting/", views.label_waiting, name="label_waiting"),
    path("projects/<slug:slug>/label/break/", break_views.label_break, name="label_break"),
    path("label/<int:pk>/", gzip_page(views.task), name="task"),
    path("label/<int:pk>/correct/", gzip_page(correction_views.task_correct), name="task_correct"),
    path("label/<int:pk>/diff/", diff_views.task_diff, name="task_diff"),
    path("label/<int:pk>/draft/", views.task_draft, name="task_draft"),
    path("label/<int:pk>/heartbeat/", views.task_heartbeat, name="task_heartbeat"),
    path("label/<int:pk>/skip/", gzip_page(views.task_skip_view), name="task_skip"),
    path("label/<int:pk>/report/", gzip_page(views.task_report), name="task_report"),
    path("label/<int:pk>/submit/", gzip_page(views.task_submit), name="task_submit"),
    path("projects/<slug:slug>/batches/", batch_views.batches, name="batches"),
    path("projects/<slug:slug>/batches/new/", batch_views.batch_create_view, name="batch_create"),
    path("projects/<slug:slug>/batches/<int:pk>/", batch_views.batch, name="batch"),
    path("projects/<slug:slug>/batches/<int:pk>/state/", batch_views.batch_state, name="batch_state"),
    path("projects/<slug:slug>/batches/<int:pk>/build/", batch_views.batch_build, name="batch_build"),
]

"""The Celery application. Rooms declare their tasks in `tasks.py`; beat's schedule stands in the settings."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labelapp.settings")

app = Celery("labelapp")
app.config_from_object("django.conf:settings", namespace="CELERY")
ROOMS = ("jobs", "generation", "labeling", "datasets", "training", "demo")
app.autodiscover_tasks([f"labelapp.{room}" for room in ROOMS])

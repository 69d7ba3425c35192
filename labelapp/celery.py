"""The Celery application. Rooms declare their tasks in `tasks.py`; beat's schedule stands in the settings."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labelapp.settings")

app = Celery("labelapp")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["labelapp.jobs", "labelapp.labeling", "labelapp.datasets"])

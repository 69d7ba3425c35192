"""Celery's doors to the demo."""

from labelapp.demo import panel_work  # noqa: F401 (registers the job handler)

"""The application: people, prompts, labels, runs and rounds. It never imports torch; `trainer` never imports it."""

from labelapp.celery import app as celery_app

__all__ = ["celery_app"]

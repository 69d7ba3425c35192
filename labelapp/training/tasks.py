"""Registers the training room's jobs with the workers."""

from labelapp.training import handlers, scoring  # noqa: F401 (registers the job handlers)

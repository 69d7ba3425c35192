"""What the workers do for the datasets room."""

from labelapp.datasets.imports import import_run
from labelapp.datasets.services import KIND
from labelapp.jobs.registry import job_handler

job_handler(KIND)(import_run)

"""What the workers do for the datasets room."""

from labelapp.datasets.imports import import_run
from labelapp.datasets.services import KIND
from labelapp.datasets.snapshots import FREEZE, freeze_run
from labelapp.jobs.registry import job_handler

job_handler(KIND)(import_run)
job_handler(FREEZE)(freeze_run)

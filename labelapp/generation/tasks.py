"""What the workers do for the generation room."""

from labelapp.generation.sampling_job import sampling_run
from labelapp.generation.selectors import KIND
from labelapp.jobs.registry import job_handler

job_handler(KIND)(sampling_run)

"""The job that makes a batch's tasks."""

from django.db import transaction

from labelapp.jobs.registry import JobRun, job_handler
from labelapp.jobs.services import job_progress
from labelapp.labeling.services.batches import (
    PromptChoice,
    batch_transition,
    prompts_in_random_order,
    tasks_create,
)
from labelapp.models import Batch

CHUNK = 500


@job_handler("batch_build")
def batch_build(run: JobRun) -> dict[str, int]:
    """Make the tasks chunk by chunk; a killed attempt is continued where its last chunk was saved."""
    job = run.job
    batch = Batch.objects.select_related("project").get(pk=job.payload["batch"])
    choice = PromptChoice(**job.payload["choice"])
    salt = batch.project.salt
    prompt_ids = prompts_in_random_order(batch, choice, salt)
    eligible = len(prompt_ids)
    if choice.limit is not None:
        prompt_ids = prompt_ids[: choice.limit]
    made = int(job.cursor.get("made", 0))
    for start in range(int(job.cursor.get("next", 0)), len(prompt_ids), CHUNK):
        chunk = prompt_ids[start : start + CHUNK]
        with transaction.atomic():
            made += tasks_create(
                batch=batch, prompt_ids=chunk, choice=choice, probability=len(prompt_ids) / eligible, salt=salt
            )
            reached = start + len(chunk)
            job_progress(run, done=reached, total=len(prompt_ids), cursor={"next": reached, "made": made})
    if made and job.payload["open"] and batch.state == Batch.State.DRAFT:
        batch_transition(batch=batch, to=Batch.State.OPEN, actor=job.created_by)
    return {"tasks": made, "prompts_without_enough_completions": len(prompt_ids) - made}

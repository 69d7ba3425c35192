"""Scores of completions: a reward model reads them, and each gets one number."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import QuerySet

from labelapp.artifacts.blobs import Tick
from labelapp.errors import DomainError
from labelapp.generation.model_versions import model_localise
from labelapp.jobs.logs import lines_read, request_write
from labelapp.jobs.registry import JobLostError, JobRetryError, JobRun, job_handler
from labelapp.jobs.services import job_create, job_progress
from labelapp.jobs.supervision import folder_hold, process_supervise, trainer_command
from labelapp.models import Batch, Completion, CompletionScore, Job, ModelVersion, Project, TaskCompletion, User
from labelapp.training.handlers import folders_sweep, heartbeat
from trainer.records import OUTPUTS, CompletionLine, Request

SCORE = "score"
"""The kind of job that scores completions."""
COMPLETIONS = "completions.jsonl"


@transaction.atomic
def completions_score(
    *, reward: ModelVersion, batch: Batch | None = None, project: Project, created_by: User | None
) -> Job:
    """Have the workers score a batch's completions, or all of the project's, that the model has not scored yet.

    Raises DomainError when the model is no reward model that is ready.
    """
    if reward.kind != ModelVersion.Kind.REWARD or reward.state != ModelVersion.State.READY:
        raise DomainError(f"“{reward.name}” is no reward model that is ready; it cannot score completions.")
    if reward.project_id != project.pk or (batch and batch.project_id != project.pk):
        raise DomainError("Model and batch must be of the same project.")
    of_what = f"the completions of {batch.name}" if batch else "all completions"
    return job_create(
        project=project,
        kind=SCORE,
        title=f"{reward.name} scores {of_what}",
        payload={"model": reward.pk, "batch": batch.pk if batch else None},
        created_by=created_by,
        queue=Job.Queue.COMPUTE,
    )


@job_handler(SCORE)
def completions_read(attempt: JobRun) -> Mapping[str, object]:
    """Score what was not scored when the first attempt began on this machine."""
    model = ModelVersion.objects.select_related("weights").get(pk=attempt.job.payload["model"])
    folder = Path(settings.RUN_ROOT, f"score-{attempt.job.pk}")
    folders_sweep()
    try:
        cursor = _score(attempt, model, folder)
    except (JobLostError, JobRetryError, OperationalError, InterfaceError):
        raise  # another attempt goes on in the folder
    except Exception:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    return {"model": model.pk, "scored": cursor["scored"], "excluded": cursor["excluded"]}


def _score(attempt: JobRun, model: ModelVersion, folder: Path) -> dict[str, int]:
    tick = heartbeat(attempt)
    with folder_hold(attempt, folder, poll=tick):
        fresh = not (folder / COMPLETIONS).exists()
        if fresh:
            _completions_write(folder, _unscored(attempt.job, model), tick=tick)
        request = Request(
            command="evaluate",
            options={"measure": "reward"},
            model=model_localise(model, tick=tick),
            completions=str(folder / COMPLETIONS),
        )
        request_write(folder, request)
        cursor = {"offset": 0, "scored": 0, "excluded": 0} if fresh or not attempt.job.cursor else attempt.job.cursor
    with (folder / COMPLETIONS).open("rb") as file:
        total = sum(1 for _line in file)
    job_progress(attempt, total=total, cursor=cursor)

    def poll() -> None:
        nonlocal cursor
        while (further := scores_take(attempt, model, folder, cursor)) != cursor:
            cursor = further

    if total:
        process_supervise(attempt, command=trainer_command("evaluate", folder, attempt), folder=folder, poll=poll)
    return cursor


@transaction.atomic
def scores_take(attempt: JobRun, model: ModelVersion, folder: Path, cursor: dict[str, int]) -> dict[str, int]:
    """Save a portion of the scores with how far they were read; returns the new cursor. Nothing is saved twice."""
    lines, offset = lines_read(folder / OUTPUTS, cursor["offset"])
    if not lines:
        job_progress(attempt)
        return cursor
    values = {line["completion"]: line["values"] for line in lines if "score" in line["values"]}
    there = set(Completion.objects.filter(pk__in=values).values_list("pk", flat=True))
    CompletionScore.objects.bulk_create(
        [_score_row(pk, model, values[pk]) for pk in sorted(there)],
        ignore_conflicts=True,
    )
    scored, excluded = cursor["scored"] + len(there), cursor["excluded"] + len(lines) - len(there)
    further = {"offset": offset, "scored": scored, "excluded": excluded}
    done = scored + excluded
    job_progress(attempt, done=done, message=f"{done} completions read", cursor=further)
    return further


def _score_row(completion: int, model: ModelVersion, values: Mapping[str, float]) -> CompletionScore:
    said = {"score": values["score"], "disagreement": values.get("disagreement")}
    return CompletionScore(completion_id=completion, model_version=model, **said)


def _unscored(job: Job, model: ModelVersion) -> QuerySet[Completion]:
    completions = Completion.objects.filter(prompt__project=job.project_id).exclude(scores__model_version=model)
    if job.payload["batch"] is not None:
        shown = TaskCompletion.objects.filter(task__batch=job.payload["batch"])
        completions = completions.filter(pk__in=shown.values("completion"))
    return completions.select_related("prompt").order_by("prompt_id", "pk")


def _completions_write(folder: Path, completions: QuerySet[Completion], *, tick: Tick) -> None:
    """Write the file that the trainer reads, whole or not at all."""
    aside = folder / f"{COMPLETIONS}.part"
    with aside.open("w") as file:
        for completion in completions.iterator(chunk_size=1000):
            line = CompletionLine(
                completion=completion.pk,
                messages=completion.prompt.messages,
                text=completion.text,
                finish_reason=completion.finish_reason,
                tags=completion.prompt.tags,
            )
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            tick()
    (folder / OUTPUTS).unlink(missing_ok=True)
    aside.replace(folder / COMPLETIONS)

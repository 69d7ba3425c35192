"""The jobs of the training room, as the workers do them."""

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from django.conf import settings

from labelapp.artifacts.blobs import Tick
from labelapp.datasets.snapshots import snapshot_localise
from labelapp.generation.model_versions import model_localise
from labelapp.jobs.logs import request_write
from labelapp.jobs.registry import JobRun, job_handler
from labelapp.jobs.services import job_progress
from labelapp.jobs.supervision import folder_hold, process_supervise, trainer_command
from labelapp.models import Job, Run
from labelapp.training.selectors import members_of
from labelapp.training.services import TRAIN, events_take, run_finish, run_folder, run_rewind
from trainer.records import EVENTS, Request
from trainer.reports.card import trainer_version

BEAT_SECONDS = 5.0


@job_handler(TRAIN)
def run_train(attempt: JobRun) -> Mapping[str, object]:
    """Train, from the newest checkpoint where there is one, and keep the model."""
    related = ("project", "snapshot__folder", "start__weights", "reference__weights")
    run = Run.objects.select_related(*related).get(pk=attempt.job.payload["run"])
    folder, tick = run_folder(run), heartbeat(attempt)
    folders_sweep()
    with folder_hold(attempt, folder, poll=tick):
        request_write(folder, _request(run, tick))
        kept = run_rewind(attempt=attempt, run=run, folder=folder)
        if (folder / EVENTS).exists():
            os.truncate(folder / EVENTS, kept)
        Run.objects.filter(pk=run.pk).update(code_version=trainer_version())

    def poll() -> None:
        while events_take(attempt=attempt, run=run, folder=folder):
            pass

    process_supervise(attempt, command=trainer_command(run.kind, folder, attempt), folder=folder, poll=poll)
    if members := members_of(run):
        job_progress(attempt, message=f"{len(members)} models combined")
    result = run_finish(attempt=attempt, run=run, folder=folder, tick=tick)
    shutil.rmtree(folder, ignore_errors=True)
    return result


def folders_sweep() -> None:
    """Remove the folders of runs that have their model and of scorings that ended: whoever was to do it was killed."""
    runs = Run.objects.filter(pk__in=_numbered("run"), result__isnull=False).values_list("pk", flat=True)
    scorings = Job.objects.filter(pk__in=_numbered("score"), finished_at__isnull=False).values_list("pk", flat=True)
    for name in [*(f"run-{pk}" for pk in runs), *(f"score-{pk}" for pk in scorings)]:
        shutil.rmtree(Path(settings.RUN_ROOT, name), ignore_errors=True)


def _numbered(kind: str) -> list[int]:
    names = [folder.name.removeprefix(f"{kind}-") for folder in Path(settings.RUN_ROOT).glob(f"{kind}-*")]
    return [int(name) for name in names if name.isdecimal()]


def heartbeat(attempt: JobRun) -> Tick:
    """A function that shows a sign of life when the last is some seconds ago, to be called in long work."""
    last = 0.0

    def tick() -> None:
        nonlocal last
        if time.monotonic() - last >= BEAT_SECONDS:
            job_progress(attempt)
            last = time.monotonic()

    return tick


def _request(run: Run, tick: Tick) -> Request:
    """What the trainer is to do; the same at each attempt."""
    request = Request(command=run.kind, options=run.options)
    if run.start:
        request["model"] = model_localise(run.start, tick=tick)
    else:
        request["models"] = [model_localise(model, tick=tick) for model in members_of(run)]
    if run.snapshot:
        request["snapshot"] = str(snapshot_localise(run.snapshot, tick=tick))
    if run.reference:
        request["reference"] = model_localise(run.reference, tick=tick)
    return request

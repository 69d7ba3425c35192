"""Writes of the training room: starting and resuming runs, taking in what they log, and keeping what they made."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from labelapp.accounts.audit import audit_record
from labelapp.artifacts.blobs import Tick, no_tick
from labelapp.artifacts.services import artifact_publish
from labelapp.errors import ConflictError, DomainError
from labelapp.jobs.logs import lines_read
from labelapp.jobs.registry import JobLostError, JobRun
from labelapp.jobs.services import job_create, job_finish, job_progress
from labelapp.models import Artifact, Job, ModelVersion, Project, Run, RunEvent, RunKind, RunMember, Snapshot, User
from labelapp.training.tokens import strangers_of
from trainer.config import CombineOptions, combine_problems, options_read
from trainer.fields import OptionsError
from trainer.records import CONFIG, EVENTS, LOG, MODEL, REPORT, EventLine, checkpoint_newest

TRAIN = "train"
"""The kind of job that a training is."""
Kind = ModelVersion.Kind
POLICIES = [Kind.BASE, Kind.SFT, Kind.POLICY]
STARTS = {
    RunKind.SFT: POLICIES,
    RunKind.REWARD: [*POLICIES, Kind.REWARD],
    RunKind.PREFERENCE: POLICIES,
}
"""From which kinds of models a run may start; one that combines others starts from none."""
RESULTS = {
    RunKind.SFT: Kind.SFT,
    RunKind.REWARD: Kind.REWARD,
    RunKind.PREFERENCE: Kind.POLICY,
    RunKind.COMBINE: Kind.REWARD,
}
"""What a run makes."""
SHOWN = ("loss", "accuracy")
PROGRESS = "progress"
"""The kind of lines that say how far the trainer is and measure nothing."""
MOST_MEMBERS = 8
"""How many models one run combines: each is in memory while they score."""


def run_folder(run: Run) -> Path:
    """Where this machine's workers keep a run while it runs."""
    return Path(settings.RUN_ROOT, f"run-{run.pk}")


@transaction.atomic
def run_start(
    *,
    project: Project,
    kind: RunKind,
    name: str,
    snapshot: Snapshot,
    start: ModelVersion,
    reference: ModelVersion | None = None,
    options: Mapping[str, Any],
    created_by: User | None,
) -> Run:
    """Have the workers train a model. `options` are the trainer's; what is not given has its default.

    Raises DomainError when options or inputs cannot be used, ConflictError when the name is taken.
    """
    kind = RunKind(kind)
    if kind not in STARTS:
        raise DomainError("A combination starts from no model: run_combine makes it.")
    _inputs_check(project, kind, snapshot, start, reference)
    if problem := reference_problem(reference, options):
        raise DomainError(problem)
    run = Run(project=project, kind=kind, name=name, snapshot=snapshot, start=start, reference=reference)
    return _begun(run, options, created_by)


@transaction.atomic
def run_combine(
    *,
    project: Project,
    name: str,
    members: Sequence[ModelVersion],
    snapshot: Snapshot | None = None,
    options: Mapping[str, Any],
    created_by: User | None,
) -> Run:
    """Have the workers make one reward model of several, in their order. `options` are those of `combine`.

    Raises DomainError when options or inputs cannot be used, ConflictError when the name is taken.
    """
    if problems := combination_problems(project, members, snapshot, options):
        raise DomainError(" ".join(problems.values()))
    run = _begun(Run(project=project, kind=RunKind.COMBINE, name=name, snapshot=snapshot), options, created_by)
    RunMember.objects.bulk_create(
        RunMember(run=run, model_version=model, place=place) for place, model in enumerate(members, start=1)
    )
    return run


@transaction.atomic
def run_resume(*, run: Run, actor: User | None) -> Job:
    """Have the workers go on with a run that failed or was stopped. Raises ConflictError when it goes on or is done."""
    locked = Run.objects.select_for_update(no_key=True, of=("self",)).select_related("job", "project").get(pk=run.pk)
    if locked.result_id is not None:
        raise ConflictError(f"“{locked.name}” is done; there is nothing to resume.")
    if not locked.job.is_finished:
        raise ConflictError(f"“{locked.name}” is at work already.")
    job = _job(locked.project, RunKind(locked.kind), locked.name, actor)
    _job_point(job, locked)
    Run.objects.filter(pk=locked.pk).update(job=job)
    audit_record(actor=actor, verb="run_resume", subject=locked, project_id=locked.project_id, job=job.pk)
    return job


@transaction.atomic
def run_rewind(*, attempt: JobRun, run: Run, folder: Path) -> int:
    """Forget what the trainer is going to log again; returns from which byte on, for the log itself to be cut.

    To be called with nobody else in the folder. Raises JobLostError as `job_progress` does.
    """
    locked = Run.objects.select_for_update(no_key=True).get(pk=run.pk)
    log = folder / EVENTS
    if (folder / REPORT).exists():
        step, kept = None, log.stat().st_size if log.exists() else 0
    elif checkpoint := checkpoint_newest(folder):
        step, kept = checkpoint.step, checkpoint.events_offset
        RunEvent.objects.filter(run=run, step__gt=step).delete()
    else:
        step, kept = 0, 0
        RunEvent.objects.filter(run=run).delete()
    # A worker that was killed may not have taken in all that stands before the checkpoint.
    Run.objects.filter(pk=run.pk).update(events_offset=min(locked.events_offset, kept))
    job_progress(attempt, done=step, message="The trainer is being started.", cursor={"attempt": attempt.attempt})
    return kept


@transaction.atomic
def events_take(*, attempt: JobRun, run: Run, folder: Path) -> int:
    """Take in a portion of what the trainer logged since, with the sign of life; returns how many lines it was.

    Raises JobLostError and JobCancelledError as `job_progress` does, and keeps nothing then.
    """
    locked = Run.objects.select_for_update(no_key=True).get(pk=run.pk)
    lines, offset = lines_read(folder / EVENTS, locked.events_offset)
    if not lines:
        job_progress(attempt)
        return 0
    events = {
        (line["kind"], line["step"]): RunEvent(
            run=run, kind=line["kind"], step=line["step"], values=line["values"], logged_at=timezone.now()
        )
        for line in lines
        if line["kind"] != PROGRESS
    }
    RunEvent.objects.bulk_create(
        events.values(),
        update_conflicts=True,
        unique_fields=["run", "kind", "step"],
        update_fields=["values", "logged_at"],
    )
    Run.objects.filter(pk=run.pk).update(events_offset=offset)
    _tell(attempt, lines)
    return len(lines)


def run_finish(*, attempt: JobRun, run: Run, folder: Path, tick: Tick = no_tick) -> dict[str, int]:
    """Keep the model that a run made, with its report, and end the job with it: both or neither.

    Safe to repeat: what was published already is found again by its content. Returns the job's result.
    """
    report, config = _json(folder / REPORT), _json(folder / CONFIG)
    weights = artifact_publish(
        path=folder / MODEL, project=run.project, kind=Artifact.Kind.MODEL, name=run.name, tick=tick
    )
    log_name = f"run-{run.pk}-log.txt"
    log = artifact_publish(path=folder / LOG, project=run.project, kind=Artifact.Kind.LOG, name=log_name, tick=tick)
    with transaction.atomic():
        Project.objects.select_for_update(no_key=True).get(pk=run.project_id)
        model = ModelVersion.objects.create(
            project=run.project,
            name=_model_name(run),
            kind=RESULTS[RunKind(run.kind)],
            parent=run.start,
            state=ModelVersion.State.READY,
            weights=weights,
        )
        Run.objects.filter(pk=run.pk).update(result=model, report=report, config=config)
        result = {"run": run.pk, "model": model.pk, "log": log.pk}
        audit_record(actor=None, verb="run_finish", subject=run, project_id=run.project_id, model=model.pk)
        if not job_finish(attempt, result=result):
            raise JobLostError
    return result


def name_problem(project: Project, name: str) -> str:
    """Why a run cannot have a name, which its model gets too; empty when it can."""
    if Run.objects.filter(project=project, name=name).exists():
        return f"There is a run called “{name}” already. Choose another name."
    if ModelVersion.objects.filter(project=project, name=name).exists():
        return f"There is a model called “{name}” already. Choose another name."
    return ""


def reference_problem(reference: ModelVersion | None, options: Mapping[str, Any]) -> str:
    """Why a policy cannot be held to a named model, where its options hold it to another; empty when it can."""
    asked = options.get("held_to", "start")
    if reference is None or asked == "start":
        return ""
    return (
        f"The policy is held to “{asked}”, so no model can be named as its reference. Choose “start” in the option "
        "held to, or name none."
    )


def combination_problems(
    project: Project, members: Sequence[ModelVersion], snapshot: Snapshot | None, options: Mapping[str, Any]
) -> dict[str, str]:
    """What keeps models from becoming one: sentences by what they are about, which is `models`, `snapshot` or an option
    of `combine`. Empty when nothing does, as far as that can be seen without loading them.
    """
    try:
        asked = options_read(RunKind.COMBINE.value, options)
    except OptionsError as error:
        return {name: f"{name}: {problem}" for name, problem in error.problems.items()}
    if not isinstance(asked, CombineOptions):
        raise TypeError(f"combine needs CombineOptions, not {type(asked).__name__}.")
    if problem := _members_problem(project, members):
        return {"models": problem}
    if snapshot and snapshot.project_id != project.pk:
        return {"snapshot": "The snapshot must be of the same project as the run."}
    problems = combine_problems(asked, len(members), has_snapshot=snapshot is not None)
    if not problems and (strangers := strangers_of(members)):
        first, other = strangers
        problems["models"] = (
            f"“{other.name}” has another vocabulary than “{first.name}”: only models of the same tokens, most "
            "often of one base, are combined."
        )
    return problems


def _members_problem(project: Project, members: Sequence[ModelVersion]) -> str:
    for number, model in enumerate(members):
        if model.project_id != project.pk:
            return "All models must be of the same project as the run."
        if model.kind != Kind.REWARD or model.state != ModelVersion.State.READY:
            stands = f"{model.get_kind_display()}, {model.get_state_display().lower()}"
            return f"“{model.name}” ({stands}) is no reward model that is ready. Choose others."
        if model in members[:number]:
            return f"“{model.name}” is chosen twice. Each model counts once; the weights of linear say how much."
    return f"At most {MOST_MEMBERS} models are combined, not {len(members)}." if len(members) > MOST_MEMBERS else ""


def _begun(run: Run, options: Mapping[str, Any], created_by: User | None) -> Run:
    """Save a new run with its options, and the job that does it."""
    kind = RunKind(run.kind)
    # Whoever starts two runs of one name at the same time waits here for the other.
    Project.objects.select_for_update(no_key=True).get(pk=run.project_id)
    if problem := name_problem(run.project, run.name):
        raise ConflictError(problem)
    run.options, run.created_by = _options(kind, options), created_by
    run.job = _job(run.project, kind, run.name, created_by)
    run.save()
    _job_point(run.job, run)
    audit_record(actor=created_by, verb="run_start", subject=run, project_id=run.project_id, kind=kind, job=run.job_id)
    return run


def _inputs_check(
    project: Project, kind: RunKind, snapshot: Snapshot, start: ModelVersion, reference: ModelVersion | None
) -> None:
    models = [start, *([reference] if reference else [])]
    if any(project_id != project.pk for project_id in [snapshot.project_id, *(model.project_id for model in models)]):
        raise DomainError("Snapshot and models must be of the same project as the run.")
    if reference and kind != RunKind.PREFERENCE:
        raise DomainError("Only a training from preferences is held to a reference.")
    for model in models:
        if model.state != ModelVersion.State.READY or model.kind not in STARTS[kind]:
            raise DomainError(
                f"A run of the kind “{kind.label}” cannot start from “{model.name}” "
                f"({model.get_kind_display()}, {model.get_state_display().lower()}). Choose a model that is ready."
            )
    if Run.objects.filter(result=start, kind=RunKind.COMBINE).exists():
        raise DomainError(
            f"“{start.name}” combines other reward models and has no weights of its own to train. Start from one of "
            "its models, and combine again."
        )


def _options(kind: RunKind, given: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return asdict(options_read(kind.value, given))
    except OptionsError as error:
        raise DomainError(str(error)) from error


def _job(project: Project, kind: RunKind, name: str, actor: User | None) -> Job:
    title = f"{kind.label}: {name}"
    return job_create(project=project, kind=TRAIN, title=title, payload={}, created_by=actor, queue=Job.Queue.COMPUTE)


def _job_point(job: Job, run: Run) -> None:
    """Tell the job which run it does: each names the other, and workers hear of neither before both are there."""
    job.payload = {"run": run.pk}
    job.save(update_fields=["payload"])


def _tell(attempt: JobRun, lines: list[dict[str, Any]]) -> None:
    """Show the newest step, and from when and where on the speed of this attempt is measured."""
    newest: EventLine = max(lines, key=lambda line: line["step"])  # type: ignore[assignment]
    cursor = Job.objects.values_list("cursor", flat=True).get(pk=attempt.job.pk)
    if "at" not in cursor:
        cursor = {"attempt": attempt.attempt, "step": newest["step"], "at": time.time()}
    figures = [f"{name} {newest['values'][name]:.4g}" for name in SHOWN if name in newest["values"]]
    far = f"{newest['step']} of {newest['total']}"
    words = f"{far} completions measured" if newest["kind"] == PROGRESS else f"Step {far}"
    message = ", ".join([words, *figures])
    job_progress(attempt, done=newest["step"], total=newest["total"], message=message, cursor=cursor)


def _model_name(run: Run) -> str:
    """The run's name, unless an import has taken it meanwhile."""
    taken = ModelVersion.objects.filter(project=run.project, name=run.name).exists()
    return f"{run.name} (run {run.pk})" if taken else run.name


def _json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DomainError(f"The trainer ended well, but {path} cannot be read: {error}.") from error
    return content

"""Snapshots: labels as they stand at one moment, frozen into a folder that never changes."""

import shutil
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from labelapp.accounts.audit import audit_record
from labelapp.artifacts.services import artifact_localise, artifact_publish
from labelapp.datasets.freeze_options import FreezeOptions, freeze_options_read
from labelapp.datasets.gathering import Gathered, labels_gather
from labelapp.datasets.moment import Elsewhere, one_moment
from labelapp.datasets.selection import CAUSES, Cause
from labelapp.datasets.snapshot_tables import annotator_keys, protocols_of, tables_of
from labelapp.errors import DomainError
from labelapp.jobs.registry import JobFailedError, JobRun
from labelapp.jobs.services import job_begin, job_create, job_progress
from labelapp.models import Annotator, Artifact, Batch, Job, Project, Round, Snapshot, User
from trainer.data.snapshots import SnapshotError, manifest_read, snapshot_write
from trainer.records import Manifest

FREEZE = "freeze"
"""The kind of job that makes a snapshot."""
TITLE = "Freezing labels"
SIGN_OF_LIFE = 2.0
"""Seconds between two signs of life."""
LEFTOVER_AGE = 24 * 3600
"""Seconds after which a folder of a freeze belongs to a process that was killed."""


def snapshot_freeze(*, project: Project, options: FreezeOptions, created_by: User | None) -> Job:
    """Have the workers freeze the project's labels; the job's result says which snapshot it is.

    Raises DomainError when the options name a batch, a round or an annotator that the project does not have.
    """
    freeze_resolve(project, options)
    payload = {"options": options.payload()}
    return job_create(project=project, kind=FREEZE, title=TITLE, payload=payload, created_by=created_by)


def freeze_begin(*, project: Project, options: FreezeOptions) -> JobRun:
    """Claim a freeze for this process itself; the workers take over should it die. Raises as `snapshot_freeze`."""
    freeze_resolve(project, options)
    return job_begin(project=project, kind=FREEZE, title=TITLE, payload={"options": options.payload()})


def freeze_run(run: JobRun) -> Mapping[str, object]:
    """Freeze as the job asks. The same labels frozen again are the same snapshot, and the result says so.

    Raises DomainError when there is nothing to freeze. A freeze that was killed is begun again from the start.
    """
    options = freeze_options_read(run.job.payload["options"])
    with _workplace(run) as folder:
        frozen = freeze_now(project=run.job.project, options=options, folder=folder, run=run)
        snapshot, is_new = _snapshot_keep(run, frozen, folder)
    return {"snapshot": snapshot.pk, "digest": snapshot.digest, "known": not is_new, "counts": frozen["counts"]}


def freeze_now(*, project: Project, options: FreezeOptions, folder: Path, run: JobRun | None = None) -> Manifest:
    """Write the snapshot of this moment into `folder`/snapshot, with what it is made of beside it.

    Labels that come meanwhile are no part of it. Raises DomainError when there is nothing to freeze.
    """
    resolved = freeze_resolve(project, options)
    with Elsewhere() as elsewhere, one_moment() as as_of:
        beat = _Beat(run, elsewhere)
        gathered = labels_gather(project_id=project.pk, options=resolved, as_of=as_of, folder=folder, beat=beat.tasks)
        if gathered.is_empty:
            raise JobFailedError(_nothing(gathered), {"counts": gathered.counts()})
        named = gathered.annotators.keys() | options.weights.keys()
        keys = elsewhere.run(lambda: annotator_keys(sorted(named)))
        tables = {name: beat.rows(rows) for name, rows in tables_of(gathered, keys).items()}
        try:
            return snapshot_write(
                folder / "snapshot",
                options=resolved.canonical(keys),
                tables=tables,
                as_of=as_of.isoformat(),
                counts=gathered.counts(),
                protocols=protocols_of(gathered.protocols),
                annotators={keys[pk]: facts for pk, facts in gathered.annotators.items()},
            )
        except SnapshotError as error:
            raise DomainError(f"The labels cannot be frozen: {error}") from error


def freeze_resolve(project: Project, options: FreezeOptions) -> FreezeOptions:
    """The options with the batches of their rounds. Raises DomainError when they name what the project has not."""
    known = set(Batch.objects.filter(project=project, pk__in=options.batches).values_list("pk", flat=True))
    _require("batch", options.batches, known)
    batch_of = dict(Round.objects.filter(project=project, number__in=options.rounds).values_list("number", "batch"))
    _require("round", options.rounds, batch_of)
    _require("round with a batch", options.rounds, {number for number, batch in batch_of.items() if batch})
    annotators = Annotator.objects.filter(project=project, pk__in=options.weights)
    _require("annotator", options.weights, set(annotators.values_list("pk", flat=True)))
    return replace(options, batches=tuple(sorted({*options.batches, *filter(None, batch_of.values())})))


def snapshot_localise(snapshot: Snapshot, *, tick: Callable[[], None] = lambda: None) -> Path:
    """The snapshot's folder on this machine, every byte of it verified.

    Raises DomainError that names the file which is missing, damaged, or of a version that cannot be read.
    """
    path = artifact_localise(snapshot.folder, verify=True, tick=tick)
    try:
        manifest = manifest_read(path)
    except SnapshotError as error:
        raise DomainError(str(error)) from error
    if manifest["digest"] != snapshot.digest:
        raise DomainError(f"{path} holds the snapshot {manifest['digest'][:8]}, not {snapshot.digest[:8]}.")
    return path


def _snapshot_keep(run: JobRun, frozen: Manifest, folder: Path) -> tuple[Snapshot, bool]:
    """The snapshot of this content, and whether it is new."""
    project, digest = run.job.project, frozen["digest"]
    known = Snapshot.objects.filter(project=project, digest=digest).first()
    if known:
        return known, False
    # One transaction, so that a freeze that is killed leaves no artifact which nobody points at.
    with Elsewhere() as elsewhere, transaction.atomic():
        beat = _Beat(run, elsewhere)
        path, kind = folder / "snapshot", Artifact.Kind.SNAPSHOT
        artifact = artifact_publish(
            path=path, project=project, kind=kind, name=f"snapshot-{digest[:8]}", tick=beat.alive
        )
        snapshot, is_new = Snapshot.objects.get_or_create(
            project=project,
            digest=digest,
            defaults={
                "options": frozen["options"],
                "counts": frozen["counts"],
                "folder": artifact,
                "as_of": datetime.fromisoformat(frozen["as_of"]),
                "job": run.job,
                "created_by": run.job.created_by,
            },
        )
        if not is_new:  # another freeze of the same labels was quicker
            artifact.delete()
        else:
            audit_record(actor=run.job.created_by, verb="snapshot_freeze", subject=snapshot, project_id=project.pk)
        job_progress(run, message=f"Frozen as {digest[:8]}.")
    return snapshot, is_new


class _Beat:
    """Signs of life while a freeze reads and writes, not more often than needed."""

    def __init__(self, run: JobRun | None, elsewhere: Elsewhere) -> None:
        self._run, self._elsewhere = run, elsewhere
        self._spoken = 0.0
        self._message = "Reading the labels."

    def tasks(self, done: int) -> None:
        """So many tasks are read."""
        self._message = f"{done:,} labelled tasks read."
        self.alive()

    def rows(self, rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The rows, with a sign of life now and then."""
        for row in rows:
            self.alive()
            yield row

    def alive(self) -> None:
        """Say so, unless it was said just now. Raises what `job_progress` does."""
        run = self._run
        if run and time.monotonic() - self._spoken > SIGN_OF_LIFE:
            self._spoken = time.monotonic()
            self._elsewhere.run(lambda: job_progress(run, message=self._message))


@contextmanager
def _workplace(run: JobRun) -> Iterator[Path]:
    """A folder for this attempt, gone afterwards. What attempts that were killed left behind goes first."""
    root = Path(settings.RUN_ROOT)
    root.mkdir(parents=True, exist_ok=True)
    for left in root.glob("freeze-*"):
        earlier = left.name.startswith(f"freeze-{run.job.pk}-")
        with suppress(FileNotFoundError):  # another freeze may sweep as well
            if earlier or time.time() - left.stat().st_mtime > LEFTOVER_AGE:
                shutil.rmtree(left)
    folder = root / f"freeze-{run.job.pk}-{run.attempt}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _nothing(gathered: Gathered) -> str:
    causes = [f"{number:,} {CAUSES[Cause(cause)]}" for cause, number in gathered.left_out.most_common() if number]
    if not causes:
        return "There is nothing to freeze: nobody has labelled anything yet."
    return f"There is nothing to freeze. Labels left out: {'; '.join(causes)}. Choose other options, or wait."


def _require(noun: str, wanted: Iterable[int], known: Container[int]) -> None:
    missing = [str(number) for number in wanted if number not in known]
    if missing:
        raise DomainError(f"This project has no {noun} {', '.join(missing)}.")

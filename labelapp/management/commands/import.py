"""`manage.py import`: bring a file of prompts, completions and labels into a project, through a job like any upload."""

import time
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError, ProgrammingError, connection
from django.db.models import Q

from labelapp.artifacts.services import artifact_localise, artifact_publish
from labelapp.datasets import tasks  # noqa: F401 (registers the job handler)
from labelapp.datasets.services import import_begin
from labelapp.errors import DomainError
from labelapp.jobs.execution import job_execute
from labelapp.jobs.registry import JobRun
from labelapp.jobs.services import job_stop
from labelapp.models import Artifact, Job, Project, User
from labelapp.projects.services import project_create

NO_DATABASE = "The database does not answer. Start it with `make run` in another terminal, or set DATABASE_URL."
NO_TABLES = "The database has no tables yet. `make run` makes them, and so does `python manage.py migrate`."
DATABASE_LOST = "The database stopped answering. What was saved stays: run the same command again to go on."
NO_OWNER = "A project needs an admin, and there is nobody yet. Run `python manage.py createsuperuser` first."
CONNECT_SECONDS = 5
BETWEEN_LINES = 2.0
"""Seconds between two lines of progress."""


class Command(BaseCommand):
    """Thin: the work is the same job that an upload starts, done by this process."""

    help = "Import a JSON lines file, plain or gzipped, into a project (the format: docs/import.md)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the file, --project, --create and --strict."""
        parser.add_argument("file", type=Path, help="JSON lines, plain or gzipped")
        parser.add_argument("--project", required=True, metavar="NAME", help="name of the project, or its short name")
        parser.add_argument("--create", action="store_true", help="make the project if there is none of that name")
        parser.add_argument("--strict", action="store_true", help="import nothing if any row is bad")

    def handle(self, *args: Any, **options: Any) -> None:
        """Import; exit with 1 unless the import succeeded."""
        if not options["file"].is_file():
            raise CommandError(f"There is no file {options['file']}.")
        _database_require()
        try:
            job = self._import(options)
        except DomainError as error:
            raise CommandError(error.message) from error
        except ProgrammingError as error:
            raise CommandError(NO_TABLES) from error
        except (OperationalError, InterfaceError) as error:
            raise CommandError(DATABASE_LOST) from error
        self._report(job)

    def _import(self, options: dict[str, Any]) -> Job:
        project = _project(options["project"], create=options["create"])
        name = options["file"].name.encode(errors="replace").decode()
        upload = artifact_publish(path=options["file"], project=project, kind=Artifact.Kind.UPLOAD, name=name)
        run = import_begin(project=project, artifact=upload, strict=options["strict"])
        self.stdout.write(f"Importing {upload.name} into {project.name} (job {run.job.pk}).")
        try:
            job_execute(replace(run, listener=_Progress(self)))
        except KeyboardInterrupt:
            raise self._stopped(run) from None
        return Job.objects.get(pk=run.job.pk)

    def _stopped(self, run: JobRun) -> CommandError:
        job_stop(run)
        return CommandError("Stopped. What was saved stays; the same command again brings in the rest.")

    def _report(self, job: Job) -> None:
        result = job.result or job.cursor
        if result.get("rows"):
            new = result["new"]
            self.stdout.write(f"{result['rows']:,} rows read, {result['rejected']:,} rejected.")
            kinds = ("prompts", "completions", "annotations", "demonstrations")
            self.stdout.write("New: " + ", ".join(f"{new.get(kind, 0):,} {kind}" for kind in kinds) + ".")
        for example in result.get("examples", []):
            where = f", {example['field']}" if example["field"] else ""
            self.stdout.write(f"  line {example['line']:,}{where}: {example['reason']}")
        if "rejects" in result:
            path = artifact_localise(Artifact.objects.get(pk=result["rejects"]))
            self.stdout.write(f"All rejected rows, each with its reason: {path}")
        if job.state != Job.State.SUCCEEDED:
            raise CommandError(_ended_badly(job))


class _Progress:
    """Prints a line now and then."""

    def __init__(self, command: BaseCommand) -> None:
        self.command = command
        self.said = time.monotonic()

    def __call__(self, message: str | None, done: int | None, total: int | None) -> None:
        if message and time.monotonic() - self.said > BETWEEN_LINES:
            share = f"{100 * done // total:3} %  " if done is not None and total else ""
            self.command.stdout.write(share + message)
            self.said = time.monotonic()


def _ended_badly(job: Job) -> str:
    if job.state in {Job.State.QUEUED, Job.State.RUNNING}:
        return f"Job {job.pk} is not done yet: {job.message} The site's workers go on with it when they run."
    return job.message


def _database_require() -> None:
    """Find out quickly whether there is a database: the pool of connections would try for twenty seconds."""
    if connection.connection is not None:
        return
    try:
        psycopg.connect(**connection.get_connection_params(), connect_timeout=CONNECT_SECONDS).close()
    except psycopg.OperationalError as error:
        raise CommandError(f"{NO_DATABASE} ({str(error).strip()})") from error


def _project(name: str, *, create: bool) -> Project:
    """The project of this name. Raises DomainError when there is none or more than one, and none was to be made."""
    found = list(Project.objects.filter(Q(slug=name) | Q(name__iexact=name)).order_by("pk"))
    exact = [project for project in found if project.slug == name]
    found = exact or found
    if len(found) == 1:
        return found[0]
    if found:
        slugs = ", ".join(project.slug for project in found)
        raise DomainError(f"There are {len(found)} projects called “{name}”. Use the short name of one: {slugs}.")
    if create:
        return project_create(name=name, created_by=_owner())
    known = ", ".join(f"“{name}”" for name in Project.objects.order_by("name").values_list("name", flat=True)[:20])
    hint = f"There are: {known}." if known else "There is none yet."
    raise DomainError(f"There is no project “{name}”. {hint} Correct the name, or add --create to make it.")


def _owner() -> User:
    """The first site administrator: somebody has to be the new project's admin."""
    owner = User.objects.filter(is_staff=True, is_active=True).order_by("pk").first()
    if owner is None:
        raise DomainError(NO_OWNER)
    return owner

"""`manage.py snapshot`: freeze labels, list what was frozen, and tell two snapshots apart."""

from argparse import ArgumentParser
from dataclasses import replace
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError, ProgrammingError
from django.db.models import Q

from labelapp.datasets import tasks  # noqa: F401 (registers the job handler)
from labelapp.datasets.freeze_options import COMBINATIONS, MOST_HOURS, TIES, FreezeOptions
from labelapp.datasets.selectors import left_out_in_words, snapshot_named, snapshots_of
from labelapp.datasets.snapshot_diff import SnapshotDiff, snapshot_diff
from labelapp.datasets.snapshot_forms import weights_read
from labelapp.datasets.snapshots import freeze_begin, snapshot_localise
from labelapp.errors import DomainError
from labelapp.jobs.execution import job_execute
from labelapp.jobs.services import job_stop
from labelapp.models import Annotator, Job, Project, Snapshot
from trainer.records import SPLITS

NO_DATABASE = "The database does not answer. Start it with `make run` in another terminal, or set DATABASE_URL."
NO_TABLES = "The database has no tables yet. `make run` makes them, and so does `python manage.py migrate`."


class Command(BaseCommand):
    """Thin: freezing is the same job that the page starts, done by this process."""

    help = "Freeze a project's labels, list its snapshots, or say what differs between two of them and why."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare `freeze`, `list` and `diff`."""
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="{freeze,list,diff}")
        for verb, help_text in (
            ("freeze", "freeze the labels as they stand now"),
            ("list", "list the snapshots, newest first"),
            ("diff", "say which rows differ, and why"),
        ):
            command = verbs.add_parser(verb, help=help_text)
            command.add_argument("--project", required=True, metavar="NAME", help="name or short name of the project")
            if verb == "freeze":
                _freeze_arguments(command)
            if verb == "diff":
                command.add_argument("first", metavar="A", help="beginning of the digest of a snapshot")
                command.add_argument("second", metavar="B", help="beginning of the digest of another")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it; exit with 1 when it cannot be done."""
        try:
            project = _project(options["project"])
            getattr(self, f"_{options['verb']}")(project, options)
        except DomainError as error:
            raise CommandError(error.message) from error
        except ProgrammingError as error:
            raise CommandError(NO_TABLES) from error
        except (OperationalError, InterfaceError) as error:
            raise CommandError(NO_DATABASE) from error

    def _freeze(self, project: Project, options: dict[str, Any]) -> None:
        run = freeze_begin(project=project, options=_options(project, options))
        self.stdout.write(f"Freezing the labels of {project.name} (job {run.job.pk}).")
        try:
            job_execute(replace(run, listener=lambda message, _done, _total: self.stdout.write(message or "")))
        except KeyboardInterrupt:
            job_stop(run)
            raise CommandError("Stopped. Nothing was kept.") from None
        job = Job.objects.get(pk=run.job.pk)
        if job.state != Job.State.SUCCEEDED:
            raise CommandError(job.error or job.message)
        snapshot = Snapshot.objects.select_related("folder").get(pk=job.result["snapshot"])
        if job.result["known"]:
            self.stdout.write("Nothing has changed: these labels were frozen before.")
        self._describe(snapshot)
        for number, cause in left_out_in_words(snapshot):
            self.stdout.write(f"  left out: {number:,} {cause}")
        self.stdout.write(f"Folder: {snapshot_localise(snapshot)}")

    def _list(self, project: Project, options: dict[str, Any]) -> None:
        snapshots = list(snapshots_of(project))
        if not snapshots:
            self.stdout.write(f"{project.name} has no snapshots yet.")
        for snapshot in snapshots:
            self._describe(snapshot)

    def _describe(self, snapshot: Snapshot) -> None:
        counts, edges = snapshot.counts, snapshot.counts["edges"]
        rows = ", ".join(f"{counts[table]:,} {table}" for table in ("comparisons", "ratings", "demonstrations"))
        pairs = f"{edges['strict']:,} strict pairs, {edges['ties']:,} ties"
        self.stdout.write(f"{snapshot.digest[:12]}  {snapshot.as_of:%Y-%m-%d %H:%M}  {rows}; {pairs}")

    def _diff(self, project: Project, options: dict[str, Any]) -> None:
        first, second = (snapshot_named(project, options[name]) for name in ("first", "second"))
        self._show(snapshot_diff(first, second))

    def _show(self, diff: SnapshotDiff) -> None:
        for name, first, second in diff.options:
            self.stdout.write(f"option {name}: {first} became {second}")
        for change in diff.changes:
            self.stdout.write(f"{change.table} {change.kind}: {change.count:,}, {change.cause}")
            for example in change.examples:
                self.stdout.write(f"  {example}")
        same = ", ".join(f"{number:,} {table}" for table, number in diff.same.items())
        self.stdout.write(f"The same: {same}.")


def _freeze_arguments(parser: ArgumentParser) -> None:
    default = FreezeOptions()
    hours = f"a label must have stood so long without being corrected (0 to {MOST_HOURS:,}; default %(default)g)"
    parser.add_argument("--settled-hours", type=float, default=default.settled_hours, metavar="H", help=hours)
    parser.add_argument("--batch", type=int, action="append", default=[], metavar="ID", help="only this batch; repeat")
    parser.add_argument("--round", type=int, action="append", default=[], metavar="N", help="only this round; repeat")
    parser.add_argument("--split", action="append", choices=SPLITS, help="only this split; repeat")
    groups, kinds = Annotator.Group.values, Annotator.Kind.values
    parser.add_argument("--group", action="append", choices=groups, help="annotators of this group (training); repeat")
    parser.add_argument("--kind", action="append", choices=kinds, help="only this kind of annotator; repeat")
    parser.add_argument(
        "--weight", action="append", default=[], metavar="'NAME W'", help="how much an annotator counts; repeat"
    )
    parser.add_argument("--include-surplus", action="store_true", help="also labels that came after all places")
    parser.add_argument("--combine", choices=COMBINATIONS, default=default.combine, help="several labels of one task")
    parser.add_argument("--ties", choices=TIES, default=default.ties, help="keep ties, or drop them")
    parser.add_argument("--no-ratings", dest="ratings", action="store_false", help="leave ratings out")
    parser.add_argument("--no-demonstrations", dest="demonstrations", action="store_false", help="leave them out")


def _options(project: Project, given: dict[str, Any]) -> FreezeOptions:
    default = FreezeOptions()
    try:
        weights = weights_read(project, given["weight"])
    except ValidationError as error:
        raise DomainError(" ".join(error.messages)) from error
    return FreezeOptions(
        settled_hours=given["settled_hours"],
        batches=tuple(given["batch"]),
        rounds=tuple(given["round"]),
        splits=tuple(given["split"] or default.splits),
        groups=tuple(given["group"] or default.groups),
        kinds=tuple(given["kind"] or default.kinds),
        weights=weights,
        include_surplus=given["include_surplus"],
        combine=given["combine"],
        ties=given["ties"],
        ratings=given["ratings"],
        demonstrations=given["demonstrations"],
    )


def _project(name: str) -> Project:
    """The project of this short name, or the only one of this name. Raises DomainError."""
    found = list(Project.objects.filter(Q(slug=name) | Q(name__iexact=name)).order_by("pk"))
    found = [project for project in found if project.slug == name] or found
    if len(found) == 1:
        return found[0]
    if found:
        slugs = ", ".join(project.slug for project in found)
        raise DomainError(f"There are {len(found)} projects called “{name}”. Use the short name of one: {slugs}.")
    known = ", ".join(Project.objects.order_by("slug").values_list("slug", flat=True)[:20]) or "none yet"
    raise DomainError(f"There is no project “{name}”. There are: {known}.")

"""`manage.py ring`: turn the ring without a browser, every job of it done by this process."""

import json
import time
from argparse import ArgumentParser
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError, ProgrammingError

from labelapp.datasets import tasks as freeze_tasks  # noqa: F401 (registers the job handler)
from labelapp.demo.panel_work import panel_add, panel_start
from labelapp.errors import DomainError
from labelapp.generation import tasks as sample_tasks  # noqa: F401 (registers the job handler)
from labelapp.generation.model_versions import model_version_base
from labelapp.generation.sampling import SampleChoice, completions_sample
from labelapp.labeling import tasks as batch_tasks  # noqa: F401 (registers the job handler)
from labelapp.labeling.selectors import Progress
from labelapp.models import Batch, Completion, Membership, ModelVersion, Project, Role, Round, User
from labelapp.rounds.figures import reward_accuracy
from labelapp.rounds.options import EXISTING, NEW, RoundOptions, round_options_read
from labelapp.rounds.services import round_next, round_start
from labelapp.rounds.turn import Turn, job_here, labels_await, round_figures
from labelapp.training import tasks as train_tasks  # noqa: F401 (registers the job handler)
from trainer.config import option_fields

NO_DATABASE = "The database does not answer. Start it with `make run` in another terminal, or set DATABASE_URL."
NO_TABLES = "The database has no tables yet. `make run` makes them, and so does `python manage.py migrate`."
BETWEEN_LINES = 5.0
"""Seconds between two lines of progress."""
EXAMPLES = 3
EXAMPLE_LIMIT = 400
GROUPS = {"sample": "sampling", "reward": "reward", "preference": "preference"}


class Command(BaseCommand):
    """Thin: the arrows are those of `labelapp/rounds`."""

    help = "Turn the ring: sample, label, freeze, train a reward model and a policy; sample from the new policy."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare what a round may be told, each option of the trainer among it."""
        parser.add_argument("--project", required=True, metavar="SLUG", help="short name of the project")
        parser.add_argument(
            "--base", required=True, metavar="NAME|FOLDER", help="model to begin with, by name or folder"
        )
        parser.add_argument(
            "--labels",
            choices=["existing", "panel", "wait"],
            default="wait",
            help="labels that are there, by the simulated panel, or by people, for whom it waits",
        )
        parser.add_argument("--rounds", type=int, default=1, metavar="N", help="how often the ring turns")
        parser.add_argument("--prompts", type=int, metavar="N", help="prompts of a round")
        parser.add_argument("--completions", type=int, metavar="K", help="completions of each prompt")
        parser.add_argument("--split", help="only prompts of this split")
        parser.add_argument("--overlap", type=int, metavar="N", help="labels per task")
        parser.add_argument("--anchor", choices=["first", "previous"], help="what policies stay close to")
        parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all draws; grows by one each round")
        parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures of every round there")
        for command in GROUPS:
            names = ", ".join(option.name for option in option_fields(command))
            parser.add_argument(
                f"--{command}", action="append", default=[], metavar="OPTION=VALUE", help=f"of the trainer: {names}"
            )

    def handle(self, *args: Any, **options: Any) -> None:
        """Turn; exit with 1 at the first arrow that fails, and say which and why."""
        try:
            self._turn(options)
        except DomainError as error:
            raise CommandError(error.message) from error
        except ProgrammingError as error:
            raise CommandError(NO_TABLES) from error
        except (OperationalError, InterfaceError) as error:
            raise CommandError(f"{NO_DATABASE} ({str(error).strip()})") from error
        except KeyboardInterrupt:
            raise CommandError("Stopped. What was saved stays.") from None

    def _turn(self, options: dict[str, Any]) -> None:
        if options["rounds"] < 1:
            raise DomainError(f"--rounds: it must be at least 1, not {options['rounds']}.")
        project = _project(options["project"])
        actor = _admin(project)
        asked = _options(project, options, 0)
        policy = _base(project, options["base"])
        if options["labels"] == "panel":
            panel_add(project=project, actor=actor)
        found = round_start(project=project, policy=policy, options=asked, created_by=actor)
        figures = []
        for turned in range(options["rounds"]):
            if turned:
                found = round_next(round=found, actor=actor, options=_options(project, options, turned))
            figures.append(self._round(found, actor, options))
            if options["json"]:
                options["json"].write_text(json.dumps({"rounds": figures}, indent=2) + "\n")
        self._examples(found, actor, _options(project, options, options["rounds"]))

    def _round(self, found: Round, actor: User, options: dict[str, Any]) -> dict[str, Any]:
        self.stdout.write(f"Round {found.number}: {found.policy.name} in {found.project.name}")
        turn = Turn(
            round=found,
            actor=actor,
            label=lambda batch: self._label(batch, options["labels"], actor),
            say=self._say,
            listener=_Progress(self),
        )
        turned = turn.turn()
        for name, run in (("Reward model", turned.reward_run), ("New policy as a judge", turned.policy_run)):
            accuracy = reward_accuracy(run.report) if run else None
            self.stdout.write(f"  {name}: {accuracy or 'nothing was held out, so nothing is known of it'}.")
        return round_figures(turned, turn.seconds)

    def _label(self, batch: Batch, labels: str, actor: User) -> None:
        if labels == "panel":
            job_here(lambda: panel_start(batch=batch, actor=actor), _Progress(self))
            return
        self.stdout.write(f"  Label “{batch.name}” in the browser; this command goes on when all labels are in.")
        labels_await(batch, self._labels_told)

    def _labels_told(self, progress: Progress) -> None:
        self.stdout.write(f"          {progress.filled:,} of {progress.seats:,} labels")

    def _say(self, name: str, went_in: str, came_out: str, seconds: float) -> None:
        first, *more = came_out.split("\n")
        self.stdout.write(f"  {name:<7} {went_in}")
        self.stdout.write(f"       -> {first:<100} {seconds:8.1f} s")
        for line in more:
            self.stdout.write(f"          {line}")

    def _examples(self, found: Round, actor: User, options: RoundOptions) -> None:
        """What the new policy writes."""
        found.refresh_from_db()
        policy = found.policy_run.result if found.policy_run else None
        if policy is None:
            return
        sample = partial(
            completions_sample,
            project=found.project,
            model_versions=[policy],
            choice=SampleChoice(split=options.split, limit=EXAMPLES),
            options={**options.trainer_options("sampling"), "n": 1},
            created_by=actor,
        )
        job = job_here(sample, _Progress(self))
        self.stdout.write(f"{policy.name} writes:")
        written = Completion.objects.filter(sampled_by=job).select_related("prompt").order_by("pk")
        if len(written) < EXAMPLES:
            self.stdout.write(f"  ({job.message})")
        for completion in written:
            self.stdout.write(f"  > {_short(completion.prompt.messages[-1]['content'])}")
            self.stdout.write(f"    {_short(completion.text) or '(nothing)'}")


class _Progress:
    """Prints a line now and then."""

    def __init__(self, command: BaseCommand) -> None:
        self.command = command
        self.said = time.monotonic()

    def __call__(self, message: str | None, done: int | None, total: int | None) -> None:
        if message and time.monotonic() - self.said > BETWEEN_LINES:
            share = f"{100 * done // total:3} %  " if done is not None and total else "       "
            self.command.stdout.write(f"          {share}{message}")
            self.said = time.monotonic()


def _project(slug: str) -> Project:
    project = Project.objects.filter(slug=slug).first()
    if project is None:
        known = ", ".join(Project.objects.order_by("slug").values_list("slug", flat=True)[:20])
        raise DomainError(f"There is no project “{slug}”. There are: {known or 'none yet'}.")
    return project


def _admin(project: Project) -> User:
    """The project's first admin, on whose behalf everything is done."""
    admin = Membership.objects.filter(project=project, role=Role.ADMIN, ended_at__isnull=True).order_by("pk").first()
    if admin is None:
        raise DomainError(f"“{project.name}” has no admin on whose behalf to work.")
    return admin.user


def _base(project: Project, given: str) -> ModelVersion:
    """The model of this name, else the folder, registered under its name if it is not yet."""
    known = ModelVersion.objects.filter(project=project, name=given).first()
    if known:
        return known
    folder = Path(given).resolve()
    if not folder.is_dir():
        names = ", ".join(ModelVersion.objects.filter(project=project, state="ready").values_list("name", flat=True))
        raise DomainError(
            f"“{given}” is neither a folder nor a model that is ready here ({names or 'there are none'})."
        )
    registered = ModelVersion.objects.filter(project=project, location=str(folder), state="ready").first()
    # Without an actor: folders are for whoever can run commands on the server, whoever the project's admin is.
    return registered or model_version_base(project=project, name=folder.name, location=str(folder), actor=None)


def _options(project: Project, given: dict[str, Any], turned: int) -> RoundOptions:
    """How the round is done that comes after so many: as asked for, else as the last one, with new seeds."""
    last = Round.objects.filter(project=project).order_by("-number").first()
    options = asdict(round_options_read(last.options) if last else RoundOptions())
    options["labels"] = EXISTING if given["labels"] == "existing" else NEW
    options |= {name: given[name] for name in ("prompts", "split", "overlap", "anchor") if given[name] is not None}
    options["shared_overlap"] = max(options["overlap"], options["shared_overlap"])
    for command, group in GROUPS.items():
        pairs = _pairs(command, given[command])
        if command == "sample" and given["completions"]:
            pairs["n"] = given["completions"]
        options[group] = {**options[group], **pairs, "seed": pairs.get("seed", given["seed"]) + turned}
    return RoundOptions(**options)


def _pairs(command: str, given: list[str]) -> dict[str, Any]:
    """Options of the trainer as typed, each in its own type. Raises DomainError that names the one that is wrong."""
    fields = {option.name: option for option in option_fields(command)}
    pairs: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        option = fields.get(name.strip().replace("-", "_"))
        if not equals or option is None:
            raise DomainError(f"--{command} {text}: write OPTION=VALUE, where OPTION is one of {', '.join(fields)}.")
        try:
            pairs[option.name] = option.read(value.strip())
        except ValueError as error:
            raise DomainError(f"--{command} {text}: it {error}") from error
    return pairs


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= EXAMPLE_LIMIT else line[:EXAMPLE_LIMIT] + " …"

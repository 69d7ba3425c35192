"""The job that samples: one process of the trainer for each model, in turn; what they draw is taken in exactly once.

A row's key is its job, prompt and number, and the job's cursor, saved with the rows, says how far the trainer's file is
read. So a worker, a trainer or the database may die anywhere, and the next attempt goes on where this one was.
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction

from labelapp.errors import DomainError
from labelapp.generation.model_versions import model_localise, sampling_problem
from labelapp.generation.sampling import (
    NO_PROMPTS,
    SampleChoice,
    choice_fixed,
    prompts_drawn,
    prompts_of_model,
)
from labelapp.generation.selectors import KIND
from labelapp.generation.services import completions_ingest
from labelapp.jobs.logs import lines_read, request_write
from labelapp.jobs.registry import JobLostError, JobRetryError, JobRun
from labelapp.jobs.services import job_progress
from labelapp.jobs.supervision import folder_hold, process_supervise, trainer_command
from labelapp.models import Completion, Job, ModelVersion, Project, Prompt
from trainer.records import OUTPUTS, REPORT, PromptLine, Request, SampleLine

PROMPTS = "prompts.jsonl"
ORIGIN = "origin"
"""File with the name that tells a folder from one that was there before it, or is on another machine."""
CHUNK = 1_000
SIGN_OF_LIFE = 5.0
HOW_DRAWN = ("temperature", "top_p", "max_tokens", "stop", "dtype")


@dataclass(frozen=True)
class Draw:
    """Which prompts are drawn, fixed by the first attempt, and how far the work has come: the job's cursor.

    `model` counts the models that are done and `earlier` their completions; `offset` (bytes) and `lines` say how far
    the file in the folder `origin` of the next model is read. `reports` has the trainer's counts for each model done.
    """

    newest_prompt: int
    newest_completion: int
    total: int
    model: int = 0
    earlier: int = 0
    origin: str = ""
    offset: int = 0
    lines: int = 0
    reports: list[dict[str, Any]] = field(default_factory=list)


def sampling_run(run: JobRun) -> Mapping[str, object]:
    """Sample from each model that is left; return what came of it."""
    _leftovers_remove()
    try:
        draw = _Sampling(run).work()
    except (JobLostError, JobRetryError, OperationalError, InterfaceError):
        raise  # another attempt goes on in the folders
    except Exception:
        _folders_remove(run.job)
        raise
    _folders_remove(run.job)
    return {"completions": Completion.objects.filter(sampled_by=run.job).count(), "models": draw.reports}


def folder_of(job: Job, model: ModelVersion) -> Path:
    """Where the trainer draws a job's completions from a model."""
    return Path(settings.RUN_ROOT, f"sample-{job.pk}-{model.pk}")


class _Sampling:
    """An attempt at the job."""

    def __init__(self, run: JobRun) -> None:
        self.run, self.job = run, run.job
        self.asked: list[dict[str, int]] = run.job.payload["models"]
        self.models = [one["model"] for one in self.asked]
        self.choice = SampleChoice(**run.job.payload["choice"])
        self.alive = _beat(run)

    def work(self) -> Draw:
        draw = self._draw()
        fixed = replace(self.choice, newest_prompt=draw.newest_prompt, newest_completion=draw.newest_completion)
        drawn = prompts_drawn(self.job, fixed, self.models)
        while draw.model < len(self.asked):
            asked = self.asked[draw.model]
            model = ModelVersion.objects.select_related("weights").get(pk=asked["model"])
            prompt_ids = prompts_of_model(drawn, fixed, model.pk)
            part = _Part(self.run, model, asked["n"], draw, self.alive)
            draw = part.work(prompt_ids) if prompt_ids else part.end({})
        job_progress(self.run, done=draw.earlier, message=_summary(draw))
        return draw

    def _draw(self) -> Draw:
        """As an earlier attempt fixed it, else fixed now."""
        if self.job.cursor:
            return Draw(**self.job.cursor)
        with transaction.atomic():
            fixed = choice_fixed(self.job.project, self.choice)
            drawn = prompts_drawn(self.job, fixed, self.models)
            total = sum(len(prompts_of_model(drawn, fixed, one["model"])) * one["n"] for one in self.asked)
            draw = Draw(fixed.newest_prompt or 0, fixed.newest_completion or 0, total)
            job_progress(self.run, done=0, total=total, message="Prompts drawn.", cursor=asdict(draw))
        if not total:
            raise DomainError(NO_PROMPTS)
        return draw


class _Part:
    """One model's part of the job."""

    def __init__(self, run: JobRun, model: ModelVersion, n: int, draw: Draw, alive: Callable[[], None]) -> None:
        self.run, self.model, self.n, self.draw, self.alive = run, model, n, draw, alive
        self.options: dict[str, Any] = {**run.job.payload["options"], "n": n}
        self.sampling = {name: self.options[name] for name in HOW_DRAWN}
        self.folder = folder_of(run.job, model)
        self.wanted = 0

    def work(self, prompt_ids: Sequence[int]) -> Draw:
        """Draw all that is left to draw from the model; return how far the job is then."""
        if problem := sampling_problem(self.model):
            raise DomainError(problem)
        self.wanted = self.n * len(prompt_ids)
        job_progress(self.run, message=f"Loading “{self.model.name}”.")
        place = model_localise(self.model, tick=self.alive)
        prompts = str((self.folder / PROMPTS).resolve())
        request = Request(command=KIND, options=self.options, model=place, prompts=prompts)
        with folder_hold(self.run, self.folder, poll=self.alive):
            self._place_find()
            self._prompts_write(prompt_ids)
            request_write(self.folder, request)
        command = trainer_command(KIND, self.folder, self.run)
        process_supervise(self.run, command=command, folder=self.folder, poll=self.take_in)
        return self.end(json.loads((self.folder / REPORT).read_text())["counts"])

    def take_in(self) -> None:
        """Take in all complete lines that are new, or else show a sign of life."""
        lines, offset = lines_read(self.folder / OUTPUTS, self.draw.offset)
        if not lines:
            job_progress(self.run)
        while lines:
            self._ingest(cast(list[SampleLine], lines), offset)
            lines, offset = lines_read(self.folder / OUTPUTS, self.draw.offset)

    def end(self, counts: Mapping[str, Any]) -> Draw:
        """Save that the model is done."""
        further = replace(
            self.draw,
            model=self.draw.model + 1,
            earlier=self.draw.earlier + self.draw.lines,
            origin="",
            offset=0,
            lines=0,
            reports=[*self.draw.reports, {"model": self.model.pk, "name": self.model.name, **counts}],
        )
        job_progress(self.run, cursor=asdict(further))
        return further

    def _ingest(self, lines: Sequence[SampleLine], offset: int) -> None:
        """Save completions together with how far the file is read."""
        further = replace(self.draw, offset=offset, lines=self.draw.lines + len(lines))
        with transaction.atomic():
            Project.objects.select_for_update(no_key=True).get(pk=self.run.job.project_id)
            completions_ingest(job=self.run.job, model_version=self.model, sampling=self.sampling, lines=lines)
            job_progress(
                self.run,
                done=further.earlier + further.lines,
                total=further.total,
                message=f"{further.lines:,} of {self.wanted:,} completions by “{self.model.name}”.",
                cursor=asdict(further),
            )
        self.draw = further

    def _place_find(self) -> None:
        """Read on where the last attempt came to, or from the start when its file is not the one that is here."""
        path, outputs = self.folder / ORIGIN, self.folder / OUTPUTS
        if not path.exists():
            path.write_text(uuid4().hex)
        origin, size = path.read_text(), outputs.stat().st_size if outputs.exists() else 0
        if origin != self.draw.origin or size < self.draw.offset:
            self.draw = replace(self.draw, origin=origin, offset=0, lines=0)

    def _prompts_write(self, prompt_ids: Sequence[int]) -> None:
        """The file of prompts, unless it is there: the trainer holds on to the one it began with."""
        path = self.folder / PROMPTS
        if path.exists():
            return
        aside = path.with_suffix(".aside")
        with aside.open("w", encoding="utf-8") as file:
            for start in range(0, len(prompt_ids), CHUNK):
                chunk = prompt_ids[start : start + CHUNK]
                messages = dict(Prompt.objects.filter(pk__in=chunk).values_list("pk", "messages"))
                for pk in chunk:
                    turns = [{"role": turn["role"], "content": turn["content"]} for turn in messages[pk]]
                    line = PromptLine(prompt=pk, messages=cast(Any, turns))
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
                self.alive()
        aside.replace(path)


def _summary(draw: Draw) -> str:
    words = f"{draw.earlier:,} completions came in."
    left_out = [f"{number:,} by “{one['name']}”" for one in draw.reports if (number := one.get("prompts_excluded"))]
    return f"{words} Prompts too long to be answered: {', '.join(left_out)}." if left_out else words


def _beat(run: JobRun) -> Callable[[], None]:
    """Signs of life, not more often than needed."""
    spoken = time.monotonic()

    def alive() -> None:
        nonlocal spoken
        if time.monotonic() - spoken > SIGN_OF_LIFE:
            spoken = time.monotonic()
            job_progress(run)

    return alive


def _folders_remove(job: Job) -> None:
    for folder in Path(settings.RUN_ROOT).glob(f"sample-{job.pk}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _leftovers_remove() -> None:
    """Remove the folders of jobs that ended where nobody could: a worker died in the last attempt."""
    names = [folder.name.split("-") for folder in Path(settings.RUN_ROOT).glob("sample-*-*")]
    jobs = Job.objects.filter(pk__in={int(name[1]) for name in names if name[1].isdecimal()}, kind=KIND)
    for job in jobs.filter(finished_at__isnull=False):
        _folders_remove(job)

"""Turning the ring in one process: each arrow is started as its button does it, and its job is done here."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from django.db import transaction

from labelapp.errors import DomainError
from labelapp.jobs.execution import job_execute
from labelapp.jobs.registry import JobRun
from labelapp.jobs.services import job_claim, job_stop
from labelapp.labeling.selectors import Progress, batch_progress
from labelapp.models import Batch, Completion, Job, Round, Run, User
from labelapp.rounds import services
from labelapp.rounds.figures import Accuracy, comparisons_of, material_in_words, reward_accuracy, snapshot_in_words
from labelapp.rounds.options import EXISTING, round_options_read
from labelapp.rounds.selectors import RoundFacts, round_facts, rounds_of

POLL_SECONDS = 2.0
Say = Callable[[str, str, str, float], None]
"""Is told of an arrow: its name, what went in, what came out, and the seconds it took."""
Listener = Callable[[str | None, int | None, int | None], None]


class TurnError(DomainError):
    """An arrow failed."""


@dataclass
class Turn:
    """One turn of the ring of a round. `label` gets the open batch and returns when its labels are in."""

    round: Round
    actor: User
    label: Callable[[Batch], None]
    say: Say
    listener: Listener | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def turn(self) -> Round:
        """Do every arrow. Raises TurnError at the first that fails, with what it said."""
        if round_options_read(self.round.options).labels != EXISTING:
            self._sample()
            self._label()
        self._freeze()
        self._reward()
        self._policy()
        return self._now().round

    def _sample(self) -> None:
        with self._timed("sample"):
            job = self._do(services.round_sample)
        found, facts = self._now().round, self._now()
        options = round_options_read(found.options)
        cut = Completion.objects.filter(sampled_by=job, finish_reason="length").count()
        prompts = Completion.objects.filter(sampled_by=job).values("prompt").distinct().count()
        self._tell(
            "sample",
            f"{prompts:,} prompts x {options.completions}, {found.policy.name}",
            f"{facts.completions:,} completions, {cut:,} of them cut at their longest",
        )

    def _label(self) -> None:
        with self._timed("label"):
            self._do(services.round_label)
            batch = self._now().round.batch
            if batch is None or not _progress(batch).seats:
                raise TurnError("No prompt got two different completions, so there is nothing to label.")
            self.label(batch)
        progress = _progress(batch)
        surplus = f", {progress.surplus:,} surplus" if progress.surplus else ""
        self._tell("label", f"{progress.tasks:,} tasks", f"{progress.filled:,} of {progress.seats:,} labels{surplus}")

    def _freeze(self) -> None:
        found = self._now().round
        with self._timed("freeze"):
            self._do(services.round_freeze)
        snapshot = self._now().snapshot
        if snapshot is None:
            raise TurnError("The freeze left no snapshot.")
        source = f"labels of {found.batch.name}" if found.batch else "all labels of the project"
        self._tell("freeze", source, f"{comparisons_of(snapshot):,} comparisons: {snapshot_in_words(snapshot)}")

    def _reward(self) -> None:
        with self._timed("reward"):
            self._do(services.round_reward)
        run = self._run("reward_run")
        self._tell("reward", _went_in(run), f"{run.result}: {material_in_words(run.report)}")

    def _policy(self) -> None:
        with self._timed("policy"):
            self._do(services.round_policy)
        run = self._run("policy_run")
        self._tell("policy", _went_in(run), f"{run.result}: {material_in_words(run.report)}")

    def _do(self, service: Callable[..., Job]) -> Job:
        return job_here(lambda: service(round=self.round, actor=self.actor), self.listener)

    def _now(self) -> RoundFacts:
        return round_facts(rounds_of(self.round.project).get(pk=self.round.pk))

    def _run(self, name: str) -> Run:
        run: Run | None = getattr(self._now().round, name)
        if run is None or run.result is None:
            raise TurnError("The training left no model.")
        return run

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - start, 2)

    def _tell(self, name: str, went_in: str, came_out: str) -> None:
        self.say(name, went_in, came_out, self.seconds[name])


def job_here(start: Callable[[], Job], listener: Listener | None = None) -> Job:
    """Start a job and do it in this process. Raises TurnError when it ends badly.

    No worker sees it wait, so none does it as well; should this process die, the workers take it over.
    """
    with quiet_broker(), transaction.atomic():
        job = start()
        run = job_claim(job.pk)
    return _job_do(job, run, listener)


def _job_do(job: Job, run: JobRun | None, listener: Listener | None) -> Job:
    """Do a claimed job, or wait for whoever has it."""
    while run:
        try:
            job_execute(replace(run, listener=listener))
        except KeyboardInterrupt:
            job_stop(run)
            raise
        run = job_claim(job.pk)  # what met trouble that may pass waits to be continued
    job = Job.objects.get(pk=job.pk)
    while not job.is_finished:
        time.sleep(POLL_SECONDS)
        job.refresh_from_db()
    if job.state != Job.State.SUCCEEDED:
        log = str(job.result.get("log", "")) if isinstance(job.result.get("log"), str) else ""
        raise TurnError("\n".join(filter(None, [f"“{job.title}” failed: {job.message}", log or job.error])))
    return job


@contextmanager
def quiet_broker() -> Iterator[None]:
    """Nobody needs to hear that no broker takes messages about jobs that are done here."""
    log = logging.getLogger("labelapp.jobs.services")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def labels_await(batch: Batch, tell: Callable[[Progress], None]) -> None:
    """Return when people have filled every seat, or somebody has closed the batch."""
    told = -1
    while True:
        progress = _progress(batch)
        if progress.filled != told:
            told = progress.filled
            tell(progress)
        batch.refresh_from_db(fields=["state"])
        if progress.filled >= progress.seats or batch.state == Batch.State.CLOSED:
            return
        time.sleep(POLL_SECONDS)


def round_figures(found: Round, seconds: dict[str, float]) -> dict[str, Any]:
    """What a benchmark wants to know of a round that was turned."""
    facts = round_facts(rounds_of(found.project).get(pk=found.pk))
    found, snapshot = facts.round, facts.snapshot
    reward, policy = found.reward_run, found.policy_run
    accuracy = reward_accuracy(reward.report) if reward else None
    return {
        "round": found.number,
        "policy": found.policy.name,
        "completions": list(
            Completion.objects.filter(sampled_by=found.sampling_id or 0).order_by("pk").values_list("pk", flat=True)
        ),
        "sampling_job": found.sampling_id,
        "tasks": facts.progress.tasks,
        "labels": facts.progress.filled,
        "labels_wanted": facts.progress.seats,
        "snapshot": {"id": snapshot.pk, "digest": snapshot.digest, "counts": snapshot.counts} if snapshot else None,
        "reward_accuracy": _shares(accuracy),
        "reward_report": reward.report if reward else None,
        "policy_report": policy.report if policy else None,
        "new_policy": policy.result.name if policy and policy.result else None,
        "seconds": seconds,
    }


def _shares(accuracy: Accuracy | None) -> dict[str, Any] | None:
    return {**vars(accuracy), "random": 0.5} if accuracy else None


def _progress(batch: Batch) -> Progress:
    return batch_progress(Batch.objects.filter(pk=batch.pk))[batch.pk]


def _went_in(run: Run) -> str:
    held = f", held to {run.reference.name}" if run.reference else ""
    labels = f"{comparisons_of(run.snapshot):,} comparisons, " if run.snapshot else ""
    return f"{labels}{run.start}{held}"

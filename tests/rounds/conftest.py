"""A round at any step, made of rows."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from labelapp.models import (
    Artifact,
    Batch,
    Completion,
    Job,
    ModelVersion,
    Project,
    Protocol,
    Round,
    Run,
    Seat,
    Snapshot,
    User,
)
from labelapp.rounds.options import RoundOptions
from labelapp.rounds.services import round_start
from tests.factories import batch_with_tasks, completion_make, prompt_make

OPTIONS = RoundOptions(prompts=4, sampling={"n": 2})
METRICS = {
    "accuracy": 0.7,
    "accuracy_low": 0.6,
    "accuracy_high": 0.8,
    "longer_wins": 0.55,
    "random": 0.5,
    "prompts": 20,
    "comparisons": 90,
}
COUNTS = {
    "prompts": 4,
    "completions": 8,
    "comparisons": 4,
    "labels": 4,
    "edges": {"strict": 3, "ties": 1},
    "left_out": {"surplus": 2},
}


@pytest.fixture(autouse=True)
def var(settings: Settings, tmp_path: Path) -> Path:
    """A var/ of its own for every test of rounds."""
    settings.VAR_DIR = tmp_path / "var"
    settings.ARTIFACT_ROOT = tmp_path / "var" / "artifacts"
    settings.RUN_ROOT = tmp_path / "var" / "runs"
    return tmp_path / "var"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Something that looks like a model."""
    made = tmp_path / "tiny"
    made.mkdir()
    (made / "config.json").write_text("{}")
    return made


@pytest.fixture
def base(project: Project, folder: Path) -> ModelVersion:
    return ModelVersion.objects.create(project=project, name="tiny", kind="base", state="ready", location=str(folder))


@pytest.fixture
def found(project: Project, base: ModelVersion, protocol: Protocol, omar: User) -> Round:
    """A round of which nothing is done."""
    return round_start(project=project, policy=base, options=OPTIONS, created_by=omar)


@dataclass
class Steps:
    """Does the steps of a round by writing what they would leave behind."""

    found: Round
    protocol: Protocol

    def job(self, kind: str, state: str = "succeeded", **fields: Any) -> Job:
        ended = None if state in {"queued", "running"} else timezone.now()
        beat = timezone.now() if state == "running" else None
        return Job.objects.create(
            project=self.found.project,
            kind=kind,
            title=kind,
            state=state,
            finished_at=ended,
            heartbeat_at=beat,
            **fields,
        )

    def sampled(self, state: str = "succeeded") -> "Steps":
        self.found.sampling = self.job("sample", state, total=8)
        prompt = prompt_make(self.found.project, f"Question of round {self.found.number}")
        for text in ("One answer", "Another answer"):
            completion = completion_make(prompt, text, self.found.policy.name)
            Completion.objects.filter(pk=completion.pk).update(sampled_by=self.found.sampling)
        return self._saved()

    def labelled(self, filled: int = 4, state: Batch.State = Batch.State.OPEN, build: str = "succeeded") -> "Steps":
        project = self.found.project
        batch = batch_with_tasks(project, self.protocol, tasks=4, k=2, name=f"Round {self.found.number}")
        Batch.objects.filter(pk=batch.pk).update(state=state)
        self.job("batch_build", build, payload={"batch": batch.pk})
        annotators = [project.annotators.create(kind="external", name=f"{batch.name} {n}") for n in range(filled)]
        for seat, annotator in zip(Seat.objects.filter(pool__batch=batch).order_by("pk"), annotators, strict=False):
            Seat.objects.filter(pk=seat.pk).update(state="filled", annotator=annotator)
        self.found.batch = batch
        return self._saved()

    def frozen(self, state: str = "succeeded") -> "Steps":
        project = self.found.project
        artifact = Artifact.objects.create(
            project=project, kind="snapshot", name="s", sha256=f"{self.found.number:064x}", size=1, uri="local:x"
        )
        snapshot = Snapshot.objects.create(
            project=project,
            digest=f"{self.found.number:064x}",
            options={},
            counts=COUNTS,
            folder=artifact,
            as_of=timezone.now(),
        )
        result = {"snapshot": snapshot.pk} if state == "succeeded" else {}
        self.found.freeze = self.job("freeze", state, result=result)
        return self._saved()

    def trained(self, field: str, state: str = "succeeded", **fields: Any) -> "Steps":
        kind = {"reward_run": "reward", "policy_run": "preference"}[field]
        job = self.job("train", state, **fields)
        name = f"round-{self.found.number}-{kind}"
        model = ModelVersion.objects.create(
            project=self.found.project,
            name=name,
            kind="reward" if kind == "reward" else "policy",
            state="ready",
            location="/models/" + name,
            parent=self.found.policy,
        )
        run = Run.objects.create(
            project=self.found.project,
            kind=kind,
            name=name,
            snapshot=Snapshot.objects.latest("pk"),
            start=self.found.policy,
            job=job,
            options={},
            result=model if state == "succeeded" else None,
            report={"metrics": METRICS} if kind == "reward" and state == "succeeded" else {},
        )
        setattr(self.found, field, run)
        return self._saved()

    def all(self) -> "Steps":
        """Everything but the next round."""
        return self.sampled().labelled().frozen().trained("reward_run").trained("policy_run")

    def _saved(self) -> "Steps":
        self.found.save()
        return self


@pytest.fixture
def steps(found: Round, protocol: Protocol) -> Steps:
    return Steps(found, protocol)


@pytest.fixture
def steps_of(protocol: Protocol) -> Callable[[Round], Steps]:
    return lambda found: Steps(found, protocol)

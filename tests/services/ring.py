"""What the tests have the whole stack do: a training, and a sampling, with the demo's small model."""

import hashlib
import random
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from labelapp.artifacts.services import artifact_localise, artifact_publish
from labelapp.demo.gold import gold_reward
from labelapp.demo.language import answer_write, instructions
from labelapp.demo.notes import MODEL
from labelapp.generation.sampling import SampleChoice, completions_sample
from labelapp.models import Artifact, Completion, Job, ModelVersion, Project, Prompt, Run, RunKind, Snapshot, User
from labelapp.projects.services import project_create
from labelapp.prompts.content import PromptContent
from labelapp.prompts.services import prompts_import
from labelapp.training.services import run_start
from trainer.data.snapshots import snapshot_write

K = 4
PROMPTS = 96
STEPS = 128
"""Of the training: 8 prompts a step, from the 64 of its split, sixteen times."""
TRAINING = {
    **{"epochs": 16, "prompts_per_step": 8, "micro_tokens": 4096, "learning_rate": 1e-3, "checkpoint_every": 10},
    **{"evaluate_every": 25, "max_length": 256, "seed": 5, "dtype": "float32"},
}
N = 4
SAMPLING = {"n": N, "max_tokens": 64, "batch_size": 4, "seed": 5, "dtype": "float32"}


def project_fill() -> None:
    """A project with prompts, the small model, and frozen labels."""
    admin = User.objects.create_user(email="admin@example.com", name="Admin")
    project = project_create(name="Ring", created_by=admin)
    asked = instructions(1, PROMPTS)
    prompts_import(project=project, prompts=[PromptContent(messages=one.messages, source="ring") for one in asked])
    weights = artifact_publish(path=MODEL, project=project, kind=Artifact.Kind.MODEL, name="small")
    ModelVersion.objects.create(project=project, name="small", kind="base", state="ready", weights=weights)
    digest = snapshot_make(Path(settings.VAR_DIR, "labels"))
    folder = artifact_publish(
        path=Path(settings.VAR_DIR, "labels"), project=project, kind=Artifact.Kind.SNAPSHOT, name="labels"
    )
    Snapshot.objects.create(project=project, digest=digest, options={}, counts={}, folder=folder, as_of=timezone.now())


def snapshot_make(folder: Path) -> str:
    """Write labels as a panel without doubts would give them; return the digest."""
    chance = random.Random(5)
    asked = dict(enumerate(instructions(1, PROMPTS), 1))
    notes = {n: [answer_write(one, chance, chance.random()) for _ in range(K)] for n, one in asked.items()}
    gold = {n: [gold_reward(asked[n].text, text) for text in texts] for n, texts in notes.items()}
    manifest = snapshot_write(
        folder,
        options={},
        tables={
            "prompts": [
                {
                    **{"prompt": n, "messages": one.messages, "split": "validation" if n % 3 == 0 else "train"},
                    **{"source": "", "language": "en", "tags": []},
                }
                for n, one in asked.items()
            ],
            "completions": [
                {"completion": 10 * n + slot, "prompt": n, "model": "small", "text": text, "finish_reason": "stop"}
                for n, texts in notes.items()
                for slot, text in enumerate(texts)
            ],
            "comparisons": [_comparison(n, values) for n, values in gold.items()],
        },
        as_of="2026-01-01T00:00:00+00:00",
        counts={},
        protocols={},
        annotators={},
    )
    return manifest["digest"]


def _comparison(n: int, values: list[float]) -> dict[str, Any]:
    order = sorted(range(K), key=lambda slot: -values[slot])
    edges = [
        {"i": order[i], "j": order[j], "outcome": ">", "strength": None, "weight": 1.0}
        for i in range(K)
        for j in range(i + 1, K)
    ]
    return {
        **{"comparison": f"c{n}", "task": n, "prompt": n, "annotator": "a", "group": "training", "protocol": 1},
        **{"completions": [10 * n + slot for slot in range(K)], "edges": edges, "weight": 1.0},
        **{"ranking": [[slot] for slot in order]},
    }


def training_start(name: str) -> int:
    """Start a training; return its job."""
    run = run_start(
        project=Project.objects.get(),
        kind=RunKind.REWARD,
        name=name,
        snapshot=Snapshot.objects.get(),
        start=ModelVersion.objects.get(name="small"),
        options=TRAINING,
        created_by=None,
    )
    return run.job_id


def training_result(job: int) -> dict[str, Any]:
    """What came of a training: its rows, and the hash of its weights."""
    run = Run.objects.select_related("result__weights", "job").get(job=job)
    assert run.result is not None, f"{run.job.message} {run.job.error} {run.job.result}"
    assert run.result.weights is not None
    weights = artifact_localise(run.result.weights, verify=True) / "model.safetensors"
    events = list(run.events.order_by("kind", "step").values_list("kind", "step", "values"))
    return {
        "state": run.job.state,
        "attempt": run.job.attempt,
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "events": events,
        "steps": sorted(step for kind, step, _ in events if kind == "train"),
        "models": ModelVersion.objects.filter(kind="reward", name__startswith=run.name).count(),
    }


def models() -> list[int]:
    """The models that can be sampled from."""
    return [model.pk for model in ModelVersion.objects.filter(name="small")]


def sampling_start() -> int:
    """Start a sampling of all prompts; return its job."""
    models = [ModelVersion.objects.get(name="small")]
    return completions_sample(
        project=Project.objects.get(),
        model_versions=models,
        choice=SampleChoice(),
        options=SAMPLING,
        created_by=None,
    ).pk


def sampling_result(job: int) -> dict[str, Any]:
    """What came of a sampling: each completion's prompt, number and text."""
    row = Job.objects.get(pk=job)
    drawn = Completion.objects.filter(sampled_by=job).order_by("prompt_id", "source_key")
    numbered = [
        (prompt, int(key.partition(":")[2]), text, reason)
        for prompt, key, text, reason in drawn.values_list("prompt_id", "source_key", "text", "finish_reason")
    ]
    return {
        "state": row.state,
        "attempt": row.attempt,
        "result": row.result,
        "prompts": list(Prompt.objects.order_by("pk").values_list("pk", flat=True)),
        "drawn": numbered,
    }

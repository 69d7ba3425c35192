"""Rows that tests need, made with as few words as possible."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from django.utils import timezone

from labelapp.accounts.services import membership_grant
from labelapp.artifacts.services import artifact_publish
from labelapp.labeling.ordering import edges_from_ranking
from labelapp.labeling.services.batches import PromptChoice, tasks_create
from labelapp.models import (
    Annotation,
    Annotator,
    Artifact,
    Batch,
    ComparisonTask,
    Completion,
    Demonstration,
    Job,
    ModelVersion,
    Project,
    Prompt,
    Protocol,
    Question,
    Role,
    Run,
    RunKind,
    RunMember,
    Snapshot,
    User,
)
from trainer.data.snapshots import snapshot_write


def protocol_make(project: Project, **fields: Any) -> Protocol:
    """A protocol with one question of each scope."""
    protocol = Protocol.objects.create(project=project, **{"name": "Helpfulness", **fields})
    Question.objects.bulk_create(
        [
            Question(protocol=protocol, key="harmful", text="Gives harmful advice", severity="severe", position=1),
            Question(protocol=protocol, key="constraint", text="Meets the constraint", polarity="good",
                     severity="none", allows_na=True, position=2),
            Question(protocol=protocol, key="ambiguous", text="The prompt is ambiguous", scope="prompt",
                     polarity="descriptive", severity="none", position=3),
        ]
    )  # fmt: skip
    return protocol


def prompt_make(project: Project, text: str = "How do I prune a pear tree?", **fields: Any) -> Prompt:
    """A single-turn prompt."""
    return Prompt.objects.create(
        project=project,
        **{
            "messages": [{"role": "user", "content": text}],
            "content_hash": hashlib.sha256(text.encode()).hexdigest(),
            "split": Prompt.Split.TRAIN,
            **fields,
        },
    )


def model_make(project: Project, name: str = "tiny-1") -> ModelVersion:
    """A registered writer of completions."""
    return ModelVersion.objects.get_or_create(project=project, name=name, defaults={"kind": "external"})[0]


def completion_make(prompt: Prompt, text: str, model: str = "tiny-1") -> Completion:
    """One completion."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    count = prompt.completions.count()
    return Completion.objects.create(
        prompt=prompt,
        model_version=model_make(prompt.project, model),
        text=text,
        text_hash=digest,
        source_key=f"{count}:{digest[:16]}",
    )


def prompt_with_completions(project: Project, text: str = "How do I prune a pear tree?", k: int = 4) -> Prompt:
    """A prompt with k different completions."""
    prompt = prompt_make(project, text)
    for index in range(k):
        completion_make(prompt, f"{text} Answer number {index}.")
    return prompt


def external_make(project: Project, name: str = "crowd-1") -> Annotator:
    """An annotator outside the application."""
    return Annotator.objects.create(project=project, kind=Annotator.Kind.EXTERNAL, name=name)


def batch_with_tasks(project: Project, protocol: Protocol, *, tasks: int = 3, k: int = 4, **plan: Any) -> Batch:
    """An open batch over new prompts, each with k completions; overlap 1 and nothing shared unless told."""
    name = plan.pop("name", f"Batch {Batch.objects.count() + 1}")
    batch = Batch.objects.create(
        project=project, protocol=protocol, name=name, state=Batch.State.OPEN, k=k, **{"shared_share": 0, **plan}
    )
    prompts = [prompt_with_completions(project, f"{name}: question {index}?", k) for index in range(tasks)]
    tasks_create(
        batch=batch,
        prompt_ids=[prompt.pk for prompt in prompts],
        choice=PromptChoice(),
        probability=1.0,
        salt=project.salt,
    )
    return batch


def batch_to_write(project: Project, protocol: Protocol, *, tasks: int = 3, **plan: Any) -> Batch:
    """An open batch that asks for the ideal answer to new prompts; overlap 1 and nothing shared unless told."""
    name = plan.pop("name", f"Batch {Batch.objects.count() + 1}")
    prompt = plan.pop("prompt", {})
    work = Batch.Work.DEMONSTRATION
    batch = Batch.objects.create(
        project=project, protocol=protocol, name=name, state=Batch.State.OPEN, work=work, **{"shared_share": 0, **plan}
    )
    prompts = [prompt_make(project, f"{name}: question {index}?", **prompt) for index in range(tasks)]
    ids = [prompt.pk for prompt in prompts]
    tasks_create(batch=batch, prompt_ids=ids, choice=PromptChoice(), probability=1.0, salt=project.salt)
    return batch


def demonstration_make(task: ComparisonTask, annotator: Annotator, text: str, **fields: Any) -> Demonstration:
    """An answer written for a task, from outside the queue."""
    return Demonstration.objects.create(
        task=task,
        prompt_id=task.prompt_id,
        annotator=annotator,
        text=text,
        text_hash=hashlib.sha256(text.encode()).hexdigest(),
        idempotency_key=uuid4(),
        **fields,
    )


def labeler_make(project: Project, name: str) -> Annotator:
    """One more person who labels in the project."""
    user = User.objects.create_user(email=f"{name}@example.com", name=name)
    membership_grant(project=project, user=user, role=Role.LABELER, actor=None)
    return Annotator.objects.get(project=project, user=user)


def annotation_make(task: ComparisonTask, annotator: Annotator, **fields: Any) -> Annotation:
    """A label from outside the queue that ranks the slots in their order; where the task has seats it is surplus."""
    ranking = fields.pop("ranking", [[slot] for slot in range(task.task_completions.count())])
    return Annotation.objects.create(
        task=task,
        annotator=annotator,
        protocol=task.batch.protocol,
        idempotency_key=uuid4(),
        **{
            "order_shown": [],
            "ranking": ranking,
            "edges": edges_from_ranking(ranking or []),
            "surplus": task.overlap > 0 and not {"supersedes", "seat"} & fields.keys(),
            **fields,
        },
    )


def run_make(project: Project, name: str = "First rewards", **fields: Any) -> Run:
    """A run of a reward model that waits; its snapshot and starting model are only rows."""
    folder, _ = Artifact.objects.get_or_create(
        project=project, kind=Artifact.Kind.SNAPSHOT, sha256="0" * 64, name="labels", size=0, is_folder=True
    )
    frozen = {"options": {}, "counts": {}, "folder": folder, "as_of": timezone.now()}
    snapshot, _ = Snapshot.objects.get_or_create(project=project, digest="0" * 64, defaults=frozen)
    ready = {"kind": ModelVersion.Kind.BASE, "state": ModelVersion.State.READY, "location": "org/base"}
    start, _ = ModelVersion.objects.get_or_create(project=project, name="base", defaults=ready)
    job = Job.objects.create(project=project, kind="train", title=f"Reward model: {name}", queue=Job.Queue.COMPUTE)
    given = {"kind": RunKind.REWARD, "snapshot": snapshot, "start": start, "job": job, "options": {"epochs": 1}}
    run = Run.objects.create(project=project, name=name, **{**given, **fields})
    Job.objects.filter(pk=run.job_id).update(payload={"run": run.pk})
    return run


def reward_make(project: Project, name: str, **fields: Any) -> ModelVersion:
    """A reward model that is ready, of which only the row is there."""
    ready = {"kind": ModelVersion.Kind.REWARD, "state": ModelVersion.State.READY, "location": "org/rewards"}
    return ModelVersion.objects.create(project=project, name=name, **{**ready, **fields})


def combined_make(project: Project, name: str, members: Sequence[ModelVersion], **fields: Any) -> Run:
    """A run that combined these reward models in their order, and its result; only rows."""
    given = {"kind": RunKind.COMBINE, "start": None, "snapshot": None, "options": {"how": "mean"}, **fields}
    run = run_make(project, name, result=reward_make(project, name), **given)
    RunMember.objects.bulk_create(
        RunMember(run=run, model_version=model, place=place) for place, model in enumerate(members, start=1)
    )
    return run


def folder_make(project: Project, files: dict[str, str], name: str = "weights") -> Artifact:
    """The folder of a model that is kept, with these files."""
    with TemporaryDirectory() as folder:
        for path, text in files.items():
            Path(folder, path).write_text(text)
        return artifact_publish(path=Path(folder), project=project, kind=Artifact.Kind.MODEL, name=name)


def snapshot_make(project: Project, **fields: Any) -> Snapshot:
    """A snapshot of one comparison of two completions, whose folder is there."""
    prompt = prompt_with_completions(project, f"Snapshot {Snapshot.objects.count() + 1}?", 2)
    ids = list(prompt.completions.order_by("pk").values_list("pk", flat=True))
    edge = {"i": 0, "j": 1, "outcome": ">", "strength": None, "weight": 1.0}
    comparison = {
        **{"comparison": "1", "task": 1, "prompt": prompt.pk, "annotator": "a", "group": "training", "protocol": 1},
        **{"completions": ids, "edges": [edge], "ranking": [[0], [1]], "weight": 1.0},
    }
    tables = {
        "prompts": [{"prompt": prompt.pk, "messages": prompt.messages, "split": prompt.split,
                     "source": "", "language": "", "tags": []}],
        "completions": [{"completion": pk, "prompt": prompt.pk, "model": "tiny-1", "text": "", "finish_reason": ""}
                        for pk in ids],
        "comparisons": [comparison],
    }  # fmt: skip
    counts = {"labels": 1, "edges": {"strict": 1, "ties": 0}, "splits": {}, "left_out": {}}
    as_of = timezone.now()
    with TemporaryDirectory() as folder:
        path = Path(folder, "snapshot")
        described = {"protocols": {}, "annotators": {"a": {"kind": "external", "group": "training"}}}
        manifest = snapshot_write(path, options={}, tables=tables, as_of=as_of.isoformat(), counts=counts, **described)
        artifact = artifact_publish(path=path, project=project, kind=Artifact.Kind.SNAPSHOT, name="snapshot")
    made = {"digest": manifest["digest"], "counts": manifest["counts"], "folder": artifact, "as_of": as_of}
    return Snapshot.objects.create(project=project, **{"options": {}, **made, **fields})

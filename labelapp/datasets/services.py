"""Writes of the datasets room: starting imports, and bringing checked rows in."""

from collections import Counter
from collections.abc import Iterable, Sequence

from django.db import transaction

from labelapp.artifacts.services import artifact_write
from labelapp.datasets.labels import LabelledRow, labels_import
from labelapp.datasets.rows import CompletionRow, Row
from labelapp.generation.content import CompletionContent
from labelapp.generation.services import completions_import, model_versions_named
from labelapp.jobs.registry import JobRun
from labelapp.jobs.services import job_begin, job_create
from labelapp.labeling.services.pools import seats_rehome
from labelapp.models import Artifact, Job, Project, User
from labelapp.prompts.services import prompts_import

KIND = "import"
"""The kind of job that an import is."""


def import_create(*, project: Project, name: str, chunks: Iterable[bytes], strict: bool, created_by: User) -> Job:
    """Keep an uploaded file and have the workers import it. Raises DomainError when it cannot be kept."""
    artifact = artifact_write(chunks=chunks, project=project, kind=Artifact.Kind.UPLOAD, name=name)
    return job_create(
        project=project,
        kind=KIND,
        title=f"Import of {artifact.name}",
        payload=_payload(artifact, strict),
        created_by=created_by,
    )


def import_begin(*, project: Project, artifact: Artifact, strict: bool) -> JobRun:
    """Claim an import for this process itself; the workers take over should it die."""
    title = f"Import of {artifact.name}"
    return job_begin(project=project, kind=KIND, title=title, payload=_payload(artifact, strict))


@transaction.atomic
def rows_import(*, project: Project, rows: Sequence[Row], job: Job | None = None) -> Counter[str]:
    """Bring a chunk of rows in and return how many prompts, completions, annotations and demonstrations are new."""
    prompts = prompts_import(project=project, prompts=[row.prompt for row in rows])
    models = model_versions_named(
        project=project, names={completion.model for row in rows for completion in row.completions}
    )
    contents = [
        content
        for row, prompt in zip(rows, prompts.ids, strict=True)
        for content in _contents(row.completions, prompt, models)
    ]
    completions = completions_import(completions=contents)
    ids = iter(completions.ids)
    labelled = [
        LabelledRow(
            prompt=prompt,
            completions=[(next(ids), completion.text) for completion in row.completions],
            judgements=row.judgements,
            demonstrations=row.demonstrations,
        )
        for row, prompt in zip(rows, prompts.ids, strict=True)
    ]
    new = labels_import(project=project, rows=labelled, job=job)
    seats_rehome(project=project, prompt_ids=prompts.regrouped)
    return new + Counter(prompts=prompts.new, completions=completions.new)


def _contents(completions: Sequence[CompletionRow], prompt: int, models: dict[str, int]) -> list[CompletionContent]:
    occurrences: Counter[tuple[str, str]] = Counter()
    contents = []
    for completion in completions:
        said = (completion.model, completion.text)
        occurrences[said] += not completion.id
        contents.append(
            CompletionContent(
                prompt=prompt,
                model=models[completion.model],
                text=completion.text,
                given_id=completion.id,
                occurrence=occurrences[said],
                sampling=completion.sampling,
                seed=completion.seed,
            )
        )
    return contents


def _payload(artifact: Artifact, strict: bool) -> dict[str, object]:
    return {"artifact": artifact.pk, "strict": strict}

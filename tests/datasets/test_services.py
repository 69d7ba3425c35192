"""Starting imports, and bringing rows in."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from labelapp.artifacts.services import artifact_localise, artifact_write
from labelapp.datasets.rows import Row, row_parse
from labelapp.datasets.services import KIND, import_begin, import_create, rows_import
from labelapp.labeling.services.batches import PromptChoice, tasks_create
from labelapp.labeling.services.seats import seat_take
from labelapp.models import Annotator, Artifact, Batch, Job, Project, Prompt, Protocol, User
from tests.datasets.conftest import completion, jsonl, prompts, table_counts


def test_create_keeps_the_file_and_queues_a_job(project: Project, omar: User) -> None:
    job = import_create(
        project=project, name="C:\\fakepath\\rows.jsonl", chunks=[b"a", b"b"], strict=True, created_by=omar
    )
    artifact = Artifact.objects.get()
    assert artifact_localise(artifact, verify=True).read_bytes() == b"ab"
    assert (job.kind, job.state, job.created_by) == (KIND, Job.State.QUEUED, omar)
    assert job.payload == {"artifact": artifact.pk, "strict": True}
    assert job.title.endswith("rows.jsonl")


def test_begin_is_claimed(project: Project) -> None:
    artifact = artifact_write(chunks=[b"a"], project=project, kind=Artifact.Kind.UPLOAD, name="rows.jsonl")
    run = import_begin(project=project, artifact=artifact, strict=False)
    assert (run.job.title, run.job.state, run.attempt) == ("Import of rows.jsonl", Job.State.RUNNING, 1)
    assert run.job.payload == {"artifact": artifact.pk, "strict": False}


@pytest.mark.parametrize("learned", [{"sensitivity": ["medical"]}, {"language": "de"}])
def test_nobody_is_seated_at_what_an_import_says_is_not_for_them(
    project: Project, protocol: Protocol, annotator: Annotator, learned: dict[str, object]
) -> None:
    """Lena accepts no sensitive content and reads no German."""
    row: dict[str, object] = {"prompt": "Why?", "completions": [completion("a"), completion("b")]}
    rows_import(project=project, rows=[row_parse(jsonl([row]))])
    batch = Batch.objects.create(project=project, protocol=protocol, name="First", state=Batch.State.OPEN)
    ids = list(Prompt.objects.values_list("pk", flat=True))
    tasks_create(batch=batch, prompt_ids=ids, choice=PromptChoice(), probability=1.0, salt=project.salt)
    rows_import(project=project, rows=[row_parse(jsonl([row | learned]))])
    assert seat_take(annotator_id=annotator.pk) is None
    Annotator.objects.filter(pk=annotator.pk).update(accepts_sensitive=["medical"], languages=["de"])
    assert seat_take(annotator_id=annotator.pk) is not None


def _bring(project: Project, rows: list[Row]) -> None:
    try:
        for start in range(0, len(rows), 20):
            rows_import(project=project, rows=rows[start : start + 20])
    finally:
        connection.close()


@pytest.mark.django_db(transaction=True)
def test_imports_of_the_same_rows_at_once_bring_them_once(project: Project) -> None:
    lines = jsonl(prompts(100)).splitlines()
    orders = [random.Random(seed).sample(lines, len(lines)) for seed in range(4)]
    with ThreadPoolExecutor(len(orders)) as workers:
        for done in [workers.submit(_bring, project, [row_parse(line) for line in order]) for order in orders]:
            done.result()
    counts = table_counts()
    assert (counts["Prompt"], counts["Completion"], counts["ComparisonTask"]) == (100, 300, 10)
    assert (counts["Annotation"], counts["Demonstration"], counts["Annotator"]) == (10, 10, 2)

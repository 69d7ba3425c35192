"""Starting imports."""

from labelapp.artifacts.services import artifact_localise, artifact_write
from labelapp.datasets.services import KIND, import_begin, import_create
from labelapp.models import Artifact, Job, Project, User


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

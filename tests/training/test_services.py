"""Starting and resuming runs."""

import pytest

from labelapp.errors import ConflictError, DomainError
from labelapp.models import AuditEntry, Job, ModelVersion, Project, Run, RunKind, Snapshot, User
from labelapp.training.services import run_resume, run_start
from tests import factories


def start(run: Run, **fields: object) -> Run:
    """Another run like this one, with something else about it."""
    given = {"kind": RunKind.REWARD, "name": "Second", "start": run.start, "options": {}}
    return run_start(
        **{"project": run.project, "snapshot": run.snapshot, "created_by": None, **given, **fields}  # type: ignore[arg-type]
    )


def end(job: Job, state: Job.State) -> None:
    Job.objects.filter(pk=job.pk).update(state=state, finished_at=job.created_at)


def model(project: Project, name: str, kind: str, state: str = "ready") -> ModelVersion:
    return ModelVersion.objects.create(project=project, name=name, kind=kind, state=state, location="org/model")


def test_start_makes_a_job_of_the_compute_queue(training: Run) -> None:
    assert (training.job.kind, training.job.queue, training.job.state) == ("train", "compute", "queued")
    assert training.job.title == "Reward model: Rewards"
    assert Job.objects.get(pk=training.job_id).payload == {"run": training.pk}


def test_start_keeps_all_options(training: Run) -> None:
    assert training.options["epochs"] == 2
    assert training.options["learning_rate"] == 9e-6
    assert training.options["ties"] == "drop"


def test_start_is_in_the_audit_trail(training: Run) -> None:
    entry = AuditEntry.objects.get(verb="run_start")
    assert (entry.object_type, entry.object_id) == ("run", training.pk)


def test_start_refuses_bad_options(training: Run) -> None:
    with pytest.raises(DomainError, match=r"epochs: must be at least 1, not 0\."):
        start(training, options={"epochs": 0})
    with pytest.raises(DomainError, match="beta: is no option of this command"):
        start(training, options={"beta": 0.1})
    assert Run.objects.count() == 1
    assert Job.objects.count() == 1


def test_start_refuses_a_name_that_is_taken(training: Run, project: Project) -> None:
    with pytest.raises(ConflictError, match="a run called “Rewards”"):
        start(training, name="Rewards")
    with pytest.raises(ConflictError, match="a model called “base”"):
        start(training, name="base")


def test_start_refuses_what_is_not_ready(training: Run, project: Project) -> None:
    retired = model(project, "old", "policy", state="retired")
    with pytest.raises(DomainError, match=r"cannot start from “old” \(Policy, retired\)"):
        start(training, start=retired)


@pytest.mark.parametrize("kind", [RunKind.SFT, RunKind.PREFERENCE])
def test_a_policy_does_not_start_from_a_reward_model(training: Run, project: Project, kind: RunKind) -> None:
    with pytest.raises(DomainError, match="cannot start from “scores”"):
        start(training, kind=kind, start=model(project, "scores", "reward"))


def test_a_reward_model_goes_on_from_one(training: Run, project: Project) -> None:
    assert start(training, start=model(project, "scores", "reward")).pk


def test_only_preferences_have_a_reference(training: Run, project: Project) -> None:
    other = model(project, "sft", "sft")
    with pytest.raises(DomainError, match="held to a reference"):
        start(training, reference=other)
    assert start(training, kind=RunKind.PREFERENCE, reference=other).reference == other


def test_nothing_comes_from_another_project(training: Run) -> None:
    elsewhere = Project.objects.create(name="Elsewhere", slug="elsewhere")
    with pytest.raises(DomainError, match="of the same project"):
        start(training, start=model(elsewhere, "base", "base"))
    with pytest.raises(DomainError, match="of the same project"):
        start(training, project=elsewhere, name="Other")


@pytest.mark.parametrize("state", [Job.State.FAILED, Job.State.CANCELLED])
def test_resume_makes_a_new_job(training: Run, omar: User, state: Job.State) -> None:
    end(training.job, state)
    job = run_resume(run=training, actor=omar)
    training.refresh_from_db()
    assert training.job == job != Job.objects.order_by("pk").first()
    assert (job.payload, job.queue, job.created_by) == ({"run": training.pk}, "compute", omar)


def test_resume_refuses_what_is_at_work(training: Run, omar: User) -> None:
    with pytest.raises(ConflictError, match="at work already"):
        run_resume(run=training, actor=omar)


def test_resume_refuses_what_is_done(training: Run, project: Project, omar: User) -> None:
    end(training.job, Job.State.SUCCEEDED)
    Run.objects.filter(pk=training.pk).update(result=model(project, "Rewards", "reward"))
    with pytest.raises(ConflictError, match="is done"):
        run_resume(run=training, actor=omar)


def test_a_run_of_the_factory_is_whole(project: Project) -> None:
    run = factories.run_make(project)
    assert Snapshot.objects.get().runs.get() == run
    assert Job.objects.get().payload == {"run": run.pk}

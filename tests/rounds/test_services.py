"""The arrows: each starts what it should, once, and not before its turn."""

import pytest

from labelapp.errors import ConflictError, DomainError
from labelapp.jobs.execution import job_execute
from labelapp.jobs.services import job_claim
from labelapp.labeling import tasks as batch_tasks  # noqa: F401 (registers the job handler)
from labelapp.models import Batch, Completion, Job, ModelVersion, Project, Protocol, Round, Run, User
from labelapp.rounds.options import RoundOptions
from labelapp.rounds.services import (
    policy_first,
    round_freeze,
    round_label,
    round_next,
    round_policy,
    round_reward,
    round_sample,
    round_start,
)
from tests.factories import completion_make, prompt_make, prompt_with_completions, protocol_make
from tests.rounds.conftest import OPTIONS, Steps

pytestmark = pytest.mark.django_db


# --- Starting ---------------------------------------------------------------------------------------------------------


def test_rounds_are_numbered_within_their_project(project: Project, base: ModelVersion) -> None:
    numbers = [round_start(project=project, policy=base, options=OPTIONS, created_by=None).number for _ in range(3)]
    assert numbers == [1, 2, 3]


@pytest.mark.parametrize(
    "fields", [{"kind": "reward"}, {"kind": "human"}, {"state": "retired"}, {"state": "registered"}]
)
def test_only_a_model_that_can_write_begins_a_round(
    project: Project, base: ModelVersion, fields: dict[str, str]
) -> None:
    ModelVersion.objects.filter(pk=base.pk).update(**fields)
    base.refresh_from_db()
    with pytest.raises(DomainError, match="“tiny” cannot write completions here"):
        round_start(project=project, policy=base, options=OPTIONS, created_by=None)
    assert not Round.objects.exists()


def test_a_policy_or_protocol_of_another_project_is_refused(project: Project, base: ModelVersion) -> None:
    other = Project.objects.create(name="Other", slug="other")
    with pytest.raises(DomainError, match="cannot write completions here"):
        round_start(project=other, policy=base, options=OPTIONS, created_by=None)
    options = RoundOptions(protocol=protocol_make(other).pk)
    with pytest.raises(DomainError, match="protocol belongs to another project"):
        round_start(project=project, policy=base, options=options, created_by=None)


# --- Each arrow -------------------------------------------------------------------------------------------------------


def test_sampling_asks_the_rounds_policy(found: Round, omar: User) -> None:
    prompt_make(found.project)
    job = round_sample(round=found, actor=omar)
    found.refresh_from_db()
    assert found.sampling == job
    assert job.payload["models"] == [{"model": found.policy_id, "n": 2}]
    assert job.payload["choice"]["limit"] == 4
    assert job.created_by == omar


def test_a_second_click_samples_nothing_more(found: Round, omar: User) -> None:
    prompt_make(found.project)
    round_sample(round=found, actor=omar)
    with pytest.raises(ConflictError, match="“Sample” of Round 1 was started before: at work"):
        round_sample(round=found, actor=omar)
    assert Job.objects.filter(kind="sample").count() == 1


def test_a_sampling_that_failed_is_begun_anew(steps: Steps, omar: User) -> None:
    found = steps.sampled("failed").found
    failed = found.sampling
    job = round_sample(round=found, actor=omar)
    found.refresh_from_db()
    assert found.sampling == job != failed


def test_the_batch_holds_what_the_policy_wrote(steps: Steps, omar: User) -> None:
    found = steps.sampled().found
    prompt_with_completions(found.project, "Somebody else's", k=3)
    job = round_label(round=found, actor=omar)
    run = job_claim(job.pk)
    assert run
    job_execute(run)
    found.refresh_from_db()
    assert found.batch
    assert (found.batch.name, found.batch.state, found.batch.k) == ("Round 1", Batch.State.OPEN, 2)
    task = found.batch.tasks.get()
    assert set(task.task_completions.values_list("completion", flat=True)) == set(
        Completion.objects.filter(sampled_by=found.sampling).values_list("pk", flat=True)
    )


def test_the_batch_keeps_to_the_rounds_protocol_and_overlap(
    project: Project, base: ModelVersion, protocol: Protocol, omar: User
) -> None:
    protocol_make(project, name="Newer")
    options = RoundOptions(protocol=protocol.pk, overlap=2, shared_percent=50, shared_overlap=5, sampling={"n": 3})
    found = round_start(project=project, policy=base, options=options, created_by=omar)
    round_label(round=Steps(found, protocol).sampled().found, actor=omar)
    batch = Batch.objects.get()
    assert (batch.protocol, batch.k, batch.overlap) == (protocol, 3, 2)
    assert (batch.shared_share, batch.shared_overlap) == (0.5, 5)


def test_a_taken_name_gets_a_number(steps: Steps, protocol: Protocol, omar: User) -> None:
    Batch.objects.create(project=steps.found.project, protocol=protocol, name="Round 1")
    round_label(round=steps.sampled().found, actor=omar)
    steps.found.refresh_from_db()
    assert steps.found.batch
    assert steps.found.batch.name == "Round 1 (2)"


def test_labeling_waits_for_the_completions(found: Round, omar: User) -> None:
    with pytest.raises(ConflictError, match="“Label” of Round 1 comes after “Sample”, which is not done yet"):
        round_label(round=found, actor=omar)
    assert not Batch.objects.exists()


def test_freezing_takes_the_rounds_batch_at_once(steps: Steps, omar: User) -> None:
    found = steps.sampled().labelled().found
    job = round_freeze(round=found, actor=omar)
    options = job.payload["options"]
    assert (list(options["batches"]), options["minimum_state"]) == ([found.batch_id], "submitted")
    found.refresh_from_db()
    assert found.freeze == job


def test_freezing_waits_for_the_labels_and_says_how_many_are_in(steps: Steps, omar: User) -> None:
    found = steps.sampled().labelled(filled=1).found
    with pytest.raises(ConflictError, match=r"not done yet \(1 of 4 labels\).*close the batch to go on"):
        round_freeze(round=found, actor=omar)


def test_labels_that_are_there_are_frozen_all(project: Project, base: ModelVersion, omar: User) -> None:
    options = RoundOptions(labels="existing")
    found = round_start(project=project, policy=base, options=options, created_by=omar)
    with pytest.raises(ConflictError, match="does without “Sample”"):
        round_sample(round=found, actor=omar)
    assert list(round_freeze(round=found, actor=omar).payload["options"]["batches"]) == []


def test_the_reward_model_learns_from_the_rounds_snapshot(steps: Steps, omar: User) -> None:
    found = steps.sampled().labelled().frozen().found
    job = round_reward(round=found, actor=omar)
    found.refresh_from_db()
    run = found.reward_run
    assert run
    assert (run.kind, run.start, run.job, run.name) == ("reward", found.policy, job, "round-1-reward")
    assert run.snapshot == found.snapshot
    assert run.snapshot.digest == f"{1:064x}"


def test_a_training_that_failed_goes_on_as_the_same_run(steps: Steps, omar: User) -> None:
    found = steps.sampled().labelled().frozen().trained("reward_run", "failed").found
    job = round_reward(round=found, actor=omar)
    run = Run.objects.get()
    assert (run.job, run.job.state) == (job, Job.State.QUEUED)


def test_the_policy_waits_for_the_reward_model(steps: Steps, omar: User) -> None:
    with pytest.raises(ConflictError, match="“Policy” of Round 1 comes after “Reward model”"):
        round_policy(round=steps.sampled().labelled().frozen().found, actor=omar)


def test_the_policy_is_held_to_the_first_of_the_chain(steps: Steps, protocol: Protocol, omar: User) -> None:
    second = round_next(round=steps.all().found, actor=omar)
    steps_of_second = Steps(second, protocol).sampled().labelled().frozen().trained("reward_run")
    round_policy(round=steps_of_second.found, actor=omar)
    second.refresh_from_db()
    assert second.policy_run
    assert second.policy_run.start.name == "round-1-preference"
    assert second.policy_run.reference == steps.found.policy


def test_or_to_the_policy_of_the_round_where_that_was_chosen(
    project: Project, steps: Steps, protocol: Protocol, omar: User
) -> None:
    options = RoundOptions(anchor="previous", sampling={"n": 2})
    second = round_next(round=steps.all().found, actor=omar, options=options)
    round_policy(round=Steps(second, protocol).sampled().labelled().frozen().trained("reward_run").found, actor=omar)
    second.refresh_from_db()
    assert second.policy_run
    assert second.policy_run.reference == second.policy


def test_the_first_policy_of_a_lone_round_is_its_own(found: Round) -> None:
    assert policy_first(found) == found.policy


# --- The next round ---------------------------------------------------------------------------------------------------


def test_the_next_round_goes_on_with_the_new_policy_done_alike(steps: Steps, omar: User) -> None:
    following = round_next(round=steps.all().found, actor=omar)
    assert (following.number, following.policy.name) == (2, "round-1-preference")
    assert following.options == steps.found.options


def test_the_next_round_is_begun_once(steps: Steps, omar: User) -> None:
    found = steps.all().found
    assert round_next(round=found, actor=omar) == round_next(round=found, actor=omar)
    assert Round.objects.count() == 2


def test_there_is_no_next_round_without_a_new_policy(steps: Steps, omar: User) -> None:
    with pytest.raises(ConflictError, match="Round 1 has no new policy yet"):
        round_next(round=steps.sampled().found, actor=omar)


def test_two_completions_that_are_the_same_leave_nothing_to_compare(
    found: Round, protocol: Protocol, omar: User
) -> None:
    steps = Steps(found, protocol)
    found.sampling = steps.job("sample")
    found.save()
    prompt = prompt_make(found.project, "Twice the same")
    for _ in range(2):
        completion_make(prompt, "The same", found.policy.name)
    job = round_label(round=found, actor=omar)
    run = job_claim(job.pk)
    assert run
    job_execute(run)
    with pytest.raises(ConflictError, match="“Label”, which is not done yet"):
        round_freeze(round=found, actor=omar)

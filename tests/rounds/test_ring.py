"""How far each arrow is, read off what the arrows left behind."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from labelapp.models import Batch, Job, Project, Protocol, Round, Snapshot
from labelapp.rounds.options import RoundOptions
from labelapp.rounds.selectors import (
    Arrow,
    arrow_now,
    ring_version,
    round_choices,
    round_facts,
    round_ring,
    rounds_facts,
    rounds_of,
)
from labelapp.rounds.services import round_next, round_start
from tests.rounds.conftest import Steps

pytestmark = pytest.mark.django_db


def ring(found: Round) -> list[Arrow]:
    return round_ring(round_facts(rounds_of(found.project).get(pk=found.pk)))


def states(found: Round) -> str:
    """The first letter of each state, W(aiting) r(eady) R(unning) D(one) F(ailed) P(assed)."""
    letters = {"ready": "r", "running": "R"}
    return "".join(letters.get(arrow.state, arrow.state[0].upper()) for arrow in ring(found))


def test_a_new_round_is_ready_to_sample(found: Round) -> None:
    assert states(found) == "rWWWWW"
    assert arrow_now(ring(found)).action == "Sample completions"


def test_each_step_makes_the_next_one_ready(steps: Steps) -> None:
    assert states(steps.sampled().found) == "DrWWWW"
    assert states(steps.labelled().found) == "DDrWWW"
    assert states(steps.frozen().found) == "DDDrWW"
    assert states(steps.trained("reward_run").found) == "DDDDrW"
    assert states(steps.trained("policy_run").found) == "DDDDDr"


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_job_at_work_holds_up_the_next(steps: Steps, state: str) -> None:
    assert states(steps.sampled(state).found) == "RWWWWW"


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_what_failed_can_be_tried_again(steps: Steps, state: str) -> None:
    found = steps.sampled(state).found
    Job.objects.filter(kind="sample").update(message="The disk is full.")
    arrow = ring(found)[0]
    assert (arrow.state, arrow.action, arrow.note) == ("failed", "Try again", "The disk is full.")
    assert states(found) == "FWWWWW"


def test_labels_are_at_work_until_the_last_is_in(steps: Steps) -> None:
    arrow = ring(steps.sampled().labelled(filled=3).found)[1]
    assert (arrow.state, arrow.figure, arrow.done, arrow.total) == ("running", "3 of 4", 3, 4)


def test_a_closed_batch_is_done_with_what_it_has(steps: Steps) -> None:
    found = steps.sampled().labelled(filled=1, state=Batch.State.CLOSED).found
    assert states(found) == "DDrWWW"


def test_a_batch_whose_tasks_are_being_made_is_at_work(steps: Steps) -> None:
    arrow = ring(steps.sampled().labelled(filled=4, build="running").found)[1]
    assert (arrow.state, arrow.note) == ("running", "Its tasks are being made.")


def test_a_broken_build_is_a_failure_to_be_mended_on_its_page(steps: Steps) -> None:
    found = steps.sampled().labelled(filled=0, build="failed").found
    arrow = ring(found)[1]
    assert (arrow.state, arrow.action) == ("failed", "")
    assert "batch's page" in arrow.note
    assert arrow.url.endswith(f"/batches/{found.batch_id}/")


def test_a_batch_without_a_task_says_why(steps: Steps) -> None:
    found = steps.sampled().labelled(filled=0).found
    assert found.batch
    found.batch.tasks.all().delete()
    arrow = ring(found)[1]
    assert (arrow.state, arrow.note[:40]) == ("failed", "No prompt got two different completions,")


def test_the_counts_are_those_of_what_was_made(steps: Steps) -> None:
    sample, label, freeze, reward, policy, _ = ring(steps.all().found)
    assert (sample.figure, sample.unit) == ("2", "completions")
    assert (label.figure, label.unit) == ("4 of 4", "labels")
    assert (freeze.figure, freeze.unit) == ("4", "comparisons")
    assert "4 pairs, 25.0 % of them ties" in freeze.note
    assert "2 labels left out" in freeze.note
    assert (reward.figure, reward.unit) == ("70 %", "right")
    assert reward.note == (
        "70.0 % of 90 held-out pairs right (95 %: 60.0 % to 80.0 %); longer wins 55.0 %, random 50 %"
    )
    assert policy.note == "round-1-preference"


def test_a_training_shows_its_step(steps: Steps) -> None:
    found = steps.sampled().labelled().frozen().trained("reward_run", "running", done=3, total=12).found
    arrow = ring(found)[3]
    assert (arrow.figure, arrow.unit, arrow.done, arrow.total) == ("3 of 12", "steps", 3, 12)


def test_labels_that_are_there_pass_over_two_arrows(found: Round, project: Project) -> None:
    existing = round_start(
        project=project, policy=found.policy, options=RoundOptions(labels="existing"), created_by=None
    )
    assert states(existing) == "PPrWWW"


def test_the_next_round_closes_the_ring(steps: Steps) -> None:
    found = steps.all().found
    following = round_next(round=found, actor=None)
    closing = ring(found)[-1]
    assert (closing.state, closing.figure) == ("done", "Round 2")
    assert closing.url.endswith(f"/rounds/{following.number}/")
    assert arrow_now(ring(found)) == closing


def test_a_snapshot_that_was_known_counts_as_well(steps: Steps) -> None:
    found = steps.sampled().labelled().frozen().found
    assert found.snapshot is None
    assert round_facts(found).snapshot == Snapshot.objects.get()


def test_the_version_tells_a_change(steps: Steps) -> None:
    before = ring_version(ring(steps.sampled("running").found))
    assert ring_version(ring(steps.found)) == before
    Job.objects.filter(kind="sample").update(message="8 of 12 written")
    assert ring_version(ring(steps.found)) != before


def test_many_rounds_cost_as_many_queries_as_one(
    steps: Steps, project: Project, protocol: Protocol, steps_of: Callable[[Round], Steps]
) -> None:
    found = steps.all().found
    one = _queries(project)
    for _ in range(3):
        found = steps_of(round_next(round=found, actor=None)).all().found
    assert _queries(project) == one


def _queries(project: Project) -> int:
    with CaptureQueriesContext(connection) as queries:
        for facts in rounds_facts(list(rounds_of(project))):
            round_ring(facts)
    return len(queries)


def test_choices_are_told_in_words(found: Round) -> None:
    told = dict(round_choices(RoundOptions(sampling={"n": 3}, reward={"learning_rate": 0.01}, split="train")))
    assert told["Prompts"] == "at most 64, train"
    assert told["Sampling"].startswith("n 3, temperature 1.0")
    assert told["Reward model"] == "learning rate 0.01"
    assert told["Policy"] == "the trainer's defaults"

"""What the pages of runs and models show."""

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from labelapp.models import Job, ModelVersion, Project, Run, RunEvent
from labelapp.training.charts import POINTS
from labelapp.training.selectors import (
    flat,
    lineage_of,
    options_ordered,
    points_of,
    run_version,
    run_view,
    seconds_left,
    time_words,
)
from tests.factories import run_make


@pytest.fixture
def run(project: Project) -> Run:
    return run_make(project)


def log(run: Run, steps: int, kind: str = "train") -> None:
    RunEvent.objects.bulk_create(
        RunEvent(run=run, kind=kind, step=step, values={"loss": 1 / step, "accuracy": 0.5})
        for step in range(1, steps + 1)
    )


def test_a_long_run_is_thinned_by_the_database(run: Run) -> None:
    log(run, 2000)
    view = run_view(run)
    assert [chart.name for chart in view.charts] == ["Loss", "Accuracy"]
    assert len(view.charts[0].line.split()) <= POINTS
    assert view.charts[0].summary.endswith("at step 2,000.")
    assert view.last[0] == (2000, "loss 0.0005, accuracy 0.5")
    assert len(view.last) == 10


def test_a_short_run_shows_every_step(run: Run) -> None:
    log(run, 7)
    assert len(run_view(run).charts[0].line.split()) == 7


def test_a_run_without_events_shows_no_chart(run: Run) -> None:
    assert run_view(run).charts == []


def test_a_measure_that_a_run_has_not_is_no_chart(run: Run) -> None:
    RunEvent.objects.create(run=run, kind="train", step=1, values={"loss": 2.0, "tokens": 12})
    assert [chart.name for chart in run_view(run).charts] == ["Loss"]


def test_held_out_values_are_dots(run: Run) -> None:
    log(run, 3)
    log(run, 2, kind="eval")
    view = run_view(run)
    assert len(view.charts[0].dots) == 2
    assert [step for step, _ in view.held_out] == [2, 1]


def test_time_left_counts_this_attempt_alone(run: Run) -> None:
    """30 steps in 60 seconds since this attempt began at step 50, and 20 more to go."""
    now = timezone.now()
    began = (now - timedelta(seconds=60)).timestamp()
    job = Job(state="running", done=80, total=100, heartbeat_at=now, cursor={"step": 50, "at": began})
    assert seconds_left(job) == 40


@pytest.mark.parametrize("change", [{"state": "failed"}, {"cursor": {}}, {"done": 50}, {"total": None}])
def test_time_left_is_not_guessed(change: dict[str, object]) -> None:
    now = timezone.now()
    given = {"state": "running", "done": 80, "total": 100, "heartbeat_at": now}
    cursor = {"step": 50, "at": now.timestamp() - 60}
    assert seconds_left(Job(**{**given, "cursor": cursor, **change})) is None


def test_time_is_said_in_words() -> None:
    assert time_words(None) == ""
    assert time_words(59) == "less than a minute left"
    assert time_words(600) == "about 10 min left"
    assert time_words(7500) == "about 2 h 5 min left"


def test_the_version_changes_with_what_is_shown(run: Run) -> None:
    before = run_version(Run.objects.get(pk=run.pk))
    assert run_version(Run.objects.get(pk=run.pk)) == before
    Run.objects.filter(pk=run.pk).update(events_offset=10)
    assert run_version(Run.objects.select_related("job").get(pk=run.pk)) != before


def test_nested_values_become_pairs() -> None:
    report = {"validation": {"accuracy": 0.71234, "interval": [0.6, 0.8]}, "prompts": 1200, "note": "few"}
    assert flat(report) == [
        ("validation, accuracy", "0.7123"),
        ("validation, interval", "0.6 to 0.8"),
        ("prompts", "1,200"),
        ("note", "few"),
    ]


def test_the_lineage_goes_back_to_the_base(project: Project) -> None:
    models: list[ModelVersion] = []
    for name in ("base", "sft", "policy"):
        models.append(
            ModelVersion.objects.create(project=project, name=name, kind=name, parent=models[-1] if models else None)
        )
    assert [model.name for model in lineage_of(models[-1])] == ["sft", "base"]


def test_reward_stands_against_distance_on_held_out_prompts(run: Run) -> None:
    for step in (0, 5, 10):
        values = {"kl": step / 5, "reward": step / 10, "margin": 9.0}
        RunEvent.objects.create(run=run, kind="eval", step=step, values=values)
    chart = run_view(run).charts[-1]
    assert chart.name == "Reward against KL"
    assert chart.across == "KL from the reference, in nats, on held-out prompts"
    assert chart.summary == "From 0 at 0 to 1 at 2."
    assert len(chart.dots) == 3


def test_with_few_evaluations_the_margin_in_training_is_drawn(run: Run) -> None:
    for step in range(1, 51):
        values = {"kl": step / 10, "margin": step / 100}
        RunEvent.objects.create(run=run, kind="train", step=step, values=values)
    RunEvent.objects.create(run=run, kind="eval", step=50, values={"kl": 5.0, "margin": 0.5})
    chart = run_view(run).charts[-1]
    assert (chart.name, chart.across.endswith("in training, smoothed")) == ("Margin against KL", True)
    assert len(chart.line.split()) == 50
    assert len(chart.dots) == 1


def test_what_few_people_ask_for_stands_apart(run: Run) -> None:
    RunEvent.objects.create(run=run, kind="train", step=1, values={"loss": 1.0, "grad_norm": 2.0})
    view = run_view(run)
    assert ([chart.name for chart in view.charts], [chart.name for chart in view.further]) == (
        ["Loss"],
        ["Norm of the gradient"],
    )


def test_points_of_several_runs_come_in_two_queries(
    run: Run, project: Project, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    other = run_make(project, "Other")
    log(run, 900)
    log(other, 3)
    with django_assert_num_queries(2):
        points = points_of([run.pk, other.pk])
    assert [step for step, _ in points[other.pk]["loss"]] == [1, 2, 3]
    assert [step for step, _ in points[run.pk]["loss"]] == list(range(3, 901, 3))
    assert points[run.pk]["loss"][0][1] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)


def test_options_stand_in_the_trainers_order(project: Project) -> None:
    run = run_make(project, "Ordered", options={"ties": "drop", "gone": 1, "seed": 0, "epochs": 2})
    assert list(options_ordered(run)) == ["epochs", "seed", "ties", "gone"]


def test_texts_are_listed_and_intervals_are_spanned() -> None:
    assert flat({"heads": ["a", "b"], "span": [0.1, 0.2]}) == [("heads", "a, b"), ("span", "0.1 to 0.2")]
    assert flat({"on": True, "off": False}) == [("on", "yes"), ("off", "no")]

"""Runs side by side."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from labelapp.models import ModelVersion, Project, Run, RunEvent, Snapshot, User
from labelapp.training.comparing import best_of, comparison_doubt, comparison_make, option_rows
from labelapp.training.selectors import runs_of
from tests.factories import combined_make, reward_make, run_make
from tests.query_counts import query_count
from tests.training.reports import report_make

ClientOf = Callable[[User], Client]
COMPARE = "/projects/garden-helper/runs/compare/"


def reported(project: Project, name: str, *, options: dict[str, Any] | None = None, **metrics: Any) -> Run:
    """A run that ended, with two evaluations and three steps."""
    run = run_make(project, name, options={"epochs": 1, "ties": "drop", "heads": [], **(options or {})})
    Run.objects.filter(pk=run.pk).update(
        report=report_make(**metrics), config={"resolved": {"held_out": "validation", "device": "cpu"}}
    )
    RunEvent.objects.bulk_create(
        [
            *(RunEvent(run=run, kind="train", step=s, values={"loss": 1 / s, "accuracy": 0.5}) for s in (1, 2, 3)),
            *(RunEvent(run=run, kind="eval", step=s, values={"loss": 0.7 - s / 10}) for s in (0, 3)),
        ]
    )
    return run


def compared(*runs: Run) -> str:
    return f"{COMPARE}?{'&'.join(f'run={run.pk}' for run in runs)}"


@pytest.fixture
def runs(project: Project) -> list[Run]:
    """Three runs, of which the second is better than the others beyond doubt."""
    better = {"accuracy": 0.8, "accuracy_low": 0.77, "accuracy_high": 0.83}
    return [
        reported(project, "First"),
        reported(project, "Second", options={"epochs": 3}, **better),
        reported(project, "Third", options={"heads": ["helpful", "harmless"]}),
    ]


def test_the_best_is_beyond_all_others_intervals() -> None:
    low, high = {"accuracy_low": 0.6, "accuracy_high": 0.7}, {"accuracy_low": 0.71, "accuracy_high": 0.8}
    assert best_of("accuracy", [low, high]) == 1
    assert best_of("accuracy", [high, low, low]) == 0
    assert best_of("accuracy", [low, {**high, "accuracy_low": 0.7}]) is None


def test_one_run_alone_is_not_the_best() -> None:
    assert best_of("accuracy", [{"accuracy_low": 0.6, "accuracy_high": 0.7}, {}]) is None


def test_figures_without_intervals_have_no_best() -> None:
    assert best_of("loss", [{"loss": 0.1}, {"loss": 0.9}]) is None
    assert best_of("longer_wins", [{"longer_wins_low": 0.1, "longer_wins_high": 0.2}] * 2) is None


def test_labels_that_differ_leave_no_best(runs: list[Run], snapshot: Snapshot) -> None:
    rows = list(runs_of(runs[0].project))
    assert comparison_doubt(rows) == ""
    rows[0].snapshot = snapshot
    assert "different labels" in comparison_doubt(rows)


@pytest.mark.parametrize("change", ["comparisons", "held_out"])
def test_other_held_out_comparisons_leave_no_best(runs: list[Run], change: str) -> None:
    rows = list(runs_of(runs[0].project))
    if change == "comparisons":
        rows[0].report["metrics"]["comparisons"] = 2399
    else:
        rows[0].config["resolved"]["held_out"] = "test"
    assert "not measured on the same comparisons" in comparison_doubt(rows)


def test_options_that_differ_are_known(runs: list[Run]) -> None:
    rows = {row.name: row for row in option_rows(list(runs_of(runs[0].project).order_by("pk")))}
    assert {name for name, row in rows.items() if row.differs} == {"epochs", "heads"}
    assert rows["heads"].values == ["none", "none", "helpful, harmless"]


def test_an_option_that_a_run_has_not_is_a_dash(project: Project) -> None:
    old, new = run_make(project, "Old", options={"batch": 4}), run_make(project, "New", options={"epochs": 1})
    assert not any(row.differs for row in option_rows([old, new]))
    assert [(row.name, row.values) for row in option_rows([old, new])] == [
        ("batch", ["4", "–"]),
        ("epochs", ["–", "1"]),
    ]


def test_what_is_called_alike_and_is_something_else_has_rows_of_its_own(project: Project) -> None:
    trained = run_make(project, "Trained", options={"weights": "snapshot", "max_length": 64})
    options = {"weights": ["2", "1"], "max_length": 64}
    combined = combined_make(project, "Both", [reward_make(project, name) for name in "ab"], options=options)
    assert [(row.name, row.values) for row in option_rows([trained, combined])] == [
        ("max length", ["64", "64"]),
        ("weights", ["snapshot", "–"]),
        ("weights", ["–", "2, 1"]),
    ]


def test_charts_lie_over_each_other(runs: list[Run]) -> None:
    found = comparison_make(list(runs_of(runs[0].project)))
    assert [chart.name for chart in found.held_out] == ["Loss on held-out prompts"]
    assert [chart.name for chart in found.trained] == ["Loss in training", "Accuracy in training"]
    assert [series.number for series in found.trained[0].series] == [1, 2, 3]


def test_losses_of_other_kinds_are_not_set_against_each_other(
    client_of: ClientOf, project: Project, runs: list[Run], rita: User
) -> None:
    ranked = reported(project, "Ranked", options={"loss": "plackett_luce"})
    paired = reported(project, "Paired", options={"loss": "bradley_terry"})
    words = "their losses are different quantities"
    assert words in client_of(rita).get(compared(ranked, paired)).content.decode()
    assert words not in client_of(rita).get(compared(*runs)).content.decode()


def test_what_one_run_alone_measured_is_not_drawn(project: Project, runs: list[Run]) -> None:
    RunEvent.objects.create(run=runs[0], kind="train", step=4, values={"kl": 1.0})
    assert "KL from the reference in training" not in [c.name for c in comparison_make(runs).trained]
    RunEvent.objects.create(run=runs[1], kind="train", step=4, values={"kl": 2.0})
    assert "KL from the reference in training" in [c.name for c in comparison_make(runs).trained]


def test_the_page_says_what_differs_first(client_of: ClientOf, runs: list[Run], rita: User) -> None:
    html = client_of(rita).get(compared(*runs)).content.decode()
    first = html[html.index("What differs</h2>") : html.index("All options")]
    assert re.findall(r'<th scope="row">([^<]+)</th>', first) == ["epochs", "heads"]
    assert html.count('<tr class="differs">') == 4
    assert html.count(">Best</span>") == 1
    assert html.index(">Best</span>") < html.index("80.0 %")
    assert 'class="series series-3"' in html
    assert "style=" not in html


def test_the_order_is_that_of_the_address(client_of: ClientOf, runs: list[Run], rita: User) -> None:
    html = client_of(rita).get(compared(runs[2], runs[0])).content.decode()
    assert html.index(">Third</a>") < html.index(">First</a>")
    assert ">Second</a>" not in html


def test_runs_that_cannot_be_told_apart_have_no_best(client_of: ClientOf, runs: list[Run], rita: User) -> None:
    html = client_of(rita).get(compared(runs[0], runs[2])).content.decode()
    assert ">Best</span>" not in html
    assert "cannot be told apart" in html


def test_runs_made_alike_say_so(client_of: ClientOf, project: Project, runs: list[Run], rita: User) -> None:
    html = client_of(rita).get(compared(runs[0], reported(project, "Again"))).content.decode()
    assert "Nothing: these runs were made from the same labels and models with the same options." in html


def test_runs_that_only_wait_can_be_compared(client_of: ClientOf, project: Project, rita: User) -> None:
    html = client_of(rita).get(compared(run_make(project, "A"), run_make(project, "B"))).content.decode()
    assert "Figures come when a run ends." in html


@pytest.mark.parametrize(("number", "words"), [(0, "Choose two runs"), (1, "Choose two runs"), (7, "Too many runs")])
def test_two_to_six_runs_are_compared(
    client_of: ClientOf, project: Project, rita: User, number: int, words: str
) -> None:
    made = [run_make(project, f"Run {n}") for n in range(number)]
    html = client_of(rita).get(compared(*made)).content.decode()
    assert words in html
    assert 'href="/projects/garden-helper/runs/"' in html


def test_the_same_run_twice_is_one(client_of: ClientOf, runs: list[Run], rita: User) -> None:
    assert "Choose two runs" in client_of(rita).get(compared(runs[0], runs[0])).content.decode()


def test_a_run_of_another_project_is_not_there(client_of: ClientOf, runs: list[Run], omar: User) -> None:
    other = run_make(Project.objects.create(name="Elsewhere", slug="elsewhere"))
    assert client_of(omar).get(compared(runs[0], other)).status_code == 404
    assert client_of(omar).get(f"{COMPARE}?run={runs[0].pk}&run=99999999999999999999999").status_code == 200


def test_each_of_the_cast_gets_their_answer(
    client_of: ClientOf, runs: list[Run], lena: User, rita: User, omar: User, stan: User
) -> None:
    answers = [client_of(person).get(compared(*runs)).status_code for person in (stan, lena, rita, omar)]
    assert answers == [404, 403, 200, 200]


def test_six_runs_cost_as_many_queries_as_two(
    client_of: ClientOf, project: Project, runs: list[Run], omar: User
) -> None:
    client = client_of(omar)
    client.get(compared(*runs))
    few = query_count(client, compared(*runs[:2]))
    more = [*runs, *(reported(project, f"Run {number}") for number in range(3))]
    for number, run in enumerate(more):
        model = ModelVersion.objects.create(
            project=project, name=f"m{number}", kind="reward", location="x", state="ready"
        )
        Run.objects.filter(pk=run.pk).update(result=model)
    assert query_count(client, compared(*more)) == few
    assert few <= 9


def test_the_list_has_a_box_for_each_run(client_of: ClientOf, runs: list[Run], rita: User) -> None:
    html = client_of(rita).get("/projects/garden-helper/runs/").content.decode()
    assert f'action="{COMPARE}"' in html
    for run in runs:
        assert re.search(
            rf'<input type="checkbox" name="run" value="{run.pk}"[^>]*aria-label="Compare {run.name}"', html
        )

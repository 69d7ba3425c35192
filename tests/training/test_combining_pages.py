"""The form and the pages of several reward models as one. lena labels, rita reviews, omar administers, stan is a
stranger.
"""

import re
import shlex
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from django.test import Client

from labelapp.errors import ConflictError
from labelapp.models import Job, ModelVersion, Project, Run, Snapshot, User
from labelapp.training.comparing import comparison_make
from labelapp.training.forms import CombineForm
from labelapp.training.services import run_combine, run_resume
from tests.factories import combined_make, folder_make, reward_make, run_make
from tests.query_counts import query_count
from tests.training.reports import report_make
from tests.training.test_handlers import work

ClientOf = Callable[[User], Client]
RUNS = "/projects/garden-helper/runs/"
MODELS = "/projects/garden-helper/models/"
NEW = f"{RUNS}new/?kind=combine"


def fields_of(rewards: list[ModelVersion], **fields: Any) -> dict[str, Any]:
    """The form as the browser sends it."""
    form = CombineForm(project=rewards[0].project)
    options = {option.name: form[option.name].value() for option in form.option_fields}
    places = {f"model_{place}": model.pk for place, model in enumerate(rewards, start=1)}
    return {**options, "name": "Both", "snapshot": "", **places, **fields}


def test_a_combination_that_stopped_is_begun_again(
    client_of: ClientOf, project: Project, rewards: list[ModelVersion], omar: User
) -> None:
    given = {"options": {}, "created_by": None}
    both = run_combine(project=project, name="Both", members=rewards[:2], **given)  # type: ignore[arg-type]
    Job.objects.filter(pk=both.job_id).update(state="cancelled", finished_at=both.created_at)
    html = client_of(omar).get(f"{RUNS}{both.pk}/").content.decode()
    assert "Begin again" in html
    assert "checkpoint" not in html.lower()
    assert "begins again." in client_of(omar).post(f"{RUNS}{both.pk}/resume/", follow=True).content.decode()
    job = Run.objects.get().job
    assert work(job).state == Job.State.SUCCEEDED
    with pytest.raises(ConflictError, match="is done"):
        run_resume(run=both, actor=omar)


def test_the_form_combines_in_the_order_of_its_places(
    client_of: ClientOf, rewards: list[ModelVersion], snapshot: Snapshot, omar: User
) -> None:
    fields = fields_of([rewards[2], rewards[0]], how="linear", weights="2\r\n-0.5", snapshot=snapshot.pk)
    response = client_of(omar).post(NEW, fields)
    run = Run.objects.get()
    assert response["Location"] == f"{RUNS}{run.pk}/"
    assert list(run.members.values_list("model_version__name", flat=True)) == ["Short", "Help"]
    assert (run.options["how"], run.options["weights"], run.snapshot) == ("linear", ["2", "-0.5"], snapshot)
    assert run.created_by == omar


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model_2": ""}, "This field is required."),
        ({"model_3": "{0}"}, "“Help” is chosen twice."),
        ({"model_2": "{theirs}"}, "is not one of the available choices"),
        ({"model_2": "{base}"}, "is not one of the available choices"),
        ({"model_1": "x"}, "is not one of the available choices"),
        ({"how": "gated"}, "how=gated needs a snapshot"),
        ({"how": "gated", "model_3": "{2}"}, "how=gated takes two models"),
        ({"how": "linear", "weights": "1"}, "Weights must be 2 numbers, one for each model, not 1."),
        ({"weights": "1\n1"}, "Weights are for how=linear, not for how=mean."),
        ({"threshold": "2"}, "It must be at most 1, not 2."),
        ({"snapshot": "0"}, "Select a valid choice."),
        ({"name": "Help"}, "There is a model called “Help” already."),
    ],
)
def test_a_bad_form_says_what_is_wrong(
    client_of: ClientOf, rewards: list[ModelVersion], base: ModelVersion, omar: User, fields: dict[str, str], said: str
) -> None:
    theirs = reward_make(Project.objects.create(name="Elsewhere", slug="elsewhere"), "Theirs")
    keys = {"theirs": theirs.pk, "base": base.pk}
    given = {name: value.format(*(model.pk for model in rewards), **keys) for name, value in fields.items()}
    response = client_of(omar).post(NEW, fields_of(rewards[:2], **given))
    assert response.status_code == 422
    assert said in unescape(response.content.decode())
    assert not Run.objects.exists()


def test_the_form_has_a_place_for_each_model_and_no_training(
    client_of: ClientOf, rewards: list[ModelVersion], omar: User
) -> None:
    html = client_of(omar).get(f"{NEW}&model_1={rewards[1].pk}").content.decode()
    assert re.findall(r'<select name="(model_\d)"', html) == ["model_1", "model_2", "model_3"]
    assert f'<option value="{rewards[1].pk}" selected>Safe</option>' in html
    assert html.count(" selected>Safe</option>") == 1
    assert "Suggested for" not in html
    assert "trainer's defaults" not in unescape(html)
    assert "style=" not in html
    assert client_of(omar).get(f"{RUNS}new/suggested/?kind=combine").status_code == 404


def test_too_few_models_are_told(client_of: ClientOf, project: Project, omar: User) -> None:
    reward_make(project, "Alone")
    html = client_of(omar).get(NEW).content.decode()
    assert "Two reward models that are ready are needed, and this project has 1." in html


def test_each_of_the_cast_gets_their_answer(
    client_of: ClientOf, rewards: list[ModelVersion], lena: User, rita: User, omar: User, stan: User
) -> None:
    fields = fields_of(rewards)
    cast = (stan, lena, rita, omar)
    assert [client_of(person).get(NEW).status_code for person in cast] == [404, 403, 403, 200]
    assert [client_of(person).post(NEW, fields).status_code for person in cast] == [404, 403, 403, 302]
    address = f"{RUNS}{Run.objects.get().pk}/"
    assert [client_of(person).get(address).status_code for person in cast] == [404, 403, 200, 200]
    assert Client().post(NEW, fields).status_code == 302
    assert Run.objects.count() == 1


def test_the_page_of_a_combination_shows_what_it_is_made_of(
    client_of: ClientOf, project: Project, rewards: list[ModelVersion], rita: User
) -> None:
    run = combined_make(project, "Both", [rewards[1], rewards[0]])
    html = client_of(rita).get(f"{RUNS}{run.pk}/").content.decode()
    members = html.partition("<dt>Combines</dt>")[2].partition("</ol>")[0]
    assert re.findall(r">(\w+)</a>", members) == ["Safe", "Help"]
    assert "Starting model" not in html
    assert "<dt>Labels</dt>" not in html
    assert "<polyline" not in html
    assert "no snapshot was named" in html
    text = unescape(html)
    command = shlex.split(text[text.index("python -m trainer") : text.index("</pre>")].replace("\\\n", " "))
    assert command[:8] == ["python", "-m", "trainer", "combine", "--model", "Safe", "--model", "Help"]
    assert "--snapshot" not in command


def test_what_was_measured_stands_on_its_page(
    client_of: ClientOf, project: Project, rewards: list[ModelVersion], snapshot: Snapshot, rita: User
) -> None:
    run = combined_make(project, "Both", rewards[:2], snapshot=snapshot)
    report = report_make(mean_disagreement=0.25, mean_1=-1.5, deviation_2=0.5)
    row = {"accuracy": 0.6, "low": 0.5, "high": 0.7, "comparisons": 18, "prompts": 3}
    report["breakdown"] = {"by_member": [{"member": 1, **row}, {"member": 2, **row, "low": None, "high": None}]}
    report["counts"] = {"scale": {"completions": 1200, "measured": 1190, "excluded": 10}}
    Run.objects.filter(pk=run.pk).update(report=report)
    html = client_of(rita).get(f"{RUNS}{run.pk}/").content.decode()
    for words in (
        *("71.2 %", "Each of its models by itself", "50.0 to 70.0 %", "Disagreement, mean over completions", "0.25"),
        *("<dt>Mean 1</dt><dd>-1.5</dd>", "<dt>Standard deviation 2</dt><dd>0.5</dd>"),
        *("1,190 of 1,200 completions of all splits", "10 left out: too long, or empty"),
    ):
        assert words in html
    assert "Nothing was measured" not in html


def test_the_pages_of_models_lead_both_ways(
    client_of: ClientOf, project: Project, rewards: list[ModelVersion], omar: User
) -> None:
    run = combined_make(project, "Both", [rewards[1], rewards[0]])
    html = client_of(omar).get(f"{MODELS}{run.result_id}/").content.decode()
    made_from = html.partition("<dt>Made from</dt>")[2].partition("</ol>")[0]
    assert re.findall(r">(\w+)</a>", made_from) == ["Safe", "Help"]
    assert f'href="{RUNS}new/?kind=combine&amp;model_1={run.result_id}"' in html
    assert (
        f'href="{MODELS}{run.result_id}/">Both</a>' in client_of(omar).get(f"{MODELS}{rewards[0].pk}/").content.decode()
    )
    listed = client_of(omar).get(MODELS).content.decode()
    assert f'href="{MODELS}{rewards[1].pk}/">Safe</a>, <a href="{MODELS}{rewards[0].pk}/">Help</a>' in listed
    assert f'href="{MODELS}{rewards[1].pk}/">Safe</a>, ' in client_of(omar).get(RUNS).content.decode()


def test_a_combination_is_compared_with_its_models(
    client_of: ClientOf, project: Project, rewards: list[ModelVersion], rita: User
) -> None:
    trained = run_make(project, "Trained")
    run = combined_make(project, "Both", rewards[:2], snapshot=trained.snapshot)
    for found, accuracy in ((trained, 0.7), (run, 0.8)):
        ends = {"accuracy_low": accuracy - 0.01, "accuracy_high": accuracy + 0.01}
        config = {"resolved": {"held_out": "validation"}}
        Run.objects.filter(pk=found.pk).update(report=report_make(accuracy=accuracy, **ends), config=config)
    html = client_of(rita).get(f"{RUNS}compare/?run={trained.pk}&run={run.pk}").content.decode()
    assert re.search(r">Best</span> <span class=\"nowrap\">80\.0 %", html)
    rows = {row.name: row.values for row in comparison_make(list(Run.objects.order_by("pk"))).inputs}
    assert rows["Combines"] == ["–", "Help, Safe"]
    assert rows["Starting model"] == ["base", "–"]
    assert rows["Reference"] == ["none named", "–"]
    bare = combined_make(project, "Bare", rewards[:2])
    labels = next(row for row in comparison_make([run, bare]).inputs if row.name == "Labels")
    assert (labels.values[1], labels.differs) == ("none named", True)
    assert "Combines" not in {row.name for row in comparison_make([trained, trained]).inputs}


def test_pages_of_a_combination_cost_few_queries(
    client_of: ClientOf, project: Project, rewards: list[ModelVersion], omar: User
) -> None:
    client = client_of(omar)
    runs = [combined_make(project, f"Of {size}", rewards[:size]) for size in (2, 3)]
    client.get(RUNS)
    for address in (f"{RUNS}{{run.pk}}/", f"{MODELS}{{run.result_id}}/"):
        two, three = (query_count(client, address.format(run=run)) for run in runs)
        assert two == three <= 13
    compared = [f"{RUNS}compare/?run={runs[0].pk}&run={run.pk}" for run in (runs[1], run_make(project, "Other"))]
    assert query_count(client, compared[0]) == query_count(client, compared[1]) <= 10
    assert query_count(client, NEW) <= 6


def test_its_card_and_files_can_be_taken_home(
    client_of: ClientOf, project: Project, rewards: list[ModelVersion], rita: User, omar: User
) -> None:
    run = combined_make(project, "Both", rewards[:2])
    weights = folder_make(project, {"README.md": "# Combined reward model", "scorer.json": "{}"})
    ModelVersion.objects.filter(pk=run.result_id).update(weights=weights)
    assert client_of(rita).get(f"{MODELS}{run.result_id}/card.md").content == b"# Combined reward model"
    assert client_of(omar).get(f"{MODELS}{run.result_id}/files.tar").status_code == 200
    assert f"{MODELS}{run.result_id}/card.md" in client_of(rita).get(f"{RUNS}{run.pk}/").content.decode()

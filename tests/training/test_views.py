"""Pages of runs and models. lena labels, rita reviews, omar administers, stan is a stranger."""

import io
import re
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest
from django.test import Client

from labelapp.models import Job, ModelVersion, Project, Run, RunEvent, Snapshot, User
from tests.factories import combined_make, folder_make, run_make
from tests.query_counts import query_count
from tests.training.reports import report_make
from tests.training.test_run_form import form_of
from tests.training.weights import weights_write

ClientOf = Callable[[User], Client]
RUNS = "/projects/garden-helper/runs/"
MODELS = "/projects/garden-helper/models/"


@pytest.fixture
def running(training: Run) -> Run:
    """A run at step 60 of 100, with a value on held-out prompts."""
    RunEvent.objects.bulk_create(
        RunEvent(run=training, kind="train", step=step, values={"loss": 1 / step, "accuracy": 0.6})
        for step in range(1, 61)
    )
    RunEvent.objects.create(run=training, kind="eval", step=50, values={"accuracy": 0.7})
    state = {"state": "running", "attempt": 1, "heartbeat_at": training.created_at, "done": 60, "total": 100}
    Job.objects.filter(pk=training.job_id).update(**state, message="Step 60 of 100, loss 0.0167")
    training.refresh_from_db()
    return training


def change(run: Run, **fields: object) -> None:
    Job.objects.filter(pk=run.job_id).update(**fields)


@pytest.mark.parametrize("address", ["", "new/", "new/suggested/", "compare/", "{pk}/", "{pk}/progress/"])
def test_pages_of_runs_answer_each_of_the_cast(
    client_of: ClientOf, training: Run, lena: User, rita: User, omar: User, stan: User, address: str
) -> None:
    url = RUNS + address.format(pk=training.pk)
    answers = [client_of(person).get(url).status_code for person in (stan, lena, rita, omar)]
    assert answers == [404, 403, 403 if address.startswith("new/") else 200, 200]


@pytest.mark.parametrize("address", ["", "{pk}/"])
def test_pages_of_models_answer_each_of_the_cast(
    client_of: ClientOf, base: ModelVersion, lena: User, rita: User, omar: User, stan: User, address: str
) -> None:
    url = MODELS + address.format(pk=base.pk)
    assert [client_of(person).get(url).status_code for person in (stan, lena, rita, omar)] == [404, 403, 200, 200]


def test_the_list_asks_again_while_a_run_goes_on(client_of: ClientOf, running: Run, rita: User) -> None:
    assert b"hx-trigger" in client_of(rita).get(RUNS).content
    change(running, state="cancelled", finished_at=running.created_at)
    page = client_of(rita).get(RUNS).content
    assert b"Cancelled" in page
    assert b"hx-trigger" not in page


def test_only_admins_start_resume_and_score(
    client_of: ClientOf, training: Run, base: ModelVersion, lena: User, rita: User, stan: User
) -> None:
    change(training, state="failed", finished_at=training.created_at)
    for url in (f"{RUNS}new/", f"{RUNS}{training.pk}/resume/", f"{MODELS}{base.pk}/score/"):
        answers = [client_of(person).post(url, form_of(training)).status_code for person in (stan, lena, rita)]
        assert answers == [404, 403, 403]
    assert Job.objects.count() == 1


def test_a_run_of_another_project_is_not_there(client_of: ClientOf, training: Run, omar: User) -> None:
    other = run_make(Project.objects.create(name="Elsewhere", slug="elsewhere"))
    assert client_of(omar).get(f"{RUNS}{other.pk}/").status_code == 404
    assert client_of(omar).get(f"{MODELS}{other.start_id}/").status_code == 404


def test_an_unknown_kind_is_not_there(client_of: ClientOf, omar: User) -> None:
    assert client_of(omar).get(f"{RUNS}new/?kind=magic").status_code == 404


def test_the_form_works_without_torch() -> None:
    program = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "import django; django.setup()\n"
        "import labelapp.training.views, labelapp.training.tasks\n"
    )
    environment = {"DJANGO_SETTINGS_MODULE": "tests.settings", "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_running_run_shows_where_it_is(client_of: ClientOf, running: Run, rita: User) -> None:
    html = client_of(rita).get(f"{RUNS}{running.pk}/").content.decode()
    assert "Step 60 of 100" in html
    assert 'hx-trigger="every 2s"' in html
    assert html.count("<polyline") == 4
    assert '<title id="loss-title">Loss over the steps</title>' in html
    assert "On held-out prompts 0.7 at step 50." in html
    assert "style=" not in html
    assert "accuracy 0.7" in html


def test_reviewers_are_shown_no_buttons(client_of: ClientOf, running: Run, rita: User, omar: User) -> None:
    stop = f'action="/jobs/{running.job_id}/cancel/"'
    assert stop not in client_of(rita).get(f"{RUNS}{running.pk}/").content.decode()
    assert stop in client_of(omar).get(f"{RUNS}{running.pk}/").content.decode()


def test_progress_says_nothing_until_something_changes(client_of: ClientOf, running: Run, omar: User) -> None:
    client = client_of(omar)
    html = client.get(f"{RUNS}{running.pk}/").content.decode()
    match = re.search(r'hx-get="([^"]+)"', html)
    assert match
    assert client.get(match[1]).status_code == 204
    change(running, done=61)
    assert client.get(match[1]).status_code == 200
    change(running, state="succeeded", finished_at=running.created_at)
    assert client.get(match[1]).status_code == 286


def test_a_failed_run_says_why_and_what_to_do(client_of: ClientOf, running: Run, omar: User) -> None:
    log = "Traceback <module>\nOutOfMemoryError"
    ended = {"state": "failed", "finished_at": running.created_at, "message": "The trainer failed (exit code 1)."}
    change(running, **ended, result={"log": log, "exit_code": 1})
    html = client_of(omar).get(f"{RUNS}{running.pk}/").content.decode()
    assert "The trainer failed (exit code 1)." in html
    assert "Traceback &lt;module&gt;\nOutOfMemoryError" in html
    assert f'action="{RUNS}{running.pk}/resume/"' in html
    assert "hx-get" not in html


def test_resume_goes_on_with_another_job(client_of: ClientOf, running: Run, omar: User) -> None:
    change(running, state="cancelled", finished_at=running.created_at)
    assert client_of(omar).post(f"{RUNS}{running.pk}/resume/")["Location"] == f"{RUNS}{running.pk}/"
    assert Run.objects.get().job.state == Job.State.QUEUED
    assert client_of(omar).post(f"{RUNS}{running.pk}/resume/").status_code == 409


def test_the_jobs_page_leads_to_the_run(client_of: ClientOf, running: Run, omar: User) -> None:
    assert f'href="{RUNS}{running.pk}/"' in client_of(omar).get(f"/jobs/{running.job_id}/").content.decode()


def test_a_model_shows_where_it_came_from(
    client_of: ClientOf, running: Run, snapshot: Snapshot, base: ModelVersion, project: Project, rita: User
) -> None:
    made = ModelVersion.objects.create(
        project=project, name="Rewards", kind="reward", state="ready", parent=base, location="org/x"
    )
    Run.objects.filter(pk=running.pk).update(result=made, report={"metrics": {"accuracy": 0.75}})
    html = client_of(rita).get(f"{MODELS}{made.pk}/").content.decode()
    for words in (f"{MODELS}{base.pk}/", f"{RUNS}{running.pk}/", str(snapshot), "75.0 %", "learning rate"):
        assert words in html
    parent = client_of(rita).get(f"{MODELS}{base.pk}/").content.decode()
    assert f'href="{MODELS}{made.pk}/"' in parent
    assert "made the model" in client_of(rita).get(f"{RUNS}{running.pk}/").content.decode()


def test_lists_cost_the_same_for_many(client_of: ClientOf, training: Run, omar: User) -> None:
    client = client_of(omar)
    client.get(RUNS)
    made = [made_by_run(training.project, "Run 0"), made_by_run(training.project, "Run 1")]
    combined_make(training.project, "Both 0", made)
    few = query_count(client, RUNS), query_count(client, MODELS)
    for number in range(2, 7):
        made.append(made_by_run(training.project, f"Run {number}"))
        combined_make(training.project, f"Both {number}", made)
    assert (query_count(client, RUNS), query_count(client, MODELS)) == few
    assert max(few) <= 7


def made_by_run(project: Project, name: str) -> ModelVersion:
    """A reward model that a run made, whose weights are nowhere."""
    run = run_make(project, name)
    fields = {"name": name, "kind": "reward", "state": "ready", "location": "org/x"}
    made = ModelVersion.objects.create(project=project, parent=run.start, **fields)
    Run.objects.filter(pk=run.pk).update(result=made)
    return made


def test_the_page_of_a_run_costs_few_queries(client_of: ClientOf, running: Run, omar: User) -> None:
    assert query_count(client_of(omar), f"{RUNS}{running.pk}/") <= 9


def test_an_empty_project_says_what_to_do(client_of: ClientOf, project: Project, omar: User) -> None:
    assert "No runs yet" in client_of(omar).get(RUNS).content.decode()
    assert "No models yet" in client_of(omar).get(MODELS).content.decode()
    assert client_of(omar).get(f"{RUNS}new/").status_code == 200


def test_a_report_is_downloaded_once_there_is_one(client_of: ClientOf, running: Run, rita: User) -> None:
    url = f"{RUNS}{running.pk}/report.json"
    assert client_of(rita).get(url).status_code == 404
    Run.objects.filter(pk=running.pk).update(report=report_make())
    response = client_of(rita).get(url)
    assert response.json() == report_make()
    assert response["Content-Disposition"] == 'attachment; filename="Rewards-report.json"'


def test_a_run_that_ended_shows_its_report(client_of: ClientOf, running: Run, rita: User) -> None:
    Run.objects.filter(pk=running.pk).update(report=report_make())
    html = client_of(rita).get(f"{RUNS}{running.pk}/").content.decode()
    for words in ("The longer one wins", "68.4 to 73.8 %", "By strength of the preference", "6 left out: too long"):
        assert words in html
    assert "3 prompts lost their oldest turns" in html
    assert "style=" not in html


def test_a_run_says_how_to_do_it_again(client_of: ClientOf, training: Run, rita: User) -> None:
    html = unescape(client_of(rita).get(f"{RUNS}{training.pk}/").content.decode())
    command = shlex.split(html[html.index("python -m trainer") : html.index("</pre>")].replace("\\\n", " "))
    assert command[:4] == ["python", "-m", "trainer", "reward"]
    assert command[command.index("--epochs") + 1] == "2"
    assert command[command.index("--model") + 1] == "base"
    assert "--ties" not in command


def test_options_that_the_trainer_has_not_any_more_have_no_command(
    client_of: ClientOf, training: Run, rita: User
) -> None:
    old = run_make(training.project, "Old", options={"micro_batch": 4})
    html = client_of(rita).get(f"{RUNS}{old.pk}/").content.decode()
    assert "micro batch" in html
    assert "Do it again" not in html


def test_a_model_that_was_made_here_can_be_taken_home(
    client_of: ClientOf, training: Run, base: ModelVersion, rita: User, omar: User
) -> None:
    files = {"README.md": "# Pears", "config.json": "{}"}
    model = ModelVersion.objects.create(
        project=base.project, name="kept", kind="reward", state="ready", weights=folder_make(base.project, files)
    )
    card = client_of(rita).get(f"{MODELS}{model.pk}/card.md")
    assert card.content == b"# Pears"
    assert client_of(rita).get(f"{MODELS}{model.pk}/files.tar").status_code == 403
    content = b"".join(client_of(omar).get(f"{MODELS}{model.pk}/files.tar"))
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        assert archive.getnames() == ["weights/README.md", "weights/config.json"]
    page = client_of(omar).get(f"{MODELS}{model.pk}/").content.decode()
    assert f"{MODELS}{model.pk}/card.md" in page
    for address in ("card.md", "files.tar"):
        assert client_of(omar).get(f"{MODELS}{base.pk}/{address}").status_code == 404
        assert address not in client_of(omar).get(f"{MODELS}{base.pk}/").content.decode()


def test_a_model_says_how_large_it_is(client_of: ClientOf, base: ModelVersion, rita: User) -> None:
    weights_write(Path(base.location) / "model.safetensors", {"w": (1200, 1000)})
    assert "<dd>1.2 million</dd>" in client_of(rita).get(f"{MODELS}{base.pk}/").content.decode()

"""Several reward models as one: what may be combined, what the worker makes of them, and the scores of the result."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client

from labelapp.artifacts.services import artifact_localise
from labelapp.errors import ConflictError, DomainError
from labelapp.models import (
    AuditEntry,
    CompletionScore,
    Job,
    ModelVersion,
    Project,
    Run,
    RunEvent,
    RunKind,
    RunMember,
    Snapshot,
    User,
)
from labelapp.training.forms import CombineForm, RunForm
from labelapp.training.scoring import completions_score, scores_take
from labelapp.training.selectors import models_made_from
from labelapp.training.services import MOST_MEMBERS, events_take, run_combine, run_folder, run_start
from labelapp.training.sizes import parameter_count
from labelapp.training.tokens import strangers_of, vocabulary_read
from tests.factories import combined_make, prompt_with_completions, reward_make, run_make
from tests.training.conftest import tokens_folder
from tests.training.test_handlers import claim, work
from tests.training.weights import weights_write

ClientOf = Callable[[User], Client]
RUNS = "/projects/garden-helper/runs/"
MODELS = "/projects/garden-helper/models/"
NEW = f"{RUNS}new/?kind=combine"


def combine(project: Project, members: list[ModelVersion], **given: Any) -> Run:
    return run_combine(
        **{"project": project, "name": "Both", "members": members, "options": {}, "created_by": None, **given}
    )


@pytest.fixture
def both(project: Project, rewards: list[ModelVersion], snapshot: Snapshot) -> Run:
    """A combination of two that waits for a worker."""
    return combine(project, rewards[:2], snapshot=snapshot)


def test_a_combination_is_a_job_with_its_members_in_order(project: Project, rewards: list[ModelVersion]) -> None:
    run = combine(project, [rewards[1], rewards[0]], options={"batch_size": 8})
    assert (run.kind, run.start, run.snapshot, run.job.queue) == (RunKind.COMBINE, None, None, "compute")
    assert run.job.title == "Combined reward model: Both"
    assert list(run.members.values_list("place", "model_version__name")) == [(1, "Safe"), (2, "Help")]
    assert (run.options["how"], run.options["batch_size"]) == ("mean", 8)
    assert Job.objects.get().payload == {"run": run.pk}
    assert AuditEntry.objects.get(verb="run_start").object_id == run.pk


@pytest.mark.parametrize(
    ("members", "options", "said"),
    [
        ("H", {}, "Two models or more are combined, not 1."),
        ("", {}, "Two models or more are combined, not 0."),
        ("HSH", {}, "“Help” is chosen twice."),
        ("HSR", {"how": "gated"}, "gated takes two models"),
        ("HS", {"weights": "1\n2"}, "Weights are for how=linear"),
        ("HS", {"how": "linear", "weights": "1\n2\n3"}, "must be 2 numbers"),
        ("HS", {"how": "linear", "weights": "1\nx"}, "must be 2 numbers"),
        ("HB", {}, r"“base” \(Base model, ready\) is no reward model that is ready"),
        ("HO", {}, r"“Old” \(Reward model, retired\) is no reward model that is ready"),
        ("HE", {}, "of the same project"),
        ("HT", {}, "“Other tokens” has another vocabulary than “Help”"),
        ("HS", {"how": "best"}, "how: must be one of mean, linear, gated"),
        ("HS", {"epochs": "2"}, "epochs: is no option of this command"),
    ],
)
def test_what_cannot_be_combined_is_refused(
    project: Project, rewards: list[ModelVersion], base: ModelVersion, snapshot: Snapshot, places: Path,
    members: str, options: dict[str, str], said: str,
) -> None:  # fmt: skip
    models = {
        **{"H": rewards[0], "S": rewards[1], "R": rewards[2], "B": base},
        "O": reward_make(project, "Old", state="retired"),
        "E": reward_make(Project.objects.create(name="Elsewhere", slug="elsewhere"), "Theirs"),
        "T": reward_make(project, "Other tokens", location=tokens_folder(places, "other", {"a": 0, "c": 1})),
    }
    with pytest.raises(DomainError, match=said):
        combine(project, [models[letter] for letter in members], options=options, snapshot=snapshot)
    assert not Run.objects.exists()
    assert not Job.objects.exists()


@pytest.mark.parametrize("how", ["linear", "gated"])
def test_a_scale_needs_a_snapshot(project: Project, rewards: list[ModelVersion], snapshot: Snapshot, how: str) -> None:
    with pytest.raises(DomainError, match=f"how={how} needs a snapshot"):
        combine(project, rewards[:2], options={"how": how})
    assert combine(project, rewards[:2], options={"how": how}, snapshot=snapshot).snapshot == snapshot


def test_a_snapshot_of_another_project_is_refused(project: Project, rewards: list[ModelVersion]) -> None:
    elsewhere = run_make(Project.objects.create(name="Elsewhere", slug="elsewhere")).snapshot
    with pytest.raises(DomainError, match="snapshot must be of the same project"):
        combine(project, rewards, snapshot=elsewhere)


def test_a_training_is_no_way_to_combine(project: Project, rewards: list[ModelVersion], snapshot: Snapshot) -> None:
    with pytest.raises(DomainError, match="run_combine"):
        run_start(project=project, kind=RunKind.COMBINE, name="Both", snapshot=snapshot, start=rewards[0],
                  options={}, created_by=None)  # fmt: skip


def test_no_more_are_combined_than_fit(project: Project) -> None:
    many = [reward_make(project, f"Reward {number}") for number in range(MOST_MEMBERS + 1)]
    with pytest.raises(DomainError, match="At most 8 models are combined, not 9"):
        combine(project, many)
    assert combine(project, many[:-1]).members.count() == 8


def test_a_name_that_is_taken_is_refused(project: Project, rewards: list[ModelVersion]) -> None:
    with pytest.raises(ConflictError, match="a model called “Help”"):
        combine(project, rewards, name="Help")


def test_what_was_combined_can_be_combined_again(project: Project, rewards: list[ModelVersion]) -> None:
    inner = combined_make(project, "Inner", rewards[:2]).result
    assert inner
    assert combine(project, [inner, rewards[2]]).members.count() == 2


def test_what_was_combined_is_not_trained_further(
    project: Project, rewards: list[ModelVersion], snapshot: Snapshot
) -> None:
    model = combined_make(project, "Inner", rewards[:2]).result
    assert model
    given = {"name": "More", "snapshot": snapshot, "options": {}, "created_by": None}
    with pytest.raises(DomainError, match="“Inner” combines other reward models and has no weights of its own"):
        run_start(project=project, kind=RunKind.REWARD, start=model, **given)  # type: ignore[arg-type]
    offered = list(RunForm(project=project, kind=RunKind.REWARD).ready)
    assert model not in offered
    assert set(rewards) <= set(offered)
    assert model in CombineForm(project=project).ready


def test_the_database_refuses_what_the_forms_do(project: Project, rewards: list[ModelVersion], both: Run) -> None:
    theirs = reward_make(Project.objects.create(name="Elsewhere", slug="elsewhere"), "Theirs")
    trained = run_make(project, "Trained")
    refused: list[Callable[[], object]] = [
        lambda: RunMember.objects.create(run=both, model_version=theirs, place=3),
        lambda: RunMember.objects.create(run=both, model_version=trained.start, place=3),
        lambda: RunMember.objects.create(run=trained, model_version=rewards[0], place=1),
        lambda: RunMember.objects.create(run=both, model_version=rewards[0], place=3),
        lambda: RunMember.objects.create(run=both, model_version=rewards[2], place=2),
        lambda: RunMember.objects.create(run=both, model_version=rewards[2], place=0),
        lambda: both.members.filter(place=1).update(place=3),
        lambda: run_make(project, "No start", start=None),
        lambda: run_make(project, "No labels", snapshot=None),
        lambda: run_make(project, "A start", kind="combine"),
    ]
    for change in refused:
        with pytest.raises(IntegrityError), transaction.atomic():
            change()
    assert RunMember.objects.create(run=both, model_version=rewards[2], place=3).pk


def test_vocabularies_are_compared_by_their_tokens(project: Project, places: Path) -> None:
    """Other files with the same tokens are the same; unigrams list theirs; what cannot be read is the trainer's."""
    names = {"one": None, "same": {"b": 1, "a": 0}, "other": {"a": 1, "b": 0}}
    one, same, other = (reward_make(project, n, location=tokens_folder(places, n, v)) for n, v in names.items())
    assert strangers_of([one, same]) is None
    assert strangers_of([one, same, other]) == (one, other)
    hub = reward_make(project, "hub", location="organisation/model")
    assert strangers_of([hub, one, same]) is None
    assert strangers_of([hub, one, other]) == (one, other)
    unigram = {"added_tokens": [{"id": 2, "content": "<s>"}], "model": {"vocab": [["a", -1.5], ["b", -2.0]]}}
    assert vocabulary_read(json.dumps(unigram).encode()) == {"a": 0, "b": 1, "<s>": 2}
    for nonsense in (b"", b"[]", b"{}", b'{"model": {"vocab": [1]}, "added_tokens": []}'):
        assert vocabulary_read(nonsense) is None


def test_the_worker_makes_a_reward_model_of_them(both: Run, rewards: list[ModelVersion], snapshot: Snapshot) -> None:
    job = work(both.job)
    assert job.state == Job.State.SUCCEEDED, job.message
    both.refresh_from_db()
    model = both.result
    assert model
    assert (model.name, model.kind, model.state, model.parent) == ("Both", "reward", "ready", None)
    assert both.config["command"] == "combine"
    assert both.config["models"] == [rewards[0].location, rewards[1].location]
    assert Path(both.config["snapshot"]) == artifact_localise(snapshot.folder)
    assert "model" not in both.config
    assert job.message == "2 models combined"
    assert list(models_made_from(rewards[0])) == [model]
    assert list(models_made_from(rewards[2])) == []


def test_without_a_snapshot_the_trainer_gets_none(project: Project, rewards: list[ModelVersion]) -> None:
    run = combine(project, rewards)
    assert work(run.job).state == Job.State.SUCCEEDED
    run.refresh_from_db()
    assert "snapshot" not in run.config
    assert len(run.config["models"]) == 3


def test_how_far_it_is_stands_in_the_job_and_nowhere_else(both: Run) -> None:
    attempt, folder = claim(both.job), run_folder(both)
    folder.mkdir(parents=True)
    lines = [{"kind": "progress", "step": step, "total": 36, "values": {}} for step in (9, 18)]
    (folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert events_take(attempt=attempt, run=both, folder=folder) == 2
    both.job.refresh_from_db()
    assert (both.job.done, both.job.total, both.job.message) == (18, 36, "18 of 36 completions measured")
    assert not RunEvent.objects.exists()


def test_its_size_is_that_of_all_its_models(project: Project, places: Path) -> None:
    folder = places / "nested"
    for number, parameters in ((1, 1000), (2, 24)):
        member = folder / "members" / str(number)
        member.mkdir(parents=True)
        weights_write(member / "model.safetensors", {"w": (parameters,)})
    (folder / "scorer.json").write_text("{}")
    assert parameter_count(reward_make(project, "Nested", location=str(folder))) == 1024


def test_disagreement_is_kept_beside_the_score(
    client_of: ClientOf, project: Project, rewards: list[ModelVersion], places: Path, rita: User
) -> None:
    model = combined_make(project, "Both", rewards[:2]).result
    assert model
    ids = list(prompt_with_completions(project, k=3).completions.order_by("pk").values_list("pk", flat=True))
    values = [{"score": 1.0, "disagreement": 0.25}, {"score": 2.0, "disagreement": 0.75}, {"score": 3.0}]
    lines = [{"completion": pk, "values": said} for pk, said in zip(ids, values, strict=True)]
    (places / "outputs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    attempt = claim(completions_score(reward=model, project=project, created_by=None))
    scores_take(attempt, model, places, {"offset": 0, "scored": 0, "excluded": 0})
    assert list(CompletionScore.objects.order_by("pk").values_list("score", "disagreement")) == [
        (1.0, 0.25), (2.0, 0.75), (3.0, None),
    ]  # fmt: skip
    html = client_of(rita).get(f"{MODELS}{model.pk}/").content.decode()
    assert "3, mean 2.000" in html
    assert "<dt>Disagreement</dt><dd>0.500" in html
    with pytest.raises(IntegrityError), transaction.atomic():
        CompletionScore.objects.update(disagreement=0.1)

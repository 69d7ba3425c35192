"""The demo that learns, in the database: whole or not at all, once, and ready to turn."""

from pathlib import Path

import pytest
from pytest_django import Settings

from labelapp.demo.accounts import SLUG as FIRST_SLUG
from labelapp.demo.language import instruction_parse
from labelapp.demo.notes import BASE, MODEL, PROMPTS, notes_fill, notes_options, notes_seed
from labelapp.demo.panel import PANEL
from labelapp.demo.seed import demo_seed
from labelapp.errors import DomainError
from labelapp.generation.model_versions import model_localise
from labelapp.models import Annotator, Job, Membership, ModelVersion, Project, Prompt, Protocol, Role, Round, User
from labelapp.rounds.selectors import ArrowState, round_facts, round_ring, rounds_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def notes() -> Project:
    demo_seed()
    made = notes_seed()
    assert made
    return made


def test_it_has_the_people_of_the_first_demo(notes: Project) -> None:
    roles = dict(Membership.objects.filter(project=notes).values_list("user__name", "role"))
    assert roles == {"Omar": Role.ADMIN, "Rita": Role.REVIEWER, "Lena": Role.LABELER, "Liam": Role.LABELER}


def test_it_is_made_once(notes: Project) -> None:
    assert notes_seed() is None
    assert Project.objects.filter(slug="notes").count() == 1


def test_there_is_none_without_the_first_demo() -> None:
    assert notes_seed() is None
    assert not Project.objects.exists()


def test_there_is_none_where_the_first_demo_lost_its_maker() -> None:
    Project.objects.create(name="Mine", slug=FIRST_SLUG)
    assert notes_seed() is None


def test_every_prompt_is_of_the_demos_language(notes: Project) -> None:
    texts = [
        messages[-1]["content"] for messages in Prompt.objects.filter(project=notes).values_list("messages", flat=True)
    ]
    assert len(texts) == PROMPTS
    assert all(instruction_parse(text) for text in texts)


def test_its_prompts_come_in_all_splits(notes: Project) -> None:
    splits = set(Prompt.objects.filter(project=notes).values_list("split", flat=True))
    assert splits == {"train", "validation", "test"}


def test_its_model_is_a_folder_of_its_own(notes: Project) -> None:
    base = ModelVersion.objects.get(project=notes, name=BASE)
    assert base.weights
    assert base.weights.is_folder
    assert (MODEL / "model.safetensors").stat().st_size <= base.weights.size <= 4_000_000
    assert model_localise(base) != str(MODEL)


def test_its_panel_is_simulated(notes: Project) -> None:
    simulated = Annotator.objects.filter(project=notes, kind=Annotator.Kind.SIMULATED)
    assert set(simulated.values_list("name", flat=True)) == {panelist.name for panelist in PANEL}


def test_its_first_round_waits_for_what_the_model_writes(notes: Project) -> None:
    found = rounds_of(notes).get()
    assert found.policy.name == BASE
    assert found.sampling == Job.objects.get(kind="sample", queue=Job.Queue.COMPUTE)
    arrows = {arrow.name: arrow.state for arrow in round_ring(round_facts(found))}
    assert arrows["sample"] == ArrowState.RUNNING
    assert arrows["label"] == ArrowState.WAITING


def test_its_labelers_are_asked_for_a_ranking_alone(notes: Project) -> None:
    protocol = Protocol.objects.get(pk=Round.objects.get().options["protocol"])
    assert (protocol.asks_ranking, protocol.likert_points, protocol.questions.count()) == (True, 0, 0)
    assert "greets the right person" in protocol.guidelines


def test_nothing_of_it_is_kept_when_it_cannot_be_made(settings: Settings, tmp_path: Path) -> None:
    demo_seed()
    (tmp_path / "file").touch()
    settings.ARTIFACT_ROOT = tmp_path / "file"
    with pytest.raises(DomainError):
        notes_seed()
    assert not ModelVersion.objects.filter(name=BASE).exists()


def test_another_project_can_be_filled_with_other_prompts(project: Project, omar: User) -> None:
    protocol, base = notes_fill(project=project, admin=omar, seed=5, prompts=7)
    assert Prompt.objects.filter(project=project).count() == 7
    assert (protocol.project, base.project) == (project, project)
    assert notes_options(protocol, seed=3).trainer_options("preference")["seed"] == 3

"""Models by where they lie."""

from pathlib import Path

import pytest
from pytest_django import Settings

from labelapp.artifacts.services import artifact_publish
from labelapp.errors import ConflictError, DomainError
from labelapp.generation.model_versions import model_localise, model_version_base, sampling_problem
from labelapp.models import Artifact, AuditEntry, ModelVersion, Project, User
from tests.factories import model_make
from tests.generation.conftest import MakeModel


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "pear"
    path.mkdir()
    (path / "config.json").write_text("{}")
    (path / "model.safetensors").write_bytes(b"weights")
    return path


def test_a_folder_becomes_a_base_model(project: Project, omar: User, folder: Path) -> None:
    omar.is_staff = True
    model = model_version_base(project=project, name=" Pear  one ", location=f" {folder}/ ", actor=omar)
    assert (model.name, model.kind, model.state) == ("Pear one", "base", "ready")
    assert model_localise(model) == model.location == str(folder)
    entry = AuditEntry.objects.get(verb="model_version_base")
    assert (entry.actor_id, entry.object_id) == (omar.pk, model.pk)


def test_folders_of_the_server_are_for_its_administrators(project: Project, omar: User, folder: Path) -> None:
    with pytest.raises(DomainError, match="site administrators only"):
        model_version_base(project=project, name="pear", location=str(folder), actor=omar)
    assert not ModelVersion.objects.exists()


def test_the_folder_that_the_site_offers_is_for_all(
    project: Project, omar: User, folder: Path, settings: Settings
) -> None:
    settings.BASE_MODEL = str(folder)
    assert model_version_base(project=project, name="pear", location=str(folder), actor=omar).location == str(folder)


@pytest.mark.parametrize("name", ["gpt2", "org/small-Model_1.5B"])
def test_a_hub_id_is_kept_as_it_is(project: Project, name: str) -> None:
    model = model_version_base(project=project, name="base", location=name, actor=None)
    assert model_localise(model) == name


@pytest.mark.parametrize("place", ["", "/nowhere/at/all", "../up", "a/b/c", "~", "x" * 501, "a\nb", "-rf", "/etc"])
def test_what_is_no_model_is_refused(project: Project, place: str) -> None:
    with pytest.raises(DomainError):
        model_version_base(project=project, name="base", location=place, actor=None)
    assert not ModelVersion.objects.exists()


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "a\x00b"])
def test_a_name_must_be_readable(project: Project, name: str) -> None:
    with pytest.raises(DomainError, match="name of at most 200"):
        model_version_base(project=project, name=name, location="gpt2", actor=None)


def test_the_same_again_is_the_same_model(project: Project, folder: Path) -> None:
    first = model_version_base(project=project, name="base", location=str(folder), actor=None)
    again = model_version_base(project=project, name="base", location=str(folder), actor=None)
    assert again == first
    assert AuditEntry.objects.filter(verb="model_version_base").count() == 1


def test_a_name_that_is_taken_is_refused(project: Project, folder: Path) -> None:
    model_make(project, "tiny-1")
    with pytest.raises(ConflictError, match="already a model called “tiny-1”"):
        model_version_base(project=project, name="tiny-1", location=str(folder), actor=None)
    other = Project.objects.create(name="Other", slug="other")
    assert model_version_base(project=other, name="tiny-1", location=str(folder), actor=None).project == other


def test_a_folder_that_went_away_is_told(make_model: MakeModel) -> None:
    model = make_model()
    (Path(model.location) / "config.json").unlink()
    with pytest.raises(DomainError, match=r"“tiny” is missing: .* Put the folder back"):
        model_localise(model)


def test_kept_weights_are_checked_on_their_way_out(project: Project, folder: Path) -> None:
    weights = artifact_publish(path=folder, project=project, kind=Artifact.Kind.MODEL, name="pear")
    model = ModelVersion.objects.create(project=project, name="sft", kind="sft", state="ready", weights=weights)
    ticks: list[int] = []
    place = Path(model_localise(model, tick=lambda: ticks.append(1)))
    assert (place / "model.safetensors").read_bytes() == b"weights"
    assert ticks
    blob = next(Path(place.parents[1]).rglob("*/" + weights.sha256), None)
    assert blob is not None
    (place / "model.safetensors").chmod(0o644)
    (place / "model.safetensors").write_bytes(b"wreckage")
    with pytest.raises(DomainError, match="not what was saved"):
        model_localise(model)


def test_a_model_that_is_only_a_name_has_no_place(project: Project) -> None:
    with pytest.raises(DomainError, match="only the name is known"):
        model_localise(model_make(project))


@pytest.mark.parametrize(
    ("kind", "state", "problem"),
    [
        ("base", "ready", ""),
        ("policy", "ready", ""),
        ("external", "ready", ""),
        ("sft", "retired", "is retired"),
        ("external", "registered", "not its weights"),
        ("human", "registered", "stands for people"),
        ("reward", "ready", "is a reward model"),
    ],
)
def test_who_can_be_sampled_from(kind: str, state: str, problem: str) -> None:
    found = sampling_problem(ModelVersion(name="m", kind=kind, state=state))
    assert problem in found
    assert bool(found) == bool(problem)


def test_a_hub_id_that_is_a_folder_beside_the_trainer_is_refused(
    project: Project, omar: User, settings: Settings, tmp_path: Path
) -> None:
    settings.BASE_DIR = tmp_path
    (tmp_path / "models" / "private").mkdir(parents=True)
    with pytest.raises(DomainError):
        model_version_base(project=project, name="sly", location="models/private", actor=omar)
    later = model_version_base(project=project, name="later", location="models/other", actor=omar)
    assert model_localise(later) == "models/other"
    (tmp_path / "models" / "other").mkdir()
    with pytest.raises(DomainError, match="cannot be told from a folder"):
        model_localise(later)

"""Folders by content."""

import os
import shutil
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from labelapp.artifacts.responses import artifact_response
from labelapp.artifacts.services import artifact_localise, artifact_publish
from labelapp.errors import DomainError
from labelapp.models import Artifact, Project

MODEL = Artifact.Kind.MODEL


@pytest.fixture
def root(tmp_path: Path, settings: Settings) -> Path:
    settings.ARTIFACT_ROOT = tmp_path / "artifacts"
    return tmp_path / "artifacts"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Two files, one of them a folder down."""
    folder = tmp_path / "model"
    (folder / "parts").mkdir(parents=True)
    (folder / "config.json").write_bytes(b"{}")
    (folder / "parts/weights.safetensors").write_bytes(b"pears" * 1000)
    return folder


def publish(path: Path, project: Project, name: str = "rewards") -> Artifact:
    return artifact_publish(path=path, project=project, kind=MODEL, name=name)


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_comes_back_as_it_was(root: Path, model: Path, project: Project) -> None:
    before = content_of(model)
    artifact = publish(model, project)
    shutil.rmtree(model)
    assert artifact.is_folder
    assert artifact.size == 5002
    assert content_of(artifact_localise(artifact, verify=True)) == before


def test_the_same_content_is_the_same_artifact(root: Path, model: Path, project: Project, tmp_path: Path) -> None:
    copy = shutil.copytree(model, tmp_path / "copy")
    first = publish(model, project)
    assert publish(copy, project) == first
    (copy / "config.json").rename(copy / "renamed.json")
    assert publish(copy, project) != first


def test_what_two_folders_share_is_one_file_on_the_disk(root: Path, model: Path, project: Project) -> None:
    first = artifact_localise(publish(model, project)) / "parts/weights.safetensors"
    (model / "config.json").write_bytes(b"[]")
    second = artifact_localise(publish(model, project, "others")) / "parts/weights.safetensors"
    assert first.parents[1] != second.parents[1]
    assert first.samefile(second)


def test_content_that_went_bad_is_replaced_by_the_good(root: Path, model: Path, project: Project) -> None:
    bad = artifact_localise(publish(model, project)) / "parts/weights.safetensors"
    bad.chmod(0o600)
    bad.write_bytes(b"bears" * 1000)
    (model / "config.json").write_bytes(b"[]")
    good = artifact_localise(publish(model, project, "others"), verify=True)
    assert (good / "parts/weights.safetensors").read_bytes() == b"pears" * 1000


def test_files_are_linked_and_not_copied(root: Path, model: Path, project: Project) -> None:
    folder = artifact_localise(publish(model, project))
    assert (folder / "config.json").stat().st_nlink == 2


def test_localising_twice_is_one_folder(root: Path, model: Path, project: Project) -> None:
    artifact = publish(model, project)
    assert artifact_localise(artifact) == artifact_localise(artifact)
    assert not list((root / "incoming").iterdir())


@pytest.mark.parametrize("name", ["config.json", "parts/weights.safetensors"])
def test_a_changed_byte_anywhere_is_refused(root: Path, model: Path, project: Project, name: str) -> None:
    artifact = publish(model, project)
    file = artifact_localise(artifact) / name
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    artifact_localise(artifact)
    with pytest.raises(DomainError, match=f"“rewards” is damaged: .*{name} is not what was saved"):
        artifact_localise(artifact, verify=True)


def test_a_changed_byte_is_refused_before_the_folder_is_there(root: Path, model: Path, project: Project) -> None:
    artifact = publish(model, project)
    blob = max((path for path in root.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    blob.write_bytes(b"PEARS" * 1000)
    with pytest.raises(DomainError, match="is damaged"):
        artifact_localise(artifact, verify=True)


def test_a_changed_list_of_files_is_refused(root: Path, model: Path, project: Project) -> None:
    artifact = publish(model, project)
    listing = root / artifact.uri.removeprefix("local:")
    listing.write_bytes(listing.read_bytes().replace(b"config.json", b"konfig.json"))
    with pytest.raises(DomainError, match="is damaged"):
        artifact_localise(artifact)


def test_what_is_missing_is_named(root: Path, model: Path, project: Project) -> None:
    artifact = publish(model, project)
    shutil.rmtree(root)
    with pytest.raises(DomainError, match="“rewards” is missing"):
        artifact_localise(artifact)


@pytest.mark.parametrize("harm", ["removed", "shortened", "added"])
def test_a_harmed_copy_is_made_again_from_what_is_kept(root: Path, model: Path, project: Project, harm: str) -> None:
    artifact, before = publish(model, project), content_of(model)
    folder = artifact_localise(artifact)
    (folder / "config.json").unlink()
    if harm == "shortened":
        (folder / "config.json").write_bytes(b"")
    elif harm == "added":
        os.link(folder / "parts/weights.safetensors", folder / "model.safetensors")
    assert content_of(artifact_localise(artifact)) == before


def test_an_empty_folder_is_refused(root: Path, tmp_path: Path, project: Project) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DomainError, match="holds no files"):
        publish(tmp_path / "empty", project)
    assert not Artifact.objects.exists()


def test_a_link_is_refused(root: Path, model: Path, project: Project) -> None:
    """It could point out of the folder, at what nobody meant to keep."""
    (model / "secrets").symlink_to("/etc/passwd")
    with pytest.raises(DomainError, match="secrets is neither a file nor a folder"):
        publish(model, project)


def test_long_copies_tick(root: Path, model: Path, project: Project) -> None:
    (model / "large").write_bytes(bytes(3 << 20))
    ticks: list[int] = []
    artifact = artifact_publish(path=model, project=project, kind=MODEL, name="x", tick=lambda: ticks.append(1))
    assert len(ticks) == 5
    artifact_localise(artifact, verify=True, tick=lambda: ticks.append(1))
    assert len(ticks) == 10


def test_a_folder_is_no_download(root: Path, model: Path, project: Project, rf: object) -> None:
    with pytest.raises(DomainError, match="is a folder, not a file"):
        artifact_response(rf.get("/"), publish(model, project))  # type: ignore[attr-defined]

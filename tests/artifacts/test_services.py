"""Files by content."""

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from labelapp.artifacts.blobs import INCOMING_LIFETIME
from labelapp.artifacts.services import _said, artifact_localise, artifact_publish, artifact_write
from labelapp.errors import DomainError
from labelapp.models import Artifact, Project

UPLOAD = Artifact.Kind.UPLOAD


@pytest.fixture
def root(tmp_path: Path, settings: Settings) -> Path:
    settings.ARTIFACT_ROOT = tmp_path / "artifacts"
    return tmp_path / "artifacts"


@pytest.fixture
def pears(tmp_path: Path) -> Path:
    path = tmp_path / "pears.jsonl"
    path.write_bytes(b"pears\n")
    return path


def files_in(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def test_publish_keeps_the_content_under_its_hash(root: Path, pears: Path, project: Project) -> None:
    artifact = artifact_publish(path=pears, project=project, kind=UPLOAD, name="pears.jsonl")
    assert artifact.sha256 == hashlib.sha256(b"pears\n").hexdigest()
    assert artifact.size == 6
    kept = artifact_localise(artifact, verify=True)
    assert kept.read_bytes() == b"pears\n"
    assert root in kept.parents


def test_publish_copies(root: Path, pears: Path, project: Project) -> None:
    artifact = artifact_publish(path=pears, project=project, kind=UPLOAD, name="pears.jsonl")
    pears.unlink()
    assert artifact_localise(artifact).read_bytes() == b"pears\n"


def test_the_same_content_twice_is_one_file(root: Path, pears: Path, project: Project) -> None:
    first = artifact_publish(path=pears, project=project, kind=UPLOAD, name="pears.jsonl")
    again = artifact_publish(path=pears, project=project, kind=UPLOAD, name="pears.jsonl")
    renamed = artifact_publish(path=pears, project=project, kind=UPLOAD, name="apples.jsonl")
    assert first == again
    assert renamed != first
    assert len(files_in(root)) == 1


def test_write_takes_chunks(root: Path, project: Project) -> None:
    artifact = artifact_write(chunks=[b"pe", b"ars\n"], project=project, kind=UPLOAD, name="x")
    assert artifact_localise(artifact, verify=True).read_bytes() == b"pears\n"


def test_a_write_that_fails_leaves_nothing(root: Path, project: Project) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError("the sender is gone")

    with pytest.raises(RuntimeError):
        artifact_write(chunks=chunks(), project=project, kind=UPLOAD, name="x")
    assert files_in(root) == []
    assert not Artifact.objects.exists()


def test_publish_says_which_file_cannot_be_read(root: Path, tmp_path: Path, project: Project) -> None:
    with pytest.raises(DomainError, match=r"missing\.jsonl cannot be read or written"):
        artifact_publish(path=tmp_path / "missing.jsonl", project=project, kind=UPLOAD, name="x")


def test_publish_says_that_the_folder_is_none(root: Path, pears: Path, project: Project) -> None:
    root.write_text("a file where the folder should be")
    with pytest.raises(DomainError, match="nothing was kept"):
        artifact_publish(path=pears, project=project, kind=UPLOAD, name="x")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_said_plainly() -> None:
    with pytest.raises(OSError, match="No space left") as failure, Path("/dev/full").open("wb", buffering=0) as full:
        full.write(b"x")
    assert "is full" in _said(failure.value)


def test_localise_finds_missing_content(root: Path, pears: Path, project: Project) -> None:
    artifact = artifact_publish(path=pears, project=project, kind=UPLOAD, name="pears.jsonl")
    artifact_localise(artifact).unlink()
    with pytest.raises(DomainError, match=r"“pears\.jsonl” is missing"):
        artifact_localise(artifact)


def test_localise_finds_shortened_content(root: Path, pears: Path, project: Project) -> None:
    artifact = artifact_publish(path=pears, project=project, kind=UPLOAD, name="pears.jsonl")
    artifact_localise(artifact).write_bytes(b"pea")
    with pytest.raises(DomainError, match="is damaged"):
        artifact_localise(artifact)


def test_localise_verifies_only_when_asked(root: Path, pears: Path, project: Project) -> None:
    artifact = artifact_publish(path=pears, project=project, kind=UPLOAD, name="pears.jsonl")
    artifact_localise(artifact).write_bytes(b"PEARS\n")
    assert artifact_localise(artifact).read_bytes() == b"PEARS\n"
    with pytest.raises(DomainError, match="is damaged"):
        artifact_localise(artifact, verify=True)


def test_names_lose_folders_and_what_cannot_be_shown(root: Path, pears: Path, project: Project) -> None:
    artifact = artifact_publish(path=pears, project=project, kind=UPLOAD, name="../etc/pe\x00a\nrs" + "x" * 300)
    assert "/" not in artifact.name
    assert artifact.name.isprintable()
    assert len(artifact.name) == 255


@pytest.mark.parametrize("folder", ["artifacts/incoming", "uploads"])
def test_it_sweeps_what_killed_processes_left(
    root: Path, pears: Path, project: Project, tmp_path: Path, settings: Settings, folder: str
) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path / "uploads"
    settings.FILE_UPLOAD_TEMP_DIR.mkdir()
    artifact_publish(path=pears, project=project, kind=UPLOAD, name="x")
    old, young = tmp_path / folder / "old", tmp_path / folder / "young"
    old.touch()
    young.touch()
    before = time.time() - INCOMING_LIFETIME - 60
    os.utime(old, (before, before))
    artifact_publish(path=pears, project=project, kind=UPLOAD, name="x")
    assert not old.exists()
    assert young.exists()

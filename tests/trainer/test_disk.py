"""A full disk refuses a run before it begins, or stops it without loss."""

import errno
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

import trainer.__main__
from tests.trainer.models import tiny_llama
from tests.trainer.processes import SERVER, command_line, run
from tests.trainer.snapshot_samples import events, snapshot_make
from trainer.durable import json_write
from trainer.loop.checkpoints import checkpoint_bytes
from trainer.loop.disk import DiskFullError, disk_check, disk_full, disk_watched, size_text
from trainer.records import checkpoint_newest
from trainer.runs import InputError, LineLog

OPTIONS = {"epochs": 2, "prompts_per_step": 4, "learning_rate": 0.003, "checkpoint_every": 2, "evaluate_every": 2}
RESULTS = ("model/model.safetensors", "events.jsonl", "report.json")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and a snapshot, and a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("disk")
    tiny_llama(folder / "model")
    snapshot_make(folder / "snapshot")
    assert run(line(folder, folder / "undisturbed")) == 0
    return folder


def line(place: Path, output: Path, **options: Any) -> list[str]:
    """A supervised training of six steps."""
    given = {"model": place / "model", "snapshot": place / "snapshot"} | OPTIONS | options
    return command_line("sft", output, **given)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk can only be made by root, where mounting is allowed")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


class _Filling:
    """Fills a disk when a file with a name is opened on it for the `number`-th time."""

    def __init__(self, disk: Path, part: str, number: int) -> None:
        self._disk, self._part, self._left = disk, part, number

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or self._part not in str(arguments[0]):
            return
        self._left -= 1
        if self._left != 0:
            return
        descriptor = os.open(self._disk / "filler", os.O_WRONLY | os.O_CREAT)
        size = 2**16
        while size:
            try:
                os.write(descriptor, b"\0" * size)
            except OSError:
                size //= 2
        os.close(descriptor)


def _filled(arguments: list[str], disk: Path, part: str, number: int, said: Path) -> None:
    sys.stderr = said.open("w")
    sys.addaudithook(_Filling(disk, part, number).hear)
    sys.exit(trainer.__main__.main(arguments))


def _limited(arguments: list[str], limit: int, said: Path) -> None:
    sys.stderr = said.open("w")
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    sys.exit(trainer.__main__.main(arguments))


def ended(target: Any, *arguments: Any) -> int | None:
    """The exit code of a process."""
    process = SERVER.Process(target=target, args=arguments)
    process.start()
    process.join(120)
    return process.exitcode


MOMENTS = [
    ("/.step-2.", 1),
    ("/.step-4.", 1),
    ("events.jsonl", 5),
    ("/.model.", 1),
    (".report.json", 1),
]


@pytest.mark.parametrize(("part", "number"), MOMENTS, ids=str)
def test_a_disk_that_fills_up_stops_the_run_without_loss(
    place: Path, small_disk: Path, tmp_path: Path, part: str, number: int
) -> None:
    folder, said = small_disk / "run", tmp_path / "said"
    assert ended(_filled, line(place, folder), small_disk, part, number, said) == 1
    text = said.read_text()
    assert f"The disk is full: {folder} could not be written" in text
    assert "start the same command again" in text
    assert "Traceback" not in text
    assert not (folder / "report.json").exists()
    assert not list(folder.rglob("*.aside"))
    # Nothing is torn: every line and every checkpoint is whole.
    assert (folder / "events.jsonl").read_bytes().endswith(b"\n") or not (folder / "events.jsonl").stat().st_size
    newest = checkpoint_newest(folder)
    if part == "/.step-4.":
        assert newest is not None
        assert newest.step == 2
    (small_disk / "filler").unlink()
    assert run(line(place, folder)) == 0
    for name in RESULTS:
        assert (folder / name).read_bytes() == (place / "undisturbed" / name).read_bytes(), name


def test_a_file_that_may_not_grow_stops_the_run_without_loss(place: Path, tmp_path: Path) -> None:
    """Without a disk of its own: the weights of a checkpoint still fit, what the optimizer remembers does not."""
    weights = (place / "model" / "model.safetensors").stat().st_size
    folder, said = tmp_path / "run", tmp_path / "said"
    assert ended(_limited, line(place, folder), int(1.5 * weights), said) == 1
    assert "The disk is full" in said.read_text()
    assert list((folder / "checkpoints").iterdir()) == []
    assert len(events(folder, "train")) == 2
    assert run(line(place, folder)) == 0
    for name in RESULTS:
        assert (folder / name).read_bytes() == (place / "undisturbed" / name).read_bytes(), name


def test_a_run_that_will_not_fit_is_refused_before_it_begins(place: Path, small_disk: Path, tmp_path: Path) -> None:
    said = tmp_path / "said"
    assert ended(_filled, line(place, small_disk / "run", checkpoints_kept=20), small_disk, "nothing", 1, said) == 2
    text = said.read_text()
    assert "has 1.0 MB free" in text
    assert "checkpoints_kept" in text
    assert not (small_disk / "run" / "events.jsonl").exists()
    assert run(line(place, small_disk / "run2", checkpoints_kept=2)) == 0


def test_what_is_asked_for_is_what_it_takes(place: Path) -> None:
    model = nn.Sequential(nn.Linear(100, 100, bias=False), nn.Linear(100, 10))
    # 10 000 + 1000 + 10 numbers, and two means of each.
    assert checkpoint_bytes(model) == 4 * 3 * 11010
    model[0].requires_grad_(False)
    assert checkpoint_bytes(model) == 4 * 3 * 1010
    written = sum(path.stat().st_size for path in (place / "undisturbed" / "checkpoints" / "step-6").iterdir())
    weights = (place / "undisturbed" / "model" / "model.safetensors").stat().st_size
    assert 0.8 < 3 * weights / written < 1.1


def test_free_space_is_compared_with_what_is_needed(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    disk_check(tmp_path, free // 2)
    with pytest.raises(InputError, match=r"this training needs .* for its checkpoints and its model"):
        disk_check(tmp_path, 2 * free)


def test_checkpoints_that_are_there_count(small_disk: Path) -> None:
    with pytest.raises(InputError, match=r"needs 1\.2 MB"):
        disk_check(small_disk, 1_200_000)
    (small_disk / "checkpoints" / "step-2").mkdir(parents=True)
    (small_disk / "checkpoints" / "step-2" / "weights").write_bytes(b"\0" * 600_000)
    disk_check(small_disk, 1_000_000)
    with pytest.raises(InputError, match=r"needs 600\.0 kB"):
        disk_check(small_disk, 1_200_000)


def test_a_full_disk_is_known_by_its_number(small_disk: Path) -> None:
    with pytest.raises(SafetensorError) as caught:
        save_file({"a": torch.zeros(500_000)}, small_disk / "a")
    assert disk_full(caught.value)
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        assert disk_full(OSError(number, "no room"))
    assert not disk_full(OSError(errno.EACCES, "not yours"))
    assert not disk_full(ValueError("(os error 28)"))


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), disk_watched(tmp_path):
        raise PermissionError(errno.EACCES, "not yours")
    with pytest.raises(DiskFullError, match="are free"), disk_watched(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_json_file_without_room_leaves_the_old_one(small_disk: Path) -> None:
    json_write(small_disk / "a.json", {"a": 1})
    with pytest.raises(OSError, match="No space left"):
        json_write(small_disk / "a.json", {"a": "x" * 2_000_000})
    assert [path.name for path in small_disk.iterdir()] == ["a.json"]
    assert (small_disk / "a.json").read_text() == '{\n "a": 1\n}\n'


def test_a_line_without_room_leaves_nothing(small_disk: Path) -> None:
    log = LineLog(small_disk / "log")
    log.append({"a": "x" * 1000})
    before = log.offset
    with pytest.raises(OSError, match="No space left"):
        log.append({"a": "x" * 2_000_000})
    assert log.offset == before
    assert len(list(log.lines())) == 1


@pytest.mark.parametrize(
    ("size", "text"), [(12, "12 bytes"), (1500, "1.5 kB"), (2_000_000, "2.0 MB"), (2**40, "1099.5 GB")]
)
def test_sizes_are_for_people(size: float, text: str) -> None:
    assert size_text(size) == text

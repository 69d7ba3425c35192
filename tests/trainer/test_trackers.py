"""Measurements in TensorBoard and Weights & Biases: each once, whatever happened to the run."""

import importlib.util
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.models import tiny_llama
from tests.trainer.processes import Moment, command_line, run
from tests.trainer.snapshot_samples import events, snapshot_make
from trainer.__main__ import main
from trainer.loop.trackers import tracker_check, tracker_open
from trainer.runs import InputError

WANDB = importlib.util.find_spec("wandb") is not None
PAST = [
    {"kind": "eval", "step": 0, "values": {"loss": 0.75}},
    {"kind": "train", "step": 1, "values": {"loss": 0.5, "accuracy": 0.25}},
]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard reads from a run folder, by name."""
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed"
    )
    reader = accumulator.EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0})
    reader.Reload()
    names = reader.Tags()["scalars"]
    return {name: [(point.step, point.value) for point in reader.Scalars(name)] for name in names}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and a snapshot."""
    folder = tmp_path_factory.mktemp("trackers")
    tiny_llama(folder / "model")
    snapshot_make(folder / "snapshot")
    return folder


def line(place: Path, output: Path, **options: Any) -> list[str]:
    """A supervised training of six steps."""
    given = {"epochs": 2, "prompts_per_step": 4, "checkpoint_every": 2, "evaluate_every": 2, "tracker": "tensorboard"}
    return command_line("sft", output, model=place / "model", snapshot=place / "snapshot", **(given | options))


def same(folder: Path) -> None:
    """TensorBoard shows what events.jsonl has, no step twice."""
    wanted: dict[str, list[tuple[int, float]]] = {}
    for event in sorted(events(folder, "eval") + events(folder, "train"), key=lambda event: event["step"]):
        for name, value in event["values"].items():
            wanted.setdefault(f"{event['kind']}/{name}", []).append((event["step"], pytest.approx(value, rel=1e-6)))
    found = scalars(folder)
    assert set(found) == set(wanted)
    for name, points in found.items():
        assert points == wanted[name], name


def test_tensorboard_has_every_measurement_by_step(place: Path, tmp_path: Path) -> None:
    assert run(line(place, tmp_path)) == 0
    same(tmp_path)
    assert [step for step, _ in scalars(tmp_path)["train/loss"]] == [1, 2, 3, 4, 5, 6]
    assert [step for step, _ in scalars(tmp_path)["eval/loss"]] == [0, 2, 4, 6]


@pytest.mark.parametrize("number", [6, 9])
def test_a_run_that_was_killed_repeats_no_step(place: Path, tmp_path: Path, number: int) -> None:
    assert run(line(place, tmp_path), until=Moment("events.jsonl", number)) == -signal.SIGKILL
    assert run(line(place, tmp_path)) == 0
    same(tmp_path)


def test_what_stands_is_written_first(tmp_path: Path) -> None:
    for last in (0.375, 0.25):
        with tracker_open("tensorboard", tmp_path, PAST) as tracker:
            tracker.write("train", 2, {"loss": last})
    assert scalars(tmp_path) == {
        "eval/loss": [(0, 0.75)],
        "train/loss": [(1, 0.5), (2, 0.25)],
        "train/accuracy": [(1, 0.25)],
    }


def test_no_tracker_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tracker_open("none", tmp_path, PAST) as tracker:
        tracker.write("train", 2, {"loss": 1.0})
    monkeypatch.setenv("RANK", "1")
    with tracker_open("tensorboard", tmp_path, PAST) as tracker:
        tracker.write("train", 2, {"loss": 1.0})
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(WANDB, reason="wandb is installed")
def test_a_package_that_is_missing_is_named_before_anything_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "snapshot").mkdir()
    given = command_line("sft", tmp_path / "run", model=tmp_path / "none", snapshot=tmp_path / "snapshot")
    assert main([*given, "--tracker", "wandb"]) == 2
    said = capsys.readouterr().err
    assert "the package wandb cannot be imported here" in said
    assert "pip install wandb" in said
    assert not (tmp_path / "run").exists()


def test_the_others_are_not_asked_for() -> None:
    tracker_check("none")
    with pytest.raises(InputError, match="tracker is no_such_tracker"):
        tracker_check("no_such_tracker")


@pytest.mark.skipif(not WANDB, reason="wandb is not installed: pip install wandb")
def test_wandb_goes_on_with_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    (tmp_path / "config.json").write_text(json.dumps({"command": "sft"}))
    with tracker_open("wandb", tmp_path, PAST) as tracker:
        tracker.write("train", 2, {"loss": 0.5})
    first = json.loads((tmp_path / "wandb.json").read_text())
    with tracker_open("wandb", tmp_path, PAST):
        pass
    assert json.loads((tmp_path / "wandb.json").read_text()) == first
    assert list(tmp_path.glob(f"wandb/offline-run-*-{first['id']}"))

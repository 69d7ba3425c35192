"""When a training stops early, and with which weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.trainer.models import tiny_llama
from tests.trainer.processes import command_line, run
from tests.trainer.snapshot_samples import events, report, snapshot_make
from trainer.loop.stopping import Patience


def heard(limit: int, *losses: float) -> tuple[list[bool], Patience]:
    """What is said to losses after steps 0, 10, 20 …, until it is over."""
    patience = Patience(limit)
    said = []
    for number, loss in enumerate(losses):
        assert not patience.over
        said.append(patience.hear(10 * number, loss))
    return said, patience


def test_it_remembers_the_least_loss() -> None:
    said, patience = heard(2, 0.7, 0.5, 0.6, 0.4, 0.45)
    assert said == [True, True, False, True, False]
    assert (patience.step, patience.loss, patience.worse, patience.over) == (30, 0.4, 1, False)


def test_it_ends_after_so_many_in_a_row() -> None:
    assert heard(2, 0.5, 0.6, 0.55)[1].over
    assert not heard(3, 0.5, 0.6, 0.55)[1].over
    assert heard(1, 0.5, 0.5)[1].over


def test_without_a_limit_it_never_ends() -> None:
    assert not heard(0, *[0.5] * 50)[1].over


def test_a_checkpoint_keeps_all_of_it() -> None:
    patience = heard(2, 0.7, 0.5, 0.6)[1]
    assert Patience.of(patience.state) == patience


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and a snapshot."""
    folder = tmp_path_factory.mktemp("stopping")
    tiny_llama(folder / "model")
    snapshot_make(folder / "snapshot")
    return folder


def line(place: Path, output: Path, **options: Any) -> list[str]:
    """A supervised training of twelve steps with evaluations after each."""
    given = {"epochs": 4, "prompts_per_step": 4, "evaluate_every": 1, "checkpoint_every": 4, "schedule": "constant"}
    paths = {"model": place / "model", "snapshot": place / "snapshot"}
    return command_line("sft", output, **(paths | given | options))


@pytest.mark.parametrize(("rate", "improves"), [(0.05, True), (1.0, False)])
def test_the_model_is_that_of_the_best_evaluation(place: Path, tmp_path: Path, rate: float, improves: bool) -> None:
    assert run(line(place, tmp_path, learning_rate=rate, patience=2)) == 0
    losses = {event["step"]: event["values"]["loss"] for event in events(tmp_path, "eval")}
    best = min(losses, key=lambda step: losses[step])
    assert (best > 0) == improves
    assert list(losses) == list(range(best + 3)), "two evaluations after the best one"
    found = report(tmp_path)
    assert (found["best_step"], found["steps"]) == (best, best + 2)
    assert found["metrics"]["loss"] == losses[best]
    assert found["metrics"]["loss_before"] == losses[0]
    model = load_file(tmp_path / "model" / "model.safetensors")
    kept = load_file(tmp_path / "checkpoints" / f"step-{best}" / "weights.safetensors")
    assert all(torch.equal(model[name], kept[name]) for name in model)
    if not improves:
        started = load_file(place / "model" / "model.safetensors")
        assert all(torch.equal(model[name], started[name]) for name in model)


def test_without_patience_the_last_weights_are_published(place: Path, tmp_path: Path) -> None:
    assert run(line(place, tmp_path, learning_rate=0.05)) == 0
    assert "best_step" not in report(tmp_path)
    assert report(tmp_path)["metrics"]["loss"] == events(tmp_path, "eval")[-1]["values"]["loss"]
    model = load_file(tmp_path / "model" / "model.safetensors")
    kept = load_file(tmp_path / "checkpoints" / "step-12" / "weights.safetensors")
    assert all(torch.equal(model[name], kept[name]) for name in model)


def test_patience_without_evaluations_is_refused(place: Path, tmp_path: Path) -> None:
    assert run(line(place, tmp_path / "never", patience=2, evaluate_every=0)) == 2
    snapshot_make(tmp_path / "snapshot", held_out=0)
    assert run(line(place, tmp_path / "nothing", patience=2, snapshot=tmp_path / "snapshot")) == 2

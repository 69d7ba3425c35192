"""Killed at any moment and started again, every kind of training ends with the same bits."""

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.models import tiny_llama
from tests.trainer.processes import Moment, command_line, run
from tests.trainer.snapshot_samples import snapshot_make

OPTIONS = {"epochs": 2, "prompts_per_step": 4, "micro_tokens": 90, "learning_rate": 0.003, "checkpoint_every": 2}
WAYS: dict[str, dict[str, Any]] = {
    "sft": {"gradient_checkpointing": "true"},
    "sft-patience": {"learning_rate": 0.05, "schedule": "constant", "evaluate_every": 1, "patience": 1, "epochs": 4},
    "sft-adapters": {"lora_rank": 2, "evaluate_every": 4},
    "reward": {"evaluate_every": 1, "patience": 2, "checkpoints_kept": 1},
    "reward-ties": {"ties": "rao_kupper", "evaluate_every": 2},
    "preference": {"evaluate_every": 2},
    "preference-sft": {"held_to": "sft", "loss": "ipo"},
    "preference-kto": {"loss": "kto", "labels": "ranking"},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and a snapshot."""
    folder = tmp_path_factory.mktemp("resume")
    tiny_llama(folder / "model")
    snapshot_make(folder / "snapshot")
    return folder


def line(place: Path, output: Path, way: str) -> list[str]:
    """A training of one of the ways."""
    given = {"model": place / "model", "snapshot": place / "snapshot"} | OPTIONS | WAYS[way]
    return command_line(way.partition("-")[0], output, **given)


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """All that a run leaves, but for what its processes used to work together."""
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and path.name != "lock":
            # The card names the trainer by a hash of its files, which somebody may be editing.
            content = path.read_bytes()
            yield name, re.sub(rb"[0-9a-f]{64}", b"", content) if path.name == "README.md" else content


@pytest.mark.parametrize("way", WAYS)
def test_killed_again_and_again_it_ends_with_the_same_bits(place: Path, tmp_path: Path, way: str) -> None:
    """The process dies when it opens some file of its folder: a log, a checkpoint, what the reference said, the model.

    Each attempt lives a little longer than the one before, so that deaths fall everywhere.
    """
    assert run(line(place, tmp_path / "undisturbed", way)) == 0
    wanted = dict(files(tmp_path / "undisturbed"))
    lives, kills = 9, 0
    while (ended := run(line(place, tmp_path / "killed", way), until=Moment("/killed/", lives))) != 0:
        assert ended == -signal.SIGKILL
        kills += 1
        lives += 14
    assert kills >= 4
    found = dict(files(tmp_path / "killed"))
    assert found.keys() == wanted.keys()
    for name, content in found.items():
        assert content == wanted[name], name


def test_no_step_is_logged_twice(place: Path, tmp_path: Path) -> None:
    for lives in (25, 60):
        assert run(line(place, tmp_path / "killed", "sft"), until=Moment("/killed/", lives)) == -signal.SIGKILL
    assert run(line(place, tmp_path / "killed", "sft")) == 0
    lines = [json.loads(text) for text in (tmp_path / "killed" / "events.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == [1, 2, 3, 4, 5, 6]


def test_the_seed_alone_decides(place: Path, tmp_path: Path) -> None:
    found = []
    for name, seed in (("one", 3), ("same", 3), ("other", 4)):
        assert run([*line(place, tmp_path / name, "reward-ties"), "--seed", str(seed)]) == 0
        found.append((tmp_path / name / "model" / "model.safetensors").read_bytes())
    assert found[0] == found[1]
    assert found[0] != found[2]

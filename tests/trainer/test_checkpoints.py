"""Checkpoints are complete or absent, and bring everything back to the bit."""

import json
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim import AdamW
from torch.overrides import TorchFunctionMode

from trainer.loop.checkpoints import checkpoint_load, checkpoint_save, checkpoint_weights
from trainer.records import checkpoint_newest
from trainer.runs import InputError, RunFolder


class Tied(nn.Module):
    """A network with tied weights, as language models have them, and a buffer."""

    def __init__(self, width: int = 5) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, width)
        self.out = nn.Linear(width, 7, bias=False)
        self.out.weight = self.embedding.weight
        self.register_buffer("seen", torch.zeros(1))


def made(seed: int = 0, width: int = 5) -> tuple[Tied, AdamW]:
    """A network and its optimizer."""
    torch.manual_seed(seed)
    model = Tied(width)
    return model, AdamW([{"params": list(model.parameters()), "rate_scale": 2.0}], lr=0.1)


def learn(model: Tied, optimizer: AdamW, steps: int = 3) -> None:
    """Some steps that depend on the random number generator."""
    for _ in range(steps):
        wanted = torch.randn(7)
        loss: Tensor = (model.out(model.embedding.weight).sum(0) - wanted).square().sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        model.seen += 1


def test_going_on_is_as_if_never_stopped(tmp_path: Path) -> None:
    model, optimizer = made()
    learn(model, optimizer)
    with RunFolder(tmp_path) as folder:
        checkpoint_save(folder, step=3, model=model, optimizer=optimizer, state={"data": "x"})
    learn(model, optimizer)
    newest = checkpoint_newest(tmp_path)
    assert newest is not None
    other, other_optimizer = made(seed=9)
    assert checkpoint_load(newest, model=other, optimizer=other_optimizer) == {"data": "x"}
    learn(other, other_optimizer)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
    assert other_optimizer.param_groups[0]["rate_scale"] == 2.0
    assert other.out.weight is other.embedding.weight


def test_a_checkpoint_carries_the_lengths_of_the_logs(tmp_path: Path) -> None:
    model, optimizer = made()
    with RunFolder(tmp_path) as folder:
        folder.events.append({"step": 1})
        folder.outputs.append({"a": "long line"})
        checkpoint_save(folder, step=1, model=model, optimizer=optimizer, state={})
        newest = checkpoint_newest(tmp_path)
        assert newest is not None
        assert (newest.step, newest.events_offset, newest.outputs_offset) == (
            1,
            folder.events.offset,
            folder.outputs.offset,
        )


@pytest.mark.parametrize(
    ("kept", "also", "names"),
    [
        (1, None, {"step-100"}),
        (2, None, {"step-15", "step-100"}),
        (2, 15, {"step-15", "step-100"}),
        (2, 5, {"step-5", "step-15", "step-100"}),
        (9, None, {"step-5", "step-10", "step-15", "step-100"}),
    ],
)
def test_the_newest_and_the_best_stay(tmp_path: Path, kept: int, also: int | None, names: set[str]) -> None:
    model, optimizer = made()
    with RunFolder(tmp_path) as folder:
        for step in (5, 10, 15, 100):
            checkpoint_save(folder, step=step, model=model, optimizer=optimizer, state={}, kept=kept, also=also)
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == names


def test_frozen_weights_are_not_kept_again(tmp_path: Path) -> None:
    model, _ = made()
    model.head = nn.Linear(5, 2)
    model.embedding.weight.requires_grad_(False)
    optimizer = AdamW(model.head.parameters())
    model.head(torch.ones(5)).sum().backward()
    optimizer.step()
    with RunFolder(tmp_path) as folder:
        path = checkpoint_save(folder, step=1, model=model, optimizer=optimizer, state={})
    assert set(load_file(path / "weights.safetensors")) == {"head.weight", "head.bias", "seen"}
    wanted = model.head.weight.detach().clone()
    with torch.no_grad():
        model.head.weight.zero_()
        model.embedding.weight.fill_(3.0)
    newest = checkpoint_newest(tmp_path)
    assert newest is not None
    checkpoint_load(newest, model=model, optimizer=optimizer)
    assert torch.equal(model.head.weight, wanted)
    assert (model.embedding.weight == 3.0).all()


def test_the_weights_alone_can_be_taken(tmp_path: Path) -> None:
    model, optimizer = made()
    learn(model, optimizer)
    with RunFolder(tmp_path) as folder:
        path = checkpoint_save(folder, step=1, model=model, optimizer=optimizer, state={})
    other, _ = made(seed=5)
    checkpoint_weights(path, other)
    assert torch.equal(other.out.weight, model.out.weight)
    (path / "weights.safetensors").unlink()
    with pytest.raises(InputError, match="cannot be read"):
        checkpoint_weights(path, other)


def test_no_pickle_and_no_remains(tmp_path: Path) -> None:
    model, optimizer = made()
    learn(model, optimizer)
    with RunFolder(tmp_path) as folder:
        path = checkpoint_save(folder, step=1, model=model, optimizer=optimizer, state={})
    assert {file.suffix for file in path.iterdir()} == {".safetensors", ".json"}
    state = json.loads((path / "state.json").read_text())
    assert state["step"] == 1


class Stored(TorchFunctionMode):
    """How many of the tensors that are written were there at once."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._made: list[weakref.ref[Tensor]] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = function(*args, **(kwargs or {}))
        if function is Tensor.detach:
            self._made.append(weakref.ref(found))
            self.most = max(self.most, sum(one() is not None for one in self._made))
        return found


def test_no_more_than_one_file_is_put_together_at_once(tmp_path: Path) -> None:
    model, optimizer = made()
    learn(model, optimizer)
    with RunFolder(tmp_path) as folder, Stored() as stored:
        path = checkpoint_save(folder, step=1, model=model, optimizer=optimizer, state={})
    files = [len(load_file(file)) for file in path.glob("*.safetensors")]
    assert sorted(files) == [1, 2, 3]
    assert stored.most == 3


KILLED_IN_SAVE = """
import os, signal, sys
from pathlib import Path
import trainer.loop.checkpoints as checkpoints
from tests.trainer.test_checkpoints import learn, made
from trainer.runs import RunFolder

calls = 0
def dying(event, arguments):
    # The process dies when it opens the file of this number for writing while it saves.
    global calls
    if event == "open" and "/.step-2." in str(arguments[0]):
        calls += 1
        if calls == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

model, optimizer = made()
learn(model, optimizer)
with RunFolder(Path(sys.argv[1])) as folder:
    checkpoints.checkpoint_save(folder, step=1, model=model, optimizer=optimizer, state={"data": "1"})
    sys.addaudithook(dying)
    checkpoints.checkpoint_save(folder, step=2, model=model, optimizer=optimizer, state={"data": "2"})
"""


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_crash_during_save_leaves_the_one_before(tmp_path: Path, call: int) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED_IN_SAVE, str(tmp_path), str(call)], check=False)
    assert done.returncode == -9
    assert any(path.name.startswith(".step-2") for path in (tmp_path / "checkpoints").iterdir())
    newest = checkpoint_newest(tmp_path)
    assert newest is not None
    model, optimizer = made(seed=1)
    assert checkpoint_load(newest, model=model, optimizer=optimizer) == {"data": "1"}
    with RunFolder(tmp_path) as folder:
        checkpoint_save(folder, step=2, model=model, optimizer=optimizer, state={})
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-1", "step-2"]


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    model, optimizer = made()
    with RunFolder(tmp_path) as folder:
        checkpoint_save(folder, step=1, model=model, optimizer=optimizer, state={})
    newest = checkpoint_newest(tmp_path)
    assert newest is not None
    wide, wide_optimizer = made(width=6)
    with pytest.raises(InputError, match=r"another model: embedding\.weight"):
        checkpoint_load(newest, model=wide, optimizer=wide_optimizer)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    model, optimizer = made()
    with RunFolder(tmp_path) as folder:
        path = checkpoint_save(folder, step=1, model=model, optimizer=optimizer, state={})
    (path / "weights.safetensors").write_bytes(b"\0")
    newest = checkpoint_newest(tmp_path)
    assert newest is not None
    with pytest.raises(InputError, match="step-1 cannot be read"):
        checkpoint_load(newest, model=model, optimizer=optimizer)

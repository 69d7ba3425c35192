"""What goes wrong in one of the processes that hold a part of a model each ends all of them, and says why."""

import errno
import resource
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.models import tiny_llama
from tests.trainer.processes import call_together
from tests.trainer.snapshot_samples import events, snapshot_make
from tests.trainer.test_sharded import OPTIONS, line, same, sharded, together
from tests.trainer.test_steps import Limited, spoiled, step_of
from trainer import reward
from trainer.config import options_read
from trainer.data.groups import Group
from trainer.loop import distributed, parts
from trainer.loop.disk import disk_watched
from trainer.loop.optimization import gradients_clip
from trainer.records import Request, checkpoint_newest
from trainer.runs import RunFolder

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and a snapshot."""
    folder = tmp_path_factory.mktemp("failures")
    tiny_llama(folder / "llama")
    snapshot_make(folder / "snapshot")
    return folder


@pytest.fixture(scope="module")
def pair(place: Path) -> Path:
    """A run of two processes that nothing happened to."""
    assert together(line(place, place / "pair"), 2) == [0, 0]
    return place / "pair"


def ending(path: Path, rank: int) -> Any:
    """The memory of one process ends between its forward and its backward pass, where the other waits for it."""
    distributed.LAST_WORDS = 1.0
    model = sharded(path)
    step = step_of(model, 60)
    step.accumulate(Limited(model, 0 if rank == 1 else 1000))
    return "not reached"


def test_the_end_of_the_memory_of_one_process_ends_all(place: Path) -> None:
    first, second = call_together(partial(ending, place / "llama"), 2)
    assert second.startswith("MemoryEndError 1: Out of memory at step 7, with 60 micro_tokens. With parallel=sharded")
    assert "Set micro_tokens to 30 or less, start more processes, or turn gradient_checkpointing on" in second
    assert first.startswith("PeerError 1: Another process of this training ended; what it said is in its own output.")
    assert "Here: RuntimeError: " in first


def spoiling(path: Path, _rank: int) -> Any:
    """A prompt of one of the processes has a loss that is a number, and a slope that is none."""
    model = sharded(path)
    step = step_of(model, 23)
    step.accumulate(spoiled(model, 5, lambda loss: loss + (loss - loss.detach()).abs().sqrt()))
    assert step.sums()["loss"] > 0
    norm = gradients_clip(model, 1.0)
    return str(step.gradient_error(norm))


def test_a_gradient_that_is_no_number_names_its_prompt(place: Path) -> None:
    found = call_together(partial(spoiling, place / "llama"), 2)
    assert found[0] == found[1]
    # The first process has the prompts of 11, then 23 tokens, the other that of 17, then those of 11 and 8.
    assert "Step 7 gave numbers that are not finite: the norm of the gradient is nan for prompts" in found[0]
    assert ", 5." in found[0]


def rows(prompt: int, size: int, token: int) -> Group:
    """A prompt with one completion, so many of one token in all."""
    return Group(prompt, [token] * (size - 2), [[token] * 2], [], 1.0, (0,))


LOW, HIGH = 7, 250
# Each alone in its portion. The first process has 1; the other has 3, then 2.
LISTED = [rows(1, 12, HIGH), rows(2, 10, LOW), rows(3, 5, LOW)]


def spoiling_rows(path: Path, prompt: int, _rank: int) -> Any:
    """Of a model whose embeddings alone learn, the gradient of one prompt's tokens is no number."""
    model = sharded(path)
    model.requires_grad_(False)
    model.get_input_embeddings().requires_grad_(True)
    step = step_of(model, 5, groups=LISTED)
    step.accumulate(spoiled(model, prompt, lambda loss: loss + (loss - loss.detach()).abs().sqrt()))
    held = [not bool(one.isfinite().all()) for one in parts.gradients(model)]
    return held, str(step.gradient_error(float("nan")))


@pytest.mark.parametrize(
    ("prompt", "holder", "named"), [(1, 1, "prompts 1, 3."), (2, 0, "prompt 2."), (3, 0, "prompts 1, 3.")]
)
def test_prompts_are_named_whichever_process_has_the_part_of_the_gradient(
    place: Path, prompt: int, holder: int, named: str
) -> None:
    """The rows of a prompt's tokens are in one process, which may have had others to compute, or none."""
    found = call_together(partial(spoiling_rows, place / "llama", prompt), 2)
    assert [any(held) for held, _ in found] == [holder == 0, holder == 1]
    assert all(f"norm of the gradient is nan for {named}" in text for _, text in found)


class Failing:
    """An audit hook of the process that leads: its disk is full before its `number`-th line in the log, or from the
    second file of a checkpoint on.
    """

    def __init__(self, *, number: int = 0, part: str = "", limit: int = 0) -> None:
        self._left, self._part, self._limit = number, part, limit

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(arguments[0]).endswith("events.jsonl") and arguments[1] == "a":
            self._left -= 1
            if self._left == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
        if event == "os.mkdir" and self._part and self._part in str(arguments[0]):
            resource.setrlimit(resource.RLIMIT_FSIZE, (self._limit, self._limit))


def training(request: Request, output: Path, failing: Failing, rank: int) -> None:
    """A training in one of the processes, of which the first fails."""
    if rank == 0:
        sys.addaudithook(failing.hear)
    with RunFolder(output) as folder, disk_watched(output):
        distributed.exchange(None)
        reward.run(request, options_read("reward", request["options"]), folder)


@pytest.mark.parametrize(("where", "left", "trained"), [("last line", 3, 3), ("second file", 1, 2)])
def test_a_failure_of_the_one_that_leads_ends_all_and_is_gone_on_from(
    place: Path, pair: Path, tmp_path: Path, where: str, left: int, trained: int
) -> None:
    """A full disk, between what other processes wait for together."""
    options = {**OPTIONS, "parallel": "sharded"}
    request = Request(command="reward", model=str(place / "llama"), snapshot=str(place / "snapshot"), options=options)
    weights = (pair / "checkpoints" / "step-3" / "weights.safetensors").stat().st_size
    # Lines: before the first step, steps 1 and 2, after step 2, step 3, after step 3.
    failing = Failing(number=6) if where == "last line" else Failing(part="/.step-2.", limit=int(1.5 * weights))
    first, second = call_together(partial(training, request, tmp_path, failing), 2)
    assert first.startswith(f"DiskFullError 1: The disk is full: {tmp_path} could not be written")
    assert second == f"PeerError 1: Process 0 of 2 ended: {first.removeprefix('DiskFullError 1: ')}"
    newest = checkpoint_newest(tmp_path)
    assert newest is not None
    assert newest.step == left
    assert len(events(tmp_path, "train")) == trained
    assert together(line(place, tmp_path), 2) == [0, 0]
    same(tmp_path, pair)

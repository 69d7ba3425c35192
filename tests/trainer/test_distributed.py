"""Several processes learn what one does: same steps, same figures, one set of files, and none waits for ever."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from tests.trainer.models import tiny_llama
from tests.trainer.processes import Moment, call_together, command_line, run, run_together
from tests.trainer.snapshot_samples import events, report, snapshot_make
from tests.trainer.test_steps import GROUPS, Limited, apart, gradients, group, likelihood, spoiled, step_of
from trainer.data.batches import unique_tokens
from trainer.loop import distributed
from trainer.models.networks import policy_load, prompts_share
from trainer.records import checkpoint_newest
from trainer.runs import InputError, LineLog, RunFolder, say

OPTIONS = {"epochs": 2, "prompts_per_step": 4, "micro_tokens": 90, "learning_rate": 0.003, "checkpoint_every": 2}
COMMANDS = ("sft", "reward", "preference")
RESULTS = ("model/model.safetensors", "events.jsonl", "report.json", "config.json")
# Sums in float32 in another order: about 1e-7 of each gradient, six steps, AdamW.
NEAR = 5e-6


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and a snapshot whose eleven (twelve) prompts and four held-out ones divide unevenly."""
    folder = tmp_path_factory.mktemp("distributed")
    tiny_llama(folder / "model")
    snapshot_make(folder / "snapshot")
    return folder


def line(place: Path, output: Path, command: str = "reward", **options: Any) -> list[str]:
    """A training of the model on the snapshot."""
    given = {"model": place / "model", "snapshot": place / "snapshot", "evaluate_every": 2} | OPTIONS | options
    return command_line(command, output, **given)


@pytest.fixture(scope="module")
def pair(place: Path) -> Path:
    """A run of two processes that nothing happened to."""
    assert run_together(line(place, place / "pair"), 2) == [0, 0]
    return place / "pair"


def weights(folder: Path) -> dict[str, Tensor]:
    """The weights that a run ended with."""
    return load_file(folder / "model" / "model.safetensors")


# -- whole trainings


@pytest.mark.parametrize("command", COMMANDS)
def test_several_processes_learn_and_measure_what_one_does(place: Path, tmp_path: Path, command: str) -> None:
    """Two or three processes for steps of four and of three prompts, and four held-out ones."""
    several = 3 if command == "reward" else 2
    assert run(line(place, tmp_path / "one", command)) == 0
    assert run_together(line(place, tmp_path / "several", command), several) == [0] * several
    one, other = weights(tmp_path / "one"), weights(tmp_path / "several")
    started = load_file(place / "model" / "model.safetensors")
    for name, tensor in one.items():
        assert torch.allclose(tensor, other[name], rtol=0, atol=NEAR), name
    assert any(not torch.allclose(one[name], started[name], atol=1e-3) for name in started.keys() & one.keys())
    for kind in ("train", "eval"):
        left, right = events(tmp_path / "one", kind), events(tmp_path / "several", kind)
        assert [event["step"] for event in left] == [event["step"] for event in right]
        for mine, theirs in zip(left, right, strict=True):
            assert theirs["values"] == pytest.approx(mine["values"], rel=2e-4, abs=1e-6)
    assert report(tmp_path / "one")["counts"] == report(tmp_path / "several")["counts"]
    assert [report(tmp_path / name)["resolved"]["processes"] for name in ("one", "several")] == [1, several]


def test_one_process_writes(pair: Path) -> None:
    assert [event["step"] for event in events(pair, "train")] == [1, 2, 3, 4, 5, 6]
    assert [event["step"] for event in events(pair, "eval")] == [0, 2, 4, 6]
    assert sorted(path.name for path in pair.iterdir()) == sorted(
        ["checkpoints", "config.json", "events.jsonl", "lock", "model", "plots", "report.json"]
    )


@pytest.mark.parametrize("victim", [0, 1])
def test_a_stop_of_one_stops_all_and_is_gone_on_from(place: Path, pair: Path, tmp_path: Path, victim: int) -> None:
    # The one that leads opens its log for each line; the other opens files of the trainer's modules and of the model.
    moment = Moment("events.jsonl", 8) if victim == 0 else Moment("snapshot/prompts", 1)
    assert run_together(line(place, tmp_path), 2, until=moment, ending=signal.SIGTERM, victim=victim) == [3, 3]
    newest = checkpoint_newest(tmp_path)
    if victim == 0:
        assert newest is not None
        assert newest.step == len(events(tmp_path, "train"))
    assert run_together(line(place, tmp_path), 2) == [0, 0]
    for name in RESULTS:
        assert (tmp_path / name).read_bytes() == (pair / name).read_bytes(), name


@pytest.mark.parametrize(
    ("moment", "victim"),
    [
        (Moment("events.jsonl", 8), 0),
        (Moment("/.step-4.", 2), 0),
        (Moment("checkpoints/step-4", 1), 1),
    ],
    ids=str,
)
def test_a_process_that_is_killed_ends_all(
    place: Path, pair: Path, tmp_path: Path, moment: Moment, victim: int
) -> None:
    if "checkpoints" in moment.part:  # which the other process reads when it goes on
        assert run_together(line(place, tmp_path), 2, until=Moment("/.step-6.", 1))[0] == -signal.SIGKILL
    codes = run_together(line(place, tmp_path), 2, until=moment, victim=victim)
    assert codes[victim] == -signal.SIGKILL
    assert codes[1 - victim] == 1
    assert not (tmp_path / "report.json").exists()
    assert run_together(line(place, tmp_path), 2) == [0, 0]
    for name in RESULTS:
        assert (tmp_path / name).read_bytes() == (pair / name).read_bytes(), name


def test_a_folder_in_use_ends_all(place: Path, tmp_path: Path) -> None:
    with RunFolder(tmp_path):
        assert run_together([*line(place, tmp_path), "--lock-wait", "0.1"], 2) == [4, 4]


def test_what_runs_alone_says_so(place: Path, tmp_path: Path) -> None:
    given = command_line("evaluate", tmp_path / "out", model=place / "model", snapshot=place / "snapshot")
    assert run_together(given, 2) == [2, 2]
    assert not (tmp_path / "out").exists()


@pytest.mark.learning
def test_it_is_started_by_torchrun(place: Path, pair: Path, tmp_path: Path) -> None:
    starter = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "trainer"]
    done = subprocess.run(
        [*starter, *line(place, tmp_path)], env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Held out, step 6 of 6") == 1
    for name in RESULTS:
        assert (tmp_path / name).read_bytes() == (pair / name).read_bytes(), name


# -- the parts


def test_a_step_is_divided_evenly_and_always_alike() -> None:
    groups = [group(number, *([number % 7 + 1] * (number % 3 + 2))) for number in range(20)]
    parts = distributed.division(groups, 3)
    assert sorted(one.prompt for part in parts for one in part) == list(range(20))
    loads = [sum(map(unique_tokens, part)) for part in parts]
    assert max(loads) - min(loads) <= max(map(unique_tokens, groups))
    again = distributed.division(groups[::-1], 3)
    assert [[one.prompt for one in part] for part in again] == [[one.prompt for one in part] for part in parts]


def test_one_process_keeps_the_order() -> None:
    assert distributed.own(GROUPS) == GROUPS
    assert distributed.exchange("said") == ["said"]
    assert distributed.gathered([(GROUPS[1], 2.0), (GROUPS[0], 1.0)], GROUPS[:2]) == [
        (GROUPS[0], 1.0),
        (GROUPS[1], 2.0),
    ]


def test_more_processes_than_prompts_leave_some_idle() -> None:
    assert [len(part) for part in distributed.division(GROUPS[:2], 4)] == [1, 1, 0, 0]


def test_what_is_gathered_is_complete() -> None:
    with pytest.raises(ValueError, match="1 values were gathered for 2 groups"):
        distributed.gathered([(GROUPS[0], 1.0)], GROUPS[:2])


def exchanging(rank: int) -> list[Any]:
    """Values of several kinds and lengths."""
    every = distributed.exchange({"rank": rank, "text": "ü" * rank * 1000, "values": [0.1 * rank, float("nan")]})
    mine = [(one, [one.prompt * 1.5]) for one in reversed(distributed.own(GROUPS))]
    found = distributed.gathered(mine, GROUPS)
    return [
        [one["rank"] for one in every],
        [len(one["text"]) for one in every],
        [one["values"][0] for one in every],
        distributed.summed(0.1 * (rank + 1)),
        [(one.prompt, value) for one, value in found],
        (distributed.rank(), distributed.count()),
    ]


def test_values_are_exchanged_in_the_order_of_the_processes() -> None:
    for number, found in enumerate(call_together(exchanging, 3)):
        assert found[:3] == [[0, 1, 2], [0, 1000, 2000], [0.0, 0.1, 0.2]]
        assert found[3] == pytest.approx(0.6)
        assert found[4] == [(one.prompt, [one.prompt * 1.5]) for one in GROUPS]
        assert found[5] == (number, 3)


def failing(rank: int) -> str:
    """One fails between two exchanges, while others wait for it."""
    distributed.exchange(rank)
    if rank == 1:
        raise InputError("the snapshot is damaged")
    distributed.summed(rank)
    return "not reached"


def test_the_failure_of_one_is_that_of_all() -> None:
    found = call_together(failing, 3)
    assert found[1] == "InputError 2: the snapshot is damaged"
    assert found[0] == found[2] == "PeerError 2: Process 1 of 3 ended: the snapshot is damaged"


class Pair(nn.Module):
    """Two parameters, and one that is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.unused = (nn.Parameter(torch.ones(3)) for _ in range(3))
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)


def adding(rank: int) -> list[Any]:
    """Gradients of different sizes, of which one process has some only."""
    model = Pair()
    model.first.grad = torch.tensor([1.0, 2.0**-24, 10.0]) * (1 if rank == 0 else 3)
    if rank == 1:
        model.second.grad = torch.full((3,), 5.0)
    distributed.gradients_sum(model)
    return [None if one.grad is None else one.grad.tolist() for one in model.parameters()]


def test_gradients_are_added_up_and_what_nobody_used_has_none() -> None:
    for found in call_together(adding, 2):
        assert found == [[4.0, 2.0**-22, 40.0], [5.0, 5.0, 5.0], None, None]


def bucketed(rank: int) -> list[bool]:
    """More gradients than are added up at once, in float32 and in bfloat16."""
    distributed.BUCKET = 100
    model = nn.ParameterList(
        [nn.Parameter(torch.zeros(70)), nn.Parameter(torch.zeros(70)), nn.Parameter(torch.zeros(9))]
    )
    model.append(nn.Parameter(torch.zeros(5, 3, dtype=torch.bfloat16)))
    for number, one in enumerate(model.parameters()):
        one.grad = torch.full_like(one, (number + 1) * (rank + 1))
    distributed.gradients_sum(model)
    return [bool((one.grad == (number + 1) * 3).all()) for number, one in enumerate(model.parameters())]  # type: ignore[union-attr]


def test_gradients_are_added_up_in_buckets() -> None:
    assert call_together(bucketed, 2) == [[True] * 4] * 2


def differing(rank: int) -> str:
    """Weights that differ in a last bit."""
    model = Pair()
    distributed.replicas_check(model)
    with torch.no_grad():
        model.second[1] += 2.0**-23 * rank
    distributed.replicas_check(model)
    return "not noticed"


def test_weights_that_differ_in_a_bit_are_noticed() -> None:
    assert all("hold different weights" in str(found) for found in call_together(differing, 2))


def shared_policy(path: Path) -> PreTrainedModel:
    """A policy that reads shared prompts."""
    model = policy_load(str(path))
    assert prompts_share(model, "auto")
    return model


def stepping(model_path: Path, rank: int) -> Any:
    """A step of which the process with the longest prompt runs out of memory, once."""
    model = shared_policy(model_path)
    step = step_of(model, 60)
    # The first has prompts of 23 and 11 tokens, the other of 17, 11 and 8.
    step.accumulate(Limited(model, 30 if rank == 0 else 1000))
    measured = step.sums()
    distributed.gradients_sum(model)
    return step.feed.micro_tokens, measured, {name: one.tolist() for name, one in gradients(model).items()}


def test_the_memory_of_one_process_is_answered_by_all(place: Path) -> None:
    model = shared_policy(place / "model")
    step = step_of(model, 1000)
    step.accumulate(likelihood(model))
    wanted, measured = gradients(model), step.sums()
    for micro_tokens, sums, found in call_together(partial(stepping, place / "model"), 2):
        assert micro_tokens == 30
        assert sums == pytest.approx(measured, rel=1e-6)
        assert apart(wanted, {name: torch.tensor(values) for name, values in found.items()}) < 2e-6


def spoiling(model_path: Path, rank: int) -> Any:
    """A prompt of one of the processes has a loss that is no number."""
    model = shared_policy(model_path)
    step = step_of(model, 60)
    step.accumulate(spoiled(model, 5, lambda loss: loss * float("nan")))
    return step.sums()


def test_a_number_that_is_not_finite_ends_all(place: Path) -> None:
    found = call_together(partial(spoiling, place / "model"), 2)
    assert all(
        one.startswith("NotFiniteError 1: Step 7 gave numbers that are not finite: loss is nan") for one in found
    )


def sloping(model_path: Path, rank: int) -> str:
    """A prompt of one of the processes has a loss that is a number, and a slope that is none."""
    model = shared_policy(model_path)
    step = step_of(model, 23)
    step.accumulate(spoiled(model, 5, lambda loss: loss + (loss - loss.detach()).abs().sqrt()))
    return str(step.gradient_error(float("nan")))


def test_what_another_process_computed_meanwhile_is_not_to_blame(place: Path) -> None:
    found = call_together(partial(sloping, place / "model"), 2)
    assert all("norm of the gradient is nan for prompt 5." in one for one in found)


def test_only_the_first_process_writes_and_speaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    with RunFolder(tmp_path) as folder, RunFolder(tmp_path):
        folder.events.append({"a": 1})
        folder.report_write({"a": 1})
        say("anything")
    assert not list(tmp_path.iterdir())
    assert not capsys.readouterr().err
    monkeypatch.setenv("RANK", "0")
    LineLog(tmp_path / "log").append({"a": 1})
    assert (tmp_path / "log").exists()

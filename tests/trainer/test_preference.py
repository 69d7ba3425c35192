"""A policy learns from comparisons, held to its reference, and ends the same however often it was killed."""

import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.trainer.models import tiny_llama
from tests.trainer.processes import Moment, command_line, run
from tests.trainer.snapshot_samples import events, report, snapshot_make
from trainer.batches import Edge, Group, collate, groups_from
from trainer.networks import completion_logprobs, policy_load
from trainer.preference import first_nll, mean_margin
from trainer.snapshots import snapshot_read

OPTIONS = {"epochs": 2, "prompts_per_step": 4, "micro_batch": 2, "learning_rate": 0.003, "checkpoint_every": 2}
RESULTS = ("model/model.safetensors", "events.jsonl", "report.json", "config.json", "reference.safetensors")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, another one, and a snapshot."""
    folder = tmp_path_factory.mktemp("preference")
    tiny_llama(folder / "model")
    tiny_llama(folder / "other", seed=1)
    snapshot_make(folder / "snapshot")
    return folder


def line(place: Path, output: Path, **options: Any) -> list[str]:
    """A training of the model on the snapshot."""
    return command_line("preference", output, model=place / "model", snapshot=place / "snapshot", **(OPTIONS | options))


@pytest.fixture(scope="module")
def undisturbed(place: Path) -> Path:
    """A run that nothing happened to."""
    assert run(line(place, place / "undisturbed")) == 0
    return place / "undisturbed"


def first_losses(folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """What was measured before the first step: held out, and in the first step."""
    return events(folder, "eval")[0]["values"], events(folder, "train")[0]["values"]


@pytest.mark.parametrize(
    "moment",
    [
        Moment("events.jsonl", 5),
        Moment("/.step-4.", 2),
        Moment("/.reference.safetensors", 1),
        Moment("/.model.", 1),
    ],
    ids=str,
)
def test_killed_and_started_again_it_ends_the_same(
    place: Path, undisturbed: Path, tmp_path: Path, moment: Moment
) -> None:
    assert run(line(place, tmp_path), until=moment) == -signal.SIGKILL
    assert run(line(place, tmp_path)) == 0
    for name in RESULTS:
        assert (tmp_path / name).read_bytes() == (undisturbed / name).read_bytes(), name


def test_what_the_reference_says_is_computed_once(place: Path, tmp_path: Path) -> None:
    assert run(line(place, tmp_path), until=Moment("events.jsonl", 5)) == -signal.SIGKILL
    before = (tmp_path / "reference.safetensors").stat().st_mtime_ns
    assert run(line(place, tmp_path)) == 0
    assert (tmp_path / "reference.safetensors").stat().st_mtime_ns == before


def test_it_starts_at_its_reference(undisturbed: Path) -> None:
    held_out, step = first_losses(undisturbed)
    assert held_out["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert step["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert held_out["margin"] == pytest.approx(0, abs=1e-4)
    assert held_out["log_ratio_per_token"] == pytest.approx(0, abs=1e-5)


def test_another_reference_is_not_where_it_starts(place: Path, tmp_path: Path) -> None:
    assert run(line(place, tmp_path, reference=place / "other", epochs=1)) == 0
    held_out, _ = first_losses(tmp_path)
    assert abs(held_out["log_ratio_per_token"]) > 0.01


def test_a_reference_of_another_vocabulary_is_refused(place: Path, tmp_path: Path) -> None:
    tiny_llama(tmp_path / "chat", tokenizer="chat")
    assert run(line(place, tmp_path / "run", reference=tmp_path / "chat")) == 2


def test_the_kept_sums_are_those_of_the_reference(place: Path, undisturbed: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(undisturbed / "model")
    snapshot = snapshot_read(place / "snapshot")
    groups = [
        group
        for split in ("train", "validation")
        for group in groups_from(snapshot, tokenizer, split=split, max_length=512)[0]
        if group.counted_weight("drop") > 0
    ]
    with torch.no_grad():
        sums, counts = completion_logprobs(policy_load(str(place / "model")), collate(groups, tokenizer.pad_token_id))
    kept = load_file(undisturbed / "reference.safetensors")
    assert torch.allclose(kept["sums"], sums, atol=1e-3)
    assert torch.equal(kept["counts"], counts)


def test_the_margin_grows(place: Path, tmp_path: Path) -> None:
    options = {"epochs": 20, "prompts_per_step": 11, "micro_batch": 11, "learning_rate": 0.01, "checkpoint_every": 99}
    assert run(line(place, tmp_path, **options)) == 0
    steps = [event["values"] for event in events(tmp_path, "train")]
    assert steps[0]["margin"] == pytest.approx(0, abs=1e-4)
    assert steps[-1]["margin"] > 1
    assert steps[-1]["accuracy"] > 0.9
    assert steps[-1]["loss"] < steps[0]["loss"] / 2


def test_the_likelihood_of_the_first_can_be_held(place: Path, tmp_path: Path) -> None:
    for name, weight in (("without", 0.0), ("with", 1.0)):
        assert run(line(place, tmp_path / name, nll_weight=weight, epochs=6)) == 0
    held_out = [report(tmp_path / name)["metrics"]["log_ratio_per_token"] for name in ("without", "with")]
    assert held_out[1] > held_out[0]


@pytest.mark.parametrize("micro_batch", [2, 8])
def test_accumulation_changes_nothing(place: Path, tmp_path: Path, micro_batch: int) -> None:
    for name, size in (("one", 1), ("several", micro_batch)):
        given = {"prompts_per_step": 8, "micro_batch": size, "nll_weight": 0.5, "epochs": 1}
        assert run(line(place, tmp_path / name, **given)) == 0
    for left, right in zip(events(tmp_path / "one", "train"), events(tmp_path / "several", "train"), strict=True):
        assert left["values"] == pytest.approx(right["values"], rel=1e-3, abs=1e-5)


def test_the_model_loads_and_gives_the_same_log_probabilities(place: Path, undisturbed: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(undisturbed / "model")
    snapshot = snapshot_read(place / "snapshot")
    groups, _ = groups_from(snapshot, tokenizer, split="validation", max_length=512)
    batch = collate(groups, tokenizer.pad_token_id)
    theirs = AutoModelForCausalLM.from_pretrained(undisturbed / "model")
    with torch.no_grad():
        ours, _ = completion_logprobs(policy_load(str(undisturbed / "model")), batch)
        logits = theirs(input_ids=batch.input_ids, attention_mask=batch.attention_mask.long()).logits[:, :-1]
    chosen = logits.log_softmax(-1).gather(2, batch.input_ids[:, 1:].unsqueeze(2)).squeeze(2)
    assert torch.allclose(ours, (chosen * batch.completion_mask[:, 1:]).sum(1), atol=1e-3)


def two_groups() -> list[Group]:
    """Two prompts, the second of twice the weight: 0 before 1; 1 before 2 and before 0."""
    first = Group(1, [5], [[6], [6, 7]], [Edge(0, 1, ">", 1.0)], 1.0)
    second = Group(2, [5], [[6], [7], [8]], [Edge(1, 2, ">", 1.0), Edge(1, 0, ">", 1.0)], 2.0)
    return [first, second]


def test_a_margin_is_a_mean_over_prompts() -> None:
    values = torch.tensor([[3.0, 1.0, 0.0], [0.0, 4.0, 1.0]])
    # (1 · 2 + 2 · mean(3, 4)) / 3
    assert float(mean_margin(values, collate(two_groups(), 0))) == pytest.approx(3.0)


def test_the_likelihood_of_the_first_is_a_mean_over_prompts_per_token() -> None:
    sums, counts = torch.tensor([-1.0, -4.0, -1.0, -6.0, -1.0]), torch.tensor([1.0, 2.0, 1.0, 1.0, 1.0])
    assert float(first_nll(sums, counts, collate(two_groups(), 0))) == pytest.approx((1 * 1 + 2 * 6) / 3)

"""A policy learns answers by heart, and ends the same however often it was killed."""

import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.trainer.models import tiny_gpt2, tiny_llama
from tests.trainer.processes import Moment, command_line, run
from tests.trainer.snapshot_samples import events, report, snapshot_make
from trainer.data.batches import collate
from trainer.data.conversations import tokenizer_load
from trainer.data.groups import answers_from
from trainer.data.snapshots import snapshot_read

OPTIONS = {"epochs": 2, "prompts_per_step": 4, "micro_tokens": 200, "learning_rate": 0.003, "checkpoint_every": 2}
RESULTS = ("model/model.safetensors", "events.jsonl", "report.json", "config.json")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and a snapshot."""
    folder = tmp_path_factory.mktemp("sft")
    tiny_llama(folder / "model")
    snapshot_make(folder / "snapshot")
    return folder


def line(place: Path, output: Path, **options: Any) -> list[str]:
    """A training of the model on the snapshot."""
    return command_line(
        "sft", output, **({"model": place / "model", "snapshot": place / "snapshot"} | OPTIONS | options)
    )


@pytest.fixture(scope="module")
def undisturbed(place: Path) -> Path:
    """A run that nothing happened to."""
    assert run(line(place, place / "undisturbed")) == 0
    return place / "undisturbed"


@pytest.mark.parametrize("moment", [Moment("events.jsonl", 6), Moment("/.step-6.", 1)], ids=str)
def test_killed_and_started_again_it_ends_the_same(
    place: Path, undisturbed: Path, tmp_path: Path, moment: Moment
) -> None:
    assert run(line(place, tmp_path), until=moment) == -signal.SIGKILL
    assert run(line(place, tmp_path)) == 0
    for name in RESULTS:
        assert (tmp_path / name).read_bytes() == (undisturbed / name).read_bytes(), name


def test_answers_become_likelier(place: Path, tmp_path: Path) -> None:
    assert run(line(place, tmp_path, epochs=10, learning_rate=0.01, checkpoint_every=99)) == 0
    steps = [event["values"]["loss"] for event in events(tmp_path, "train")]
    assert steps[-1] < steps[0] / 2
    metrics = report(tmp_path)["metrics"]
    assert metrics["loss"] < metrics["loss_before"]
    assert metrics["loss_before"] == events(tmp_path, "eval")[0]["values"]["loss"]


def test_the_held_out_loss_is_a_mean_over_tokens(place: Path, undisturbed: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(undisturbed / "model")
    snapshot = snapshot_read(place / "snapshot")
    groups, _ = answers_from(snapshot, tokenizer, split="validation", max_length=512, answers="demonstrations")
    model, total, tokens = AutoModelForCausalLM.from_pretrained(undisturbed / "model"), 0.0, 0
    for group in groups:
        ids = torch.tensor([group.prompt_ids + group.completions[0]])
        with torch.no_grad():
            chosen = model(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])
        total -= float(chosen[-len(group.completions[0]) :].sum())
        tokens += len(group.completions[0])
    assert report(undisturbed)["metrics"]["loss"] == pytest.approx(total / tokens, rel=1e-4)


@pytest.mark.parametrize("other", [{"micro_tokens": 150}, {"micro_tokens": 150, "share_prompts": "never"}], ids=str)
def test_accumulation_and_layout_change_nothing(place: Path, tmp_path: Path, other: dict[str, Any]) -> None:
    for name, given in (("whole", {"micro_tokens": 9999}), ("several", other)):
        assert run(line(place, tmp_path / name, prompts_per_step=8, epochs=1, **given)) == 0
    for left, right in zip(events(tmp_path / "whole", "train"), events(tmp_path / "several", "train"), strict=True):
        assert left["values"] == pytest.approx(right["values"], rel=1e-4)


def test_every_token_of_both_kinds_of_answers_is_used_once(place: Path, tmp_path: Path) -> None:
    given = {"prompts_per_step": 12, "micro_tokens": 300, "epochs": 1, "answers": "both"}
    assert run(line(place, tmp_path, **given)) == 0
    tokenizer = tokenizer_load(str(place / "model"))
    snapshot = snapshot_read(place / "snapshot")
    groups, _ = answers_from(snapshot, tokenizer, split="train", max_length=512, answers="both")
    assert report(tmp_path)["counts"]["train"]["groups"] == len(groups) > 12
    tokens = sum(event["values"]["tokens"] for event in events(tmp_path, "train"))
    assert tokens == int(collate(groups, 0, shared=False).tokens.counts.sum())


def test_a_model_with_dropout_is_trained_without(tmp_path: Path, place: Path) -> None:
    tiny_gpt2(tmp_path / "gpt2")
    for name in ("one", "two"):
        assert run(line(place, tmp_path / name, model=tmp_path / "gpt2", epochs=1)) == 0
    first, second = ((tmp_path / name / "events.jsonl").read_bytes() for name in ("one", "two"))
    assert first == second
    assert math.isfinite(report(tmp_path / "one")["metrics"]["loss"])


def test_nothing_to_learn_from_is_refused(place: Path, tmp_path: Path) -> None:
    assert run(line(place, tmp_path, max_length=8)) == 2
    assert not (tmp_path / "report.json").exists()


def test_a_model_that_is_not_there_is_refused(place: Path, tmp_path: Path) -> None:
    assert run(line(place, tmp_path / "run", model=tmp_path / "nowhere")) == 2
    (tmp_path / "empty").mkdir()
    assert run(line(place, tmp_path / "run2", model=tmp_path / "empty")) == 2


def test_bfloat16_trains_float32_weights(place: Path, tmp_path: Path) -> None:
    assert run(line(place, tmp_path, dtype="bfloat16")) == 0
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}
    metrics = report(tmp_path)["metrics"]
    assert metrics["loss"] < metrics["loss_before"]

"""A reward model learns, and ends with the same weights however often it was killed."""

import json
import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from tests.trainer.models import tiny_llama
from tests.trainer.processes import STDIN, Moment, command_line, run
from tests.trainer.snapshot_samples import events, report, snapshot_make
from trainer.data.batches import collate
from trainer.data.groups import groups_from
from trainer.data.snapshots import snapshot_read
from trainer.models.heads import reading_of
from trainer.models.networks import reward_load, scores
from trainer.records import checkpoint_newest

OPTIONS = {"epochs": 2, "prompts_per_step": 4, "micro_tokens": 200, "learning_rate": 0.003, "checkpoint_every": 2}
RESULTS = ("model/model.safetensors", "events.jsonl", "report.json", "config.json")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and a snapshot."""
    folder = tmp_path_factory.mktemp("reward")
    tiny_llama(folder / "model")
    snapshot_make(folder / "snapshot")
    return folder


def line(place: Path, output: Path, **options: Any) -> list[str]:
    """A training of the model on the snapshot."""
    given = {"model": place / "model", "snapshot": place / "snapshot"} | OPTIONS | options
    return command_line("reward", output, **given)


@pytest.fixture(scope="module")
def undisturbed(place: Path) -> Path:
    """A run that nothing happened to: six steps, evaluations after the second, the fourth and the last."""
    assert run(line(place, place / "undisturbed", evaluate_every=2)) == 0
    return place / "undisturbed"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """The weights that a run ended with."""
    model = AutoModelForSequenceClassification.from_pretrained(folder / "model")
    return dict(model.state_dict())


def test_every_step_is_logged_once(undisturbed: Path) -> None:
    assert [event["step"] for event in events(undisturbed, "train")] == [1, 2, 3, 4, 5, 6]
    assert [event["step"] for event in events(undisturbed, "eval")] == [0, 2, 4, 6]
    assert {event["total"] for event in events(undisturbed, "train")} == {6}
    assert set(events(undisturbed, "train")[0]["values"]) == {
        "loss",
        "accuracy",
        "tokens",
        "learning_rate",
        "grad_norm",
    }


MOMENTS = [
    *[Moment("events.jsonl", number) for number in (1, 4, 7, 12)],
    *[Moment("/.step-2.", number) for number in (1, 3, 5)],
    Moment("/.step-6.", 2),
    Moment("/.model.", 2),
    Moment(".report.json", 1),
]


@pytest.mark.parametrize("moment", MOMENTS, ids=str)
def test_killed_and_started_again_it_ends_the_same(
    place: Path, undisturbed: Path, tmp_path: Path, moment: Moment
) -> None:
    ended = run(line(place, tmp_path, evaluate_every=2), until=moment)
    if moment.part != "/.step-2.old":
        assert ended == -signal.SIGKILL
        assert not (tmp_path / "report.json").exists()
    assert run(line(place, tmp_path, evaluate_every=2)) == 0
    for name in RESULTS:
        assert (tmp_path / name).read_bytes() == (undisturbed / name).read_bytes(), name


def test_killed_again_and_again_it_ends_the_same(place: Path, undisturbed: Path, tmp_path: Path) -> None:
    kills = 0
    while run(line(place, tmp_path, evaluate_every=2), until=Moment("/checkpoints/.step", 12)) != 0:
        kills += 1
        assert kills < 20
    assert kills >= 2
    for name in RESULTS:
        assert (tmp_path / name).read_bytes() == (undisturbed / name).read_bytes(), name


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, STDIN])
def test_asked_to_stop_it_keeps_what_it_did(
    place: Path, undisturbed: Path, tmp_path: Path, ending: signal.Signals | None
) -> None:
    again = [*line(place, tmp_path, evaluate_every=2, checkpoint_every=2), "--watch-stdin"]
    assert run(again, until=Moment("events.jsonl", 11), ending=ending) == 3
    newest = checkpoint_newest(tmp_path)
    assert newest is not None
    assert newest.step == len(events(tmp_path, "train"))
    assert newest.events_offset == (tmp_path / "events.jsonl").stat().st_size
    assert run(again) == 0
    for name in RESULTS:
        assert (tmp_path / name).read_bytes() == (undisturbed / name).read_bytes(), name


def test_a_finished_run_is_left_alone(place: Path, undisturbed: Path) -> None:
    before = (undisturbed / "model" / "model.safetensors").stat().st_mtime_ns
    assert run(line(place, undisturbed, evaluate_every=2)) == 0
    assert (undisturbed / "model" / "model.safetensors").stat().st_mtime_ns == before


def test_another_request_in_the_same_folder_is_refused(place: Path, undisturbed: Path) -> None:
    assert run(line(place, undisturbed, evaluate_every=3)) == 2


def test_the_report_counts_what_was_used(undisturbed: Path) -> None:
    counts = report(undisturbed)["counts"]
    train = counts["train"]
    assert {name: train[name] for name in ("groups", "completions", "edges", "ties", "groups_all_tied")} == {
        "groups": 11,
        "completions": 34,
        "edges": 39,
        "ties": 0,
        "groups_all_tied": 1,
    }
    assert train["comparisons"]["kept"] == 12
    assert counts["held_out"]["split"] == "validation"
    assert counts["held_out"]["groups"] == 4
    assert train["groups_left_out"] == 0


def test_the_report_measures_beside_baselines(undisturbed: Path) -> None:
    metrics = report(undisturbed)["metrics"]
    assert metrics["accuracy_low"] < metrics["accuracy"] < metrics["accuracy_high"]
    assert metrics["random"] == 0.5
    assert metrics["comparisons"] == 13
    assert metrics["prompts"] == 4
    assert 0 <= metrics["longer_wins"] <= 1
    assert metrics["accuracy"] == events(undisturbed, "eval")[-1]["values"]["accuracy"]
    assert metrics["accuracy_before"] == events(undisturbed, "eval")[0]["values"]["accuracy"]
    parts = report(undisturbed)["breakdown"]
    assert {"by_strength", "by_group", "by_length", "by_preferred_length", "calibration"} <= set(parts)
    for name in ("by_length", "by_preferred_length", "calibration"):
        assert sum(row["comparisons"] for row in parts[name]) == 13, name


def test_the_model_loads_and_gives_the_same_scores(place: Path, undisturbed: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(undisturbed / "model")
    snapshot = snapshot_read(place / "snapshot")
    groups, _ = groups_from(snapshot, tokenizer, split="validation", max_length=512)
    tokens = collate(groups, tokenizer.pad_token_id, shared=False).tokens
    ours = scores(reward_load(str(undisturbed / "model")), tokens)
    theirs = AutoModelForSequenceClassification.from_pretrained(undisturbed / "model")
    assert tokens.attention_mask is not None
    with torch.no_grad():
        logits = theirs(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask.long()).logits.squeeze(1)
    assert torch.allclose(ours, logits - reading_of(theirs.config).shift[0], atol=1e-5)
    assert tokenizer.chat_template


@pytest.mark.parametrize("changed", [{"micro_tokens": 100}, {"share_prompts": "never"}], ids=str)
def test_how_a_step_is_divided_and_laid_out_changes_nothing(
    place: Path, tmp_path: Path, changed: dict[str, Any]
) -> None:
    """One prompt of eight at a time, or each completion in a row of its own."""
    for name, options in (("whole", {}), ("divided", changed)):
        given = {"prompts_per_step": 8, "micro_tokens": 10_000, "max_grad_norm": 0} | options
        assert run(line(place, tmp_path / name, **given)) == 0
    whole, divided = weights(tmp_path / "whole"), weights(tmp_path / "divided")
    for name, tensor in whole.items():
        assert torch.allclose(tensor, divided[name], atol=2e-5), name
    for left, right in zip(events(tmp_path / "whole", "train"), events(tmp_path / "divided", "train"), strict=True):
        left["values"].pop("tokens"), right["values"].pop("tokens")
        assert left["values"] == pytest.approx(right["values"], rel=1e-4)


@pytest.mark.learning
def test_it_learns_sixteen_rankings_by_heart(place: Path, tmp_path: Path) -> None:
    snapshot_make(tmp_path / "snapshot", train=17, held_out=0)
    options = {"epochs": 40, "prompts_per_step": 16, "learning_rate": 0.01, "checkpoint_every": 99}
    assert run(line(place, tmp_path / "run", snapshot=tmp_path / "snapshot", **options)) == 0
    steps = [event["values"] for event in events(tmp_path / "run", "train")]
    assert report(tmp_path / "run")["counts"]["train"]["groups"] == 16
    assert steps[0]["loss"] == pytest.approx(math.log(2), abs=0.1)
    assert steps[-1]["accuracy"] == 1.0
    assert steps[-1]["loss"] < 0.1


def test_soft_ties_are_learned_from(place: Path, tmp_path: Path) -> None:
    assert run(line(place, tmp_path, ties="soft", epochs=1)) == 0
    train = report(tmp_path)["counts"]["train"]
    assert (train["groups"], train["ties"], train["groups_all_tied"]) == (12, 1, 0)


def test_the_test_split_stands_in_for_validation(place: Path, tmp_path: Path) -> None:
    snapshot_make(tmp_path / "snapshot", split="test")
    given = command_line("reward", tmp_path / "run", model=place / "model", snapshot=tmp_path / "snapshot", **OPTIONS)
    assert run(given) == 0
    assert report(tmp_path / "run")["counts"]["held_out"]["split"] == "test"


def test_without_held_out_prompts_it_says_so(place: Path, tmp_path: Path) -> None:
    snapshot_make(tmp_path / "snapshot", held_out=0)
    given = command_line("reward", tmp_path / "run", model=place / "model", snapshot=tmp_path / "snapshot", **OPTIONS)
    assert run(given) == 0
    assert report(tmp_path / "run")["counts"]["held_out"] is None
    assert events(tmp_path / "run", "eval") == []
    assert set(report(tmp_path / "run")["metrics"]) == {"train_loss", "train_accuracy"}
    assert report(tmp_path / "run")["breakdown"] == {}


def test_another_snapshot_under_the_same_name_is_refused(place: Path, tmp_path: Path) -> None:
    snapshot_make(tmp_path / "snapshot")
    given = command_line("reward", tmp_path / "run", model=place / "model", snapshot=tmp_path / "snapshot", **OPTIONS)
    assert run(given, until=Moment("events.jsonl", 6)) == -signal.SIGKILL
    (tmp_path / "snapshot").rename(tmp_path / "old")
    snapshot_make(tmp_path / "snapshot", train=6)
    assert run(given) == 2
    assert json.loads((tmp_path / "run" / "config.json").read_text())["resolved"]["held_out"] == "validation"


def test_numbers_that_are_not_finite_end_the_run(place: Path, tmp_path: Path) -> None:
    folder = tiny_llama(tmp_path / "damaged")
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(float("nan"))
    model.save_pretrained(folder)
    assert run(line(place, tmp_path / "run", model=folder)) == 1
    assert [path.name for path in (tmp_path / "run").glob("*.json*")] == ["config.json"]

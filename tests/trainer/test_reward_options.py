"""Every option of a reward run reaches what is learned, is saved with it, and is honoured when it goes on."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from tests.trainer.models import tiny_llama
from tests.trainer.processes import Moment, command_line, run_together
from tests.trainer.processes import run as run_apart
from tests.trainer.reward_samples import family_make, reward_snapshot_make
from tests.trainer.snapshot_samples import events, report
from trainer.__main__ import main
from trainer.data.batches import collate
from trainer.data.conversations import completion_ids, prompt_ids, tokenizer_load
from trainer.data.groups import Group
from trainer.data.snapshots import snapshot_read
from trainer.models.heads import Reading, reading_of
from trainer.models.networks import head_scores, reward_load, scores
from trainer.records import checkpoint_newest

BASE = {"prompts_per_step": 4, "micro_tokens": 200, "learning_rate": 0.003, "warmup": 0, "epochs": 1}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and a snapshot."""
    folder = tmp_path_factory.mktemp("options")
    tiny_llama(folder / "model")
    reward_snapshot_make(folder / "snapshot")
    return folder


def line(place: Path, output: Path, **options: Any) -> list[str]:
    given = {"model": place / "model", "snapshot": place / "snapshot"} | BASE
    heads = [flag for head in options.pop("heads", ()) for flag in ("--heads", head)]
    return [*command_line("reward", output, **given | options), *heads]


def trained(place: Path, output: Path, **options: Any) -> Path:
    assert main(line(place, output, **options)) == 0
    return output


@pytest.fixture(scope="module")
def plain(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the defaults."""
    return trained(place, tmp_path_factory.mktemp("plain") / "run")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(AutoModelForSequenceClassification.from_pretrained(folder / "model").state_dict())


def reading(folder: Path) -> Reading:
    return reading_of(reward_load(str(folder / "model")).config)


CHANGES: list[dict[str, Any]] = [
    {"loss": "plackett_luce"},
    {"loss": "likert"},
    {"ties": "soft"},
    {"ties": "rao_kupper"},
    {"margin": "small"},
    {"margin": "large"},
    {"centering": 0.1},
    {"weights": "equal"},
    {"pooling": "mean"},
    {"likert_weight": 1.0},
    {"questions_weight": 1.0},
    {"head_rate": 10.0},
    {"heads": ("helpful", "harmless=safety")},
]


@pytest.mark.parametrize("changed", CHANGES, ids=str)
def test_every_option_changes_what_is_learned(
    place: Path, plain: Path, tmp_path: Path, changed: dict[str, Any]
) -> None:
    found, usual = weights(trained(place, tmp_path, **changed)), weights(plain)
    assert any(found[name].shape != usual[name].shape or not torch.equal(found[name], usual[name]) for name in usual)
    assert all(torch.isfinite(tensor).all() for tensor in found.values())


@pytest.mark.parametrize("family", ["bert", "roberta", "deberta", "modernbert", "neox"])
def test_models_of_many_families_learn(place: Path, tmp_path: Path, family: str) -> None:
    folder = family_make(tmp_path / "base", family, trained=True)
    found = trained(place, tmp_path / "run", model=folder, max_length=64)
    before, after = reward_load(str(folder)).state_dict(), weights(found)
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert len(changed) > len(before) / 2
    assert report(found)["counts"]["train"]["comparisons"]["kept"] > 0


# --- What counts, and what is left out -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "groups", "counts"),
    [
        ({}, 11, {"groups_all_tied": 1, "groups_left_out": 0}),
        ({"ties": "soft"}, 12, {"groups_all_tied": 0, "groups_left_out": 0}),
        ({"loss": "plackett_luce"}, 10, {"groups_left_out": 2}),
        ({"loss": "likert"}, 11, {"groups_left_out": 0}),
        ({"likert_weight": 1.0}, 12, {"groups_left_out": 0}),
        ({"heads": ["harmless=safety"]}, 4, {"groups_left_out": 0}),
    ],
    ids=str,
)
def test_prompts_that_teach_nothing_are_left_out_and_counted(
    place: Path, tmp_path: Path, options: dict[str, Any], groups: int, counts: dict[str, int]
) -> None:
    train = report(trained(place, tmp_path, **options))["counts"]["train"]
    assert train["groups"] == groups
    assert {name: train[name] for name in counts} == counts


def test_why_prompts_are_left_out_is_in_the_report(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = report(trained(place, tmp_path, heads=["harmless=safety"]))
    counts = found["counts"]["train"]["comparisons"]
    assert counts == {"found": 24, "kept": 8, "shortened": 0, "left out: no head is for the prompt's tags": 16}
    assert "16 left out: no head is for the prompt's tags" in capsys.readouterr().err


def test_ratings_of_prompts_without_a_head_are_counted_too(place: Path, tmp_path: Path) -> None:
    found = report(trained(place, tmp_path, heads=["harmless=safety"], loss="likert"))
    counts = found["counts"]["train"]["rated completions"]
    assert counts == {"found": 33, "kept": 12, "shortened": 0, "left out: no head is for the prompt's tags": 21}


def test_where_nothing_is_left_the_run_says_so(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line(place, tmp_path, heads=["harmless=nowhere"])) == 2
    assert "no head is for the prompt's tags" in capsys.readouterr().err


def test_comparisons_that_count_alike_make_other_steps(place: Path, plain: Path, tmp_path: Path) -> None:
    """Two annotators contradict each other about some prompts: 1 against 3 by the snapshot, even with equal weights."""
    equal = trained(place, tmp_path, weights="equal")
    assert events(equal, "train")[0]["values"]["loss"] != events(plain, "train")[0]["values"]["loss"]
    assert report(equal)["counts"] == report(plain)["counts"]


def test_options_that_contradict_each_other_are_refused(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line(place, tmp_path, loss="likert", margin="small")) == 2
    assert "choose margin=none" in capsys.readouterr().err


# --- Heads ---------------------------------------------------------------------------------------------------------
def test_a_comparison_trains_the_head_for_its_prompts_tags_alone(place: Path, tmp_path: Path) -> None:
    """Only prompts without the tag, one step: the head for the tag stays as it was drawn."""
    snapshot = reward_snapshot_make(tmp_path / "snapshot", train=2, held_out=0)
    assert snapshot["counts"]["prompts"] == 2
    run = trained(place, tmp_path / "run", heads=["helpful", "harmless=safety"], snapshot=tmp_path / "snapshot")
    names = reading(run).heads
    before = reward_load(str(place / "model"), heads=names).get_parameter("score.weight")
    after = weights(run)["score.weight"]
    assert torch.equal(after[1], before[1])
    assert not torch.equal(after[0], before[0])


def test_ratings_and_questions_train_heads_of_their_own(place: Path, tmp_path: Path) -> None:
    run = trained(place, tmp_path, likert_weight=1.0, questions_weight=0.5, epochs=30, learning_rate=0.01)
    assert [head.name for head in reading(run).heads] == ["score", "likert", "question:honest"]
    first, last = (events(run, "train")[number]["values"] for number in (0, -1))
    assert last["likert_loss"] < first["likert_loss"] / 2
    assert last["questions_loss"] < first["questions_loss"]
    values = first["comparisons_loss"] + first["likert_loss"] + 0.5 * first["questions_loss"]
    assert first["loss"] == pytest.approx(values, rel=1e-5)
    held_out = events(run, "eval")[-1]["values"]
    assert held_out["loss"] == pytest.approx(
        held_out["comparisons_loss"] + held_out["likert_loss"] + 0.5 * held_out["questions_loss"]
    )


def test_a_score_can_learn_the_ratings_themselves(place: Path, tmp_path: Path) -> None:
    run = trained(place, tmp_path, loss="likert", epochs=30, learning_rate=0.01, zero_at="none")
    assert events(run, "train")[-1]["values"]["loss"] < 0.05
    assert report(run)["metrics"]["accuracy"] >= 0
    assert report(run)["counts"]["train"]["rated completions"]["kept"] == 33


# --- Where zero is -------------------------------------------------------------------------------------------------
def raw_scores(place: Path, run: Path, texts: list[tuple[int, str]]) -> np.ndarray:
    """What each head says of texts as answers to prompts, less the shift; (texts, heads)."""
    tokenizer, snapshot = tokenizer_load(str(run / "model")), snapshot_read(place / "snapshot")
    model = reward_load(str(run / "model"))
    rows = [
        Group(
            prompt,
            prompt_ids(tokenizer, snapshot.prompts[prompt]["messages"]),
            [completion_ids(tokenizer, text, True)],
            [],
            1,
        )
        for prompt, text in texts
    ]
    with torch.no_grad():
        found = head_scores(model, collate(rows, int(tokenizer.pad_token_id), shared=False).tokens)
        return np.asarray(reading_of(model.config).shifted(found).double())


def demonstrations(place: Path, which: Callable[[list[str]], bool]) -> list[tuple[int, str]]:
    snapshot = snapshot_read(place / "snapshot")
    rows = snapshot.demonstrations
    return [(row["prompt"], row["text"]) for row in rows if which(snapshot.prompts[row["prompt"]]["tags"])]


def test_demonstrations_score_zero_in_the_mean(place: Path, plain: Path) -> None:
    found = raw_scores(place, plain, demonstrations(place, lambda tags: True))
    assert len(found) == 16
    assert found.mean() == pytest.approx(0, abs=1e-5)
    assert np.abs(found).mean() > 1e-3


def test_each_head_has_its_own_zero(place: Path, tmp_path: Path) -> None:
    run = trained(place, tmp_path, heads=["helpful", "harmless=safety"], pooling="mean")
    helpful = raw_scores(place, run, demonstrations(place, lambda tags: not tags))[:, 0]
    harmless = raw_scores(place, run, demonstrations(place, lambda tags: "safety" in tags))[:, 1]
    assert (len(helpful), len(harmless)) == (11, 5)
    assert helpful.mean() == pytest.approx(0, abs=1e-5)
    assert harmless.mean() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("given", ["none written", "asked for"])
def test_held_out_completions_stand_in_for_demonstrations(place: Path, tmp_path: Path, given: str) -> None:
    reward_snapshot_make(tmp_path / "snapshot", demonstrations=given == "asked for")
    zero_at = "held_out" if given == "asked for" else "demonstrations"
    run = trained(place, tmp_path / "run", zero_at=zero_at, snapshot=tmp_path / "snapshot")
    rows = snapshot_read(tmp_path / "snapshot").completions.values()
    found = raw_scores(place, run, [(row["prompt"], row["text"]) for row in rows if row["prompt"] > 12])
    assert len(found) == 12
    assert found.mean() == pytest.approx(0, abs=1e-5)


def test_nothing_is_shifted_where_nothing_is_asked_for(place: Path, plain: Path, tmp_path: Path) -> None:
    run = trained(place, tmp_path, zero_at="none")
    assert reading(run).shift == (0.0,)
    assert reading(plain).shift != (0.0,)
    assert report(plain)["reading"]["shift"] == [reading(plain).shift[0]]
    assert torch.equal(weights(run)["score.weight"], weights(plain)["score.weight"])


# --- The width of ties ---------------------------------------------------------------------------------------------
def test_the_width_of_ties_is_learned_and_kept(place: Path, tmp_path: Path) -> None:
    run = trained(place, tmp_path, ties="rao_kupper", epochs=3)
    widths = [event["values"]["tie_width"] for event in events(run, "train")]
    assert len(set(widths)) == len(widths)
    kept = json.loads((run / "model" / "config.json").read_text())["reward_model"]["tie_width"]
    assert kept > 0
    assert abs(kept - widths[-1]) < 0.02
    again = trained(place, tmp_path / "again", ties="rao_kupper", model=run / "model", epochs=1)
    assert events(again, "train")[0]["values"]["tie_width"] == pytest.approx(kept)


@pytest.mark.parametrize("moment", [Moment("events.jsonl", 5), Moment("/.step-6.", 2)], ids=str)
def test_killed_and_started_again_the_width_of_ties_ends_the_same(place: Path, tmp_path: Path, moment: Moment) -> None:
    options = {"ties": "rao_kupper", "epochs": 3, "checkpoint_every": 2, "likert_weight": 0.5}
    assert run_apart(line(place, tmp_path / "whole", **options)) == 0
    assert run_apart(line(place, tmp_path / "cut", **options), until=moment) == -signal.SIGKILL
    newest = checkpoint_newest(tmp_path / "cut")
    assert (newest is None) == (moment.number == 5) or newest is not None
    assert run_apart(line(place, tmp_path / "cut", **options)) == 0
    for name in ("model/model.safetensors", "model/config.json", "events.jsonl", "report.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


# --- Going on, adapters --------------------------------------------------------------------------------------------
def test_a_model_that_is_read_otherwise_from_now_on_says_so(
    place: Path, plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(place, tmp_path, model=plain / "model", pooling="mean")
    assert "was read with pooling=last; from here on it is read with pooling=mean" in capsys.readouterr().err
    assert (reading(plain).pooling, reading(run).pooling) == ("last", "mean")


def test_a_reward_model_is_trained_further_with_more_heads(place: Path, plain: Path, tmp_path: Path) -> None:
    run = trained(place, tmp_path, model=plain / "model", heads=["helpful", "harmless=safety"], learning_rate=0)
    assert torch.equal(weights(run)["score.weight"][0], weights(plain)["score.weight"][0])
    assert [head.name for head in reading(run).heads] == ["helpful", "harmless"]


def test_adapters_train_the_head_whole_and_are_merged(place: Path, tmp_path: Path) -> None:
    run = trained(place, tmp_path, lora_rank=2, ties="rao_kupper")
    before, after = reward_load(str(place / "model")).state_dict(), weights(run)
    assert after.keys() == before.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert "score.weight" in changed
    assert any("q_proj" in name for name in changed)
    assert not any("norm" in name or "embed" in name for name in changed)
    tokenizer = tokenizer_load(str(run / "model"))
    batch = collate([Group(1, [20, 21], [[30, 31], [32]], [], 1.0)], int(tokenizer.pad_token_id), shared=False)
    assert torch.isfinite(scores(reward_load(str(run / "model")), batch.tokens)).all()


def test_two_processes_learn_and_report_what_one_does(place: Path, tmp_path: Path) -> None:
    """With parts that count for other prompts, and a width of ties."""
    options = {"ties": "rao_kupper", "likert_weight": 0.5, "epochs": 2, "evaluate_every": 2}
    options |= {"heads": ("helpful", "harmless=safety")}
    assert run_apart(line(place, tmp_path / "one", **options)) == 0
    assert run_together(line(place, tmp_path / "two", **options), 2) == [0, 0]
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=2e-5)
    for kind in ("train", "eval"):
        for left, right in zip(events(tmp_path / "one", kind), events(tmp_path / "two", kind), strict=True):
            left["values"].pop("tokens", None), right["values"].pop("tokens", None)
            assert left["values"] == pytest.approx(right["values"], rel=1e-3, abs=1e-5)
    kept = reading(tmp_path / "one"), reading(tmp_path / "two")
    assert kept[0].tie_width == pytest.approx(kept[1].tie_width, rel=1e-4)
    assert kept[0].shift == pytest.approx(kept[1].shift, abs=1e-4)

"""A policy learns from comparisons, held to its reference, and ends the same however often it was killed."""

import json
import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.trainer.models import tiny_llama
from tests.trainer.preference_samples import QUICK, preference_run, ranking_row, rankings_make
from tests.trainer.processes import Moment, command_line, run, run_together
from tests.trainer.snapshot_samples import events, snapshot_make
from trainer.config import OPTIONS, option_fields
from trainer.data.batches import collate
from trainer.data.conversations import tokenizer_load
from trainer.data.groups import Group, groups_from
from trainer.data.snapshots import snapshot_read
from trainer.models.networks import completion_logprobs, policy_load
from trainer.runs import InputError
from trainer.stages import preferred_options

RESULTS = ("model/model.safetensors", "events.jsonl", "report.json", "config.json", "reference.safetensors")
LOSSES = next(field.choices for field in option_fields("preference") if field.name == "loss")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, another one, and a snapshot of four-way rankings."""
    folder = tmp_path_factory.mktemp("preference")
    tiny_llama(folder / "model")
    tiny_llama(folder / "other", seed=1)
    rankings_make(folder / "snapshot")
    return folder


def line(place: Path, output: Path, **options: Any) -> list[str]:
    """A training of the model on the snapshot."""
    given = QUICK | {"epochs": 2} | options
    return command_line("preference", output, model=place / "model", snapshot=place / "snapshot", **given)


@pytest.fixture(scope="module")
def undisturbed(place: Path) -> Path:
    """A run that nothing happened to."""
    assert run(line(place, place / "undisturbed")) == 0
    return place / "undisturbed"


def held_out(folder: Path, at: int) -> dict[str, float]:
    """What was measured on held-out prompts, first (0) or last (−1)."""
    return dict(events(folder, "eval")[at]["values"])


def validation(place: Path) -> list[Group]:
    snapshot, tokenizer = snapshot_read(place / "snapshot"), tokenizer_load(str(place / "model"))
    return groups_from(snapshot, tokenizer, split="validation", max_length=512)[0]


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
    kept = (tmp_path / "reference.safetensors").exists() and (tmp_path / "reference.safetensors").stat().st_mtime_ns
    assert bool(kept) is ("reference" not in moment.part)
    assert run(line(place, tmp_path)) == 0
    for name in RESULTS:
        assert (tmp_path / name).read_bytes() == (undisturbed / name).read_bytes(), name
    assert not kept or (tmp_path / "reference.safetensors").stat().st_mtime_ns == kept


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_moves_what_is_preferred_away_from_the_rest(place: Path, tmp_path: Path, loss: str) -> None:
    report = preference_run(place, tmp_path, loss=loss, epochs=6, learning_rate=0.01)
    first, last = held_out(tmp_path, 0), held_out(tmp_path, -1)
    assert last["margin"] > first["margin"] + 0.1
    assert last["loss"] < first["loss"]
    assert last["accuracy"] > 0.7
    assert report["breakdown"]["by_preferred_length"]
    assert report["metrics"]["loss"] == last["loss"]


@pytest.mark.parametrize("loss", ["dpo", "cdpo", "rdpo", "plackett_luce", "infonce"])
def test_it_starts_at_its_reference(place: Path, tmp_path: Path, loss: str) -> None:
    preference_run(place, tmp_path, loss=loss, epochs=1, length_penalty=0)
    # Of four: InfoNCE has one choice of four, Plackett-Luce a choice of four, of three and of two.
    expected = {"infonce": math.log(4), "plackett_luce": math.log(24) / 3}.get(loss, math.log(2))
    assert held_out(tmp_path, 0)["loss"] == pytest.approx(expected, abs=1e-5)
    assert events(tmp_path, "train")[0]["values"]["loss"] == pytest.approx(expected, abs=1e-5)
    assert held_out(tmp_path, 0)["margin"] == pytest.approx(0, abs=1e-4)
    assert held_out(tmp_path, 0)["kl"] == pytest.approx(0, abs=1e-3)


def test_with_two_completions_plackett_luce_is_dpo(tmp_path: Path) -> None:
    tiny_llama(tmp_path / "model")
    rankings_make(tmp_path / "snapshot", k=2)
    for loss in ("dpo", "plackett_luce", "infonce"):
        preference_run(tmp_path, tmp_path / loss, loss=loss, epochs=2)
    dpo = load_file(tmp_path / "dpo" / "model" / "model.safetensors")
    for loss in ("plackett_luce", "infonce"):
        other = load_file(tmp_path / loss / "model" / "model.safetensors")
        assert all(torch.allclose(weight, other[name], atol=1e-5) for name, weight in dpo.items())
        losses = [[event["values"]["loss"] for event in events(tmp_path / name, "train")] for name in ("dpo", loss)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize("other", [{"micro_tokens": 16}, {"micro_tokens": 150, "share_prompts": "never"}], ids=str)
@pytest.mark.parametrize("loss", ["dpo", "pro", "kto"])
def test_how_much_fits_in_memory_changes_nothing(place: Path, tmp_path: Path, loss: str, other: dict[str, Any]) -> None:
    given = {"loss": loss, "nll_weight": 0.5, "prompts_per_step": 8, "learning_rate": 0.001}
    preference_run(place, tmp_path / "one", **given, micro_tokens=10_000)
    preference_run(place, tmp_path / "several", **given | other)
    for kind in ("train", "eval"):
        pairs = zip(events(tmp_path / "one", kind), events(tmp_path / "several", kind), strict=True)
        for left, right in pairs:
            assert left["values"] == pytest.approx(right["values"], rel=1e-3, abs=1e-4)
    weights = [load_file(tmp_path / name / "model" / "model.safetensors") for name in ("one", "several")]
    assert all(torch.allclose(weight, weights[1][name], atol=1e-4) for name, weight in weights[0].items())


def test_another_reference_is_not_where_it_starts(place: Path, tmp_path: Path) -> None:
    report = preference_run(place, tmp_path, reference=place / "other", epochs=1)
    assert abs(held_out(tmp_path, 0)["log_ratio_per_token"]) > 0.01
    assert report["reference"]["is"] == "named"
    kept = load_file(tmp_path / "reference.safetensors")["sums"]
    with torch.no_grad():
        sums, _ = completion_logprobs(
            policy_load(str(place / "other")), collate(validation(place), 0, shared=False).tokens
        )
    assert torch.allclose(kept[-len(sums) :], sums, atol=1e-3)


def test_a_reference_of_another_vocabulary_is_refused(place: Path, tmp_path: Path) -> None:
    tiny_llama(tmp_path / "chat", tokenizer="chat")
    with pytest.raises(InputError, match="another vocabulary"):
        preference_run(place, tmp_path / "run", reference=tmp_path / "chat")


@pytest.mark.parametrize("held_to", ["none", "sft"])
def test_a_named_reference_contradicts_another_wish(place: Path, tmp_path: Path, held_to: str) -> None:
    with pytest.raises(InputError, match=f"held_to={held_to} leaves no room"):
        preference_run(place, tmp_path, reference=place / "other", held_to=held_to)


@pytest.mark.parametrize("loss", ["kto", "pro", "infonce", "plackett_luce"])
def test_a_wish_about_ties_contradicts_losses_that_know_no_pairs(place: Path, tmp_path: Path, loss: str) -> None:
    with pytest.raises(InputError, match="ties=soft is about pairs"):
        preference_run(place, tmp_path, loss=loss, ties="soft")


def test_a_named_reference_of_a_loss_without_one_is_said_to_be_left_out(
    place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    report = preference_run(place, tmp_path, reference=place / "other", loss="simpo")
    assert "simpo has no reference" in capfd.readouterr().err
    assert report["reference"] == {"is": "none"}


def test_without_a_reference_rewards_are_log_probabilities(place: Path, tmp_path: Path) -> None:
    preference_run(place, tmp_path, held_to="none", beta=0.5)
    values = held_out(tmp_path, 0)
    assert values["chosen_reward"] == pytest.approx(0.5 * values["chosen_logp"], rel=1e-5)
    assert "kl" not in values


def test_prompts_that_teach_nothing_are_left_out_and_counted(tmp_path: Path) -> None:
    tiny_llama(tmp_path / "model")
    half = ranking_row(1, [[0], [1], [2]]) | {"ranking": None}
    rows = [half, ranking_row(2, [[0, 1, 2]]), *(ranking_row(number, [[0], [1, 2]]) for number in (3, 4, 9))]
    rankings_make(tmp_path / "snapshot", rows=rows)
    counts = {}
    for name, given in {
        "pairs": {}, "soft": {"ties": "soft"}, "lists": {"loss": "plackett_luce"}, "labels": {"loss": "kto"},
    }.items():  # fmt: skip
        counts[name] = preference_run(tmp_path, tmp_path / name, **given)["counts"]["train"]
    assert (counts["pairs"]["groups"], counts["pairs"]["groups_all_tied"]) == (3, 1)
    assert (counts["soft"]["groups"], counts["soft"]["groups_all_tied"]) == (4, 0)
    assert (counts["lists"]["groups"], counts["lists"]["groups_left_out"]) == (2, 2)
    assert counts["labels"]["groups"] == 8


def test_nothing_to_learn_from_is_refused_with_the_reason(tmp_path: Path) -> None:
    tiny_llama(tmp_path / "model")
    rankings_make(tmp_path / "snapshot", rows=[ranking_row(1, [[0], [1]]) | {"ranking": None}])
    with pytest.raises(InputError, match="1 groups have nothing that this loss learns from"):
        preference_run(tmp_path, tmp_path / "run", loss="pro")


def test_soft_ties_pull_both_together(tmp_path: Path) -> None:
    tiny_llama(tmp_path / "model")
    rankings_make(tmp_path / "snapshot", rows=[ranking_row(number, [[0, 1]]) for number in (*range(1, 9), 9, 10)])
    preference_run(
        tmp_path, tmp_path / "run", reference=tiny_llama(tmp_path / "other", seed=1), ties="soft", epochs=5,
        learning_rate=0.01,
    )  # fmt: skip
    assert held_out(tmp_path / "run", -1)["loss"] < held_out(tmp_path / "run", 0)["loss"]
    assert held_out(tmp_path / "run", -1)["loss"] >= math.log(2)


def test_the_likelihood_of_the_first_can_be_held(place: Path, tmp_path: Path) -> None:
    for name, weight in (("without", 0.0), ("with", 1.0)):
        preference_run(place, tmp_path / name, nll_weight=weight, epochs=4)
    logps = [held_out(tmp_path / name, -1)["chosen_logp"] for name in ("without", "with")]
    assert logps[1] > logps[0] + 1
    assert "nll" in events(tmp_path / "with", "train")[0]["values"]


def test_the_published_model_gives_the_margin_that_was_measured(place: Path, undisturbed: Path) -> None:
    groups = validation(place)
    rewards = []
    for group in groups:
        sums = []
        for folder in (undisturbed, place):
            model = AutoModelForCausalLM.from_pretrained(folder / "model")
            for completion in group.completions:
                ids = torch.tensor([group.prompt_ids + completion])
                with torch.no_grad():
                    chosen = model(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])
                sums.append(float(chosen[-len(completion) :].sum()))
        rewards.append([0.1 * (sums[place] - sums[place + 4]) for place in range(4)])
    margins = [sum(values[i] - values[j] for i in range(4) for j in range(i + 1, 4)) / 6 for values in rewards]
    weights = [group.weight for group in groups]
    expected = sum(weight * margin for weight, margin in zip(weights, margins, strict=True)) / sum(weights)
    assert held_out(undisturbed, -1)["margin"] == pytest.approx(expected, abs=1e-3)


@pytest.fixture(scope="module")
def whole(place: Path) -> Path:
    """A run whose reference learned first, and that nothing happened to."""
    assert run(line(place, place / "first", held_to="sft", epochs=1)) == 0
    return place / "first"


class TestTheReferenceThatLearnsFirst:
    """`held_to=sft`: a copy learns what is preferred, and is the start and the reference."""

    def test_it_is_where_the_policy_starts_and_what_it_is_held_to(self, place: Path, whole: Path) -> None:
        assert held_out(whole, 0)["loss"] == pytest.approx(math.log(2), abs=1e-5)
        described = json.loads((whole / "report.json").read_text())["reference"]
        assert (described["is"], described["model"]) == ("sft", "sft/model")
        start, copy = (load_file(folder / "model" / "model.safetensors") for folder in (place, whole / "sft"))
        assert not all(torch.equal(weight, copy[name]) for name, weight in start.items())
        kept = load_file(whole / "reference.safetensors")["sums"]
        with torch.no_grad():
            tokens = collate(validation(place), 0, shared=False).tokens
            sums, _ = completion_logprobs(policy_load(str(whole / "sft" / "model")), tokens)
        assert torch.allclose(kept[-len(sums) :], sums, atol=1e-3)

    def test_it_learned_the_preferred_completions_for_one_epoch(self, whole: Path) -> None:
        report = json.loads((whole / "sft" / "report.json").read_text())
        assert report["steps"] == 2
        assert report["metrics"]["loss"] < report["metrics"]["loss_before"]
        options = json.loads((whole / "sft" / "config.json").read_text())["options"]
        assert (options["answers"], options["epochs"], options["learning_rate"]) == ("preferred", 1, 2e-3)
        assert not (whole / "sft" / "checkpoints").exists()

    @pytest.mark.parametrize(
        "moment",
        [Moment("/sft/events.jsonl", 3), Moment("/sft/.model.", 1), Moment("first/events.jsonl", 3)],
        ids=str,
    )
    def test_killed_and_started_again_it_ends_the_same(
        self, place: Path, whole: Path, tmp_path: Path, moment: Moment
    ) -> None:
        given = line(place, tmp_path / "first", held_to="sft", epochs=1)
        assert run(given, until=moment) == -signal.SIGKILL
        assert run(given) == 0
        for name in (*RESULTS, "sft/model/model.safetensors", "sft/events.jsonl"):
            assert (tmp_path / "first" / name).read_bytes() == (whole / name).read_bytes(), name

    def test_a_stop_is_heard_in_it(self, place: Path, tmp_path: Path) -> None:
        given = line(place, tmp_path, held_to="sft", epochs=1)
        assert run(given, until=Moment("/sft/events.jsonl", 3), ending=signal.SIGTERM) == 3
        assert (tmp_path / "sft" / "checkpoints").exists()
        assert not (tmp_path / "sft" / "model").exists()

    def test_losses_without_a_reference_start_there_as_well(self, place: Path, tmp_path: Path) -> None:
        report = preference_run(place, tmp_path, held_to="sft", loss="simpo")
        assert report["reference"] == {"is": "none", "start": "sft/model"}
        assert (tmp_path / "sft" / "model").exists()

    def test_its_options_are_those_of_the_comparisons_but_for_the_learning_rate(self, place: Path) -> None:
        given = OPTIONS["preference"](seed=5, micro_tokens=99, epochs=7, patience=3, evaluate_every=2, lora_rank=4)
        wanted = preferred_options(given, str(place / "model"))  # type: ignore[arg-type]
        assert (wanted.seed, wanted.micro_tokens, wanted.epochs, wanted.patience) == (5, 99, 1, 0)
        assert (wanted.lora_rank, wanted.learning_rate) == (4, 2e-2)


def test_uneven_numbers_of_completions_and_ties_train_together(tmp_path: Path) -> None:
    tiny_llama(tmp_path / "model")
    snapshot_make(tmp_path / "snapshot")
    report = preference_run(tmp_path, tmp_path / "run", epochs=8, learning_rate=0.01)
    assert report["counts"]["train"]["groups"] == 11
    assert report["metrics"]["train_accuracy"] > 0.9


def test_two_processes_share_references_labels_adapters_and_what_comes_first(place: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"loss": "kto", "held_to": "sft", "lora_rank": 2, "epochs": 1}
    assert run(line(place, tmp_path / "one", **given)) == 0
    assert run_together(line(place, tmp_path / "two", **given), 2) == [0, 0]
    for name in ("sft/model/model.safetensors", "model/model.safetensors", "reference.safetensors"):
        one, two = (load_file(tmp_path / folder / name) for folder in ("one", "two"))
        assert all(torch.allclose(tensor, two[key], rtol=1e-5, atol=1e-5) for key, tensor in one.items()), name
    left, right = (events(tmp_path / folder, "train") for folder in ("one", "two"))
    assert left[-1]["values"] == pytest.approx(right[-1]["values"], rel=1e-3, abs=1e-4)

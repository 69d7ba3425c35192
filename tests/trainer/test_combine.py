"""`python -m trainer combine`: a folder with several reward models, on a common scale."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainer.models import byte_tokenizer, tiny_llama
from tests.trainer.processes import Moment
from tests.trainer.processes import run as run_apart
from tests.trainer.reward_samples import reward_snapshot_make
from trainer.__main__ import main
from trainer.combine import recipe_asked
from trainer.config import CombineOptions
from trainer.data.snapshots import manifest_read, snapshot_read
from trainer.models.networks import model_save, reward_load
from trainer.models.scorers import Recipe, folder_digest
from trainer.records import SCORER
from trainer.reports.card import AGAIN, CARD


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three reward models, one of other tokens, a snapshot and its completions as a file."""
    folder = tmp_path_factory.mktemp("combine")
    for number, kind in enumerate(("plain", "plain", "plain", "chat"), start=1):
        base = tiny_llama(folder / f"base{number}", tokenizer=kind, seed=number)
        model_save(reward_load(str(base), seed=number), byte_tokenizer(kind), folder / str(number))
    reward_snapshot_make(folder / "snapshot", train=6, held_out=3)
    snapshot = snapshot_read(folder / "snapshot")
    with (folder / "completions.jsonl").open("w") as file:
        for id_, row in sorted(snapshot.completions.items()):
            prompt = snapshot.prompts[row["prompt"]]
            line = {"completion": id_, "messages": prompt["messages"], "text": row["text"], "tags": prompt["tags"]}
            file.write(json.dumps(line | {"finish_reason": "stop"}) + "\n")
    return folder


def arguments(place: Path, output: Path, models: list[int], *flags: str) -> list[str]:
    named = [part for number in models for part in ("--model", str(place / str(number)))]
    return ["combine", "--output", str(output), *named, *flags]


def combined(place: Path, output: Path, models: list[int], *flags: str) -> Path:
    """The model folder of a combination."""
    assert main(arguments(place, output, models, *flags)) == 0
    return output / "model"


def snapshot_flag(place: Path) -> tuple[str, str]:
    return "--snapshot", str(place / "snapshot")


def values_of(place: Path, model: Path, output: Path) -> dict[int, dict[str, float]]:
    given = ["--model", str(model), "--completions", str(place / "completions.jsonl"), "--output", str(output)]
    assert main(["evaluate", *given]) == 0
    lines = [json.loads(line) for line in (output / "outputs.jsonl").read_text().splitlines()]
    return {line["completion"]: line["values"] for line in lines}


def column(values: dict[int, dict[str, float]], name: str = "score") -> np.ndarray:
    return np.array([values[key][name] for key in sorted(values)])


@pytest.fixture(scope="module")
def singles(place: Path, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """(3, completions) scores of each model by itself."""
    out = tmp_path_factory.mktemp("singles")
    return np.array([column(values_of(place, place / str(number), out / str(number))) for number in (1, 2, 3)])


def test_an_ensemble_is_evaluated_with_its_disagreement(place: Path, singles: np.ndarray, tmp_path: Path) -> None:
    model = combined(place, tmp_path / "run", [1, 2, 3])
    values = values_of(place, model, tmp_path / "scores")
    np.testing.assert_allclose(column(values), singles.mean(0), atol=1e-5)
    np.testing.assert_allclose(column(values, "disagreement"), singles.std(0), atol=1e-5)
    metrics = json.loads((tmp_path / "scores" / "report.json").read_text())["metrics"]
    assert metrics["mean_disagreement"] == pytest.approx(singles.std(0).mean(), abs=1e-5)


def test_a_linear_combination_is_standardised_on_the_snapshot(place: Path, singles: np.ndarray, tmp_path: Path) -> None:
    """The completions that are evaluated are those of the snapshot: each term has mean 0 and deviation 1."""
    flags = ("--how", "linear", "--weights", "2", "--weights", "-0.5", "--batch-size", "1")
    model = combined(place, tmp_path / "run", [1, 2], *flags, *snapshot_flag(place))
    found = column(values_of(place, model, tmp_path / "scores"))
    terms = [(row - row.mean()) / row.std() for row in singles[:2]]
    np.testing.assert_allclose(found, 2 * terms[0] - 0.5 * terms[1], atol=1e-4)
    kept = json.loads((model / SCORER).read_text())
    assert kept["reference"] == manifest_read(place / "snapshot")["digest"]
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["counts"]["scale"] == {"completions": 27, "measured": 27, "excluded": 0}
    assert report["metrics"]["mean_1"] == pytest.approx(singles[0].mean(), abs=1e-5)
    assert report["metrics"]["deviation_2"] == pytest.approx(singles[1].std(), abs=1e-5)


def test_a_gated_combination_is_whitened_on_the_snapshot(place: Path, singles: np.ndarray, tmp_path: Path) -> None:
    """Every third prompt has the tag."""
    flags = ("--how", "gated", "--threshold", "0.4")
    model = combined(place, tmp_path / "run", [1, 2], *flags, *snapshot_flag(place))
    found = column(values_of(place, model, tmp_path / "scores"))
    tagged = np.repeat([number % 3 == 0 for number in range(1, 10)], 3)
    low = 1 / (1 + np.exp(-singles[1])) < 0.4
    gated = np.where(tagged | low, singles[1], singles[0])
    np.testing.assert_allclose(found, (gated - gated.mean()) / gated.std(), atol=1e-4)
    assert tagged.any()
    assert (~tagged & ~low).any()


def report_of(output: Path) -> dict[str, Any]:
    return dict(json.loads((output / "report.json").read_text()))


def share_right(place: Path, scores: dict[int, float]) -> float:
    """The weighted share of the validation split's strict comparisons in which the preferred one has more, by loops."""
    snapshot = snapshot_read(place / "snapshot")
    right = total = 0.0
    for row in snapshot.comparisons:
        if snapshot.prompts[row["prompt"]]["split"] == "validation":
            for edge in row["edges"]:
                if edge["outcome"] == ">":
                    better, other = (scores[row["completions"][edge[end]]] for end in ("i", "j"))
                    weight = row["weight"] * edge["weight"]
                    right, total = right + weight * ((better > other) + (better == other) / 2), total + weight
    return right / total


@pytest.mark.parametrize("how", ["mean", "linear", "gated"])
def test_with_a_snapshot_it_says_how_often_it_and_its_models_are_right(
    place: Path, singles: np.ndarray, tmp_path: Path, how: str
) -> None:
    model = combined(place, tmp_path / "run", [1, 2], "--how", how, *snapshot_flag(place))
    values = values_of(place, model, tmp_path / "scores")
    report, ids = report_of(tmp_path / "run"), sorted(values)
    said = {id_: values[id_]["score"] for id_ in ids}
    assert report["metrics"]["accuracy"] == pytest.approx(share_right(place, said))
    assert report["metrics"]["comparisons"] == report["counts"]["held_out"]["comparisons"]["kept"] * 3 == 18
    found = [(row["member"], row["accuracy"]) for row in report["breakdown"]["by_member"]]
    alone = [share_right(place, dict(zip(ids, row, strict=True))) for row in singles[:2]]
    assert found == [(1, pytest.approx(alone[0])), (2, pytest.approx(alone[1]))]
    assert report["breakdown"]["by_group"]
    assert ("mean_disagreement" in report["metrics"]) == (how == "mean")
    assert ("mean_1" in report["metrics"]) == (how != "mean")
    resolved = json.loads((tmp_path / "run" / "config.json").read_text())["resolved"]
    assert (resolved["held_out"], resolved["snapshot"]) == ("validation", manifest_read(place / "snapshot")["digest"])


def test_without_a_snapshot_nothing_is_measured(place: Path, tmp_path: Path) -> None:
    combined(place, tmp_path / "run", [1, 2])
    report = report_of(tmp_path / "run")
    assert (report["metrics"], report["counts"], report["breakdown"]) == ({}, {}, {})


def test_it_says_how_far_it_is(place: Path, tmp_path: Path) -> None:
    """27 completions for the scale, and the 9 of three held-out prompts, which two annotators judged alike."""
    combined(place, tmp_path / "run", [1, 2], "--how", "linear", "--batch-size", "1", *snapshot_flag(place))
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    steps = [event["step"] for event in events]
    assert {(event["kind"], event["total"]) for event in events} == {("progress", steps[-1])}
    assert steps == sorted(set(steps))
    assert len(steps) > 2
    assert steps[-1] == 27 + 9


def test_the_card_says_of_what_it_is_made(place: Path, tmp_path: Path) -> None:
    flags = ("--how", "linear", "--weights", "2", "--weights", "-0.5", *snapshot_flag(place))
    model = combined(place, tmp_path / "run", [1, 2], *flags)
    card, metrics = (model / CARD).read_text(), report_of(tmp_path / "run")["metrics"]
    digests = [member["digest"] for member in json.loads((model / SCORER).read_text())["members"]]
    for number, weight in enumerate(("2", "-0.5"), start=1):
        line = (
            f"- Model {number}: `{place / str(number)}`, weight {weight}, SHA-256 of its files `{digests[number - 1]}`."
        )
        assert line in card
        assert f"mean {metrics[f'mean_{number}']:.4g}, standard deviation {metrics[f'deviation_{number}']:.4g}" in card
    for words in ("# Combined reward model", "- How: `linear`.", "What it was measured on", "- Scale: completions 27"):
        assert words in card
    assert "On the validation split, 3 prompts, 18 comparisons" in card
    assert "| Pair accuracy, ties left out |" in card
    assert not any(words in card for words in ("library_name", "base_model", "Seed", "last bit", "No snapshot"))


def test_the_cards_command_combines_again(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = combined(place, tmp_path / "run", [2, 1], "--how", "gated", "--tag", "risky", *snapshot_flag(place))
    line = next(line for line in (model / CARD).read_text().splitlines() if "python -m trainer" in line)
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(line)[shlex.split(line).index("trainer") + 1 :]) == 0
    assert (tmp_path / AGAIN / "model" / SCORER).read_bytes() == (model / SCORER).read_bytes()


def test_the_folder_holds_the_models_and_says_which(place: Path, tmp_path: Path) -> None:
    model = combined(place, tmp_path / "run", [1, 2])
    kept = json.loads((model / SCORER).read_text())
    assert [member["source"] for member in kept["members"]] == [str(place / "1"), str(place / "2")]
    for number, member in enumerate(kept["members"], start=1):
        assert member["digest"] == folder_digest(model / member["folder"]) == folder_digest(place / str(number))
    weights = "model.safetensors"
    assert (model / "members" / "1" / weights).stat().st_ino == (place / "1" / weights).stat().st_ino


def test_a_combination_can_be_combined_again(place: Path, singles: np.ndarray, tmp_path: Path) -> None:
    inner = combined(place, tmp_path / "inner", [1, 2])
    given = ["--model", str(inner), "--model", str(place / "3"), "--output", str(tmp_path / "outer")]
    assert main(["combine", *given]) == 0
    found = column(values_of(place, tmp_path / "outer" / "model", tmp_path / "scores"))
    np.testing.assert_allclose(found, (singles[:2].mean(0) + singles[2]) / 2, atol=1e-5)


def test_a_combination_is_evaluated_on_a_snapshot(place: Path, tmp_path: Path) -> None:
    model = combined(place, tmp_path / "run", [1, 2])
    assert main(["evaluate", "--model", str(model), "--output", str(tmp_path / "out"), *snapshot_flag(place)]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["held_out"]["validation"]["comparisons"] == 18
    assert report["held_out"]["validation"]["mean_disagreement"] > 0
    assert {row["group"] for row in report["held_out"]["validation"]["by_group"]} == {"training", "held_out"}


def test_killed_and_started_again_it_ends_the_same(place: Path, tmp_path: Path) -> None:
    flags = ("--how", "linear", *snapshot_flag(place))
    whole = combined(place, tmp_path / "whole", [1, 2], *flags)
    again = arguments(place, tmp_path / "cut", [1, 2], *flags)
    assert run_apart(again, until=Moment(SCORER, 1)) != 0
    assert run_apart(again) == 0
    assert (tmp_path / "cut" / "model" / SCORER).read_bytes() == (whole / SCORER).read_bytes()


@pytest.mark.parametrize(
    ("models", "flags", "said"),
    [
        ([1], (), "Two models or more"),
        ([1, 4], (), "another vocabulary"),
        ([1, 2, 3], ("--how", "gated"), "takes two models"),
        ([1, 2], ("--how", "linear"), "needs a snapshot"),
        ([1, 2], ("--weights", "1", "--weights", "2"), "Weights are for how=linear"),
        ([1, 2], ("--how", "linear", "--weights", "1"), "must be 2 numbers"),
        ([1, 2], ("--how", "linear", "--weights", "1", "--weights", "x"), "must be 2 numbers"),
        ([], (), "combine needs --model"),
    ],
)
def test_what_cannot_be_combined_is_refused(
    place: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    models: list[int],
    flags: tuple[str, ...],
    said: str,
) -> None:
    assert main(arguments(place, tmp_path / "out", models, *flags)) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out" / "model").exists()


@pytest.mark.parametrize("models", ["one", [], [1], [""]])
def test_a_request_names_its_models_in_a_list(tmp_path: Path, capsys: pytest.CaptureFixture[str], models: Any) -> None:
    path = tmp_path / "request.json"
    path.write_text(json.dumps({"command": "combine", "options": {}, "models": models}))
    assert main(["combine", "--output", str(tmp_path / "out"), "--request", str(path)]) == 2
    assert "models" in capsys.readouterr().err


def test_recipes_are_what_options_ask_for() -> None:
    assert recipe_asked(CombineOptions(), 3) == Recipe("mean")
    assert recipe_asked(CombineOptions(how="linear"), 3) == Recipe("linear", (1.0, 1.0, 1.0))
    gated = CombineOptions(how="gated", threshold=0.2, tag="risky")
    assert recipe_asked(gated, 2) == Recipe("gated", threshold=0.2, tag="risky")

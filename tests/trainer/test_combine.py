"""`python -m trainer combine`: a folder with several reward models, on a common scale."""

import json
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
from trainer.models.scorers import SCORER, Recipe, folder_digest
from trainer.runs import InputError


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
    assert report["counts"] == {"completions": 27, "measured": 27, "excluded": 0}
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
        ([1], (), "two models or more"),
        ([1, 4], (), "another vocabulary"),
        ([1, 2, 3], ("--how", "gated"), "takes two models"),
        ([1, 2], ("--how", "linear"), "needs a snapshot"),
        ([1, 2], ("--weights", "1", "--weights", "2"), "weights are for how=linear"),
        ([1, 2], ("--how", "linear", "--weights", "1"), "must be 2 numbers"),
        ([1, 2], ("--how", "linear", "--weights", "1", "--weights", "x"), "must be numbers"),
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
    with pytest.raises(InputError, match="must be 2 numbers"):
        recipe_asked(CombineOptions(how="linear", weights=("1", "inf")), 2)

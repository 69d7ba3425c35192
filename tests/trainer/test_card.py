"""Model cards: what they say, and that their command asks for the same run again."""

import hashlib
import re
import shlex
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.trainer.models import tiny_llama
from tests.trainer.snapshot_samples import snapshot_make
from trainer.__main__ import _parser, _request, main
from trainer.config import OPTIONS, Options, option_fields, options_read
from trainer.records import Request
from trainer.reports.card import AGAIN, card_write, command_of, versions_here

RESOLVED = {"device": "cpu", "dtype": "float32", "threads": 1, "held_out": "validation", "snapshot": "ab12" * 16}
METRICS = {
    "accuracy": 0.72,
    "accuracy_low": 0.68,
    "accuracy_high": 0.76,
    "longer_wins": 0.6,
    "longer_wins_low": 0.56,
    "longer_wins_high": 0.64,
    "over_longer_wins": 0.12,
    "over_longer_wins_low": 0.07,
    "over_longer_wins_high": 0.17,
    "random": 0.5,
    "prompts": 40,
    "comparisons": 100,
    "loss": 0.55,
}
COUNTS = {
    "train": {"split": "train", "groups": 12, "comparisons": {"found": 14, "kept": 12, "left out: too long": 2}},
    "held_out": None,
}
VERSIONS = {"torch": "2.13.0", "transformers": "5.19.0"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with something where a snapshot and a model are."""
    monkeypatch.chdir(tmp_path)
    for name in ("snap shot", "models"):
        (tmp_path / name).mkdir()
    return tmp_path


def request(place: Path, command: str = "reward", **names: Any) -> Request:
    given = {"model": str(place / "models"), "snapshot": str(place / "snap shot")} | names
    return cast(Request, {"command": command, "options": {}} | given)


def written(place: Path, options: Options, *, metrics: dict[str, Any] = METRICS, **names: Any) -> str:
    report = {"counts": COUNTS, "metrics": metrics, "steps": 9}
    asked = request(place, options.command, **names)
    path = card_write(
        place,
        command=options.command,
        request=asked,
        options=options,
        resolved=RESOLVED,
        report=report,
        versions=VERSIONS,
    )
    assert path == place / "README.md"
    return path.read_text(encoding="utf-8")


def front_matter(card: str) -> dict[str, Any]:
    start, matter, _ = card.split("---\n", 2)
    assert start == ""
    return dict(yaml.safe_load(matter))


def asked_again(line: list[str]) -> tuple[Request, Options]:
    """What a command line asks for."""
    assert line[:3] == ["python", "-m", "trainer"]
    given = _parser().parse_args(line[3:])
    found = _request(given)
    return found, options_read(given.command, found["options"])


def pasted(card: str) -> list[str]:
    """The command of a card as a shell reads it, without the number of threads that it sets."""
    fenced = re.search(r"^(```+)sh\n(.*)\n\1$", card, re.MULTILINE)
    assert fenced is not None
    threads, *line = shlex.split(fenced[2])
    assert threads == "OMP_NUM_THREADS=1"
    return line


# Values that are none of the defaults, for every option there is.
def other_values(command: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field in option_fields(command):
        if field.kind == "choice":
            values[field.name] = next(choice for choice in field.choices if choice != field.default)
        elif field.kind == "texts":
            values[field.name] = ["helpful", "harm less=tag|x", "it's `odd`", "-dash"]
        elif field.kind == "str":
            values[field.name] = "-$HOME; rm 'x'"
        elif field.kind == "bool":
            values[field.name] = not field.default
        else:
            least = field.least or 0
            values[field.name] = least + 2 if field.kind == "int" else min(least + 0.1 / 3, field.most or 1)
    return values


TRAININGS = ("sft", "reward", "preference")


@pytest.mark.parametrize("command", TRAININGS)
def test_the_command_asks_for_the_same_options(place: Path, command: str) -> None:
    options = options_read(command, other_values(command))
    asked = request(place, command)
    found, again = asked_again(shlex.split(shlex.join(command_of(asked, options))))
    assert again == options
    assert not [field.name for field in option_fields(command) if getattr(again, field.name) == field.default]
    assert (found["model"], found["snapshot"]) == (asked["model"], asked["snapshot"])


@pytest.mark.parametrize("command", TRAININGS)
def test_defaults_are_not_repeated(place: Path, command: str) -> None:
    line = command_of(request(place, command), OPTIONS[command](), output="there")
    assert line[3:] == [
        command, "--model", str(place / "models"), "--snapshot", str(place / "snap shot"), "--output", "there",
    ]  # fmt: skip
    assert asked_again(line)[1] == OPTIONS[command]()


def test_names_below_where_one_works_are_relative(place: Path) -> None:
    asked = request(place, "preference", reference="org/base")
    line = command_of(asked, OPTIONS["preference"](), start=place)
    assert line[4:10] == ["--model", "models", "--snapshot", "snap shot", "--reference", "org/base"]
    assert asked_again(line)[0] == asked
    elsewhere = command_of(asked, OPTIONS["preference"](), start=place / "models")
    assert elsewhere[5] == "."
    assert elsewhere[7] == str(place / "snap shot")


@pytest.mark.parametrize("command", TRAININGS)
def test_the_command_of_a_card_can_be_pasted(place: Path, command: str) -> None:
    options = options_read(command, other_values(command))
    line = pasted(written(place, options))
    found, again = asked_again(line)
    assert again == options
    assert found["snapshot"] == str(place / "snap shot")


def test_the_front_matter_says_what_the_hub_wants_to_know(place: Path) -> None:
    card = written(place, options_read("preference", {"loss": "plackett_luce"}), model="org/base: #1")
    assert front_matter(card) == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "base_model": "org/base: #1",
        "tags": ["prefloop", "plackett-luce"],
    }
    matter = front_matter(written(place, OPTIONS["reward"]()))
    assert "base_model" not in matter
    assert (matter["pipeline_tag"], matter["tags"]) == ("text-classification", ["prefloop", "reward-model"])


def test_the_card_says_what_the_model_learned_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    snapshot_make(tmp_path / "data")
    card = written(tmp_path, OPTIONS["reward"](), snapshot=str(tmp_path / "data"))
    assert f"- Snapshot `data`, digest `{'ab12' * 16}`." in card
    assert "- Train: split train, groups 12; comparisons: found 14, kept 12, left out: too long 2." in card


def test_the_card_names_protocols_and_the_moment_of_the_labels(place: Path) -> None:
    (place / "snap shot" / "manifest.json").write_text(
        '{"as_of": "2026-01-02T03:04:05Z", "protocols": {"7": {"name": "Help|ful", "version": 3}, "9": {}},'
        ' "counts": {"left_out": {"practice": 4}}}'
    )
    card = written(place, OPTIONS["reward"]())
    assert "- Labels as of 2026-01-02T03:04:05Z." in card
    assert "- What the labelers were asked: protocol 7 (`Help\\|ful` version 3), protocol 9." in card
    assert "- Labels left out of the snapshot: practice 4." in card


def test_a_snapshot_that_has_gone_does_not_lose_the_model(place: Path) -> None:
    (place / "snap shot").rmdir()
    assert "## Reproduce" in written(place, OPTIONS["reward"]())


def test_figures_stand_beside_their_baselines_with_intervals(place: Path) -> None:
    card = written(place, OPTIONS["reward"]())
    assert "On the validation split, 40 prompts, 100 comparisons" in card
    assert "| Pair accuracy, ties left out | 0.72 | 0.68 to 0.76 |\n| … of preferring the longer" in card
    assert "| … of a coin | 0.5 |  |" in card
    assert "| Loss | 0.55 |  |" in card


def test_the_card_admits_what_was_not_shown(place: Path) -> None:
    assert "not shown" not in written(place, OPTIONS["reward"]())
    weak = METRICS | {"over_longer_wins_low": -0.01, "accuracy_low": 0.5}
    card = written(place, OPTIONS["reward"](), metrics=weak)
    assert "not shown to judge better than preferring the longer" in card
    assert "not shown to judge better than a coin" in card
    assert "Nothing was held out" in written(place, OPTIONS["sft"](), metrics={"train_loss": 1.0})


def test_only_options_that_were_chosen_are_listed_with_their_meaning(place: Path) -> None:
    card = written(place, options_read("reward", {"margin": "large", "heads": ["a|b", "c"]}))
    asked = "Stronger preferences ask for a greater difference: up to 1 or up to 3 (Llama 2)."
    assert f'| `margin` | `"large"` | `"none"` | {asked} |' in card
    assert '| `heads` | `["a\\|b", "c"]` | `[]` |' in card
    assert "| `ties` |" not in card
    assert "All options have their defaults." in written(place, OPTIONS["reward"]())


def test_what_people_named_stays_code(place: Path) -> None:
    card = written(place, OPTIONS["reward"](), model=str(place / "a`b``<img src=x>"))
    assert "- Starts from ```a`b``<img src=x>```." in card


def test_versions_are_those_installed_and_of_the_trainers_own_files() -> None:
    found = versions_here()
    assert found["torch"] == torch.__version__
    files = sorted(Path(__file__).parents[2].joinpath("trainer").rglob("*.py"))
    lines = [
        f"{path.relative_to(Path(__file__).parents[2] / 'trainer')} {hashlib.sha256(path.read_bytes()).hexdigest()}\n"
        for path in files
    ]
    assert found["prefloop"] == hashlib.sha256("".join(lines).encode()).hexdigest()


@pytest.mark.parametrize("command", TRAININGS)
def test_the_command_of_a_runs_card_makes_the_same_weights_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_llama(tmp_path / "model")
    snapshot_make(tmp_path / "data")
    options = options_read(command, {"prompts_per_step": 5, "learning_rate": 1e-3, "seed": 3})
    asked = request(tmp_path, command, model=str(tmp_path / "model"), snapshot=str(tmp_path / "data"))
    assert main(command_of(asked, options, output="once")[3:]) == 0
    line = pasted((tmp_path / "once" / "model" / "README.md").read_text(encoding="utf-8"))
    assert [name for name in line if str(tmp_path) in name] == []
    assert main(line[3:]) == 0
    once, again = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("once", AGAIN))
    start = load_file(tmp_path / "model" / "model.safetensors")
    assert once.keys() == again.keys()
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert not all(torch.equal(once[name], start[name]) for name in once.keys() & start.keys())

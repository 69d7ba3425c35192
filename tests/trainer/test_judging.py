"""`python -m trainer evaluate --measure critique`: verdicts on held-out comparisons, and what places do to them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.trainer.models import byte_tokenizer, tiny_llama
from tests.trainer.snapshot_samples import completion_row, prompt_row, snapshot_make
from trainer.__main__ import main
from trainer.critiques.critique import TOO_MANY, order_drawn
from trainer.critiques.judging import Case, Cases, Verdicts, cases_read, judged_report, judged_scores, places_report
from trainer.data.groups import TOO_LONG, Edge, Exclusions, Group
from trainer.data.snapshots import Snapshot, snapshot_read, snapshot_write
from trainer.records import Manifest


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model that never learned anything, and a snapshot of which four groups are held out."""
    folder = tmp_path_factory.mktemp("judging")
    tiny_llama(folder / "model", tokenizer="chat", positions=1024)
    snapshot_make(folder / "snapshot")
    return folder


def case_of(prompt: int, k: int, order: tuple[int, ...], *edges: tuple[int, str, int]) -> Case:
    """A group of completions prompt·10, prompt·10 + 1, …, shown in this order and its reverse."""
    ids = tuple(prompt * 10 + number for number in range(k))
    said = [Edge(i, j, outcome, 1.0) for i, outcome, j in edges]
    group = Group(prompt, [1], [[2]] * k, said, 1.0, ids)
    return Case(group, (order, tuple(reversed(order))), ([], []))


# Letters of the first order are those of 12, 10 and 11; of the second those of 11, 10 and 12.
THREE = case_of(1, 3, (12, 10, 11), (0, ">", 1), (0, ">", 2), (1, "=", 2))
TWO = case_of(2, 2, (20, 21), (1, ">", 0))
VERDICTS: Verdicts = {
    (1, (12, 10, 11)): [[1], [0], [2]],  # 10, 12, 11
    (1, (11, 10, 12)): [[0], [1], [2]],  # 11, 10, 12
    (2, (20, 21)): [[0, 1]],
    (2, (21, 20)): None,
}


def test_letters_are_turned_into_completions() -> None:
    scores, read = judged_scores(THREE, VERDICTS)
    assert scores == [[2.0, -2.0, 0.0], [0.0, 2.0, -2.0]]
    assert read == [[[1], [0], [2]], [[0], [1], [2]]]
    assert judged_scores(TWO, VERDICTS) == ([[0.0, 0.0], [0.0, 0.0]], [[[0, 1]], None])


def test_both_orders_count_together_and_what_cannot_be_read_is_half_right() -> None:
    """Means are 1, 0 and -1: both strict pairs right; the pair of the second group is a coin.

    The first order alone is right of both too, the second of one of two: 2.5, 2.5 and 1.5 of three pairs.
    """
    report = judged_report(Cases("validation", Exclusions(found=9), [THREE, TWO]), VERDICTS)
    assert report["accuracy"] == pytest.approx(2.5 / 3)
    assert report["accuracy_drawn_order"] == pytest.approx(2.5 / 3)
    assert report["accuracy_reversed_order"] == pytest.approx(1.5 / 3)
    assert (report["comparisons"], report["ties_left_out"], report["found"]) == (3, 1, 9)
    assert not {"ece", "log_loss", "calibration"} & report.keys()


def test_what_places_do_is_told() -> None:
    """Of 10-11, 10-12 and 11-12, both verdicts agree on the second. Letter A is first once of two, and in a tie."""
    report = places_report([THREE, TWO], VERDICTS)
    assert (report["critiques"], report["unreadable"]) == (4, 0.25)
    assert report["consistency"] == pytest.approx(1 / 3)
    assert report["first_place"] == pytest.approx((0 + 1 + 1 / 2) / 3)
    assert report["first_place_fair"] == pytest.approx((1 / 3 + 1 / 3 + 1 / 2) / 3)


def test_a_judge_of_places_is_consistent_about_nothing() -> None:
    """Who always prefers what stands first is a coin."""
    always: Verdicts = {(2, (20, 21)): [[0], [1]], (2, (21, 20)): [[0], [1]]}
    report = judged_report(Cases("test", Exclusions(), [TWO]), always)
    assert (report["accuracy"], report["consistency"], report["first_place"]) == (0.5, 0.0, 1.0)
    assert {report["accuracy_drawn_order"], report["accuracy_reversed_order"]} == {0.0, 1.0}


def test_nothing_to_judge_is_no_error() -> None:
    report = judged_report(Cases("test", Exclusions(), []), {})
    assert (report["comparisons"], report["found"]) == (0, 0)
    assert "accuracy" not in report


def evaluate(place: Path, output: Path, *flags: str) -> int:
    given = ["--model", str(place / "model"), "--snapshot", str(place / "snapshot"), "--output", str(output)]
    return main(["evaluate", "--measure", "critique", "--max-length", "640", *given, *flags])


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "outputs.jsonl").read_text().splitlines()]


def test_each_group_is_judged_in_an_order_and_its_reverse(place: Path, tmp_path: Path) -> None:
    """A model without sense writes nothing that can be read, and is a coin."""
    assert evaluate(place, tmp_path) == 0
    snapshot = snapshot_read(place / "snapshot")
    held_out = [row for row in snapshot.comparisons if snapshot.prompts[row["prompt"]]["split"] == "validation"]
    drawn = {(row["prompt"], tuple(order_drawn(row["prompt"], row["completions"]))) for row in held_out}
    written = {(line["prompt"], tuple(line["completions"])) for line in lines(tmp_path)}
    assert written == drawn | {(prompt, order[::-1]) for prompt, order in drawn}
    assert len(lines(tmp_path)) == 8
    assert {line["tiers"] for line in lines(tmp_path)} == {None}
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["counts"] == {"critiques": 8, "finished": 0, "unreadable": 8}
    found = report["held_out"]["validation"]
    assert (found["accuracy"], found["unreadable"], found["kept"]) == (0.5, 1.0, 4)
    assert "consistency" not in found
    assert report["held_out"]["test"]["found"] == 0


def test_critiques_that_are_there_are_not_written_again(place: Path, tmp_path: Path) -> None:
    """A verdict that was put there by hand counts: the run goes on where it was stopped."""
    assert evaluate(place, tmp_path) == 0
    whole = lines(tmp_path)
    (tmp_path / "report.json").unlink()
    kept = whole[3] | {"tiers": [[id_] for id_ in whole[3]["completions"]]}
    (tmp_path / "outputs.jsonl").write_text(json.dumps(kept) + "\n")
    assert evaluate(place, tmp_path) == 0
    assert lines(tmp_path)[0] == kept
    by_key = {(line["prompt"], *line["completions"]): line for line in [*whole, kept]}
    assert {(line["prompt"], *line["completions"]): line for line in lines(tmp_path)} == by_key
    assert json.loads((tmp_path / "report.json").read_text())["counts"]["unreadable"] == 7


@pytest.mark.parametrize("flag", ["--completions", "--reference"])
def test_only_a_snapshot_is_judged(place: Path, tmp_path: Path, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lines").write_text("")
    assert evaluate(place, tmp_path / "run", flag, str(tmp_path / "lines")) == 2
    assert "measure=critique judges the held-out comparisons of a snapshot" in capsys.readouterr().err


def test_another_snapshot_in_its_place_is_refused(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model").symlink_to(place / "model")
    snapshot_make(tmp_path / "snapshot", held_out=1)
    assert evaluate(tmp_path, tmp_path / "run") == 0
    (tmp_path / "run" / "report.json").unlink()
    (tmp_path / "snapshot").rename(tmp_path / "old")
    snapshot_make(tmp_path / "snapshot", held_out=2)
    assert evaluate(tmp_path, tmp_path / "run") == 2
    assert "Put the old one back" in capsys.readouterr().err


def snapshot_of(k: int, content: str = "Which?") -> Snapshot:
    """One held-out comparison of k completions."""
    manifest = Manifest(
        schema_version=2, digest="", as_of="", options={}, counts={}, protocols={}, annotators={}, files={}
    )
    prompt: Any = prompt_row(1, "test") | {"messages": [{"role": "user", "content": content}]}
    ids = list(range(10, 10 + k))
    completions: Any = {id_: completion_row(1, 0) | {"completion": id_, "text": f"No. {id_}"} for id_ in ids}
    edge = {"i": 0, "j": 1, "outcome": ">", "strength": None, "weight": 1.0}
    row: Any = {"comparison": "c", "task": 1, "prompt": 1, "annotator": "", "group": "", "protocol": 1, "ranking": None}
    row |= {"completions": ids, "edges": [edge], "weight": 1.0, "rationale": "", "shown": []}
    return Snapshot(manifest, {1: prompt}, completions, [row], [], [])


@pytest.mark.parametrize(("k", "room", "cause"), [(27, 4096, TOO_MANY), (2, 300, TOO_LONG), (2, 1024, None)])
def test_groups_that_cannot_be_judged_are_counted(tmp_path: Path, k: int, room: int, cause: str | None) -> None:
    tokenizer = byte_tokenizer("chat")
    found = cases_read(snapshot_of(k), tokenizer, "test", room=room, most=100)
    assert dict(found.left_out) == ({cause: 1} if cause else {})
    assert len(found.cases) == (0 if cause else 1)
    if not cause:
        [case] = found.cases
        texts = [tokenizer.decode(ids) for ids in case.prompts]
        for order, text in zip(case.orders, texts, strict=True):
            assert f"[A]\nNo. {order[0]}\n\n[B]\nNo. {order[1]}\n\nWhich" in text


def colours_write(folder: Path) -> None:
    """Eight critiques of four questions, and the same questions once more, held out, in which nobody gave reasons.

    Half of the questions want the first answer. Of each, one annotator saw the answers in the order in which the
    held-out ones will be shown, and one in the reverse.
    """
    prompts, completions, comparisons = [], [], []
    for number in range(1, 9):
        split = "train" if number <= 4 else "validation"
        content = f"Number {(number - 1) % 4}?"
        prompts.append(prompt_row(number, split) | {"messages": [{"role": "user", "content": content}]})
        ids = [number * 10, number * 10 + 1]
        for id_, text in zip(ids, ("Red.", "Blue."), strict=True):
            completions.append(completion_row(number, 0) | {"completion": id_, "text": text})
        best = number % 2
        edge = {"i": best, "j": 1 - best, "outcome": ">", "strength": None, "weight": 1.0}
        row = {"task": number, "prompt": number, "group": "", "protocol": 1, "ranking": None, "completions": ids}
        row |= {"edges": [edge], "weight": 1.0}
        later = order_drawn(number + 4, [id_ + 40 for id_ in ids])
        drawn = [id_ - 40 for id_ in later]
        shown = [drawn, drawn[::-1]] if split == "train" else [[]]
        reasons = ("Red." if best == 0 else "Blue.") if split == "train" else ""
        comparisons += [
            row | {"comparison": f"{number}-{place}", "annotator": str(place), "rationale": reasons, "shown": order}
            for place, order in enumerate(shown)
        ]
    tables: dict[str, Any] = {"prompts": prompts, "completions": completions, "comparisons": comparisons}
    snapshot_write(folder, options={}, tables=tables, as_of="", counts={}, protocols={}, annotators={})


def learn(place: Path, *flags: str) -> dict[str, Any]:
    """Train a small model on the reasons of the eight critiques; returns the report."""
    colours_write(place / "snapshot")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=264, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=1024, eos_token_id=3,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(place / "start")
    byte_tokenizer("chat").save_pretrained(place / "start")
    given = ["--model", str(place / "start"), "--snapshot", str(place / "snapshot"), "--output", str(place / "sft")]
    given += ["--max-length", "640", "--prompts-per-step", "8", "--answers", "rationales", *flags]
    assert main(["sft", *given]) == 0
    (place / "model").symlink_to(place / "sft" / "model")
    return dict(json.loads((place / "sft" / "report.json").read_text()))


def test_a_policy_learns_from_the_reasons_that_there_are(tmp_path: Path) -> None:
    report = learn(tmp_path, "--epochs", "1")
    assert report["steps"] == 1
    train = report["counts"]["train"]
    assert (train["groups"], train["answers"]) == (8, {"found": 8, "kept": 8, "shortened": 0})


@pytest.mark.learning
def test_a_model_that_learned_eight_critiques_by_heart_judges_what_they_judged(tmp_path: Path) -> None:
    learn(tmp_path, "--epochs", "100", "--learning-rate", "0.003")
    assert evaluate(tmp_path, tmp_path / "judged") == 0
    found = json.loads((tmp_path / "judged" / "report.json").read_text())["held_out"]["validation"]
    assert (found["accuracy"], found["consistency"], found["unreadable"]) == (1.0, 1.0, 0.0)
    assert (found["accuracy_drawn_order"], found["accuracy_reversed_order"]) == (1.0, 1.0)
    assert {line["text"].split("\n")[0] for line in lines(tmp_path / "judged")} == {"Red.", "Blue."}

"""`python -m trainer evaluate`: scores of a reward model, and the distance of a policy from its reference."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from tests.trainer.models import tiny_gpt2, tiny_llama
from trainer.__main__ import main
from trainer.config import options_read
from trainer.data.conversations import completion_ids, prompt_ids, tokenizer_load
from trainer.data.groups import EMPTY, TOO_LONG
from trainer.data.snapshots import snapshot_write
from trainer.evaluate import ratio_interval, run
from trainer.models.heads import RewardHead
from trainer.models.networks import model_save, reward_load
from trainer.records import Request
from trainer.runs import RunFolder

ANSWERS = ["Blue.", "I would say that it is a kind of green, mostly.", "No", "Because of the sea.", "", "Ask me later"]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("policy"), tokenizer="chat", positions=256)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("reference"), tokenizer="chat", positions=256, seed=1)


@pytest.fixture(scope="module")
def reward(policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reward")
    model_save(reward_load(str(policy)), tokenizer_load(str(policy)), folder)
    return folder


def asked(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def completions_write(folder: Path, lines: list[dict[str, Any]] | None = None) -> Path:
    path = folder / "completions.jsonl"
    if lines is None:
        lines = [
            {"completion": 100 + number, "messages": asked("What?" if number % 2 else "Which colour?"), "text": text}
            | ({"finish_reason": ["stop", "", "length"][number % 3]} if number else {})
            for number, text in enumerate(ANSWERS)
        ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def evaluate(model: Path, completions: Path, output: Path, *flags: str) -> int:
    paths = ["--output", str(output), "--model", str(model), "--completions", str(completions)]
    return main(["evaluate", *paths, "--batch-size", "2", *flags])


def kl(policy: Path, reference: Path, completions: Path, output: Path) -> int:
    return evaluate(policy, completions, output, "--measure", "kl", "--reference", str(reference))


def values_of(folder: Path) -> dict[int, dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "outputs.jsonl").read_text().splitlines()]
    assert len({line["completion"] for line in lines}) == len(lines)
    return {line["completion"]: line["values"] for line in lines}


def report_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text())


def tokens_of(model: Path, line: dict[str, Any]) -> tuple[list[int], list[int]]:
    tokenizer = tokenizer_load(str(model))
    answer = completion_ids(tokenizer, line["text"], line.get("finish_reason") != "length")
    return prompt_ids(tokenizer, line["messages"]), answer


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# --- Reward --------------------------------------------------------------------------------------------------------
@torch.inference_mode()
def test_scores_are_those_of_the_model_row_by_row(reward: Path, tmp_path: Path) -> None:
    completions = completions_write(tmp_path)
    assert evaluate(reward, completions, tmp_path / "out") == 0
    model = AutoModelForSequenceClassification.from_pretrained(reward).eval()
    values = values_of(tmp_path / "out")
    for line in lines_of(completions):
        prompt, answer = tokens_of(reward, line)
        expected = model(torch.tensor([prompt + answer])).logits[0, 0].item()
        assert values[line["completion"]]["score"] == pytest.approx(expected, abs=1e-5)
    found = [value["score"] for value in values.values()]
    assert report_of(tmp_path / "out")["metrics"]["mean_score"] == pytest.approx(np.mean(found))
    assert report_of(tmp_path / "out")["counts"] == {"completions": 6, "measured": 6, "excluded": 0, "prompts_cut": 0}
    assert np.std(found) > 0.01


def test_what_does_not_fit_has_no_score_and_says_why(
    reward: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = [*asked("x" * 240), {"role": "assistant", "content": "y"}, *asked("And?")]
    lines = [
        {"completion": 1, "messages": asked("What?"), "text": "fine"},
        {"completion": 2, "messages": asked("What?"), "text": "z" * 250},
        {"completion": 3, "messages": asked("What?"), "text": "", "finish_reason": "length"},
        {"completion": 4, "messages": long, "text": "cut"},
    ]
    assert evaluate(reward, completions_write(tmp_path, lines), tmp_path / "out") == 0
    written = {line["completion"]: line for line in lines_of(tmp_path / "out" / "outputs.jsonl")}
    assert [written[key].get("excluded") for key in (1, 2, 3, 4)] == [None, TOO_LONG, EMPTY, None]
    assert [bool(written[key]["values"]) for key in (1, 2, 3, 4)] == [True, False, False, True]
    counts = report_of(tmp_path / "out")["counts"]
    assert (counts["measured"], counts["excluded"], counts["prompts_cut"]) == (2, 2, 1)
    assert "1 of 4 completions left out: a completion has no tokens." in capsys.readouterr().err


def test_a_cut_run_writes_the_same_numbers_to_the_last_bit(reward: Path, tmp_path: Path) -> None:
    completions = completions_write(tmp_path)
    evaluate(reward, completions, tmp_path / "whole")
    evaluate(reward, completions, tmp_path / "cut")
    (tmp_path / "cut" / "report.json").unlink()
    outputs = tmp_path / "cut" / "outputs.jsonl"
    outputs.write_text("".join(outputs.read_text().splitlines(keepends=True)[:3]) + '{"comp')
    assert evaluate(reward, completions, tmp_path / "cut") == 0
    assert values_of(tmp_path / "cut") == values_of(tmp_path / "whole")
    assert report_of(tmp_path / "cut") == report_of(tmp_path / "whole")
    events = lines_of(tmp_path / "cut" / "events.jsonl")
    assert (events[-1]["kind"], events[-1]["step"], events[-1]["total"]) == ("progress", 6, 6)


def test_a_stopped_run_goes_on_with_the_same_batches(reward: Path, tmp_path: Path) -> None:
    """Completions that share prompts, several at a time: whatever was written, the rest comes out the same."""
    lines = [
        {"completion": number, "messages": asked("What?" * (number % 3 + 1)), "text": "x" * (1 + 7 * number % 11)}
        for number in range(20)
    ]
    completions = completions_write(tmp_path, lines)
    evaluate(reward, completions, tmp_path / "whole")
    for kept in (1, 7, 15):
        evaluate(reward, completions, tmp_path / str(kept))
        (tmp_path / str(kept) / "report.json").unlink()
        outputs = tmp_path / str(kept) / "outputs.jsonl"
        outputs.write_text("".join(outputs.read_text().splitlines(keepends=True)[:kept]))
        assert evaluate(reward, completions, tmp_path / str(kept)) == 0
        assert values_of(tmp_path / str(kept)) == values_of(tmp_path / "whole")


def test_how_much_is_measured_at_once_changes_no_score(reward: Path, tmp_path: Path) -> None:
    completions = completions_write(tmp_path)
    evaluate(reward, completions, tmp_path / "two")
    evaluate(reward, completions, tmp_path / "many", "--batch-size", "64")
    two, many = values_of(tmp_path / "two"), values_of(tmp_path / "many")
    assert all(two[key]["score"] == pytest.approx(many[key]["score"], abs=1e-5) for key in two)


def test_tags_choose_the_head_of_a_model_with_several(policy: Path, tmp_path: Path) -> None:
    heads = (RewardHead("helpful"), RewardHead("harmless", tag="safety"))
    model_save(reward_load(str(policy), heads=heads), tokenizer_load(str(policy)), tmp_path / "heads")
    lines = [
        {"completion": number, "messages": asked("What?"), "text": "fine", "tags": tags}
        for number, tags in enumerate([[], ["safety"], ["other"]])
    ]
    assert evaluate(tmp_path / "heads", completions_write(tmp_path, lines), tmp_path / "out") == 0
    values = values_of(tmp_path / "out")
    assert [values[key]["score"] for key in range(3)] == [
        values[0]["helpful"],
        values[1]["harmless"],
        values[2]["helpful"],
    ]
    assert values[0]["helpful"] == pytest.approx(values[1]["helpful"], abs=1e-6)
    assert values[0]["helpful"] != values[0]["harmless"]


def test_a_language_model_is_no_reward_model(policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It would be given a random head, and its scores would look like scores."""
    assert evaluate(policy, completions_write(tmp_path), tmp_path / "out") == 2
    assert "is no reward model (LlamaForCausalLM)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"completion": None}, "completion: must be a whole number"),
        ({"text": 5}, "text: must be a text, not 5"),
        ({"finish_reason": "tired"}, "finish_reason: must be stop, length or empty, not 'tired'"),
        ({"messages": {}}, "messages: must be a list"),
        ({"tags": "safety"}, "tags: must be a list of texts, not 'safety'"),
    ],
)
def test_a_bad_line_is_named(
    reward: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], named: str
) -> None:
    bad = {"completion": 1, "messages": asked("What?"), "text": "fine"} | changes
    completions = completions_write(tmp_path, [{"completion": 9, "messages": asked("A"), "text": "b"}, bad])
    assert evaluate(reward, completions, tmp_path / "out") == 2
    assert f"{completions}, line 2, {named}" in capsys.readouterr().err


# --- Distance from the reference -----------------------------------------------------------------------------------
@torch.inference_mode()
def test_log_probabilities_are_those_of_each_row(policy: Path, reference: Path, tmp_path: Path) -> None:
    completions = completions_write(tmp_path)
    assert kl(policy, reference, completions, tmp_path / "out") == 0
    models = {"logp": policy, "reference_logp": reference}
    loaded = {name: AutoModelForCausalLM.from_pretrained(folder).eval() for name, folder in models.items()}
    values = values_of(tmp_path / "out")
    for line in lines_of(completions):
        prompt, answer = tokens_of(policy, line)
        assert values[line["completion"]]["tokens"] == len(answer)
        for name, model in loaded.items():
            logprobs = model(torch.tensor([prompt + answer])).logits[0].double().log_softmax(-1)
            expected = sum(logprobs[len(prompt) + place - 1, token].item() for place, token in enumerate(answer))
            assert values[line["completion"]][name] == pytest.approx(expected, abs=1e-3)


def test_only_completions_that_ended_count_their_end_token(policy: Path, reference: Path, tmp_path: Path) -> None:
    lines = [
        {"completion": number, "messages": asked("What?"), "text": "four"} | ending
        for number, ending in enumerate([{}, *({"finish_reason": reason} for reason in ("stop", "", "length"))])
    ]
    kl(policy, reference, completions_write(tmp_path, lines), tmp_path / "out")
    assert [values["tokens"] for _, values in sorted(values_of(tmp_path / "out").items())] == [5, 5, 5, 4]


def test_the_distance_is_reported_by_sequence_and_by_token(policy: Path, reference: Path, tmp_path: Path) -> None:
    kl(policy, reference, completions_write(tmp_path), tmp_path / "out")
    values = values_of(tmp_path / "out")
    ratios = [each["logp"] - each["reference_logp"] for each in values.values()]
    metrics = report_of(tmp_path / "out")["metrics"]
    assert metrics["kl"] == pytest.approx(sum(ratios) / 6)
    assert metrics["kl_per_token"] == pytest.approx(sum(ratios) / sum(each["tokens"] for each in values.values()))
    assert metrics["kl_low"] < metrics["kl"] < metrics["kl_high"]


def test_a_policy_is_at_no_distance_from_itself(policy: Path, tmp_path: Path) -> None:
    kl(policy, policy, completions_write(tmp_path), tmp_path / "out")
    assert set(report_of(tmp_path / "out")["metrics"].values()) == {0.0}


def test_a_distance_needs_a_reference(policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(policy, completions_write(tmp_path), tmp_path / "out", "--measure", "kl") == 2
    assert "needs a reference" in capsys.readouterr().err


def test_models_of_other_tokens_are_not_compared(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tiny_gpt2(tmp_path / "other", 300, tokenizer="chat")
    assert kl(policy, other, completions_write(tmp_path), tmp_path / "out") == 2
    assert "has 264 tokens" in capsys.readouterr().err


# --- Intervals -----------------------------------------------------------------------------------------------------
def test_interval_of_a_mean_is_by_hand() -> None:
    interval = ratio_interval([1.0, 2.0, 6.0], [1.0, 1.0, 1.0], ["a", "b", "c"])
    half = 1.959963984540054 * math.sqrt((4 + 1 + 9) / 2) / math.sqrt(3)
    assert interval == pytest.approx({"value": 3.0, "low": 3 - half, "high": 3 + half})


def test_rows_of_one_prompt_count_as_one() -> None:
    once = ratio_interval([1.0, 2.0, 6.0], [1.0, 1.0, 1.0], [1, 2, 3])
    thrice = ratio_interval([1.0, 2.0, 6.0] * 3, [1.0] * 9, [1, 2, 3] * 3)
    assert thrice == pytest.approx(once)


def test_interval_holds_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        tokens = np.repeat(generator.integers(1, 20, 60), 2)
        sums = tokens * 0.3 + np.repeat(generator.normal(size=60), 2) + generator.normal(size=120)
        found = ratio_interval(sums.tolist(), tokens.tolist(), np.repeat(range(60), 2).tolist())
        held += found["low"] <= 0.3 <= found["high"]
    assert 0.91 < held / 400 < 0.985


def test_no_interval_without_two_prompts() -> None:
    assert ratio_interval([1.0, 2.0], [1.0, 3.0], ["a", "a"]) == {"value": 0.75}
    assert ratio_interval([], [], []) == {}


# --- Held-out comparisons ------------------------------------------------------------------------------------------
def snapshot_of(folder: Path) -> Path:
    """Three prompts, of which two are held out; each has three completions ranked in their order."""
    splits = ["train", "validation", "validation"]
    prompts = [
        {"prompt": number, "messages": asked(f"Question {number}?"), "split": split, "source": "", "language": "en"}
        | {"tags": []}
        for number, split in enumerate(splits)
    ]
    completions = [
        {"completion": 10 * number + place, "prompt": number, "model": "m", "text": text, "finish_reason": "stop"}
        for number in range(3)
        for place, text in enumerate(ANSWERS[number : number + 3])
    ]
    edges = [
        {"i": i, "j": j, "outcome": ">", "strength": None, "weight": 1.0} for i in range(3) for j in range(i + 1, 3)
    ]
    comparisons = [
        {"comparison": f"c{number}", "task": number, "prompt": number, "annotator": "a", "group": "", "protocol": 1}
        | {"completions": [10 * number + place for place in range(3)], "edges": edges, "ranking": None, "weight": 1.0}
        for number in range(3)
    ]
    tables: dict[str, Any] = {"prompts": prompts, "completions": completions, "comparisons": comparisons}
    tables |= {"ratings": [], "demonstrations": []}
    snapshot_write(folder, options={}, tables=tables, as_of="", counts={}, protocols={}, annotators={})
    return folder


def test_accuracy_on_held_out_comparisons(reward: Path, tmp_path: Path) -> None:
    lines = [
        {
            "completion": 10 * number + place,
            "messages": asked(f"Question {number}?"),
            "text": text,
            "finish_reason": "stop",
        }
        for number in (1, 2)
        for place, text in enumerate(ANSWERS[number : number + 3])
    ]
    completions = completions_write(tmp_path, lines)
    request = Request(command="evaluate", options={}, model=str(reward), completions=str(completions))
    request["snapshot"] = str(snapshot_of(tmp_path / "snapshot"))
    with RunFolder(tmp_path / "out") as folder:
        report = run(request, options_read("evaluate", {}), folder)
    scores = {key: values["score"] for key, values in values_of(tmp_path / "out").items()}
    pairs = [(10 * number + i, 10 * number + j) for number in (1, 2) for i in range(3) for j in range(i + 1, 3)]
    right = sum(scores[better] > scores[worse] for better, worse in pairs)
    held_out = report["held_out"]
    assert held_out["validation"]["accuracy"] == pytest.approx(right / 6)
    assert (held_out["validation"]["comparisons"], held_out["validation"]["kept"]) == (6, 2)
    assert held_out["validation"]["random"] == 0.5
    assert "accuracy" not in held_out["test"]
    # Beside the baselines: which is longer, and which is listed first, as all of these rankings are.
    lengths = {key: len(ANSWERS[key // 10 + key % 10]) for key in scores}
    longer = sum((lengths[i] > lengths[j]) + 0.5 * (lengths[i] == lengths[j]) for i, j in pairs) / 6
    assert held_out["validation"]["longer_wins"] == pytest.approx(longer)
    assert held_out["validation"]["first_wins"] == 1.0
    parts = held_out["validation"]
    assert sum(row["comparisons"] for row in parts["by_length"]) == 6
    assert sum(row["accuracy"] * row["comparisons"] for row in parts["calibration"]) == pytest.approx(right)
    assert parts["by_strength"] == []


def test_the_command_line_takes_a_snapshot_alone(reward: Path, tmp_path: Path) -> None:
    snapshot = snapshot_of(tmp_path / "snapshot")
    paths = ["--model", str(reward), "--snapshot", str(snapshot), "--output", str(tmp_path / "out")]
    assert main(["evaluate", *paths]) == 0
    assert json.loads((tmp_path / "out" / "report.json").read_text())["held_out"]["validation"]["comparisons"] == 6


def test_the_command_line_says_which_path_is_not_there(
    reward: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = ["--model", str(reward), "--snapshot", str(tmp_path / "nowhere"), "--output", str(tmp_path / "out")]
    assert main(["evaluate", *paths]) == 2
    assert "There is no snapshot at" in capsys.readouterr().err

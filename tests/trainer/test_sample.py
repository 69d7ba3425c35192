"""`python -m trainer sample`, from its file of prompts to its report."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from tests.trainer.models import STORIES, tiny_llama
from trainer.__main__ import main
from trainer.data.conversations import prompt_ids, tokenizer_load

ROOT = Path(__file__).resolve().parents[2]
QUESTIONS = ["Why?", "How many legs has a spider, and why so many?", "Go on.", "Name a colour."]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("model"), tokenizer="chat", positions=256)


def said(*texts: str) -> list[dict[str, str]]:
    return [{"role": "assistant" if number % 2 else "user", "content": text} for number, text in enumerate(texts)]


def prompts_write(folder: Path, lines: list[Any] | None = None) -> Path:
    path = folder / "prompts.jsonl"
    if lines is None:
        lines = [{"prompt": 10 + number, "messages": said(text)} for number, text in enumerate(QUESTIONS)]
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def sample(model: Path, prompts: Path, output: Path, **options: Any) -> int:
    settings = {"max_tokens": 12, "n": 3, "batch_size": 4} | options
    flags = [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    return main(["sample", "--output", str(output), "--model", str(model), "--prompts", str(prompts), *flags])


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def outputs_of(folder: Path) -> list[str]:
    return sorted((folder / "outputs.jsonl").read_text().splitlines())


def report_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text())


def test_each_completion_has_one_line(model: Path, tmp_path: Path) -> None:
    assert sample(model, prompts_write(tmp_path), tmp_path / "out", seed=5) == 0
    lines = lines_of(tmp_path / "out" / "outputs.jsonl")
    assert sorted((line["prompt"], line["index"]) for line in lines) == [
        (p, i) for p in range(10, 14) for i in range(3)
    ]
    for line in lines:
        assert line.keys() == {"prompt", "index", "text", "finish_reason", "tokens", "seed"}
        assert (line["finish_reason"], line["seed"]) in {("stop", 5), ("length", 5)}
        assert 1 <= line["tokens"] <= 12
    assert len({line["text"] for line in lines}) == len(lines)


def test_the_report_counts_exactly(model: Path, tmp_path: Path) -> None:
    assert sample(model, prompts_write(tmp_path), tmp_path / "out", max_tokens=120) == 0
    lines, report = lines_of(tmp_path / "out" / "outputs.jsonl"), report_of(tmp_path / "out")
    finished, tokens = sum(line["finish_reason"] == "stop" for line in lines), sum(line["tokens"] for line in lines)
    assert 0 < finished < 12
    assert report["counts"] == {
        "prompts": 4,
        "completions": 12,
        "finished": finished,
        "tokens": tokens,
        "prompts_cut": 0,
        "prompts_excluded": 0,
    }
    assert report["metrics"] == {"finished_share": finished / 12, "mean_tokens": tokens / 12}


def test_progress_ends_with_all(model: Path, tmp_path: Path) -> None:
    sample(model, prompts_write(tmp_path), tmp_path / "out")
    events = lines_of(tmp_path / "out" / "events.jsonl")
    assert {event["kind"] for event in events} == {"progress"}
    assert [event["step"] for event in events] == sorted({event["step"] for event in events})
    assert {event["total"] for event in events} == {12}
    assert (events[-1]["step"], len(events) > 1) == (12, True)
    assert sum(event["values"]["tokens"] for event in events) == report_of(tmp_path / "out")["counts"]["tokens"]


def test_batch_size_and_order_of_prompts_change_nothing(model: Path, tmp_path: Path) -> None:
    prompts = prompts_write(tmp_path)
    sample(model, prompts, tmp_path / "a")
    sample(model, prompts, tmp_path / "b", batch_size=1)
    prompts.write_text("".join(reversed(prompts.read_text().splitlines(keepends=True))))
    sample(model, prompts, tmp_path / "c", batch_size=32)
    assert outputs_of(tmp_path / "a") == outputs_of(tmp_path / "b") == outputs_of(tmp_path / "c")


def test_a_prompt_may_ask_for_its_own_number(model: Path, tmp_path: Path) -> None:
    prompts = prompts_write(
        tmp_path, [{"prompt": 1, "messages": said("A"), "n": 5}, {"prompt": 2, "messages": said("B")}]
    )
    sample(model, prompts, tmp_path / "out", n=2)
    asked = sorted((line["prompt"], line["index"]) for line in lines_of(tmp_path / "out" / "outputs.jsonl"))
    assert asked == [(1, 0), (1, 1), (1, 2), (1, 3), (1, 4), (2, 0), (2, 1)]


def test_what_it_came_to_is_written_down(model: Path, tmp_path: Path) -> None:
    sample(model, prompts_write(tmp_path), tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(model)
    ends = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"])
    assert config["options"]["max_tokens"] == 12
    assert config["resolved"]["stop_tokens"] == sorted(ends)
    assert config["resolved"]["context"] == 256


# --- Prompts that are too long -------------------------------------------------------------------------------------
def test_long_prompts_lose_turns_or_are_left_out_and_it_is_said(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = said("x" * 300, "y", "The end?")
    conversations = {1: said("Hi"), 2: long, 3: said("z" * 300)}
    prompts = prompts_write(tmp_path, [{"prompt": key, "messages": value} for key, value in conversations.items()])
    assert sample(model, prompts, tmp_path / "out", n=1) == 0
    report, told = report_of(tmp_path / "out"), capsys.readouterr().err
    assert (report["counts"]["prompts_cut"], report["counts"]["prompts_excluded"], report["excluded"]) == (1, 1, [3])
    assert report["counts"]["completions"] == 2
    assert "Prompt 2 has" in told
    assert "Prompt 3 has" in told
    # A prompt that was cut is answered like the conversation that remains.
    alone = prompts_write(tmp_path, [{"prompt": 2, "messages": long[2:]}])
    sample(model, alone, tmp_path / "alone", n=1)
    cut = [line for line in outputs_of(tmp_path / "out") if json.loads(line)["prompt"] == 2]
    assert cut == outputs_of(tmp_path / "alone")


def test_nothing_to_draw_is_a_report_too(model: Path, tmp_path: Path) -> None:
    prompts = prompts_write(tmp_path, [{"prompt": 3, "messages": said("z" * 300)}])
    assert sample(model, prompts, tmp_path / "out") == 0
    assert report_of(tmp_path / "out")["metrics"] == {}


def test_completions_end_where_the_context_does(model: Path, tmp_path: Path) -> None:
    messages = said("x" * 200)
    room = 256 - len(prompt_ids(tokenizer_load(str(model)), messages))
    sample(
        model, prompts_write(tmp_path, [{"prompt": 1, "messages": messages}]), tmp_path / "out", max_tokens=500, n=20
    )
    lines = lines_of(tmp_path / "out" / "outputs.jsonl")
    assert {line["tokens"] for line in lines if line["finish_reason"] == "length"} == {room}


# --- Bad input -----------------------------------------------------------------------------------------------------
GOOD = {"prompt": 1, "messages": said("A")}


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ("{", "line 2: this is no JSON"),
        ("[]", "line 2: must be a JSON object"),
        ({"messages": said("A")}, "line 2, prompt: is missing"),
        ({"prompt": "7", "messages": said("A")}, "line 2, prompt: must be a whole number, not '7'"),
        ({"prompt": True, "messages": said("A")}, "line 2, prompt: must be a whole number"),
        (GOOD, "line 2, prompt: 1 was there already, in line 1"),
        ({"prompt": 2}, "line 2, messages: is missing"),
        ({"prompt": 2, "messages": []}, "line 2, messages: must be a list"),
        ({"prompt": 2, "messages": [{"role": "user"}]}, "line 2, messages: number 0 must be an object"),
        ({"prompt": 2, "messages": [{"role": "user", "content": 5}]}, "line 2, messages: role and content of number 0"),
        ({"prompt": 2, "messages": said("A"), "n": 0}, "line 2, n: must be 1 to 64, not 0"),
        ({"prompt": 2, "messages": said("A"), "m": 1}, "line 2, m: is no field"),
    ],
)
def test_a_bad_line_is_named(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], bad: Any, named: str
) -> None:
    prompts = prompts_write(tmp_path, [GOOD, bad])
    assert sample(model, prompts, tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert str(prompts) in told
    assert named in told
    assert not (tmp_path / "out" / "outputs.jsonl").exists()


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe"])
def test_a_file_without_prompts_is_refused(model: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "prompts.jsonl").write_bytes(content)
    assert sample(model, tmp_path / "prompts.jsonl", tmp_path / "out") == 2


def test_a_folder_without_a_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert sample(tmp_path / "empty", prompts_write(tmp_path), tmp_path / "out") == 2
    assert str(tmp_path / "empty") in capsys.readouterr().err


# --- Going on ------------------------------------------------------------------------------------------------------
def test_a_cut_run_goes_on_after_its_complete_lines(model: Path, tmp_path: Path) -> None:
    prompts = prompts_write(tmp_path)
    sample(model, prompts, tmp_path / "whole")
    sample(model, prompts, tmp_path / "cut")
    outputs = tmp_path / "cut" / "outputs.jsonl"
    (tmp_path / "cut" / "report.json").unlink()
    kept = outputs.read_bytes().splitlines(keepends=True)[:5]
    outputs.write_bytes(b"".join(kept) + b'{"prompt": 12, "ind')
    assert sample(model, prompts, tmp_path / "cut") == 0
    assert outputs.read_bytes().startswith(b"".join(kept))
    assert outputs_of(tmp_path / "cut") == outputs_of(tmp_path / "whole")
    assert report_of(tmp_path / "cut") == report_of(tmp_path / "whole")


def test_other_prompts_under_the_same_name_are_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample(model, prompts_write(tmp_path), tmp_path / "out")
    (tmp_path / "out" / "report.json").unlink()
    assert sample(model, prompts_write(tmp_path, [GOOD]), tmp_path / "out") == 2
    assert "has changed since this run began" in capsys.readouterr().err


def started(model: Path, prompts: Path, output: Path, *flags: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "trainer", "sample", "--output", str(output), "--model", str(model)]
    command += ["--prompts", str(prompts), "--max-tokens", "60", "--n", "60", "--batch-size", "8", *flags]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for_lines(process: subprocess.Popen[bytes], output: Path, number: int) -> None:
    end = time.monotonic() + 120
    while not (output / "outputs.jsonl").exists() or len(outputs_of(output)) < number:
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.services
def test_killed_and_stopped_runs_write_what_one_run_writes(model: Path, tmp_path: Path) -> None:
    prompts, output = prompts_write(tmp_path), tmp_path / "out"
    with started(model, prompts, output) as killed:
        wait_for_lines(killed, output, 8)
        killed.send_signal(signal.SIGKILL)
    with started(model, prompts, output, "--watch-stdin") as stopped:
        wait_for_lines(stopped, output, len(outputs_of(output)) + 8)
        assert stopped.stdin is not None
        stopped.stdin.close()
        assert stopped.wait(60) == 3
    assert 16 <= len(outputs_of(output)) < 240
    assert sample(model, prompts, output, n=60, max_tokens=60, batch_size=8) == 0
    assert sample(model, prompts, tmp_path / "whole", n=60, max_tokens=60, batch_size=8) == 0
    assert len(set(outputs_of(output))) == 240
    assert outputs_of(output) == outputs_of(tmp_path / "whole")


# --- A model that was trained --------------------------------------------------------------------------------------
@pytest.mark.skipif(not STORIES.exists(), reason=f"{STORIES} is not here")
def test_a_real_model_gives_text(tmp_path: Path) -> None:
    prompts = prompts_write(tmp_path, [{"prompt": 1, "messages": said("Tell me a story about a cat.")}])
    assert sample(STORIES, prompts, tmp_path / "out", max_tokens=200, temperature=0.5) == 0
    texts = [line["text"] for line in lines_of(tmp_path / "out" / "outputs.jsonl")]
    assert all(len(text.split()) > 10 for text in texts)
    assert any(" the " in text for text in texts)
    assert not any("<s>" in text or "</s>" in text for text in texts)

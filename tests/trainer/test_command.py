"""The command line: exit codes, messages, requests, and how it stops."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.models import tiny_llama
from tests.trainer.snapshot_samples import report, snapshot_make
from trainer.__main__ import main
from trainer.config import OPTIONS, option_fields
from trainer.records import checkpoint_newest

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and a snapshot."""
    folder = tmp_path_factory.mktemp("command")
    tiny_llama(folder / "model")
    snapshot_make(folder / "snapshot")
    return folder


def request_write(place: Path, **changes: Any) -> Path:
    """A file with the request for a long training."""
    options = {"epochs": 100, "prompts_per_step": 1, "checkpoint_every": 1000, "learning_rate": 0.0001}
    request = {"command": "reward", "model": str(place / "model"), "snapshot": str(place / "snapshot")}
    path = place / "request.json"
    path.write_text(json.dumps(request | {"options": options} | changes))
    return path


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command says that exits 2 and leaves no run."""
    try:
        code: Any = main(arguments)
    except SystemExit as error:
        code = error.code
    assert code == 2
    return capsys.readouterr().err


def test_unknown_options_of_a_request_are_named(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = request_write(place, options={"lerning_rate": 1, "bata": 2, "seed": 1})
    said = refused(["reward", "--output", str(tmp_path / "run"), "--request", str(path)], capsys)
    assert "lerning_rate: is no option" in said
    assert "bata: is no option" in said
    assert "seed" not in said
    assert not (tmp_path / "run").exists()


def test_unknown_flags_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--foo" in refused(["sft", "--output", str(tmp_path), "--model", "m", "--foo", "3"], capsys)


def test_values_that_cannot_be_used_are_named(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--model", str(place / "model"), "--snapshot", str(place / "snapshot"), "--learning-rate", "fast"]
    said = refused(["reward", "--output", str(tmp_path / "run"), *given, "--ties", "win"], capsys)
    assert "learning_rate: must be a number, not 'fast'." in said
    assert "ties: must be one of drop, soft" in said


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"command": "sft"}, "The request is for 'sft', not for reward"),
        ({"reference": "x"}, "reward takes no reference"),
        ({"snapshot": "/nowhere"}, "There is no snapshot at /nowhere"),
        ({"model": ""}, "model must be a path"),
        ({"options": 3}, "must be a JSON object"),
    ],
)
def test_requests_that_cannot_be_run_are_refused(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], message: str
) -> None:
    path = request_write(place, **changes)
    assert message in refused(["reward", "--output", str(tmp_path / "run"), "--request", str(path)], capsys)


@pytest.mark.parametrize(("content", "message"), [(None, "cannot be read"), ("{", "is no JSON"), ("[]", "JSON object")])
def test_files_that_are_no_request_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, message: str
) -> None:
    path = tmp_path / "request.json"
    if content is not None:
        path.write_text(content)
    assert message in refused(["reward", "--output", str(tmp_path / "run"), "--request", str(path)], capsys)


def test_what_is_needed_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "reward needs --snapshot" in refused(["reward", "--output", str(tmp_path), "--model", "m"], capsys)
    assert "sample needs --prompts" in refused(["sample", "--output", str(tmp_path), "--model", "m"], capsys)


def test_a_request_and_options_exclude_each_other(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = request_write(place)
    given = ["reward", "--output", str(tmp_path), "--request", str(path), "--seed", "3"]
    assert "not both" in refused(given, capsys)


@pytest.mark.parametrize("command", sorted(OPTIONS))
def test_the_help_explains_every_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    for field in option_fields(command):
        assert f"--{field.name.replace('_', '-')} " in said
        assert field.help_text in said


WALL = """
import sys
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {blocked!r}:
            raise ImportError(name)
sys.meta_path.insert(0, Wall())
import importlib.util
importlib.util.find_spec = lambda name, find=importlib.util.find_spec: None if name == {blocked!r} else find(name)
from trainer.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("blocked", ["torch", "transformers", "pyarrow"])
def test_without_its_libraries_it_says_what_to_do(place: Path, tmp_path: Path, blocked: str) -> None:
    given = ["reward", "--output", str(tmp_path / "run"), "--request", str(request_write(place))]
    code = WALL.format(blocked=blocked)
    done = subprocess.run([sys.executable, "-c", code, *given], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert f"{blocked} cannot be imported here" in done.stderr
    assert "make install" in done.stderr
    assert not (tmp_path / "run").exists()


def test_help_needs_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; sys.modules['transformers'] = None\n"
    code += "from trainer.__main__ import main; main(['reward', '--help'])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def started(output: Path, request: Path, *flags: str) -> "subprocess.Popen[str]":
    """A long training in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "trainer", "reward", "--output", str(output), "--request", str(request), *flags],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def wait_for_steps(output: Path, number: int) -> None:
    """Wait until a run has logged some lines."""
    end = time.monotonic() + 60
    log = output / "events.jsonl"
    while not log.exists() or log.read_bytes().count(b"\n") < number:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_one_folder_takes_one_process_of_the_newest_attempt(place: Path, tmp_path: Path) -> None:
    request = request_write(place)
    first = started(tmp_path, request, "--attempt", "5", "--watch-stdin")
    try:
        wait_for_steps(tmp_path, 3)
        again = ["reward", "--output", str(tmp_path), "--request", str(request), "--lock-wait", "0.2"]
        assert main([*again, "--attempt", "5"]) == 4
        assert main([*again, "--attempt", "4"]) == 4
        assert first.stdin is not None
        first.stdin.close()
        assert first.wait(timeout=60) == 3
        assert checkpoint_newest(tmp_path) is not None
        assert main([*again, "--attempt", "4"]) == 4
    finally:
        first.kill()


def test_a_request_on_the_command_line_is_the_same_run(place: Path, tmp_path: Path) -> None:
    given = ["sft", "--output", str(tmp_path), "--model", str(place / "model"), "--snapshot", str(place / "snapshot")]
    assert main([*given, "--prompts-per-step", "12"]) == 0
    assert report(tmp_path)["steps"] == 1
    options = {"prompts_per_step": 12}
    request = request_write(place, command="sft", options=options)
    assert main(["sft", "--output", str(tmp_path), "--request", str(request)]) == 0
    other = request_write(place, command="sft", options=options | {"seed": 5})
    assert main(["sft", "--output", str(tmp_path), "--request", str(other)]) == 2

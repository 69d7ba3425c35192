"""A run folder: one process at a time, the newest attempt, stopped on request."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.config import options_read
from trainer.records import Request
from trainer.runs import InputError, LineLog, RunFolder, StoppedError, TakenError

HOLD = """
import sys, time
from pathlib import Path
from trainer.runs import CommandError, RunFolder
try:
    path, attempt, wait = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    with RunFolder(path, attempt=attempt, watch_stdin=True, stop_wait=wait) as folder:
        print("held", flush=True)
        while True:
            if sys.argv[4] == "willing":
                folder.stop_check()
            time.sleep(0.01)
except CommandError as error:
    sys.exit(error.exit_code)
"""


def holder(
    folder: Path, *, attempt: int = 1, stop_wait: float = 60, manner: str = "willing"
) -> "subprocess.Popen[str]":
    """A process that works in a folder until it is asked to stop."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), str(attempt), str(stop_wait), manner],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def request(*, model: str = "base") -> Request:
    """A request for a reward model."""
    return {"command": "reward", "model": model, "snapshot": "/s", "options": {}}


OPTIONS = options_read("reward", {"seed": 3})


def test_a_log_gives_back_its_lines(tmp_path: Path) -> None:
    log = LineLog(tmp_path / "log")
    assert (log.offset, list(log.lines())) == (0, [])
    log.append({"a": "ü"})
    place = log.offset
    log.append({"b": 2})
    assert list(log.lines()) == [{"a": "ü"}, {"b": 2}]
    log.truncate(place)
    assert list(log.lines()) == [{"a": "ü"}]
    assert log.offset == place


def test_a_log_is_not_truncated_to_more_than_it_has(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fewer"):
        LineLog(tmp_path / "log").truncate(5)


def test_a_log_takes_no_nan(tmp_path: Path) -> None:
    log = LineLog(tmp_path / "log")
    with pytest.raises(ValueError, match="JSON"):
        log.append({"loss": float("nan")})
    assert log.offset == 0


def test_half_a_line_is_passed_over_and_cut_off_on_entering(tmp_path: Path) -> None:
    (tmp_path / "outputs.jsonl").write_text('{"a": 1}\n{"b"')
    assert list(LineLog(tmp_path / "outputs.jsonl").lines()) == [{"a": 1}]
    with RunFolder(tmp_path) as folder:
        folder.outputs.append({"c": 3})
    assert (tmp_path / "outputs.jsonl").read_text() == '{"a": 1}\n{"c": 3}\n'


def test_the_config_is_the_whole_request(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.config_write(request(), OPTIONS, resolved={"device": "cpu"})
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model"] == "base"
    assert config["options"]["seed"] == 3
    assert config["options"]["centering"] == 0.0
    assert config["resolved"] == {"device": "cpu"}


def test_an_option_that_a_run_does_not_know_yet_has_its_default_there(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.config_write(request(), OPTIONS, resolved={})
        config = json.loads((tmp_path / "config.json").read_text())
        del config["options"]["parallel"]
        (tmp_path / "config.json").write_text(json.dumps(config))
        folder.request_check(request(), OPTIONS)
        with pytest.raises(InputError, match="parallel is 'replicas' there and 'sharded' here"):
            folder.request_check(request(), options_read("reward", {"seed": 3, "parallel": "sharded"}))


def test_another_request_is_refused_with_what_differs(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.config_write(request(), OPTIONS, resolved={})
        folder.request_check(request(), options_read("reward", {"seed": "3"}))
        with pytest.raises(InputError, match="seed is 3 there and 4 here"):
            folder.request_check(request(), options_read("reward", {"seed": 4}))
        with pytest.raises(InputError, match="model is 'base' there and 'other' here"):
            folder.request_check(request(model="other"), OPTIONS)
        with pytest.raises(InputError, match="reference"):
            folder.config_write({**request(), "reference": "other"}, OPTIONS, resolved={})


def test_the_request_is_compared_apart_from_what_it_came_to(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.config_write(request(), OPTIONS, resolved={"device": "cuda"})
        folder.config_write(request(), OPTIONS, resolved={"device": "cpu"})


def test_the_request_can_be_read_back(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.config_write(request(), OPTIONS, resolved={"device": "cpu"})
        assert folder.request["model"] == "base"
        assert folder.request["options"]["seed"] == 3
        assert "resolved" not in folder.request
        assert folder.resolved == {"device": "cpu"}


def test_what_several_processes_agree_on_stands_for_what_one_heard(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.stop_check(asked=False)
        with pytest.raises(StoppedError):
            folder.stop_check(asked=True)
        os.kill(os.getpid(), signal.SIGTERM)
        folder.stop_check(asked=False)
        with pytest.raises(StoppedError):
            folder.stop_check()


def test_a_report_finishes_the_run(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        assert not folder.finished
        folder.report_write({"counts": {}})
        assert folder.finished
    assert [path.name for path in tmp_path.glob("*report*")] == ["report.json"]


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    process = holder(tmp_path)
    with pytest.raises(TakenError, match="Another process"), RunFolder(tmp_path, attempt=1, lock_wait=0.2):
        pass
    process.kill()
    process.wait()
    with RunFolder(tmp_path, attempt=1, lock_wait=5):
        pass


def test_a_lower_attempt_is_refused(tmp_path: Path) -> None:
    with RunFolder(tmp_path, attempt=3):
        pass
    with pytest.raises(TakenError, match="attempt 3; this is attempt 2"), RunFolder(tmp_path, attempt=2):
        pass
    with RunFolder(tmp_path, attempt=3), pytest.raises(TakenError), RunFolder(tmp_path, attempt=1):
        pass


def test_a_newer_attempt_takes_over_from_an_older_process(tmp_path: Path) -> None:
    process = holder(tmp_path, attempt=1)
    with RunFolder(tmp_path, attempt=2, lock_wait=20):
        assert process.wait(timeout=10) == 4


def test_closing_stdin_asks_to_stop(tmp_path: Path) -> None:
    process = holder(tmp_path)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(timeout=10) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    process = holder(tmp_path)
    process.send_signal(number)
    assert process.wait(timeout=10) == 3


def test_a_process_that_does_not_stop_is_ended(tmp_path: Path) -> None:
    process = holder(tmp_path, stop_wait=0.3, manner="deaf")
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(timeout=10) == 3


def test_a_stop_is_heard_while_waiting_for_the_lock(tmp_path: Path) -> None:
    process = holder(tmp_path)
    waiting = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path), "1", "60", "willing"], stdin=subprocess.PIPE)
    assert waiting.stdin is not None
    waiting.stdin.close()
    assert waiting.wait(timeout=10) == 3
    process.kill()
    process.wait()


def test_the_handlers_of_signals_are_given_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with RunFolder(tmp_path) as folder:
        os.kill(os.getpid(), signal.SIGTERM)
        assert folder.stop_requested
        kept: list[str] = []
        with pytest.raises(StoppedError):
            folder.stop_check(lambda: kept.append("saved"))
        assert kept == ["saved"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_only_its_own_leftovers_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".env").write_text("SECRET=1")
    (tmp_path / ".link").symlink_to(tmp_path / ".git")
    (tmp_path / ".model.123.aside").mkdir()
    (tmp_path / ".report.json.123.aside").touch()
    with RunFolder(tmp_path):
        pass
    assert {path.name for path in tmp_path.glob(".*")} == {".git", ".env", ".link"}


def test_a_folder_with_another_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with RunFolder(tmp_path) as folder, pytest.raises(InputError, match="none of this run's"):
        folder.request_check(request(), options_read("sft", {}))


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(InputError, match="cannot be made a folder"), RunFolder(tmp_path / "out"):
        pass

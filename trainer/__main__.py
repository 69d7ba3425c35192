"""The command line: `python -m trainer {sft,reward,preference,sample,evaluate,combine} --output FOLDER …`.

Exit codes: 0 done; 2 options or input that cannot be used; 3 stopped because asked, start again to go on; 4 the
folder is in use or belongs to a newer attempt; 1 anything else. Torch is imported only when a command runs.
"""

import argparse
import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from trainer.config import OPTIONS, Options, TrainingOptions, option_fields, options_read
from trainer.fields import OptionsError
from trainer.loop.disk import disk_watched
from trainer.loop.trackers import tracker_check
from trainer.records import Request
from trainer.runs import LOCK_WAIT, CommandError, InputError, RunFolder, say

# Threads that wait for each other spin; on a machine with other work to do they would spend more time so than working.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

NEEDED = ("torch", "transformers", "safetensors", "pyarrow")
PATHS = {
    "snapshot": "Folder of the snapshot to learn from.",
    "reference": "Folder or hub id of the model to be compared with; the starting model where it is not given.",
    "prompts": "File of prompts, as JSON lines.",
    "completions": "File of completions, as JSON lines.",
}
LOCAL = {"snapshot", "prompts", "completions"}
"""Of these, what must be a path; a model may be a hub id."""
# What each command cannot do without, and what it can use besides.
WANTED = {
    "sft": ("snapshot",),
    "reward": ("snapshot",),
    "preference": ("snapshot",),
    "sample": ("prompts",),
    "evaluate": (),
    "combine": (),
}
USABLE = {
    "preference": ("reference",),
    "evaluate": ("completions", "reference", "snapshot"),
    "combine": ("snapshot",),
}
SEVERAL = {"combine"}
"""Commands that take `models`, by --model for each, in place of a model."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code."""
    given = _parser().parse_args(arguments)
    try:
        request = _request(given)
        options = options_read(given.command, request["options"])
        _libraries_check()
        if isinstance(options, TrainingOptions):
            tracker_check(options.tracker)
        return _run(request, options, given)
    except CommandError as error:
        return _refuse(given.command, str(error), error.exit_code)
    except OptionsError as error:
        return _refuse(given.command, str(error), InputError.exit_code)


def _run(request: Request, options: Options, given: argparse.Namespace) -> int:
    run_folder = RunFolder(
        Path(given.output), attempt=given.attempt, watch_stdin=given.watch_stdin, lock_wait=given.lock_wait
    )
    with _processes(options) as all_ready, run_folder as folder, disk_watched(folder.path):
        all_ready()
        folder.request_check(request, options)
        if folder.finished:
            say(f"{folder.path} is finished already.")
            return 0
        command = _command(given.command)
        folder.stop_check()
        report = command.run(request, options, folder)
        folder.report_write({"command": given.command} | report)
    return 0


@contextmanager
def _processes(options: Options) -> Iterator[Callable[[], object]]:
    """Works together with the other processes that `torchrun` or `accelerate launch` started, where there are any.

    What it gives waits for all of them.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield lambda: None
        return
    if not isinstance(options, TrainingOptions):
        raise InputError(f"{options.command} runs in one process. Start it without torchrun or accelerate launch.")
    distributed = importlib.import_module("trainer.loop.distributed")
    with distributed.joined():
        yield lambda: distributed.exchange(None)


def _command(name: str) -> ModuleType:
    """The module of a command. Its libraries say little: bars are for terminals, and this goes to a file."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    logging = importlib.import_module("transformers.utils.logging")
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    return importlib.import_module(f"trainer.{name}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, kind in OPTIONS.items():
        command = commands.add_parser(name, help=kind.__doc__, description=kind.__doc__, allow_abbrev=False)
        command.add_argument("--output", required=True, metavar="FOLDER", help="Run folder; resumed where it exists.")
        command.add_argument("--request", metavar="FILE", help="All that follows, as JSON.")
        if name in SEVERAL:
            command.add_argument("--model", dest="models", action="append", help="Folder or hub id; give several.")
        else:
            command.add_argument("--model", help="Folder or hub id of the model to start from.")
        for path in WANTED[name] + USABLE.get(name, ()):
            command.add_argument(f"--{path}", help=PATHS[path])
        command.add_argument("--attempt", type=int, metavar="N", help="A folder refuses lower ones than it has seen.")
        command.add_argument("--watch-stdin", action="store_true", help="Stop when the standard input is closed.")
        command.add_argument("--lock-wait", type=float, default=LOCK_WAIT, help="Seconds to wait for the folder.")
        _options_add(command.add_argument_group("options"), name)
    return parser


def _options_add(group: "argparse._ArgumentGroup", command: str) -> None:
    for field in option_fields(command):
        flag = f"--{field.name.replace('_', '-')}"
        choices = f" One of {', '.join(field.choices)}." if field.choices else ""
        help_text = f"{field.help_text}{choices} Default: {field.default!r}.".replace("%", "%%")
        action = "append" if field.kind == "texts" else "store"
        group.add_argument(flag, dest=f"option_{field.name}", action=action, metavar="VALUE", help=help_text)


def _request(given: argparse.Namespace) -> Request:
    """The request from its file, or from the command line. Raises InputError."""
    options = {
        name.removeprefix("option_"): value
        for name, value in vars(given).items()
        if name.startswith("option_") and value is not None
    }
    paths = {name: value for name in ("model", "models", *PATHS) if (value := getattr(given, name, None)) is not None}
    if given.request is None:
        request: dict[str, Any] = {"command": given.command, "options": options} | paths
    elif options or paths:
        raise InputError("Give --request, or the options on the command line, not both.")
    else:
        request = _request_read(Path(given.request))
    _request_check(request, given.command)
    single = request.keys() - {"command", "options", "models"}
    places: dict[str, Any] = {name: _absolute(request[name]) for name in single}
    if "models" in request:
        places["models"] = [_absolute(model) for model in request["models"]]
    return cast(Request, request | places)


def _request_read(path: Path) -> dict[str, Any]:
    try:
        request = json.loads(path.read_text())
    except OSError as error:
        raise InputError(f"The request {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise InputError(f"The request {path} is no JSON: {error}") from error
    if not isinstance(request, dict) or not isinstance(request.get("options"), dict):
        raise InputError(f"The request {path} must be a JSON object with command, options and model.")
    return request


def _request_check(request: dict[str, Any], command: str) -> None:
    if request.get("command") != command:
        raise InputError(f"The request is for {request.get('command')!r}, not for {command}.")
    models = "models" if command in SEVERAL else "model"
    wanted = (models, *WANTED[command])
    usable = {"command", "options", *wanted, *USABLE.get(command, ())}
    if unknown := sorted(request.keys() - usable):
        raise InputError(f"{command} takes no {', '.join(unknown)}.")
    for name in request.keys() - {"command", "options", "models"}:
        if not isinstance(request[name], str) or not request[name]:
            raise InputError(f"{name} must be a path, not {request[name]!r}.")
    several = request.get("models", [])
    if not isinstance(several, list) or not all(isinstance(model, str) and model for model in several):
        raise InputError(f"models must be a list of paths, not {several!r}.")
    for name in wanted:
        if name not in request:
            flag = "--model" if name == models else f"--{name}"
            raise InputError(f"{command} needs {flag}, or {name} in its request.")
    for name in request.keys() & LOCAL:
        if not Path(request[name]).exists():
            raise InputError(f"There is no {name} at {request[name]}.")


def _absolute(path: str) -> str:
    """A path that means the same from everywhere. A hub id is no path and stays."""
    return str(Path(path).resolve()) if Path(path).exists() else path


def _libraries_check() -> None:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"{' and '.join(missing)} cannot be imported here. Install what training needs: make install")


def _refuse(command: str, message: str, code: int) -> int:
    print(f"{command}: {message}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())

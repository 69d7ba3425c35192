"""A small program that keeps to the trainer's command line and folder, without learning anything.

How it behaves stands before the trainer's own arguments: `stand_in_trainer.py [--steps 5 …] reward --output …`.
"""

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

stop = threading.Event()


def watch() -> None:
    """Stop when stdin closes."""
    while os.read(0, 4096):
        pass
    stop.set()


def append(path: Path, line: dict[str, object]) -> None:
    """Write a line to a log."""
    with path.open("ab", buffering=0) as file:
        file.write(json.dumps(line).encode() + b"\n")


def arguments() -> argparse.Namespace:
    """What was asked for, of the stand-in and of the trainer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--checkpoint-every", type=int, default=2)
    parser.add_argument("--kill-at", type=int, default=-1, help="The first attempt is killed after this step.")
    parser.add_argument("--exit", type=int, default=0)
    parser.add_argument("--say", default="")
    parser.add_argument("--deaf", action="store_true", help="Does not stop when asked.")
    parser.add_argument("--child", action="store_true", help="Leaves a process behind; its id is in child.pid.")
    parser.add_argument("command")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--request", type=Path, required=True)
    parser.add_argument("--attempt", type=int, required=True)
    parser.add_argument("--watch-stdin", action="store_true")
    return parser.parse_args()


def resume(folder: Path) -> int:
    """The step of the newest checkpoint; the log is cut to what it was then."""
    steps = [int(path.name.removeprefix("step-")) for path in (folder / "checkpoints").glob("step-*")]
    if not steps:
        (folder / "events.jsonl").unlink(missing_ok=True)
        return 0
    state = json.loads((folder / f"checkpoints/step-{max(steps)}/state.json").read_text())
    os.truncate(folder / "events.jsonl", state["events_offset"])
    return max(steps)


def checkpoint(folder: Path, step: int) -> None:
    """Save how far it came."""
    (folder / "checkpoints").mkdir(exist_ok=True)
    path = folder / f"checkpoints/step-{step}"
    aside = path.with_name(f".{path.name}")
    aside.mkdir()
    offset = (folder / "events.jsonl").stat().st_size
    (aside / "state.json").write_text(json.dumps({"events_offset": offset, "outputs_offset": 0}))
    aside.rename(path)


def train(given: argparse.Namespace, folder: Path) -> None:
    """Log a line for each step, save checkpoints, and write a model and a report."""
    first = resume(folder)
    print(f"From step {first}", flush=True)
    for step in range(first + 1, given.steps + 1):
        time.sleep(given.pause)
        values = {"loss": 0.7 - 0.5 * step / given.steps, "accuracy": 0.5 + 0.4 * step / given.steps}
        append(folder / "events.jsonl", {"kind": "train", "step": step, "total": given.steps, "values": values})
        if stop.is_set() and not given.deaf:
            checkpoint(folder, step)
            sys.exit(3)
        if step == given.kill_at and first == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if step % given.checkpoint_every == 0:
            checkpoint(folder, step)
    (folder / "model").mkdir(exist_ok=True)
    (folder / "model/config.json").write_text('{"model_type": "llama"}')
    (folder / "model/model.safetensors").write_bytes(b"weights" * 100)


def evaluate(folder: Path, request: dict[str, str]) -> None:
    """Score each completion by its length; the one that says nothing is left out."""
    for line in Path(request["completions"]).read_text().splitlines():
        completion = json.loads(line)
        found: dict[str, object] = {"values": {"score": float(len(completion["text"]))}}
        append(folder / "outputs.jsonl", {"completion": completion["completion"], **found})


def main() -> None:
    """Do what the trainer would."""
    given = arguments()
    folder: Path = given.output
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    if given.watch_stdin:
        threading.Thread(target=watch, daemon=True).start()
    (folder / "trainer.pid").write_text(str(os.getpid()))
    if given.child:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (folder / "child.pid").write_text(str(child.pid))
    if given.say:
        print(given.say, flush=True)
    if given.exit:
        sys.exit(given.exit)
    if (folder / "report.json").exists():
        return
    request = json.loads(given.request.read_text())
    (folder / "config.json").write_text(json.dumps(request | {"resolved": {"dtype": "float32", "device": "cpu"}}))
    if given.command == "evaluate":
        evaluate(folder, request)
    else:
        train(given, folder)
    report = {"command": given.command, "counts": {"prompts": 7}, "metrics": {"accuracy": 0.75}}
    (folder / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main()

"""A stand-in for `python -m trainer sample` that obeys its contract: answers prompts with made-up lines, no model.

The model folder's config.json tells it how to behave: `delay` (seconds per line), `fail_after` (lines), `odd` (texts
that a careless engine might write), `too_long` (so many of the prompts do not fit the model).
"""

import argparse
import fcntl
import json
import os
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

parser = argparse.ArgumentParser()
parser.add_argument("command")
parser.add_argument("--output", type=Path)
parser.add_argument("--request", type=Path)
parser.add_argument("--attempt", type=int)
parser.add_argument("--watch-stdin", action="store_true")

ODD = ["", "nul \0 inside", "half \ud83d a character", "a plain one"]


def stop_watch() -> None:
    while os.read(0, 4096):
        pass
    os._exit(3)


def lines_of(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Every line."""
    prompts = [json.loads(line) for line in Path(request["prompts"]).read_text().splitlines()]
    options, name = request["options"], Path(request["model"]).name
    behaviour = json.loads(Path(request["model"], "config.json").read_text())
    prompts = prompts[behaviour.get("too_long", 0) :]
    return [
        {
            "prompt": prompt["prompt"],
            "index": index,
            "text": ODD[index % 4] if behaviour.get("odd") else f"{name} {index}: {prompt['messages'][-1]['content']}",
            "finish_reason": "length" if index % 2 else "stop",
            "tokens": 3,
            "seed": options["seed"],
        }
        for prompt in prompts
        for index in range(options["n"])
    ]


def main() -> int:
    given = parser.parse_args()
    request = json.loads(given.request.read_text())
    behaviour = json.loads(Path(request["model"], "config.json").read_text())
    lock = os.open(given.output / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    threading.Thread(target=stop_watch, daemon=True).start()
    outputs = given.output / "outputs.jsonl"
    content = outputs.read_bytes() if outputs.exists() else b""
    outputs.write_bytes(content[: content.rfind(b"\n") + 1])
    written = {(line["prompt"], line["index"]) for line in map(json.loads, outputs.read_text().splitlines())}
    print(f"{len(written)} are there already", file=sys.stderr, flush=True)
    lines = lines_of(request)
    missing = [line for line in lines if (line["prompt"], line["index"]) not in written]
    # Completions end in any order, and in another one on another day.
    random.Random(given.attempt).shuffle(missing)
    with outputs.open("a") as file:
        for number, line in enumerate(missing, start=len(written)):
            if number == behaviour.get("fail_after"):
                print("CUDA is out of patience", file=sys.stderr)
                return 1
            text = json.dumps(line) + "\n"
            file.write(text[:10])
            file.flush()
            time.sleep(behaviour.get("delay", 0))
            file.write(text[10:])
            file.flush()
    counts = {"prompts": len(lines) // request["options"]["n"], "completions": len(lines)}
    counts["prompts_excluded"] = behaviour.get("too_long", 0)
    (given.output / "report.json").write_text(json.dumps({"command": "sample", "counts": counts}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Our side: `python -m trainer reward` or `preference` on the snapshot, as everybody runs it, with a meter in its loop.

python -m benchmarks.peers.prefloop_side JSON FOLDER. Prints one JSON line.
"""

import importlib
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.peers.measuring import Meter, sequences_digest
from trainer.__main__ import main
from trainer.loop import training

COMMANDS = {"reward": "reward", "dpo": "preference"}


class Watch:
    """Counts from the first step to the last, without what comes before and after them."""

    def __init__(self) -> None:
        self.meter = Meter()
        self.reference_cpu_s = 0.0
        self.digest = ""

    def loop_watch(self) -> None:
        """Look on at the training loop."""
        loop: Any = training.Training
        steps, update = loop.steps, loop.update

        def watched_steps(own: training.Training) -> Iterator[Any]:
            self.digest = sequences_digest(
                group.prompt_ids + completion for group in own.groups for completion in group.completions
            )
            for step in steps(own):
                if not self.meter.begun:
                    self.meter.begin()
                yield step

        def watched_update(own: training.Training, step: Any) -> Any:
            done = update(own, step)
            self.meter.mark()
            return done

        loop.steps, loop.update = watched_steps, watched_update

    def references_watch(self) -> None:
        """Look on at the computing of the reference."""
        preference: Any = importlib.import_module("trainer.preference")
        references = preference.references_make

        def watched_references(*given: Any, **named: Any) -> Any:
            begun = time.process_time()
            done = references(*given, **named)
            self.reference_cpu_s = time.process_time() - begun
            return done

        preference.references_make = watched_references


def command_line(given: dict[str, Any], output: str) -> list[str]:
    """The command: one pass, no checkpoint before its end."""
    options = {
        "model": given["model"],
        "snapshot": f"{given['folder']}/snapshot",
        "output": output,
        "epochs": 1,
        "prompts-per-step": given["prompts_per_step"],
        "micro-tokens": given["micro_tokens"],
        "dtype": given["dtype"],
        "learning-rate": 1e-6,
        "checkpoint-every": 1_000_000,
    }
    return [COMMANDS[given["method"]], *(f"--{name}={value}" for name, value in options.items())]


def train(given: dict[str, Any], output: str) -> dict[str, Any]:
    """One pass over the rankings of a folder; the figures of the pass alone, and what came before it."""
    watch = Watch()
    watch.loop_watch()
    if given["method"] == "dpo":
        watch.references_watch()
    code = main(command_line(given, output))
    if code:
        raise SystemExit(code)
    figures = watch.meter.figures()
    rest = time.process_time() - figures["cpu_s"]
    return figures | {"reference_cpu_s": watch.reference_cpu_s, "beside_cpu_s": rest, "digest": watch.digest}


if __name__ == "__main__":
    print(json.dumps(train(json.loads(sys.argv[1]), sys.argv[2])))

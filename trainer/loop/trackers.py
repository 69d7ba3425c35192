"""Where measurements go besides the run folder: TensorBoard or Weights & Biases, each an option with its package.

`events.jsonl` is what was measured; a tracker shows it. Scalars are named by kind and name, such as `train/loss`.
"""

import importlib
import importlib.util
import json
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from trainer.durable import json_write
from trainer.records import CONFIG
from trainer.runs import InputError, leading

TENSORBOARD = "tensorboard"
_WANDB_ID = "wandb.json"


class Tracker(Protocol):
    """Takes what was measured at a step."""

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Take what was measured."""

    def close(self) -> None:
        """Wait until all is written."""


def tracker_check(name: str) -> None:
    """Raise InputError when the package of a tracker is not installed."""
    if name != "none" and importlib.util.find_spec(name) is None:
        raise InputError(
            f"tracker is {name}, and the package {name} cannot be imported here. Install it (pip install {name}), or "
            "set tracker to none: events.jsonl in the run folder has every measurement."
        )


@contextmanager
def tracker_open(name: str, folder: Path, past: Iterable[Mapping[str, Any]]) -> Iterator[Tracker]:
    """A tracker for the run in a folder, of which `past` are the lines of events.jsonl that stand."""
    kinds: dict[str, type[_TensorBoard] | type[_Wandb]] = {"tensorboard": _TensorBoard, "wandb": _Wandb}
    tracker: Tracker = kinds[name](folder, past) if name in kinds and leading() else _Nothing()
    try:
        yield tracker
    finally:
        tracker.close()


class _Nothing:
    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class _TensorBoard:
    """Files of TensorBoard in the folder `tensorboard`.

    A run that goes on writes them anew from what stands: a process that was killed may have left steps that are done
    again, and may not have written the last ones before its checkpoint.
    """

    def __init__(self, folder: Path, past: Iterable[Mapping[str, Any]]) -> None:
        shutil.rmtree(folder / TENSORBOARD, ignore_errors=True)
        writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter
        self._writer = writer(str(folder / TENSORBOARD), flush_secs=10)
        for line in past:
            self.write(line["kind"], line["step"], line["values"])

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    """A run of Weights & Biases, the same one when a run goes on. What it has already is not sent again."""

    def __init__(self, folder: Path, past: Iterable[Mapping[str, Any]]) -> None:
        kept = folder / _WANDB_ID
        if not kept.exists():
            json_write(kept, {"id": secrets.token_hex(8)})
        self._run = importlib.import_module("wandb").init(
            id=json.loads(kept.read_text())["id"],
            resume="allow",
            project="prefloop",
            name=folder.name,
            dir=str(folder),
            config=json.loads((folder / CONFIG).read_text()),
        )
        self._known = int(self._run.step)
        for line in past:
            self.write(line["kind"], line["step"], line["values"])

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        if step >= self._known:
            self._run.log({f"{kind}/{name}": value for name, value in values.items()}, step=step)

    def close(self) -> None:
        self._run.finish()

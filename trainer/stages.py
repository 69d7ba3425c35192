"""A run inside a run: what a command trains first, so that it can begin."""

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import asdict
from types import TracebackType
from typing import Self

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from trainer import sft
from trainer.config import PreferenceOptions, SftOptions, TrainingOptions, suggested
from trainer.durable import leftovers_remove
from trainer.loop import distributed
from trainer.models.networks import ModelError
from trainer.records import CHECKPOINTS, MODEL, Request
from trainer.runs import RunFolder, leading, say

PREFERRED_STAGE = "sft"


class Stage(RunFolder):
    """A folder in a run folder with logs, checkpoints and a model of its own, in which the same process works; it is
    stopped when the outer run is, and resumed with it.
    """

    def __init__(self, outer: RunFolder, name: str) -> None:
        super().__init__(outer.path / name)
        self._outer = outer

    def __enter__(self) -> Self:
        self.path.mkdir(exist_ok=True)
        if leading():
            leftovers_remove(self.path)
        self.events.mend()
        self.outputs.mend()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing is held that the outer run does not hold."""

    @property
    def stop_requested(self) -> bool:
        """As the outer run's."""
        return self._outer.stop_requested

    def stop_check(self, before: Callable[[], object] = lambda: None, *, asked: bool | None = None) -> None:
        """As the outer run's."""
        self._outer.stop_check(before, asked=asked)


def preferred_learned(request: Request, options: PreferenceOptions, folder: RunFolder) -> str:
    """The folder of a copy of the starting model that learned the completions ranked first, one epoch of them.

    What is done already is not done again. Its checkpoints go when it is whole.
    """
    with Stage(folder, PREFERRED_STAGE) as stage:
        if not stage.finished:
            say("First, a copy of the model learns the preferred completions.")
            wanted = preferred_options(options, request["model"])
            inner: Request = {
                "command": "sft",
                "options": asdict(wanted),
                "model": request["model"],
                "snapshot": request["snapshot"],
            }
            stage.request_check(inner, wanted)
            stage.report_write({"command": "sft"} | sft.run(inner, wanted, stage))
            distributed.exchange(None)  # the model is there for all processes
            say("The copy is made; now it learns from the comparisons.")
        if leading():
            shutil.rmtree(stage.path / CHECKPOINTS, ignore_errors=True)
        return str(stage.path / MODEL)


def preferred_options(options: PreferenceOptions, model: str) -> SftOptions:
    """Those of the comparisons, with the learning rate that suits supervised training of a model of this size."""
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(TrainingOptions)}
    rate = suggested("sft", _parameters(model), lora=options.lora_rank > 0)["learning_rate"]
    given |= {"epochs": 1, "learning_rate": rate, "patience": 0, "tracker": "none"}
    return SftOptions(answers="preferred", **given)


def _parameters(model: str) -> int:
    """How many weights a model has; none of them is read."""
    try:
        config = AutoConfig.from_pretrained(model, trust_remote_code=False)
        with torch.device("meta"):
            return int(AutoModelForCausalLM.from_config(config).num_parameters())  # type: ignore[no-untyped-call]
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"No language model can be loaded from {model}: {error}") from error

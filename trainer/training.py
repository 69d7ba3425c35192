"""What every training does alike: the order of the prompts, steps, checkpoints, resume, logs.

A training is a loop over `Training.steps`, which yields optimizer steps that are still to be done; its body adds up
gradients over `Step.portions` and calls `Training.update`. Everything that happens follows from the options and the
step, so that a run that was killed and started again ends with the same weights.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import AdamW
from transformers import PreTrainedModel

from trainer.batches import Batch, Group, collate
from trainer.checkpoints import checkpoint_load, checkpoint_save
from trainer.config import TrainingOptions
from trainer.conversations import Tokenizer
from trainer.durable import folder_aside
from trainer.material import groups_digest, longest
from trainer.metrics import accuracy_report
from trainer.networks import model_save
from trainer.optimization import optimizer_step, rate_at
from trainer.records import MODEL, Checkpoint, checkpoint_newest
from trainer.runs import CommandError, InputError, RunFolder, say

SAY_EVERY = 10.0
SAID = ("loss", "accuracy", "accuracy_low", "accuracy_high", "longer_wins", "random", "margin", "grad_norm")


class Portion(NamedTuple):
    """Prompts of a step that are in memory at once, as a batch, and which share of the step they are."""

    groups: list[Group]
    batch: Batch
    share: float


@dataclass
class Step:
    """One optimizer step: its prompts, shortest first, and what was measured in it."""

    number: int
    groups: list[Group]
    micro_batch: int
    pad_id: int
    device: torch.device
    size: Callable[[Group], float]
    sums: dict[str, Tensor] = field(default_factory=dict)

    @property
    def total_size(self) -> float:
        """What its prompts count for together; the loss of the step is a mean over this."""
        return math.fsum(self.size(group) for group in self.groups)

    def portions(self) -> Iterator[Portion]:
        """The prompts in portions that fit in memory."""
        for start in range(0, len(self.groups), self.micro_batch):
            part = self.groups[start : start + self.micro_batch]
            share = math.fsum(self.size(group) for group in part) / self.total_size
            yield Portion(part, collate(part, self.pad_id, self.device), share)

    def add(self, **values: Tensor) -> None:
        """Add to the sums of the step. Nothing waits for the device here."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, torch.zeros((), device=self.device)) + value.detach().float()


def shares(sums: Mapping[str, float]) -> dict[str, float]:
    """The sums of a step with an accuracy in place of what was right and what was compared; none where nothing was."""
    values = {name: value for name, value in sums.items() if name not in {"right", "compared"}}
    if sums.get("compared", 0.0) > 0:
        values["accuracy"] = sums["right"] / sums["compared"]
    return values


@dataclass
class Training:
    """A training in a run folder. `size` is what a prompt counts for in the mean of a step."""

    folder: RunFolder
    options: TrainingOptions
    model: PreTrainedModel
    tokenizer: Tokenizer
    optimizer: AdamW
    groups: Sequence[Group]
    device: torch.device
    size: Callable[[Group], float]
    evaluate: Callable[[], Mapping[str, float]]
    held_out: bool

    def __post_init__(self) -> None:
        self.steps_per_epoch = math.ceil(len(self.groups) / self.options.prompts_per_step)
        self.total = self.options.epochs * self.steps_per_epoch
        self.data = groups_digest(self.groups)
        self._said = 0.0

    def steps(self) -> Iterator[Step]:
        """The steps still to be done, from the newest checkpoint on; then the last evaluation."""
        done = self._resume()
        while done < self.total:
            self.folder.stop_check(partial(self._save, done))
            yield self._step(done + 1)
            done += 1
            if done < self.total and self.options.evaluate_every and done % self.options.evaluate_every == 0:
                self._evaluate(done)
            if done == self.total or done % self.options.checkpoint_every == 0:
                self._save(done)
        self.folder.stop_check()
        self._evaluate(done)

    def update(self, step: Step) -> None:
        """Take the optimizer step with the gradients that were added up, and log it."""
        rate = rate_at(step.number, self.total, self.options)
        norm = optimizer_step(self.model, self.optimizer, rate=rate, max_norm=self.options.max_grad_norm)
        values = shares({name: float(value) for name, value in step.sums.items()})
        values |= {"learning_rate": rate, "grad_norm": norm}
        self._log("train", step.number, values)

    def model_publish(self) -> Path:
        """Save the trained model, whole or not at all. Returns its folder."""
        path = self.folder.path / MODEL
        if path.exists():
            # A process was killed between this and the report.
            return path
        with folder_aside(path) as aside:
            model_save(self.model, self.tokenizer, aside)
        return path

    def measured(self) -> dict[str, float]:
        """What was measured last, on held-out prompts and in training, beside what it was before the first step."""
        lines = list(self.folder.events.lines())
        evaluations = [line["values"] for line in lines if line["kind"] == "eval"]
        last = [line["values"] for line in lines if line["kind"] == "train"][-1]
        metrics = {f"train_{name}": last[name] for name in ("loss", "accuracy") if name in last}
        if evaluations:
            before = {f"{name}_before": evaluations[0][name] for name in ("loss", "accuracy") if name in evaluations[0]}
            metrics |= evaluations[-1] | before
        return metrics

    def _resume(self) -> int:
        newest = checkpoint_newest(self.folder.path)
        if newest is None:
            self.folder.events.truncate(0)
            self._evaluate(0)
            return 0
        self._restore(newest)
        say(f"Going on after step {newest.step} of {self.total}.")
        return newest.step

    def _restore(self, checkpoint: Checkpoint) -> None:
        state = checkpoint_load(checkpoint, model=self.model, optimizer=self.optimizer)
        if state["data"] != self.data:
            raise InputError(
                f"The checkpoint {checkpoint.path} learned from other data than what the snapshot holds now. "
                "Choose another --output."
            )
        self.folder.events.truncate(checkpoint.events_offset)
        self.folder.outputs.truncate(checkpoint.outputs_offset)

    def _step(self, number: int) -> Step:
        epoch, place = divmod(number - 1, self.steps_per_epoch)
        order = epoch_order(len(self.groups), self.options.seed, epoch)
        size = self.options.prompts_per_step
        chosen = [self.groups[index] for index in order[place * size : (place + 1) * size]]
        # Similar lengths side by side need less padding; the step stays the same.
        chosen.sort(key=longest)
        pad_id = int(self.tokenizer.pad_token_id)
        return Step(number, chosen, self.options.micro_batch, pad_id, self.device, self.size)

    def _save(self, step: int) -> None:
        checkpoint_save(self.folder, step=step, model=self.model, optimizer=self.optimizer, state={"data": self.data})

    def _evaluate(self, step: int) -> None:
        if self.held_out:
            self._log("eval", step, self.evaluate())

    def _log(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        if not all(map(math.isfinite, values.values())):
            raise CommandError(
                f"Step {step} gave numbers that are not finite: {dict(values)}. Try a lower learning rate, or dtype "
                "float32; if this is step 0, the model that was given is damaged."
            )
        self.folder.events.append({"kind": kind, "step": step, "total": self.total, "values": dict(values)})
        if kind == "eval" or step == self.total or time.monotonic() - self._said > SAY_EVERY:
            self._said = time.monotonic()
            numbers = ", ".join(f"{name} {values[name]:.4g}" for name in SAID if name in values)
            say(f"{'Step' if kind == 'train' else 'Held out, step'} {step} of {self.total}: {numbers}")


@lru_cache(maxsize=2)
def epoch_order(count: int, seed: int, epoch: int) -> tuple[int, ...]:
    """The order of the prompts in an epoch, which depends on nothing else."""

    def draw(index: int) -> bytes:
        return hashlib.sha256(f"{seed}:{epoch}:{index}".encode()).digest()

    return tuple(sorted(range(count), key=draw))


def agreement(values: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Of the wins of a batch, the weight of those whose values (G, K) agree (equal ones count half), and of all."""
    differences = values.detach().unsqueeze(2) - values.detach().unsqueeze(1)
    right = (differences > 0).float() + 0.5 * (differences == 0).float()
    return (batch.wins * right).sum(), batch.wins.sum()


def rows_split(groups: Sequence[Group], values: Tensor) -> list[tuple[Group, list[float]]]:
    """Values (N,) of the rows of a batch, by group."""
    sizes = [len(group.completions) for group in groups]
    return [(group, part.tolist()) for group, part in zip(groups, torch.split(values.cpu(), sizes), strict=True)]


def judged_report(judged: Sequence[tuple[Group, list[float]]]) -> dict[str, float]:
    """How well the values of completions agree with what people said, beside the baselines."""
    ordered = sorted(judged, key=lambda pair: (pair[0].prompt, pair[0].ids))
    groups = [group for group, _ in ordered]
    return accuracy_report(
        prompts=[group.prompt for group in groups],
        scores=[values for _, values in ordered],
        lengths=[[len(completion) for completion in group.completions] for group in groups],
        edges=[group.edges for group in groups],
    )

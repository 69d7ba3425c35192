"""What every training does alike: the order of the prompts, steps, checkpoints, resume, logs.

A training is a loop over `Training.steps`, which yields optimizer steps that are still to be done; its body adds up
gradients by `Step.accumulate` and calls `Training.update`. Everything that happens follows from the options and the
step, so that a run that was killed and started again ends with the same weights.

Several processes share the work of each step, add up gradients and measurements, and take the same optimizer step.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import AdamW
from transformers import PreTrainedModel

from trainer.config import Options, TrainingOptions
from trainer.data.batches import Edges, Feed
from trainer.data.conversations import Tokenizer
from trainer.data.groups import Edge, Group
from trainer.durable import folder_aside
from trainer.loop import distributed
from trainer.loop.checkpoints import checkpoint_bytes, checkpoint_load, checkpoint_save, checkpoint_weights
from trainer.loop.disk import disk_check
from trainer.loop.material import groups_digest
from trainer.loop.memory import MemoryEndError, checkpointing_enable, out_of_memory
from trainer.loop.optimization import gradients_clip, optimizer_step, rate_at
from trainer.loop.sharding import model_gather
from trainer.loop.steps import NotFiniteError, Step
from trainer.loop.stopping import Patience
from trainer.loop.trackers import Tracker, tracker_open
from trainer.models.adapters import adapters_merge
from trainer.models.networks import model_save
from trainer.records import CHECKPOINTS, MODEL, Checkpoint, checkpoint_newest
from trainer.reports.card import card_write, versions_here
from trainer.reports.metrics import accuracy_breakdown, accuracy_report
from trainer.reports.plots import plots_write
from trainer.runs import InputError, RunFolder, leading, say

SAY_EVERY = 10.0
SAID = ("loss", "accuracy", "accuracy_low", "accuracy_high", "longer_wins", "random", "margin", "grad_norm")


def shares(sums: Mapping[str, float]) -> dict[str, float]:
    """The sums of a step. One named `a/b` is divided by that named `b`, and called `a`; none where that is 0."""
    over = {name: name.split("/") for name in sums if "/" in name}
    divisors = {of for _, of in over.values()}
    values = {name: value for name, value in sums.items() if name not in over and name not in divisors}
    return values | {short: sums[name] / sums[of] for name, (short, of) in over.items() if sums.get(of, 0.0) > 0}


@dataclass
class Training:
    """A training in a run folder. `size` is what a prompt counts for in the mean of a step.

    `evaluate` measures on held-out prompts, its `loss` among others, the same in every process.
    """

    folder: RunFolder
    options: TrainingOptions
    model: PreTrainedModel
    tokenizer: Tokenizer
    optimizer: AdamW
    groups: Sequence[Group]
    feed: Feed
    size: Callable[[Group], float]
    evaluate: Callable[[], Mapping[str, float]]
    held_out: bool

    def __post_init__(self) -> None:
        self.steps_per_epoch = math.ceil(len(self.groups) / self.options.prompts_per_step)
        self.total = self.options.epochs * self.steps_per_epoch
        self.data = groups_digest(self.groups)
        self.patience = Patience(self.options.patience)
        self.done = 0
        self._said = 0.0
        self._tracker: Tracker | None = None
        if self.options.patience and not (self.held_out and self.options.evaluate_every):
            raise InputError(
                "patience counts evaluations on held-out prompts in between: set evaluate_every, and hold prompts out."
            )
        if self.options.gradient_checkpointing:
            checkpointing_enable(self.model)

    def steps(self) -> Iterator[Step]:
        """The steps still to be done, from the newest checkpoint on; then the last evaluation.

        In the end every process has the whole model; with `patience`, its weights are those of the best evaluation.
        """
        options = self.options
        disk_check(self.folder.path, self._bytes())
        begun = self._restored()
        with tracker_open(options.tracker, self.folder.path, self.folder.events.lines()) as self._tracker:
            if not begun and self._evaluate():
                self._save()
            distributed.replicas_check(self.model)
            while self.done < self.total and not self.patience.over:
                self._stop_check(self._save)
                yield self._step(self.done + 1)
                self.done += 1
                between = self.done < self.total and options.evaluate_every and self.done % options.evaluate_every == 0
                if between and self._evaluate():
                    self._save()
                if self.done == self.total or self.done % options.checkpoint_every == 0 or self.patience.over:
                    self._save()
            self._stop_check()
            if not self.patience.over:
                self._evaluate()
            self._best_take()
            model_gather(self.model, self.optimizer)

    def update(self, step: Step) -> None:
        """Take the optimizer step with the gradients that were added up, and log it.

        Raises NotFiniteError, with weights as they were, when a number is not finite.
        """
        sums = step.sums()
        distributed.gradients_sum(self.model)
        norm = gradients_clip(self.model, self.options.max_grad_norm)
        if not math.isfinite(norm):
            raise step.gradient_error(norm)
        rate = rate_at(step.number, self.total, self.options)
        try:
            optimizer_step(self.optimizer, rate=rate)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise MemoryEndError(
                f"Out of memory at step {step.number}, when the optimizer made room for its means: they need twice the "
                "memory of the weights that learn. Train adapters (lora_rank), or use a device with more memory."
            ) from error
        self._log("train", step.number, shares(sums) | {"learning_rate": rate, "grad_norm": norm})

    def publish(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """Save the trained model with its card, whole or not at all, and draw the plots.

        Returns the report: what was `found`, with `metrics`, the number of `steps`, and what the request came to.
        """
        adapters_merge(self.model)
        report = {"metrics": self._measured(), "steps": self.done, "resolved": self.folder.resolved} | dict(found)
        if self.options.patience:
            report["best_step"] = self.patience.step
        if leading():
            self._model_save(report)
            plots_write(self.folder.path, self.folder.events.lines(), report)
        return report

    def _model_save(self, report: Mapping[str, Any]) -> None:
        path = self.folder.path / MODEL
        if path.exists():
            return  # a process was killed between this and the report
        with folder_aside(path) as aside:
            model_save(self.model, self.tokenizer, aside)
            card_write(
                aside,
                command=self.options.command,
                request=self.folder.request,
                options=cast(Options, self.options),
                resolved=report["resolved"],
                report=report,
                versions=versions_here(),
            )

    def _measured(self) -> dict[str, float]:
        """What was measured of the published weights on held-out prompts, and last in training, beside what it was
        before the first step.
        """
        distributed.exchange(None)
        lines = list(self.folder.events.lines())
        evaluations = [line for line in lines if line["kind"] == "eval"]
        last = [line["values"] for line in lines if line["kind"] == "train"][-1]
        metrics = {f"train_{name}": last[name] for name in ("loss", "accuracy") if name in last}
        if evaluations:
            first = evaluations[0]["values"]
            best = self.patience.step if self.options.patience else evaluations[-1]["step"]
            metrics |= next(line["values"] for line in evaluations if line["step"] == best)
            metrics |= {f"{name}_before": first[name] for name in ("loss", "accuracy") if name in first}
        return metrics

    def _bytes(self) -> int:
        """What checkpoints, one more while it is written, the best one, and the model take on disk."""
        weights = sum(parameter.numel() * parameter.element_size() for parameter in self.model.parameters())
        checkpoints = self.options.checkpoints_kept + 1 + (self.options.patience > 0)
        return weights + checkpoints * checkpoint_bytes(self.model)

    def _restored(self) -> bool:
        """Go back to the newest checkpoint. False when there is none."""
        newest = checkpoint_newest(self.folder.path)
        # Nobody writes the next one before all have read this.
        distributed.exchange(None)
        if newest is None:
            self.folder.events.truncate(0)
            return False
        state = checkpoint_load(newest, model=self.model, optimizer=self.optimizer)
        self._state_take(newest, state)
        self.folder.events.truncate(newest.events_offset)
        self.folder.outputs.truncate(newest.outputs_offset)
        self.done = newest.step
        say(f"Going on after step {newest.step} of {self.total}.")
        return True

    def _state_take(self, checkpoint: Checkpoint, state: Mapping[str, Any]) -> None:
        if state["data"] != self.data:
            raise InputError(
                f"The checkpoint {checkpoint.path} learned from other data than what the snapshot holds now. "
                "Choose another --output."
            )
        self.feed.micro_tokens = state["micro_tokens"]
        self.patience = Patience.of(state["patience"])

    def _step(self, number: int) -> Step:
        epoch, place = divmod(number - 1, self.steps_per_epoch)
        order = epoch_order(len(self.groups), self.options.seed, epoch)
        size = self.options.prompts_per_step
        chosen = [self.groups[index] for index in order[place * size : (place + 1) * size]]
        spare = self.feed.micro_tokens == self.options.micro_tokens
        return Step(number, chosen, self.feed, self.size, self.model, spare)

    def _stop_check(self, before: Callable[[], object] = lambda: None) -> None:
        """Stop in all processes when one is asked to."""
        asked = any(distributed.exchange(self.folder.stop_requested))
        self.folder.stop_check(before, asked=asked)

    def _save(self) -> None:
        state = {"data": self.data, "micro_tokens": self.feed.micro_tokens, "patience": self.patience.state}
        distributed.replicas_check(self.model)
        checkpoint_save(
            self.folder,
            step=self.done,
            model=self.model,
            optimizer=self.optimizer,
            state=state,
            kept=self.options.checkpoints_kept,
            also=self.patience.step if self.options.patience else None,
        )

    def _evaluate(self) -> bool:
        """Measure on held-out prompts; whether it is the best so far, to be kept."""
        if not self.held_out:
            return False
        try:
            values = self.evaluate()
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise MemoryEndError(
                f"Out of memory in the evaluation after step {self.done}, with {self.feed.micro_tokens} micro_tokens. "
                "Set micro_tokens to half of it, lower max_length, or use a device with more memory."
            ) from error
        self._log("eval", self.done, values)
        return bool(self.options.patience) and self.patience.hear(self.done, values["loss"])

    def _best_take(self) -> None:
        """Put the weights back to those of the best evaluation."""
        best = self.patience.step
        if best is None or best == self.done:
            return
        say(f"The least held-out loss was {self.patience.loss:.4g}, after step {best}; the model is that of then.")
        checkpoint_weights(self.folder.path / CHECKPOINTS / f"step-{best}", self.model)

    def _log(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        if not all(map(math.isfinite, values.values())):
            raise NotFiniteError(
                f"The evaluation after step {step} gave numbers that are not finite: {dict(values)}. Try a lower "
                "learning_rate, or dtype float32; if this is step 0, the model that was given is damaged."
            )
        self.folder.events.append({"kind": kind, "step": step, "total": self.total, "values": dict(values)})
        if self._tracker is not None:
            self._tracker.write(kind, step, values)
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


def agreement(values: Tensor, edges: Edges) -> dict[str, Tensor]:
    """Sums for an accuracy, see `shares`: of what is preferred, the weight of that whose values (N,) agree, equal ones
    counting half, and of all.
    """
    weight = torch.where(edges.tied, 0.0, edges.weight)
    differences = values.detach()[edges.i] - values.detach()[edges.j]
    right = (differences > 0).float() + 0.5 * (differences == 0).float()
    return {"accuracy/compared": (weight * right).sum(), "compared": weight.sum()}


def rows_split(groups: Sequence[Group], values: Tensor) -> list[tuple[Group, list[float]]]:
    """Values (N,) of the completions of a batch, by group."""
    sizes = [len(group.completions) for group in groups]
    return [(group, part.tolist()) for group, part in zip(groups, torch.split(values.cpu(), sizes), strict=True)]


Judged = list[tuple[Group, list[float]]]
"""Groups with a value for each of their completions."""


def judged_report(judged: Judged) -> dict[str, float]:
    """How well the values of completions agree with what people said, beside the baselines."""
    return accuracy_report(*_columns(judged))


def judged_breakdown(judged: Judged) -> dict[str, Any]:
    """Where that agreement comes from."""
    return accuracy_breakdown(*_columns(judged))


def _columns(
    judged: Judged,
) -> tuple[list[int], list[list[float]], list[list[int]], list[list[Edge]]]:
    """Prompts, values, lengths in tokens and edges of groups, in an order that does not depend on batches."""
    ordered = sorted(judged, key=lambda pair: (pair[0].prompt, pair[0].ids))
    groups = [group for group, _ in ordered]
    lengths = [[len(completion) for completion in group.completions] for group in groups]
    edges = [group.edges for group in groups]
    return [group.prompt for group in groups], [values for _, values in ordered], lengths, edges
